// Adam on a run of floats, as PyTorch computes it; and how to keep denormal numbers from slowing it down.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "addon.h"

namespace unfold::coder {

struct Adam {
  float keep1, take1, keep2, take2, eps, grad_scale, step_size, root_correction;

  // Six arguments from `i` on.
  static Adam from(const Args& args, size_t i) {
    const auto f = [&](size_t j) { return static_cast<float>(args.number(i + j)); };
    const double beta1 = args.number(i), beta2 = args.number(i + 1);
    // 1 - beta in double: 1 - 0.999f is wrong in its fifth digit.
    return {f(0), static_cast<float>(1 - beta1), f(1), static_cast<float>(1 - beta2), f(2), f(3), f(4), f(5)};
  }

  // grad(c, p) is the raw gradient of element c, whose parameter is p.
  template <class Grad>
  void update(float* __restrict p, float* __restrict m, float* __restrict v, int64_t n, const Grad& grad) const {
    for (int64_t c = 0; c < n; c++) {
      const float g = grad(c, p[c]) * grad_scale;
      const float m1 = keep1 * m[c] + take1 * g;
      const float v1 = keep2 * v[c] + take2 * g * g;
      m[c] = m1;
      v[c] = v1;
      p[c] -= step_size * (m1 / (std::sqrt(v1) * root_correction + eps));
    }
  }
};

// The moments of a latent that stopped firing decay for ever; once they are denormal, x86 takes a hundred times longer
// over each of them. While this lives, its thread counts them as zero. (NEON has no such penalty.)
class FlushDenormals {
#if defined(__SSE2__)
 public:
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
 public:
  FlushDenormals() {}
#endif
};

}  // namespace unfold::coder
