// Layer normalisation of rows: mean and variance in one visit to a row that stays in the first-level cache.
#include <algorithm>
#include <cmath>

#include "addon.h"
#include "parallel.h"

namespace unfold {
namespace {

constexpr int kLanes = 32;

template <class F>
double sum_lanes(const float* x, int64_t n, F f) {
  float lane[kLanes] = {};
  double total = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; j++) lane[j] += f(x[i + j]);
  }
  for (; i < n; i++) total += f(x[i]);
  for (int j = 0; j < kLanes; j++) total += lane[j];
  return total;
}

struct Weights {
  const float *gamma, *beta;
};

void finish(const float* x, float* out, int64_t n, float mean, float factor, Weights w) {
  if (w.gamma && w.beta) {
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * factor * w.gamma[i] + w.beta[i];
  } else if (w.gamma) {
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * factor * w.gamma[i];
  } else if (w.beta) {
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * factor + w.beta[i];
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - mean) * factor;
  }
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// layerNorm(x, gamma | null, beta | null, out, scale | null, rows, n, eps): scale[r] = sqrt(variance + eps)
UNFOLD_EXPORT(layerNorm, args) {
  const int64_t rows = args.size(5), n = args.size(6);
  const double eps = args.number(7);
  const float* x = args.f32(0, rows * n);
  const Weights w{args.f32_or_null(1, n), args.f32_or_null(2, n)};
  float* out = args.f32(3, rows * n);
  float* scale = args.f32_or_null(4, rows);
  parallel_for(rows, ceil_div(16384, std::max<int64_t>(1, n)), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = x + r * n;
      const float mean = static_cast<float>(sum_lanes(row, n, [](float v) { return v; }) / static_cast<double>(n));
      const double squares = sum_lanes(row, n, [mean](float v) { return (v - mean) * (v - mean); });
      const double deviation = std::sqrt(squares / static_cast<double>(n) + eps);
      if (scale) scale[r] = static_cast<float>(deviation);
      finish(row, out + r * n, n, mean, static_cast<float>(1.0 / deviation), w);
    }
  });
  return args.undefined();
}
