// Finding a BLAS at run time, choosing between two, and cutting products over our own threads where the library would
// otherwise start a second pool.
//
// The rule (README and `unfold doctor` repeat it): UNFOLD_BLAS if set; else Accelerate on macOS; else oneDNN before
// OpenBLAS where the processor has AVX-512, OpenBLAS before oneDNN elsewhere; else our own kernel. Measured: Xeon with
// AVX-512, oneDNN 373 and OpenBLAS 317 GFLOP/s; AMD EPYC with AVX2, OpenBLAS ahead.
#include "blas.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "addon.h"
#include "cores.h"
#include "own_sgemm.h"
#include "parallel.h"
#include "signals.h"

namespace unfold {
namespace {

using DnnlSgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t,
                          float, float*, int64_t);
using CblasSgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*,
                            int);

enum class Library { Dnnl, OpenBlas, Accelerate, Own };

// A product of fewer multiplications than this runs on the calling thread: waking the others would cost as much.
constexpr double kSmall = 2e6;

struct Found {
  void* dnnl = nullptr;
  DnnlSgemm dnnl_sgemm = nullptr;
  std::string dnnl_version;
  CblasSgemm openblas = nullptr, accelerate = nullptr;
  std::string openblas_version;
  Library chosen = Library::Own;
  std::string why;
};

void* open_first(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
  }
  return nullptr;
}

void find_dnnl(Found& found) {
  found.dnnl = open_first({"libdnnl.so.3", "libdnnl.so.2", "libdnnl.so", "libdnnl.dylib",
                           "/opt/homebrew/opt/onednn/lib/libdnnl.dylib", "/usr/local/opt/onednn/lib/libdnnl.dylib"});
  if (!found.dnnl) return;
  found.dnnl_sgemm = reinterpret_cast<DnnlSgemm>(dlsym(found.dnnl, "dnnl_sgemm"));
  struct Version { int major, minor, patch; };
  if (auto version = reinterpret_cast<const Version* (*)()>(dlsym(found.dnnl, "dnnl_version"))) {
    const Version* v = version();
    found.dnnl_version = std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }
}

// Threads are ours: a pool of OpenBLAS's beside it would fight for the same cores, so none is started.
void* open_openblas() {
  const bool unset = !std::getenv("OPENBLAS_NUM_THREADS");
  if (unset) setenv("OPENBLAS_NUM_THREADS", "1", 1);
  void* handle = open_first({"libopenblas.so.0", "libopenblas.so", "libopenblas.dylib",
                             "/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
                             "/usr/local/opt/openblas/lib/libopenblas.dylib"});
  if (unset) unsetenv("OPENBLAS_NUM_THREADS");
  return handle;
}

// The kernels OpenBLAS took: "SkylakeX", "Haswell", "Zen"; "Prescott" where it does not know the processor.
std::string openblas_core(void* handle) {
  const auto core = reinterpret_cast<char* (*)()>(dlsym(handle, "openblas_get_corename"));
  return core ? core() : "";
}

// Releases older than the processor fall back to kernels for SSE3, five times slower: name better ones and load again.
void* reopen_if_unknown(void* handle) {
#if defined(__x86_64__)
  const std::string core = openblas_core(handle);
  const bool slow = core == "Prescott" || core == "Core2" || core == "Nehalem" || core == "Generic";
  if (!slow || !__builtin_cpu_supports("avx2") || std::getenv("OPENBLAS_CORETYPE")) return handle;
  setenv("OPENBLAS_CORETYPE", has_avx512() ? "SkylakeX" : "Haswell", 1);
  dlclose(handle);
  handle = open_openblas();
  unsetenv("OPENBLAS_CORETYPE");
#endif
  return handle;
}

void find_openblas(Found& found) {
  void* handle = open_openblas();
  if (handle) handle = reopen_if_unknown(handle);
  if (!handle) return;
  found.openblas = reinterpret_cast<CblasSgemm>(dlsym(handle, "cblas_sgemm"));
  if (auto set = reinterpret_cast<void (*)(int)>(dlsym(handle, "openblas_set_num_threads"))) set(1);
  if (auto config = reinterpret_cast<char* (*)()>(dlsym(handle, "openblas_get_config"))) {
    found.openblas_version = config();  // "OpenBLAS 0.3.21 NO_AFFINITY ... SkylakeX MAX_THREADS=64"
  }
}

void find_accelerate(Found& found) {
#ifdef __APPLE__
  void* handle = open_first({"/System/Library/Frameworks/Accelerate.framework/Accelerate"});
  if (handle) found.accelerate = reinterpret_cast<CblasSgemm>(dlsym(handle, "cblas_sgemm"));
#else
  (void)found;
#endif
}

