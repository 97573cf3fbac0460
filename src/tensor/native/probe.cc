// A tiny addon of its own, compiled for any processor of the architecture: which build of the kernels can run here.
#include <node_api.h>

#include "cores.h"

namespace {

const char* variant() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  // Every processor with AVX2 that was ever sold has FMA and F16C; FMA is asked for, F16C came with AVX before.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && unfold::has_avx512()) return "avx512";
  return avx2 ? "avx2" : "baseline";
#else
  return "baseline";
#endif
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value name;
  napi_create_string_utf8(env, variant(), NAPI_AUTO_LENGTH, &name);
  napi_set_named_property(env, exports, "variant", name);
  return exports;
}
