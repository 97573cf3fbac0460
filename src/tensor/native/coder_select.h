// Keeping the k largest of a row whose values arrive a tile at a time, in ascending order of index. Nothing here knows
// how the values are made.
//
// A row holds what survived so far, as sortable keys, and a threshold: the k-th largest value at the last tightening.
// A tile's values are compared with it 64 at a time, and almost none survives (about k ln(F/k) of F in all). When the
// row's buffer is full, the k best stay and the threshold rises. A later value equal to the threshold loses against k
// earlier ones, so a strict comparison is exact; NaN compares as a survivor, and is noticed there at no cost elsewhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace unfold::coder {

// Keys order as (value descending, index ascending) when sorted descending.
inline uint64_t key_of(float value, int64_t index) {
  const float plain = value + 0.0f;  // -0 and +0 are a tie
  uint32_t bits;
  std::memcpy(&bits, &plain, sizeof bits);
  bits ^= (bits >> 31) ? 0xffffffffu : 0x80000000u;
  return (static_cast<uint64_t>(bits) << 32) | (0xffffffffu - static_cast<uint32_t>(index));
}
inline float value_of(uint64_t key) {
  uint32_t bits = static_cast<uint32_t>(key >> 32);
  bits ^= (bits >> 31) ? 0x80000000u : 0xffffffffu;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int32_t index_of(uint64_t key) { return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key)); }

constexpr int64_t kBlock = 64;

// What is known of one row. `keys` has room for capacity(k).
struct Row {
  uint64_t* keys;
  int64_t count;
  float threshold;
  bool nan;

  static int64_t capacity(int64_t k) { return 2 * k + kBlock; }
  void start(uint64_t* room) { *this = {room, 0, std::numeric_limits<float>::quiet_NaN(), false}; }
};

// Keeps the k best of the row and raises its threshold.
inline void tighten(Row& row, int64_t k) {
  if (row.count < k) return;
  if (row.count > k) {
    std::nth_element(row.keys, row.keys + (k - 1), row.keys + row.count, std::greater<uint64_t>());
    row.count = k;
  }
  row.threshold = value_of(*std::min_element(row.keys, row.keys + k));
}

// z = z + b, and times s where there is one.
struct Affine {
  const float* b;
  const float* s;
  float operator()(const float* z, int64_t j) const { return s ? (z[j] + b[j]) * s[j] : z[j] + b[j]; }
};

// Bit j is set where value j of the block is not <= threshold (so also where either is NaN).
inline uint64_t survivors(const float* z, const Affine& f, int64_t at, float threshold) {
  uint64_t mask = 0;
#if defined(__AVX512F__)
  const __m512 t = _mm512_set1_ps(threshold);
  for (int64_t j = 0; j < kBlock; j += 16) {
    __m512 v = _mm512_add_ps(_mm512_loadu_ps(z + at + j), _mm512_loadu_ps(f.b + at + j));
    if (f.s) v = _mm512_mul_ps(v, _mm512_loadu_ps(f.s + at + j));
    mask |= static_cast<uint64_t>(_mm512_cmp_ps_mask(v, t, _CMP_NLE_UQ)) << j;
  }
#elif defined(__AVX2__)
  const __m256 t = _mm256_set1_ps(threshold);
  for (int64_t j = 0; j < kBlock; j += 8) {
    __m256 v = _mm256_add_ps(_mm256_loadu_ps(z + at + j), _mm256_loadu_ps(f.b + at + j));
    if (f.s) v = _mm256_mul_ps(v, _mm256_loadu_ps(f.s + at + j));
    mask |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(v, t, _CMP_NLE_UQ)))) << j;
  }
#else
  // Two passes: most blocks have no survivor, and the first vectorises.
  int any = 0;
  for (int64_t j = 0; j < kBlock; j++) any |= !(f(z, at + j) <= threshold);
  if (any) {
    for (int64_t j = 0; j < kBlock; j++) mask |= static_cast<uint64_t>(!(f(z, at + j) <= threshold)) << j;
  }
#endif
  return mask;
}

// Offers a value to the row.
inline void offer(Row& row, float value, int64_t index) {
  if (value <= row.threshold) return;
  if (value != value) {
    row.nan = true;
    return;
  }
  row.keys[row.count++] = key_of(value, index);
}

// Offers n values z with indices first, first + 1, ... to the row.
inline void scan(Row& row, int64_t k, const float* z, const Affine& f, int64_t n, int64_t first) {
  const int64_t room = Row::capacity(k) - kBlock;
  for (int64_t at = 0; at < n; at += kBlock) {
    if (at + kBlock > n) {
      if (row.count > room) tighten(row, k);
      for (int64_t j = at; j < n; j++) offer(row, f(z, j), first + j);
      return;
    }
    uint64_t mask = survivors(z, f, at, row.threshold);
    if (!mask) continue;
    if (row.count > room) tighten(row, k);
    for (; mask; mask &= mask - 1) {
      const int64_t j = at + __builtin_ctzll(mask);
      offer(row, f(z, j), first + j);
    }
  }
}

// Writes the k best of `count` >= k keys, descending, as relu(value) and index.
inline void emit(uint64_t* keys, int64_t count, int64_t k, bool nan, float* values, int32_t* indices) {
  if (count > k) std::nth_element(keys, keys + (k - 1), keys + count, std::greater<uint64_t>());
  std::sort(keys, keys + std::min(k, count), std::greater<uint64_t>());
  for (int64_t j = 0; j < k; j++) {
    if (nan) {
      values[j] = std::numeric_limits<float>::quiet_NaN();
      indices[j] = static_cast<int32_t>(j);
    } else {
      const float value = value_of(keys[j]);
      values[j] = value > 0.0f ? value : 0.0f;
      indices[j] = index_of(keys[j]);
    }
  }
}

}  // namespace unfold::coder
