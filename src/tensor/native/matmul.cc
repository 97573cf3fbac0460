// Batches of products, and what follows a product while it is warm: bias and activation.
#include <algorithm>

#include "addon.h"
#include "blas.h"
#include "parallel.h"
#include "simd_math.h"

namespace unfold {
namespace {

constexpr int64_t kGrain = 32768;

template <class F>
void rows_with_bias(float* c, const float* bias, int64_t rows, int64_t n, F f) {
  parallel_for(rows, ceil_div(kGrain, std::max<int64_t>(1, n)), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      float* row = c + r * n;
      if (bias) {
        for (int64_t j = 0; j < n; j++) row[j] = f(row[j] + bias[j]);
      } else {
        for (int64_t j = 0; j < n; j++) row[j] = f(row[j]);
      }
    }
  });
}

struct One {
  bool trans_a, trans_b;
  int64_t m, n, k;
  void operator()(const float* a, const float* b, float* c, bool alone) const {
    const auto f = alone ? sgemm_one_thread : sgemm;
    f(trans_a, trans_b, m, n, k, a, trans_a ? m : k, b, trans_b ? k : n, c, n, false);
  }
};

}  // namespace
}  // namespace unfold

using namespace unfold;

// matMul(transA, transB, batch, m, n, k, A, aBatches, B, bBatches, C): batch of products; A and B hold either one matrix
// for all or as many as there are
UNFOLD_EXPORT(matMul, args) {
  const int64_t batch = args.size(2);
  const One one{args.flag(0), args.flag(1), args.size(3), args.size(4), args.size(5)};
  const int64_t a_count = args.size(7), b_count = args.size(9);
  if (a_count != 1 && a_count != batch) args.fail(7, "1 or the size of the batch");
  if (b_count != 1 && b_count != batch) args.fail(9, "1 or the size of the batch");
  const int64_t a_size = one.m * one.k, b_size = one.k * one.n, c_size = one.m * one.n;
  const float* a = args.f32(6, elements({a_count, one.m, one.k}));
  const float* b = args.f32(8, elements({b_count, one.k, one.n}));
  float* c = args.f32(10, elements({batch, one.m, one.n}));
  const int64_t a_step = a_count == 1 ? 0 : a_size, b_step = b_count == 1 ? 0 : b_size;
  if (batch >= threads() && c_size * one.k < 1 << 24) {
    parallel_for(batch, ceil_div(1 << 19, std::max<int64_t>(1, c_size * one.k)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) one(a + i * a_step, b + i * b_step, c + i * c_size, true);
    });
  } else {
    for (int64_t i = 0; i < batch; i++) one(a + i * a_step, b + i * b_step, c + i * c_size, false);
  }
  return args.undefined();
}

// addBias(C, bias | null, rows, n, activation): in place; activation 0 none, 1 relu, 2 gelu_new, 3 gelu, 4 sigmoid
UNFOLD_EXPORT(addBias, args) {
  const int64_t rows = args.size(2), n = args.size(3), activation = args.size(4);
  float* c = args.f32(0, rows * n);
  const float* bias = args.f32_or_null(1, n);
  switch (activation) {
    case 0: rows_with_bias(c, bias, rows, n, [](float v) { return v; }); break;
    case 1: rows_with_bias(c, bias, rows, n, [](float v) { return v < 0.0f ? 0.0f : v; }); break;
    case 2: rows_with_bias(c, bias, rows, n, [](float v) { return gelu_new_(v); }); break;
    case 3: rows_with_bias(c, bias, rows, n, [](float v) { return gelu_(v); }); break;
    case 4: rows_with_bias(c, bias, rows, n, [](float v) { return sigmoid_(v); }); break;
    default: args.fail(4, "the number of an activation");
  }
  return args.undefined();
}

// addResidual(C, bias | null, residual, rows, n): C = residual + (C + bias), in place
UNFOLD_EXPORT(addResidual, args) {
  const int64_t rows = args.size(3), n = args.size(4);
  float* c = args.f32(0, rows * n);
  const float* bias = args.f32_or_null(1, n);
  const float* residual = args.f32(2, rows * n);
  parallel_for(rows, ceil_div(kGrain, std::max<int64_t>(1, n)), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      float* row = c + r * n;
      const float* from = residual + r * n;
      if (bias) {
        for (int64_t j = 0; j < n; j++) row[j] = from[j] + (row[j] + bias[j]);
      } else {
        for (int64_t j = 0; j < n; j++) row[j] = from[j] + row[j];
      }
    }
  });
  return args.undefined();
}
