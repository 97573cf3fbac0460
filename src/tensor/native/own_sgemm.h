// Float32 products of our own: blocked, for machines without a BLAS, and one row times a matrix, which most libraries
// treat as any other product, at a third of the memory's speed.
#pragma once

#include <cstdint>

namespace unfold {

// One thread; the arguments of blas.h's sgemm.
void own_sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
               const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate);

// c[n] = a[k] B, B [k, n] (or [n, k] where trans_b), rows ldb apart; a's elements are a_step apart. One thread.
void own_gemv(bool trans_b, int64_t n, int64_t k, const float* a, int64_t a_step, const float* b, int64_t ldb, float* c,
              bool accumulate);

}  // namespace unfold
