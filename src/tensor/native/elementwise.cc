// Arithmetic, comparisons and functions of one argument, element by element, with broadcasting. Signs of NaN, and which
// NaN, are as in tfjs's cpu backend: max, min and relu keep NaN.
#include <cmath>

#include "simd_math.h"
#include "strided.h"

namespace unfold {
namespace {

constexpr int64_t kGrain = 32768;

// The inner loop of a binary op: strides of 0 or 1 get loops of their own, so that they vectorise.
template <class Out, class F>
void run(const float* a, int64_t sa, const float* b, int64_t sb, Out* out, int64_t n, F f) {
  if (sa == 1 && sb == 1) {
    for (int64_t i = 0; i < n; i++) out[i] = f(a[i], b[i]);
  } else if (sa == 1 && sb == 0) {
    const float y = *b;
    for (int64_t i = 0; i < n; i++) out[i] = f(a[i], y);
  } else if (sa == 0 && sb == 1) {
    const float x = *a;
    for (int64_t i = 0; i < n; i++) out[i] = f(x, b[i]);
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = f(a[i * sa], b[i * sb]);
  }
}

struct Operands {
  Layout layout;
  int64_t a_strides[kMaxRank], b_strides[kMaxRank];
  const float *a, *b;
};

template <class Out, class F>
void broadcast(const Operands& o, Out* out, F f) {
  const int last = o.layout.rank - 1;
  const int64_t inner = o.layout.inner(), sa = o.a_strides[last], sb = o.b_strides[last];
  for_runs(o.layout, kGrain, [&](int64_t row, int64_t column, int64_t count) {
    run(o.a + o.layout.offset(row, o.a_strides) + column * sa, sa, o.b + o.layout.offset(row, o.b_strides) + column * sb,
        sb, out + row * inner + column, count, f);
  });
}

Operands operands(const Args& args) {
  Operands o;
  o.layout = Layout::from(args, 4);
  o.a = args.f32(1, o.layout.strides(args, 5, o.a_strides));
  o.b = args.f32(2, o.layout.strides(args, 6, o.b_strides));
  return o;
}

void arithmetic(int64_t op, const Operands& o, float* out, const Args& args) {
  switch (op) {
    case 0: return broadcast(o, out, [](float x, float y) { return x + y; });
    case 1: return broadcast(o, out, [](float x, float y) { return x - y; });
    case 2: return broadcast(o, out, [](float x, float y) { return x * y; });
    case 3: return broadcast(o, out, [](float x, float y) { return x / y; });
    case 4: return broadcast(o, out, [](float x, float y) { return (x > y) | (x != x) ? x : y; });
    case 5: return broadcast(o, out, [](float x, float y) { return (x < y) | (x != x) ? x : y; });
    case 6: return broadcast(o, out, [](float x, float y) { return (x - y) * (x - y); });
    case 7: return broadcast(o, out, [](float x, float y) { return static_cast<float>(std::pow(double(x), double(y))); });
    default: args.fail(0, "the number of an op");
  }
}

void compare(int64_t op, const Operands& o, uint8_t* out, const Args& args) {
  switch (op) {
    case 0: return broadcast(o, out, [](float x, float y) -> uint8_t { return x > y; });
    case 1: return broadcast(o, out, [](float x, float y) -> uint8_t { return x >= y; });
    case 2: return broadcast(o, out, [](float x, float y) -> uint8_t { return x < y; });
    case 3: return broadcast(o, out, [](float x, float y) -> uint8_t { return x <= y; });
    case 4: return broadcast(o, out, [](float x, float y) -> uint8_t { return x == y; });
    case 5: return broadcast(o, out, [](float x, float y) -> uint8_t { return x != y; });
    default: args.fail(0, "the number of a comparison");
  }
}

template <class F>
void map(const float* x, float* out, int64_t n, F f) {
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) out[i] = f(x[i]);
  });
}

