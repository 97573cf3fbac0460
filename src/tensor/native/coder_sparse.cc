// Sparse decode and its counterpart: sums of, and dot products with, the few weight rows that a batch row names. Parallel
// over the batch; every output row depends on its own inputs only.
#include <vector>

#include "addon.h"
#include "coder_indices.h"
#include "coder_simd.h"
#include "parallel.h"

namespace unfold::coder {
namespace {

// Rows worth about 20 microseconds.
int64_t grain(int64_t k, int64_t d) { return std::max<int64_t>(1, 65536 / std::max<int64_t>(1, k * d)); }

struct Sparse {
  int64_t B, k, d;
  const int32_t* indices;
  const float* W;
};

void decode(const Sparse& s, const float* values, const float* bias, float* out) {
  parallel_for(s.B, grain(s.k, s.d), [&](int64_t begin, int64_t end) {
    std::vector<ScaledRow> rows(static_cast<size_t>(s.k));
    for (int64_t b = begin; b < end; b++) {
      int64_t n = 0;
      for (int64_t j = b * s.k; j < (b + 1) * s.k; j++) {
        if (values[j] != 0.0f) rows[n++] = {s.W + s.indices[j] * s.d, values[j]};
      }
      float* row = out + b * s.d;
      if (bias) std::copy_n(bias, s.d, row);
      add_rows(rows.data(), n, s.d, row, bias == nullptr);
    }
  });
}

void dots(const Sparse& s, const float* x, float* out) {
  parallel_for(s.B, grain(s.k, s.d), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin * s.k; at < end * s.k;) {
      const int64_t b = at / s.k, n = std::min<int64_t>(kGroup, (b + 1) * s.k - at);
      const float *rows[kGroup], *next[kGroup];
      for (int64_t j = 0; j < kGroup; j++) {
        rows[j] = s.W + s.indices[std::min(at + j, end * s.k - 1)] * s.d;
        next[j] = s.W + s.indices[std::min(at + n + j, end * s.k - 1)] * s.d;
      }
      dot_rows(x + b * s.d, rows, next, n, s.d, out + at);
      at += n;
    }
  });
}

}  // namespace
}  // namespace unfold::coder

// sparseDecode(values [B, k], indices [B, k], W [F, d], bias [d] | null, B, k, F, d, out [B, d])
UNFOLD_EXPORT(sparseDecode, args) {
  using namespace unfold;
  const int64_t B = args.size(4), k = args.size(5), F = args.size(6), d = args.size(7);
  const coder::Sparse sparse{B, k, d, args.i32(1, B * k), args.f32(2, F * d)};
  coder::require_below(sparse.indices, B * k, F);
  coder::decode(sparse, args.f32(0, B * k), args.f32_or_null(3, d), args.f32(8, B * d));
  return args.undefined();
}

// sparseDots(rows [B, d], indices [B, k], W [F, d], B, k, F, d, out [B, k])
UNFOLD_EXPORT(sparseDots, args) {
  using namespace unfold;
  const int64_t B = args.size(3), k = args.size(4), F = args.size(5), d = args.size(6);
  const coder::Sparse sparse{B, k, d, args.i32(1, B * k), args.f32(2, F * d)};
  coder::require_below(sparse.indices, B * k, F);
  coder::dots(sparse, args.f32(0, B * d), args.f32(7, B * k));
  return args.undefined();
}
