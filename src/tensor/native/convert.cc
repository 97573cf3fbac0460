// Conversions between number formats. float16 rounds to the nearest, ties to even, overflows to infinity, keeps
// subnormals, signs and NaN: what numpy and Arrow do.
#include <cmath>

#include "addon.h"
#include "parallel.h"
#include "simd_math.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace unfold {
namespace {

constexpr int64_t kGrain = 65536;

#if defined(__F16C__)
uint16_t to_half(float x) { return static_cast<uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)); }
float from_half(uint16_t h) { return _cvtsh_ss(h); }
#elif defined(__ARM_FP16_FORMAT_IEEE)
uint16_t to_half(float x) {
  const __fp16 h = static_cast<__fp16>(x);
  uint16_t bits;
  std::memcpy(&bits, &h, sizeof bits);
  return bits;
}
float from_half(uint16_t bits) {
  __fp16 h;
  std::memcpy(&h, &bits, sizeof h);
  return static_cast<float>(h);
}
#else
uint16_t to_half(float x) {
  const uint32_t bits = static_cast<uint32_t>(bits_of(x));
  const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and more
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 1/2 leaves the rounded subnormal in the low bits
    const float shifted = float_of(static_cast<int32_t>(magnitude)) + 0.5f;
    return static_cast<uint16_t>(sign | (static_cast<uint32_t>(bits_of(shifted)) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}
float from_half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_of(static_cast<int32_t>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13));
  const float value = static_cast<float>(magnitude & 0x3ffu) * 0x1p-24f;
  if (magnitude < 0x400u) return sign ? -value : value;
  return float_of(static_cast<int32_t>(sign | ((magnitude << 13) + 0x38000000u)));
}
#endif

void halves(const float* x, uint16_t* out, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__) && defined(__AVX__)
  for (; i + 8 <= n; i += 8) {
    const __m128i h = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), h);
  }
#endif
  for (; i < n; i++) out[i] = to_half(x[i]);
}

void singles(const uint16_t* x, float* out, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__) && defined(__AVX__)
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i))));
  }
#endif
  for (; i < n; i++) out[i] = from_half(x[i]);
}

// JavaScript's ToInt32: towards zero, modulo 2^32; NaN and infinities are 0.
int32_t to_int32(float x) {
  if (x > -2147483648.0f && x < 2147483648.0f) return static_cast<int32_t>(x);
  if (!std::isfinite(x)) return 0;
  return static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(std::fmod(x, 4294967296.0f))));
}

template <class In, class Out, class F>
void convert(const In* x, Out* out, int64_t n, F f) {
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) out[i] = f(x[i]);
  });
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// f32ToF16(x, out: Uint16Array, n), f16ToF32(x: Uint16Array, out, n)
UNFOLD_EXPORT(f32ToF16, args) {
  const int64_t n = args.size(2);
  const float* x = args.f32(0, n);
  uint16_t* out = args.u16(1, n);
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) { halves(x + begin, out + begin, end - begin); });
  return args.undefined();
}
UNFOLD_EXPORT(f16ToF32, args) {
  const int64_t n = args.size(2);
  const uint16_t* x = args.u16(0, n);
  float* out = args.f32(1, n);
  parallel_for(n, kGrain, [=](int64_t begin, int64_t end) { singles(x + begin, out + begin, end - begin); });
  return args.undefined();
}

// f32ToI32(x, out: Int32Array, n), i32ToF32(x: Int32Array, out, n), u8ToF32(x: Uint8Array, out, n)
UNFOLD_EXPORT(f32ToI32, args) {
  const int64_t n = args.size(2);
  convert(args.f32(0, n), args.i32(1, n), n, [](float v) { return to_int32(v); });
  return args.undefined();
}
UNFOLD_EXPORT(i32ToF32, args) {
  const int64_t n = args.size(2);
  convert(args.i32(0, n), args.f32(1, n), n, [](int32_t v) { return static_cast<float>(v); });
  return args.undefined();
}
UNFOLD_EXPORT(u8ToF32, args) {
  const int64_t n = args.size(2);
  convert(args.u8(0, n), args.f32(1, n), n, [](uint8_t v) { return static_cast<float>(v); });
  return args.undefined();
}
