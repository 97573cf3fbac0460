// One row times a matrix: bound by memory, so every element of B is read once, in order, and what is summed stays in the
// first-level cache. A column's sum depends on its own elements only: cutting columns over threads changes no bit.
#include <algorithm>
#include <cstring>
#include <vector>

#include "own_sgemm.h"

namespace unfold {
namespace {

constexpr int64_t kStrip = 2048;  // columns whose sums stay in the first-level cache
constexpr int kLanes = 32;

// c[0..n) += sum of a[p] B[p, 0..n), four rows a pass.
void add_scaled_rows(int64_t n, int64_t k, const float* a, int64_t a_step, const float* b, int64_t ldb,
                     float* __restrict c) {
  int64_t p = 0;
  for (; p + 4 <= k; p += 4) {
    const float *b0 = b + p * ldb, *b1 = b0 + ldb, *b2 = b1 + ldb, *b3 = b2 + ldb;
    const float a0 = a[p * a_step], a1 = a[(p + 1) * a_step], a2 = a[(p + 2) * a_step], a3 = a[(p + 3) * a_step];
    for (int64_t j = 0; j < n; j++) c[j] += (a0 * b0[j] + a1 * b1[j]) + (a2 * b2[j] + a3 * b3[j]);
  }
  for (; p < k; p++) {
    const float* row = b + p * ldb;
    const float by = a[p * a_step];
    for (int64_t j = 0; j < n; j++) c[j] += by * row[j];
  }
}

float dot(const float* a, const float* b, int64_t n) {
  float lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; j++) lane[j] += a[i + j] * b[i + j];
  }
  for (int j = 0; i < n; i++, j++) lane[j] += a[i] * b[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  }
  return lane[0];
}

}  // namespace

void own_gemv(bool trans_b, int64_t n, int64_t k, const float* a, int64_t a_step, const float* b, int64_t ldb, float* c,
              bool accumulate) {
  if (!accumulate) std::memset(c, 0, static_cast<size_t>(n) * sizeof(float));
  if (!trans_b) {
    for (int64_t j = 0; j < n; j += kStrip) add_scaled_rows(std::min(kStrip, n - j), k, a, a_step, b + j, ldb, c + j);
    return;
  }
  std::vector<float> packed;
  if (a_step != 1) {
    packed.resize(static_cast<size_t>(k));
    for (int64_t p = 0; p < k; p++) packed[p] = a[p * a_step];
    a = packed.data();
  }
  for (int64_t j = 0; j < n; j++) c[j] += dot(a, b + j * ldb, k);
}

}  // namespace unfold
