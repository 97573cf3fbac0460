// Sums, means, maxima over one run of axes: a tensor is seen as [outer, reduced, inner]. Long sums are taken in short
// float runs that are added up in double, in an order that depends on nothing but the sizes.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "addon.h"
#include "parallel.h"
#include "simd_math.h"

namespace unfold {
namespace {

constexpr int64_t kGrain = 65536, kRun = 1024, kLanes = 32;

// A run of at most kRun floats, in lanes so that it vectorises without reassociation by the compiler.
template <class F>
float lanes(const float* x, int64_t n, float start, F f) {
  float lane[kLanes];
  for (int j = 0; j < kLanes; j++) lane[j] = start;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; j++) lane[j] = f(lane[j], x[i + j]);
  }
  for (int j = 0; i < n; i++, j++) lane[j] = f(lane[j], x[i]);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; j++) lane[j] = f(lane[j], lane[j + width]);
  }
  return lane[0];
}

struct Plus {
  float operator()(float a, float b) const { return a + b; }
};
struct Greatest {
  float operator()(float a, float b) const { return (a > b) | (a != a) ? a : b; }
};
struct Least {
  float operator()(float a, float b) const { return (a < b) | (a != a) ? a : b; }
};

double sum_of(const float* x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += kRun) total += lanes(x + i, std::min(kRun, n - i), 0.0f, Plus{});
  return total;
}

// One long sum, cut into fixed pieces whatever the number of threads.
double long_sum(const float* x, int64_t n) {
  constexpr int64_t kPiece = 65536;
  std::vector<double> parts(static_cast<size_t>(ceil_div(n, kPiece)));
  parallel_for(static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) parts[p] = sum_of(x + p * kPiece, std::min(kPiece, n - p * kPiece));
  });
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

void sum_rows(const float* x, float* out, int64_t rows, int64_t n, double factor) {
  if (rows == 1) {
    out[0] = static_cast<float>(long_sum(x, n) * factor);
    return;
  }
  parallel_for(rows, ceil_div(kGrain, std::max<int64_t>(1, n)), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) out[r] = static_cast<float>(sum_of(x + r * n, n) * factor);
  });
}

// Sums over rows of [n, inner], a strip of columns at a time.
void sum_columns(const float* x, float* out, int64_t outer, int64_t n, int64_t inner, double factor) {
  constexpr int64_t kStrip = 256;
  const int64_t strips = ceil_div(inner, kStrip);
  parallel_for(outer * strips, ceil_div(kGrain, std::max<int64_t>(1, n * std::min(inner, kStrip))),
               [=](int64_t begin, int64_t end) {
    double sums[kStrip];
    for (int64_t s = begin; s < end; s++) {
      const int64_t from = s % strips * kStrip, width = std::min(kStrip, inner - from);
      const float* block = x + s / strips * n * inner + from;
      std::fill(sums, sums + width, 0.0);
      for (int64_t r = 0; r < n; r++) {
        for (int64_t j = 0; j < width; j++) sums[j] += block[r * inner + j];
      }
      for (int64_t j = 0; j < width; j++) out[s / strips * inner + from + j] = static_cast<float>(sums[j] * factor);
    }
  });
}

template <class F>
void extremes(const float* x, float* out, int64_t outer, int64_t n, int64_t inner, float start, F f) {
  parallel_for(outer, ceil_div(kGrain, std::max<int64_t>(1, n * inner)), [=](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) {
      const float* block = x + o * n * inner;
      if (inner == 1) {
        out[o] = lanes(block, n, start, f);
        continue;
      }
      float* to = out + o * inner;
      std::fill(to, to + inner, start);
      for (int64_t r = 0; r < n; r++) {
        for (int64_t j = 0; j < inner; j++) to[j] = f(to[j], block[r * inner + j]);
      }
    }
  });
}

// The index of the greatest of each row; the first where there are several; NaN is not a candidate, as in tfjs.
void arg_extreme(const float* x, int32_t* out, int64_t rows, int64_t n, float sign) {
  parallel_for(rows, ceil_div(kGrain, std::max<int64_t>(1, n)), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x + r * n;
      int64_t best = 0;
      for (int64_t i = 1; i < n; i++) {
        if (sign * row[i] > sign * row[best]) best = i;
      }
      out[r] = static_cast<int32_t>(best);
    }
  });
}

void softmax_row(const float* x, float* out, int64_t n) {
  const float most = lanes(x, n, -std::numeric_limits<float>::infinity(), Greatest{});
  for (int64_t i = 0; i < n; i++) out[i] = exp_(x[i] - most);
  const float scale = static_cast<float>(1.0 / sum_of(out, n));
  for (int64_t i = 0; i < n; i++) out[i] *= scale;
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// reduce(op, x, out, outer, n, inner): op 0 sum, 1 mean, 2 max, 3 min
UNFOLD_EXPORT(reduce, args) {
  const int64_t op = args.size(0), outer = args.size(3), n = args.size(4), inner = args.size(5);
  const float* x = args.f32(1, elements({outer, n, inner}));
  float* out = args.f32(2, outer * inner);
  const float infinity = std::numeric_limits<float>::infinity();
  if (outer == 0 || inner == 0) return args.undefined();
  if (op == 2) {
    extremes(x, out, outer, n, inner, -infinity, Greatest{});
  } else if (op == 3) {
    extremes(x, out, outer, n, inner, infinity, Least{});
  } else {
    const double factor = op == 1 ? 1.0 / static_cast<double>(n) : 1.0;
    if (inner == 1) sum_rows(x, out, outer, n, factor);
    else sum_columns(x, out, outer, n, inner, factor);
  }
  return args.undefined();
}

// argExtreme(x, out: Int32Array, rows, n, sign): sign 1 for the greatest, -1 for the least
UNFOLD_EXPORT(argExtreme, args) {
  const int64_t rows = args.size(2), n = args.size(3);
  arg_extreme(args.f32(0, rows * n), args.i32(1, rows), rows, n, static_cast<float>(args.number(4)));
  return args.undefined();
}

// softmax(x, out, rows, n)
UNFOLD_EXPORT(softmax, args) {
  const int64_t rows = args.size(2), n = args.size(3);
  const float* x = args.f32(0, rows * n);
  float* out = args.f32(1, rows * n);
  parallel_for(rows, ceil_div(kGrain / 4, std::max<int64_t>(1, n)), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) softmax_row(x + r * n, out + r * n, n);
  });
  return args.undefined();
}
