// Moving elements about: permutations, tiles, blocks along one axis, rows by index. Elements are 1 or 4 bytes wide.
#include <algorithm>
#include <cstring>

#include "strided.h"

namespace unfold {
namespace {

constexpr int64_t kGrain = 65536;

struct Pair {
  const char* from;
  char* to;
  size_t width;
};

// Arguments `from` and `to`: two arrays of the same kind of element.
Pair pair(const Args& args, size_t from, int64_t from_length, size_t to, int64_t to_length) {
  size_t a = 0, b = 0;
  Pair p{static_cast<const char*>(args.any(from, from_length, a)), static_cast<char*>(args.any(to, to_length, b)), a};
  if (a != b) args.fail(to, "an array of the same type as the input's");
  return p;
}

template <class T>
void strided_copy(const T* x, T* out, const Layout& layout, const int64_t* strides) {
  const int64_t inner = layout.inner(), step = strides[layout.rank - 1];
  for_runs(layout, kGrain, [&](int64_t row, int64_t column, int64_t count) {
    const T* from = x + layout.offset(row, strides) + column * step;
    T* to = out + row * inner + column;
    if (step == 1) std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
    else if (step == 0) std::fill(to, to + count, *from);
    else for (int64_t i = 0; i < count; i++) to[i] = from[i * step];
  });
}

// The last two dimensions are swapped: square tiles, so that neither side strides through memory line by line.
template <class T>
void swapped_copy(const T* x, T* out, const Layout& layout, const int64_t* strides) {
  constexpr int64_t kTile = 32;
  const int64_t rows = layout.dims[layout.rank - 2], columns = layout.inner(), step = strides[layout.rank - 1];
  const int64_t planes = layout.elements / (rows * columns), bands = ceil_div(rows, kTile);
  parallel_for(planes * bands, ceil_div(kGrain, kTile * columns), [&](int64_t begin, int64_t end) {
    for (int64_t band = begin; band < end; band++) {
      const int64_t plane = band / bands, r0 = band % bands * kTile, r1 = std::min(rows, r0 + kTile);
      const T* from = x + layout.offset(plane * rows, strides);
      T* to = out + plane * rows * columns;
      for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
        const int64_t c1 = std::min(columns, c0 + kTile);
        for (int64_t r = r0; r < r1; r++) {
          for (int64_t c = c0; c < c1; c++) to[r * columns + c] = from[r + c * step];
        }
      }
    }
  });
}

template <class T>
void copy(const Pair& p, const Layout& layout, const int64_t* strides) {
  if (layout.elements == 0) return;
  const T* x = reinterpret_cast<const T*>(p.from);
  T* out = reinterpret_cast<T*>(p.to);
  const int last = layout.rank - 1;
  if (layout.rank > 1 && strides[last] > 1 && strides[last - 1] == 1) swapped_copy(x, out, layout, strides);
  else strided_copy(x, out, layout, strides);
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// copyStrided(x, out, dims, strides): out in order, x by strides (0 repeats)
UNFOLD_EXPORT(copyStrided, args) {
  const Layout layout = Layout::from(args, 2);
  int64_t strides[kMaxRank];
  const int64_t needed = layout.strides(args, 3, strides);
  const Pair p = pair(args, 0, needed, 1, layout.elements);
  if (p.width == 4) copy<uint32_t>(p, layout, strides);
  else if (p.width == 1) copy<uint8_t>(p, layout, strides);
  else args.fail(0, "an array of 1 or 4 byte elements");
  return args.undefined();
}

// copyBlocks(x, out, count, n, xStep, xOffset, outStep, outOffset): `count` runs of n elements, for concat and slice
UNFOLD_EXPORT(copyBlocks, args) {
  const int64_t count = args.size(2), n = args.size(3);
  const int64_t x_step = args.size(4), x_offset = args.size(5), out_step = args.size(6), out_offset = args.size(7);
  if (count == 0 || n == 0) return args.undefined();
  const Pair p = pair(args, 0, x_offset + (count - 1) * x_step + n, 1, out_offset + (count - 1) * out_step + n);
  const auto width = static_cast<int64_t>(p.width);
  if (count > 1 && out_step < n) args.fail(6, "at least the length of a run");
  parallel_for(count, ceil_div(kGrain, n), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      std::memcpy(p.to + (out_offset + i * out_step) * width, p.from + (x_offset + i * x_step) * width,
                  static_cast<size_t>(n * width));
    }
  });
  return args.undefined();
}

// gather(x, indices: Int32Array, out, outer, axis, inner, count): out[o, i] = x[o, indices[i]], runs of `inner`
UNFOLD_EXPORT(gather, args) {
  const int64_t outer = args.size(3), axis = args.size(4), inner = args.size(5), count = args.size(6);
  const Pair p = pair(args, 0, elements({outer, axis, inner}), 2, elements({outer, count, inner}));
  const int32_t* indices = args.i32(1, count);
  for (int64_t i = 0; i < count; i++) {
    if (indices[i] < 0 || indices[i] >= axis) {
      throw Error("gather: index " + std::to_string(indices[i]) + " is not in [0, " + std::to_string(axis) + ")");
    }
  }
  if (inner == 0) return args.undefined();
  const size_t run = static_cast<size_t>(inner) * p.width;
  parallel_for(outer * count, ceil_div(kGrain, std::max<int64_t>(1, inner)), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const char* from = p.from + (i / count * axis + indices[i % count]) * static_cast<int64_t>(run);
      std::memcpy(p.to + i * static_cast<int64_t>(run), from, run);
    }
  });
  return args.undefined();
}

// segmentSum(x, ids: Int32Array, out, rows, inner, segments): out[ids[r]] += x[r]; ids outside [0, segments) are
// dropped, as in tfjs. Threads own columns, so the order of additions does not depend on them.
UNFOLD_EXPORT(segmentSum, args) {
  const int64_t rows = args.size(3), inner = args.size(4), segments = args.size(5);
  const float* x = args.f32(0, rows * inner);
  const int32_t* ids = args.i32(1, rows);
  float* out = args.f32(2, segments * inner);
  std::memset(out, 0, static_cast<size_t>(segments * inner) * sizeof(float));
  parallel_for(inner, ceil_div(kGrain, std::max<int64_t>(1, rows)), [=](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows; r++) {
      if (ids[r] < 0 || ids[r] >= segments) continue;
      const float* from = x + r * inner;
      float* to = out + ids[r] * inner;
      for (int64_t j = begin; j < end; j++) to[j] += from[j];
    }
  });
  return args.undefined();
}
