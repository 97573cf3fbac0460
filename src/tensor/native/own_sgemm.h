// A blocked float32 matrix product of our own, for machines without a BLAS.
#pragma once

#include <cstdint>

namespace unfold {

// One thread; the arguments of blas.h's sgemm.
void own_sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
               const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate);

}  // namespace unfold
