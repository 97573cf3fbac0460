// Vectors of the width this build is for, with what gathering rows needs: sums of a few scaled rows, and dot products of
// one row with a few. GCC's and Clang's vector types, so one text serves AVX-512, AVX2, SSE2 and NEON.
#pragma once

#include <cstdint>
#include <cstring>

namespace unfold::coder {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

using Vec = float __attribute__((vector_size(kWidth * 4)));

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
inline Vec splat(float x) { return x - Vec{}; }

inline float sum_lanes(Vec v) {
  float lane[kWidth];
  std::memcpy(lane, &v, sizeof v);
  for (int width = kWidth / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  }
  return lane[0];
}

// Rows are taken four at a time: each pass over the accumulator then serves four of them, and the next four are fetched
// from memory meanwhile.
constexpr int kGroup = 4;
constexpr int64_t kLine = 16;  // floats in a cache line

// What a sum of scaled rows is made of.
struct ScaledRow {
  const float* row;
  float by;
};

// out (+)= sum of rows[i].row * rows[i].by; `fresh` starts from zero. The order of summation depends on nothing but n.
inline void add_rows(const ScaledRow* rows, int64_t n, int64_t d, float* __restrict out, bool fresh) {
  if (n == 0 && fresh) std::memset(out, 0, static_cast<size_t>(d) * sizeof(float));
  for (int64_t i = 0; i < n; i += kGroup) {
    ScaledRow r[kGroup], next[kGroup];
    for (int64_t j = 0; j < kGroup; j++) {
      // Short groups are padded with the last row times zero; the row is finite or the sum is lost anyway.
      r[j] = i + j < n ? rows[i + j] : ScaledRow{rows[n - 1].row, 0.0f};
      next[j] = i + kGroup + j < n ? rows[i + kGroup + j] : r[j];
    }
    const int64_t left = n - i;
    const bool first = fresh && i == 0;
    int64_t c = 0;
    for (; c + kWidth <= d; c += kWidth) {
      if (c % kLine == 0) {
        for (int j = 0; j < kGroup; j++) __builtin_prefetch(next[j].row + c);
      }
      Vec sum = first ? Vec{} : load(out + c);
      sum += load(r[0].row + c) * r[0].by;
      if (left > 1) sum += load(r[1].row + c) * r[1].by;
      if (left > 2) sum += load(r[2].row + c) * r[2].by;
      if (left > 3) sum += load(r[3].row + c) * r[3].by;
      store(out + c, sum);
    }
    for (; c < d; c++) {
      float sum = first ? 0.0f : out[c];
      for (int64_t j = 0; j < kGroup && j < left; j++) sum += r[j].row[c] * r[j].by;
      out[c] = sum;
    }
  }
}

// out[j] = x . rows[j] for the `n` <= kGroup rows given; `next` are fetched meanwhile.
inline void dot_rows(const float* __restrict x, const float* const* rows, const float* const* next, int64_t n, int64_t d,
                     float* out) {
  const float* r[kGroup];
  for (int64_t j = 0; j < kGroup; j++) r[j] = rows[j < n ? j : n - 1];
  Vec sum[kGroup] = {};
  int64_t c = 0;
  for (; c + kWidth <= d; c += kWidth) {
    if (c % kLine == 0) {
      for (int j = 0; j < kGroup; j++) __builtin_prefetch(next[j] + c);
    }
    const Vec v = load(x + c);
    for (int j = 0; j < kGroup; j++) sum[j] += v * load(r[j] + c);
  }
  for (int64_t j = 0; j < n; j++) {
    float total = sum_lanes(sum[j]);
    for (int64_t e = c; e < d; e++) total += x[e] * r[j][e];
    out[j] = total;
  }
}

// Sum of squares, in float lanes and then double.
inline double sum_squares(const float* x, int64_t d) {
  Vec a = {}, b = {};
  int64_t c = 0;
  for (; c + 2 * kWidth <= d; c += 2 * kWidth) {
    const Vec u = load(x + c), v = load(x + c + kWidth);
    a += u * u;
    b += v * v;
  }
  double total = static_cast<double>(sum_lanes(a)) + static_cast<double>(sum_lanes(b));
  for (; c < d; c++) total += static_cast<double>(x[c]) * x[c];
  return total;
}

}  // namespace unfold::coder