void unary_op(int64_t op, const float* x, float* out, int64_t n, const Args& args) {
  switch (op) {
    case 0: return map(x, out, n, [](float v) { return exp_(v); });
    case 1: return map(x, out, n, [](float v) { return std::log(v); });
    case 2: return map(x, out, n, [](float v) { return std::sqrt(v); });
    case 3: return map(x, out, n, [](float v) { return 1.0f / std::sqrt(v); });
    case 4: return map(x, out, n, [](float v) { return tanh_(v); });
    case 5: return map(x, out, n, [](float v) { return sigmoid_(v); });
    case 6: return map(x, out, n, [](float v) { return v < 0.0f ? 0.0f : v; });
    case 7: return map(x, out, n, [](float v) { return erf_(v); });
    case 8: return map(x, out, n, [](float v) { return -v; });
    case 9: return map(x, out, n, [](float v) { return v * v; });
    case 10: return map(x, out, n, [](float v) { return abs_(v); });
    case 11: return map(x, out, n, [](float v) { return 1.0f / v; });
    case 12: return map(x, out, n, [](float v) { return v > 0.0f ? 1.0f : v != v ? v : 0.0f; });
    case 13: return map(x, out, n, [](float v) { return gelu_new_(v); });
    case 14: return map(x, out, n, [](float v) { return gelu_(v); });
    default: args.fail(0, "the number of a function");
  }
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// binary(op, a, b, out, dims, aStrides, bStrides)
UNFOLD_EXPORT(binary, args) {
  const Operands o = operands(args);
  arithmetic(args.size(0), o, args.f32(3, o.layout.elements), args);
  return args.undefined();
}

// compare(op, a, b, out: Uint8Array, dims, aStrides, bStrides)
UNFOLD_EXPORT(compare, args) {
  const Operands o = operands(args);
  compare(args.size(0), o, args.u8(3, o.layout.elements), args);
  return args.undefined();
}

// unary(op, x, out, n); out may be x
UNFOLD_EXPORT(unary, args) {
  const int64_t n = args.size(3);
  unary_op(args.size(0), args.f32(1, n), args.f32(2, n), n, args);
  return args.undefined();
}

// clip(x, out, n, low, high): NaN stays NaN
UNFOLD_EXPORT(clip, args) {
  const int64_t n = args.size(2);
  const float low = static_cast<float>(args.number(3)), high = static_cast<float>(args.number(4));
  map(args.f32(0, n), args.f32(1, n), n, [=](float v) { return v < low ? low : v > high ? high : v; });
  return args.undefined();
}

// select(condition: Uint8Array, a, b, out, n)
UNFOLD_EXPORT(select, args) {
  const int64_t n = args.size(4);
  const uint8_t* condition = args.u8(0, n);
  const float *a = args.f32(1, n), *b = args.f32(2, n);
  float* out = args.f32(3, n);
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) out[i] = condition[i] ? a[i] : b[i];
  });
  return args.undefined();
}

// countNonFinite(x, n): how many are NaN or infinite
UNFOLD_EXPORT(countNonFinite, args) {
  const int64_t n = args.size(1);
  const float* x = args.f32(0, n);
  const int pieces = pieces_of(n, kGrain);
  int64_t counts[1024] = {};
  if (pieces > 1024) throw Error("countNonFinite: more than 1024 threads");
  run_tasks(pieces, [&](int t) {
    int64_t count = 0;
    for (int64_t i = n * t / pieces, end = n * (t + 1) / pieces; i < end;) {
      const int64_t stop = end - i > 65536 ? i + 65536 : end;
      int32_t some = 0;
      for (; i < stop; i++) some += (bits_of(x[i]) & 0x7f800000) == 0x7f800000;
      count += some;
    }
    counts[t] = count;
  });
  int64_t total = 0;
  for (int t = 0; t < pieces; t++) total += counts[t];
  return args.result(static_cast<double>(total));
}
