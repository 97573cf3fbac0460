// The k greatest of each row with their places: descending, ties to the smaller index, NaN above everything (as torch).
#include <algorithm>
#include <limits>
#include <vector>

#include "addon.h"
#include "parallel.h"

namespace unfold {
namespace {

struct Entry {
  float value;
  int32_t index;
};

// Whether a comes before b.
inline bool before(const Entry& a, const Entry& b) {
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan;
  if (!a_nan && a.value != b.value) return a.value > b.value;
  return a.index < b.index;
}

// A heap with the last of the kept on top; most elements fail the first comparison, a block of 16 at a time.
void by_heap(const float* row, int64_t n, int64_t k, std::vector<Entry>& heap) {
  heap.clear();
  for (int64_t i = 0; i < k; i++) heap.push_back({row[i], static_cast<int32_t>(i)});
  std::make_heap(heap.begin(), heap.end(), before);
  constexpr int64_t kBlock = 16;
  for (int64_t i = k; i < n; i += kBlock) {
    const int64_t stop = std::min(n, i + kBlock);
    const float bar = heap.front().value;
    int some = 0;
    for (int64_t j = i; j < stop; j++) some |= !(row[j] <= bar);
    if (!some) continue;  // an equal value comes later, so it loses its tie
    for (int64_t j = i; j < stop; j++) {
      const Entry entry{row[j], static_cast<int32_t>(j)};
      if (!before(entry, heap.front())) continue;
      std::pop_heap(heap.begin(), heap.end(), before);
      heap.back() = entry;
      std::push_heap(heap.begin(), heap.end(), before);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), before);
}

void by_partition(const float* row, int64_t n, int64_t k, std::vector<Entry>& entries) {
  entries.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) entries[i] = {row[i], static_cast<int32_t>(i)};
  if (k < n) std::nth_element(entries.begin(), entries.begin() + k, entries.end(), before);
  std::sort(entries.begin(), entries.begin() + k, before);
}

}  // namespace
}  // namespace unfold

using namespace unfold;

// topK(x, values, indices: Int32Array, rows, n, k)
UNFOLD_EXPORT(topK, args) {
  const int64_t rows = args.size(3), n = args.size(4), k = args.size(5);
  if (k > n) args.fail(5, "at most the length of a row");
  const float* x = args.f32(0, rows * n);
  float* values = args.f32(1, rows * k);
  int32_t* indices = args.i32(2, rows * k);
  if (k == 0) return args.undefined();
  parallel_for(rows, ceil_div(8192, n), [=](int64_t begin, int64_t end) {
    std::vector<Entry> kept;
    for (int64_t r = begin; r < end; r++) {
      if (k * 16 <= n) by_heap(x + r * n, n, k, kept);
      else by_partition(x + r * n, n, k, kept);
      for (int64_t j = 0; j < k; j++) {
        values[r * k + j] = kept[j].value;
        indices[r * k + j] = kept[j].index;
      }
    }
  });
  return args.undefined();
}
