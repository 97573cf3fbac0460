// Matrix products from the best library at hand, found when the addon is loaded (dlopen): oneDNN, OpenBLAS, Accelerate,
// else our own. Installing a library later needs no rebuild.
#pragma once

#include <cstdint>

namespace unfold {

// C = A·B, float32, row-major. A is [m, k], or [k, m] where trans_a; B is [k, n], or [n, k] where trans_b; the ld's are
// the distances between rows. accumulate adds to what C holds.
void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
           int64_t ldb, float* c, int64_t ldc, bool accumulate = false);

// The same on the calling thread alone: for use inside a parallel_for over tiles.
void sgemm_one_thread(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
                      const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate = false);

}  // namespace unfold