bool available(const Found& found, Library library) {
  switch (library) {
    case Library::Dnnl: return found.dnnl_sgemm != nullptr;
    case Library::OpenBlas: return found.openblas != nullptr;
    case Library::Accelerate: return found.accelerate != nullptr;
    case Library::Own: return true;
  }
  return false;
}

const char* name_of(Library library) {
  switch (library) {
    case Library::Dnnl: return "dnnl";
    case Library::OpenBlas: return "openblas";
    case Library::Accelerate: return "accelerate";
    case Library::Own: return "own";
  }
  return "own";
}

constexpr Library kAll[] = {Library::Dnnl, Library::OpenBlas, Library::Accelerate, Library::Own};

bool parse(const std::string& name, Library& out) {
  for (Library library : kAll) {
    if (name == name_of(library)) {
      out = library;
      return true;
    }
  }
  return false;
}

void choose(Found& found) {
  const char* wish = std::getenv("UNFOLD_BLAS");
  if (Library library; wish && parse(wish, library) && available(found, library)) {
    found.chosen = library;
    found.why = "UNFOLD_BLAS";
    return;
  }
#ifdef _OPENMP
  const bool wide = has_avx512();
#else
  const bool wide = false;  // oneDNN's threads would not be ours: a library that runs on ours goes first
#endif
  const std::vector<Library> order = wide ? std::vector<Library>{Library::Dnnl, Library::OpenBlas}
                                          : std::vector<Library>{Library::Accelerate, Library::OpenBlas, Library::Dnnl};
  for (Library library : order) {
    if (!available(found, library)) continue;
    found.chosen = library;
    found.why = library == Library::Accelerate ? "macOS" : wide ? "AVX-512" : "no AVX-512";
    return;
  }
  found.why = "no library found";
}

const Found& found() {
  static const Found result = [] {
    Found f;
    find_dnnl(f);
    find_openblas(f);
    find_accelerate(f);
    choose(f);
    return f;
  }();
  return result;
}

struct Product {
  bool trans_a, trans_b;
  int64_t m, n, k;
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  float* c;
  int64_t ldc;
  bool accumulate;
};

void cblas(CblasSgemm f, const Product& p) {
  constexpr int kRowMajor = 101, kNo = 111, kYes = 112;
  f(kRowMajor, p.trans_a ? kYes : kNo, p.trans_b ? kYes : kNo, static_cast<int>(p.m), static_cast<int>(p.n),
    static_cast<int>(p.k), 1.0f, p.a, static_cast<int>(p.lda), p.b, static_cast<int>(p.ldb), p.accumulate ? 1.0f : 0.0f,
    p.c, static_cast<int>(p.ldc));
}

bool fits_int(const Product& p) {
  constexpr int64_t most = 0x7fffffff;
  return std::max({p.m, p.n, p.k, p.lda, p.ldb, p.ldc}) <= most;
}

bool small(const Product& p) {
  return static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k) < kSmall;
}

// oneDNN takes as many threads as OpenMP says, which would count every hyperthread and ignore UNFOLD_THREADS. Inside a
// parallel region it takes none of its own accord.
void allow_threads([[maybe_unused]] int n) {
#ifdef _OPENMP
  if (!omp_in_parallel() && omp_get_max_threads() != n) omp_set_num_threads(n);
#endif
}

void dnnl(const Product& p, int most_threads) {
  allow_threads(most_threads);
  const SignalsHeld held;
  const int status = found().dnnl_sgemm(p.trans_a ? 'T' : 'N', p.trans_b ? 'T' : 'N', p.m, p.n, p.k, 1.0f, p.a, p.lda,
                                        p.b, p.ldb, p.accumulate ? 1.0f : 0.0f, p.c, p.ldc);
  if (status != 0) throw Error("dnnl_sgemm failed with status " + std::to_string(status));
}

void on_this_thread(Library library, const Product& p) {
  if (p.m == 1 && library != Library::Dnnl) {
    return own_gemv(p.trans_b, p.n, p.k, p.a, p.trans_a ? p.lda : 1, p.b, p.ldb, p.c, p.accumulate);
  }
  if (library == Library::OpenBlas && fits_int(p)) return cblas(found().openblas, p);
  if (library == Library::Accelerate && fits_int(p)) return cblas(found().accelerate, p);
  if (library == Library::Dnnl) return dnnl(p, 1);
  own_sgemm(p.trans_a, p.trans_b, p.m, p.n, p.k, p.a, p.lda, p.b, p.ldb, p.c, p.ldc, p.accumulate);
}

