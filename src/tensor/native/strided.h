// Loops over a broadcast or permuted tensor: an output in order, inputs by strides. JavaScript merges neighbouring
// dimensions first, so most calls are one or two loops deep.
#pragma once

#include <algorithm>
#include <cstdint>

#include "addon.h"
#include "parallel.h"

namespace unfold {

constexpr int kMaxRank = 6;
constexpr int64_t kTooMany = int64_t{1} << 61;

// Dimensions and one list of strides per input, as JavaScript passed them; sizes are checked against the arrays.
struct Layout {
  int rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t elements = 1;

  static Layout from(const Args& args, size_t dims_at) {
    Layout layout;
    const int64_t rank = args.length(dims_at);
    if (rank < 1 || rank > kMaxRank) args.fail(dims_at, "1 to 6 dimensions");
    const int32_t* dims = args.i32(dims_at, rank);
    layout.rank = static_cast<int>(rank);
    for (int i = 0; i < layout.rank; i++) {
      if (dims[i] < 0) args.fail(dims_at, "sizes >= 0");
      layout.dims[i] = dims[i];
      layout.elements = unfold::elements({layout.elements, dims[i]});
    }
    return layout;
  }

  // Copies the strides of argument `at` and returns how many elements an array needs for them (offset included).
  int64_t strides(const Args& args, size_t at, int64_t* out, int64_t offset = 0) const {
    const int32_t* given = args.i32(at, rank);
    int64_t last = offset;
    for (int i = 0; i < rank; i++) {
      if (given[i] < 0) args.fail(at, "strides >= 0");
      out[i] = given[i];
      // Below 2^62 each, six of which overflow: what is too much for any array stays too much.
      if (dims[i] > 0) last = std::min(kTooMany, last + given[i] * (dims[i] - 1));
    }
    return elements == 0 ? 0 : last + 1;
  }

  int64_t inner() const { return dims[rank - 1]; }
  int64_t outer() const { return elements == 0 ? 0 : elements / inner(); }

  // The offset of row `index` (all dimensions but the last) under `strides`.
  int64_t offset(int64_t index, const int64_t* strides) const {
    int64_t at = 0;
    for (int i = rank - 2; i >= 0; i--) {
      at += index % dims[i] * strides[i];
      index /= dims[i];
    }
    return at;
  }
};

// body(row, column, count): runs of the output, cut over threads by rows, or by columns where there are few rows.
template <class Body>
void for_runs(const Layout& layout, int64_t grain, const Body& body) {
  const int64_t outer = layout.outer(), inner = layout.inner();
  if (outer == 0 || inner == 0) return;
  if (outer >= threads() * 4 || inner < grain) {
    parallel_for(outer, ceil_div(grain, inner), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) body(row, int64_t{0}, inner);
    });
    return;
  }
  for (int64_t row = 0; row < outer; row++) {
    parallel_for(inner, grain, [&](int64_t begin, int64_t end) { body(row, begin, end - begin); });
  }
}

}  // namespace unfold
