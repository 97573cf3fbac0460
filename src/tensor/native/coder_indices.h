// Indices come from outside: they are checked once, before any thread follows them.
#pragma once

#include <cstdint>
#include <string>

#include "addon.h"

namespace unfold::coder {

inline void require_below(const int32_t* indices, int64_t n, int64_t F) {
  bool inside = true;
  for (int64_t i = 0; i < n; i++) inside &= indices[i] >= 0 && indices[i] < F;
  if (inside) return;
  for (int64_t i = 0; i < n; i++) {
    if (indices[i] >= 0 && indices[i] < F) continue;
    throw Error("latent index " + std::to_string(indices[i]) + " at entry " + std::to_string(i) + " is not in 0.." +
                std::to_string(F - 1));
  }
}

}  // namespace unfold::coder
