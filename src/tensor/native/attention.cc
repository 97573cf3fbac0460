// Causal attention, one head and a tile of queries at a time: scores, softmax and the weighted sum of values stay in a
// tile of scratch (as FlashAttention keeps them on chip), and keys behind the mask are never touched.
#include <algorithm>
#include <limits>
#include <vector>

#include "addon.h"
#include "blas.h"
#include "parallel.h"
#include "simd_math.h"

namespace unfold {
namespace {

constexpr int64_t kQueries = 64;
constexpr int kLanes = 16;

inline float greater_of(float a, float b) { return (a > b) | (a != a) ? a : b; }

float greatest(const float* row, int64_t n) {
  float lane[kLanes];
  for (int j = 0; j < kLanes; j++) lane[j] = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; j++) lane[j] = greater_of(lane[j], row[i + j]);
  }
  for (int j = 0; i < n; i++, j++) lane[j] = greater_of(lane[j], row[i]);
  float most = lane[0];
  for (int j = 1; j < kLanes; j++) most = greater_of(most, lane[j]);
  return most;
}

// Softmax of scale times a row's first `seen` scores, zeros after them up to `width`.
void softmax_scaled(float* row, int64_t seen, int64_t width, float scale) {
  if (!(scale > 0.0f)) {  // nobody's choice, but the greatest product is then not that of the greatest score
    for (int64_t i = 0; i < seen; i++) row[i] *= scale;
    scale = 1.0f;
  }
  const float most = greatest(row, seen);
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= seen; i += kLanes) {
    for (int j = 0; j < kLanes; j++) {
      const float e = exp_nonpositive((row[i + j] - most) * scale);
      row[i + j] = e;
      sums[j] += e;
    }
  }
  float total = 0;
  for (; i < seen; i++) {
    row[i] = exp_nonpositive((row[i] - most) * scale);
    total += row[i];
  }
  for (int j = 0; j < kLanes; j++) total += sums[j];
  const float factor = 1.0f / total;
  for (i = 0; i < seen; i++) row[i] *= factor;
  for (; i < width; i++) row[i] = 0.0f;
}

struct Shape {
  int64_t batch, queries, keys, heads, d_head, d_value;
  float scale;
  int64_t q_row, k_row, v_row;  // distances between positions
};

void one_tile(const Shape& s, const float* q, const float* k, const float* v, float* z, int64_t from, float* scores) {
  const int64_t count = std::min(kQueries, s.queries - from), offset = s.keys - s.queries;
  const int64_t width = std::min(s.keys, from + count + offset);  // keys that the tile's last query may see
  const int64_t z_row = s.heads * s.d_value;
  sgemm_one_thread(false, true, count, width, s.d_head, q + from * s.q_row, s.q_row, k, s.k_row, scores, width);
  for (int64_t i = 0; i < count; i++) softmax_scaled(scores + i * width, from + i + offset + 1, width, s.scale);
  sgemm_one_thread(false, false, count, s.d_value, width, scores, width, v, s.v_row, z + from * z_row, z_row);
}

void all_heads(const Shape& s, const float* q, const float* k, const float* v, float* z) {
  const int64_t tiles = ceil_div(s.queries, kQueries), all = s.batch * s.heads * tiles;
  const int64_t work = std::min(s.queries, kQueries) * s.keys * (s.d_head + s.d_value);
  parallel_for(all, ceil_div(1 << 19, std::max<int64_t>(1, work)), [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(std::min(kQueries, s.queries) * s.keys));
    for (int64_t t = begin; t < end; t++) {
      const int64_t tile = t % tiles, head = t / tiles % s.heads, b = t / tiles / s.heads;
      one_tile(s, q + b * s.queries * s.q_row + head * s.d_head, k + b * s.keys * s.k_row + head * s.d_head,
               v + b * s.keys * s.v_row + head * s.d_value, z + (b * s.queries * s.heads + head) * s.d_value,
               tile * kQueries, scores.data());
    }
  });
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// causalAttention(q, k, v, z, batch, queries, keys, heads, dHead, dValue, scale): q [batch, queries, heads, dHead],
// k [batch, keys, heads, dHead], v [batch, keys, heads, dValue]; keys >= queries, and query i sees keys <= i + keys - queries
UNFOLD_EXPORT(causalAttention, args) {
  const int64_t batch = args.size(4), queries = args.size(5), keys = args.size(6), heads = args.size(7);
  const int64_t d_head = args.size(8), d_value = args.size(9), qk_row = heads * d_head, v_row = heads * d_value;
  if (keys < queries) args.fail(6, "at least the number of queries");
  if (elements({batch, queries, heads, d_value}) == 0) return args.undefined();
  all_heads({batch, queries, keys, heads, d_head, d_value, static_cast<float>(args.number(10)), qk_row, qk_row, v_row},
            args.f32(0, elements({batch, queries, heads, d_head})), args.f32(1, elements({batch, keys, heads, d_head})),
            args.f32(2, elements({batch, keys, heads, d_value})), args.f32(3, elements({batch, queries, heads, d_value})));
  return args.undefined();
}