// The part of C in rows [m0, m1) and columns [n0, n1).
Product part(const Product& p, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  Product q = p;
  q.m = m1 - m0;
  q.n = n1 - n0;
  q.a = p.trans_a ? p.a + m0 : p.a + m0 * p.lda;
  q.b = p.trans_b ? p.b + n0 * p.ldb : p.b + n0;
  q.c = p.c + m0 * p.ldc + n0;
  return q;
}

// Threads down and across C so that each reads as little of A and B as can be.
void grid(const Product& p, int& down, int& across) {
  const int t = threads();
  double best = 1e300;
  for (int rows = 1; rows <= t; rows++) {
    if (t % rows != 0) continue;
    const int columns = t / rows;
    const double cost = static_cast<double>(p.m) / rows + static_cast<double>(p.n) / columns;
    if (cost < best) best = cost, down = rows, across = columns;
  }
}

void on_our_threads(Library library, const Product& p) {
  if (threads() == 1 || small(p)) return on_this_thread(library, p);
  int down = 1, across = 1;
  grid(p, down, across);
  constexpr int64_t kStep = 32;  // pieces are multiples of the libraries' register tiles
  const int64_t rows = ceil_div(ceil_div(p.m, down), kStep) * kStep;
  const int64_t columns = ceil_div(ceil_div(p.n, across), kStep) * kStep;
  run_tasks(down * across, [&](int t) {
    const int64_t m0 = t / across * rows, n0 = t % across * columns;
    if (m0 >= p.m || n0 >= p.n) return;
    on_this_thread(library, part(p, m0, std::min(p.m, m0 + rows), n0, std::min(p.n, n0 + columns)));
  });
}

void run(Library library, const Product& p) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) {
    if (!p.accumulate) {
      for (int64_t i = 0; i < p.m; i++) std::memset(p.c + i * p.ldc, 0, static_cast<size_t>(p.n) * sizeof(float));
    }
    return;
  }
  // oneDNN and Accelerate run on threads of their own accord; oneDNN's are ours too where both use OpenMP.
  if (library == Library::Dnnl) return dnnl(p, small(p) ? 1 : threads());
  if (library == Library::Accelerate) return on_this_thread(library, p);
  on_our_threads(library, p);
}

}  // namespace

void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
           int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  run(found().chosen, {trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate});
}

void sgemm_one_thread(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                      const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  if (m == 0 || n == 0 || k == 0) {
    return run(Library::Own, {trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate});
  }
  on_this_thread(found().chosen, {trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate});
}

}  // namespace unfold

// blasLibraries(): "name\tversion" lines of what was found here; our own is always there.
UNFOLD_EXPORT(blasLibraries, args) {
  using namespace unfold;
  std::string lines;
  for (Library library : kAll) {
    if (!available(found(), library)) continue;
    lines += name_of(library);
    lines += '\t';
    lines += library == Library::Dnnl ? found().dnnl_version : library == Library::OpenBlas ? found().openblas_version : "";
    lines += '\n';
  }
  return args.result(lines);
}

// blasChosen(): "name\twhy"
UNFOLD_EXPORT(blasChosen, args) {
  return args.result(std::string(unfold::name_of(unfold::found().chosen)) + "\t" + unfold::found().why);
}

// sgemm(transA, transB, m, n, k, A, lda, B, ldb, C, ldc, accumulate, library?)
UNFOLD_EXPORT(sgemm, args) {
  using namespace unfold;
  Product p{};
  p.trans_a = args.flag(0);
  p.trans_b = args.flag(1);
  p.m = args.size(2), p.n = args.size(3), p.k = args.size(4);
  p.lda = args.size(6), p.ldb = args.size(8), p.ldc = args.size(10);
  if (p.lda < (p.trans_a ? p.m : p.k)) args.fail(6, "at least the length of a row of A");
  if (p.ldb < (p.trans_b ? p.k : p.n)) args.fail(8, "at least the length of a row of B");
  if (p.ldc < p.n) args.fail(10, "at least the length of a row of C");
  const auto span = [](int64_t rows, int64_t columns, int64_t ld) { return rows && columns ? (rows - 1) * ld + columns : 0; };
  p.a = args.f32(5, p.trans_a ? span(p.k, p.m, p.lda) : span(p.m, p.k, p.lda));
  p.b = args.f32(7, p.trans_b ? span(p.n, p.k, p.ldb) : span(p.k, p.n, p.ldb));
  p.c = args.f32(9, span(p.m, p.n, p.ldc));
  p.accumulate = args.given(11) && args.flag(11);
  Library library = found().chosen;
  if (args.given(12) && (!parse(args.text(12), library) || !available(found(), library))) {
    args.fail(12, "a library that blasLibraries() lists");
  }
  run(library, p);
  return args.undefined();
}
