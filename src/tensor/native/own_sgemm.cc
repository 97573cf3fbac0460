// Goto's scheme: pack a panel of B and a block of A so that the inner kernel reads both contiguously, and keep a tile of C
// in registers (6 x 16 with AVX2, 12 x 32 with AVX-512, 8 x 8 elsewhere). The compiler's vector types make it portable.
#include "own_sgemm.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace unfold {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 12, kVectors = 2;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kRows = 6, kVectors = 2;
#else
constexpr int kLanes = 4, kRows = 6, kVectors = 2;
#endif
constexpr int kColumns = kLanes * kVectors;
constexpr int64_t kDepth = 256, kBlockRows = kRows * 16, kBlockColumns = 2048;

typedef float Vector __attribute__((vector_size(kLanes * 4)));

inline Vector load(const float* p) {
  Vector x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float, Free>;

Buffer allocate(int64_t n) {
  void* p = nullptr;
  if (posix_memalign(&p, 64, static_cast<size_t>(n) * sizeof(float)) != 0) throw std::bad_alloc();
  return Buffer(static_cast<float*>(p));
}

// Blocks of kRows rows of A, depth-major, padded with zeros.
void pack_a(bool trans, const float* a, int64_t lda, int64_t rows, int64_t depth, float* out) {
  for (int64_t i = 0; i < rows; i += kRows, out += kRows * depth) {
    for (int64_t r = 0; r < kRows; r++) {
      const bool real = i + r < rows;
      for (int64_t p = 0; p < depth; p++) {
        out[p * kRows + r] = !real ? 0.0f : trans ? a[p * lda + i + r] : a[(i + r) * lda + p];
      }
    }
  }
}

// Blocks of kColumns columns of B, depth-major, padded with zeros.
void pack_b(bool trans, const float* b, int64_t ldb, int64_t columns, int64_t depth, float* out) {
  for (int64_t j = 0; j < columns; j += kColumns, out += kColumns * depth) {
    const int64_t width = std::min<int64_t>(kColumns, columns - j);
    for (int64_t p = 0; p < depth; p++) {
      float* row = out + p * kColumns;
      if (!trans) std::memcpy(row, b + p * ldb + j, static_cast<size_t>(width) * sizeof(float));
      else for (int64_t q = 0; q < width; q++) row[q] = b[(j + q) * ldb + p];
      for (int64_t q = width; q < kColumns; q++) row[q] = 0.0f;
    }
  }
}

// A tile of C, [kRows, kColumns], from packed panels; `rows` and `columns` of it are real.
void tile(const float* a, const float* b, int64_t depth, float* c, int64_t ldc, int64_t rows, int64_t columns, bool add) {
  Vector sum[kRows][kVectors] = {};
  for (int64_t p = 0; p < depth; p++, a += kRows, b += kColumns) {
    Vector right[kVectors];
    for (int v = 0; v < kVectors; v++) right[v] = *reinterpret_cast<const Vector*>(b + v * kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; r++) {
      for (int v = 0; v < kVectors; v++) sum[r][v] += a[r] * right[v];
    }
  }
  const bool whole = rows == kRows && columns == kColumns;
  float edge[kRows * kColumns];
  float* to = whole ? c : edge;
  const int64_t step = whole ? ldc : kColumns;
  for (int r = 0; r < kRows; r++) {
    for (int v = 0; v < kVectors; v++) {
      float* place = to + r * step + v * kLanes;
      Vector x = sum[r][v];
      if (whole && add) x += load(place);
      std::memcpy(place, &x, sizeof x);
    }
  }
  if (whole) return;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t j = 0; j < columns; j++) c[r * ldc + j] = edge[r * kColumns + j] + (add ? c[r * ldc + j] : 0.0f);
  }
}

}  // namespace

void own_sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
               const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  const int64_t depth_most = std::min(k, kDepth);
  const Buffer packed_a = allocate(round_up(std::min(m, kBlockRows), kRows) * depth_most);
  const Buffer packed_b = allocate(round_up(std::min(n, kBlockColumns), kColumns) * depth_most);
  for (int64_t j0 = 0; j0 < n; j0 += kBlockColumns) {
    const int64_t columns = std::min(kBlockColumns, n - j0);
    for (int64_t p0 = 0; p0 < k; p0 += kDepth) {
      const int64_t depth = std::min(kDepth, k - p0);
      const bool add = accumulate || p0 > 0;
      pack_b(trans_b, trans_b ? b + j0 * ldb + p0 : b + p0 * ldb + j0, ldb, columns, depth, packed_b.get());
      for (int64_t i0 = 0; i0 < m; i0 += kBlockRows) {
        const int64_t rows = std::min(kBlockRows, m - i0);
        pack_a(trans_a, trans_a ? a + p0 * lda + i0 : a + i0 * lda + p0, lda, rows, depth, packed_a.get());
        for (int64_t j = 0; j < columns; j += kColumns) {
          for (int64_t i = 0; i < rows; i += kRows) {
            tile(packed_a.get() + i * depth, packed_b.get() + j * depth, depth, c + (i0 + i) * ldc + j0 + j, ldc,
                 std::min<int64_t>(kRows, rows - i), std::min<int64_t>(kColumns, columns - j), add);
          }
        }
      }
    }
  }
}

}  // namespace unfold
