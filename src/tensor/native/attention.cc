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
};

void one_tile(const Shape& s, const float* q, const float* k, const float* v, float* z, int64_t from, float* scores) {
  const int64_t count = std::min(kQueries, s.queries - from), offset = s.keys - s.queries;
  const int64_t width = std::min(s.keys, from + count + offset);  // keys that the tile's last query may see
  const int64_t row = s.heads * s.d_head, value_row = s.heads * s.d_value;
  sgemm_one_thread(false, true, count, width, s.d_head, q + from * row, row, k, row, scores, width);
  for (int64_t i = 0; i < count; i++) softmax_scaled(scores + i * width, from + i + offset + 1, width, s.scale);
  sgemm_one_thread(false, false, count, s.d_value, width, scores, width, v, value_row, z + from * value_row, value_row);
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// causalAttention(q, k, v, z, batch, queries, keys, heads, dHead, dValue, scale): q [batch, queries, heads, dHead],
// k [batch, keys, heads, dHead], v [batch, keys, heads, dValue]; keys >= queries, and query i sees keys <= i + keys - queries
UNFOLD_EXPORT(causalAttention, args) {
  Shape s{args.size(4), args.size(5), args.size(6), args.size(7), args.size(8), args.size(9),
          static_cast<float>(args.number(10))};
  if (s.keys < s.queries) args.fail(6, "at least the number of queries");
  const int64_t q_step = s.queries * s.heads * s.d_head, k_step = s.keys * s.heads * s.d_head;
  const int64_t v_step = s.keys * s.heads * s.d_value, z_step = s.queries * s.heads * s.d_value;
  const float* q = args.f32(0, s.batch * q_step);
  const float* k = args.f32(1, s.batch * k_step);
  const float* v = args.f32(2, s.batch * v_step);
  float* z = args.f32(3, s.batch * z_step);
  const int64_t tiles = ceil_div(s.queries, kQueries), all = s.batch * s.heads * tiles;
  const int64_t work = std::min(s.queries, kQueries) * s.keys * (s.d_head + s.d_value);
  parallel_for(all, ceil_div(1 << 17, std::max<int64_t>(1, work)), [&](int64_t begin, int64_t end) {
    std::vector<float> scores(static_cast<size_t>(std::min(kQueries, s.queries) * s.keys));
    for (int64_t t = begin; t < end; t++) {
      const int64_t tile = t % tiles, head = t / tiles % s.heads, b = t / tiles / s.heads;
      one_tile(s, q + b * q_step + head * s.d_head, k + b * k_step + head * s.d_head, v + b * v_step + head * s.d_value,
               z + b * z_step + head * s.d_value, tile * kQueries, scores.data());
    }
  });
  return args.undefined();
}
