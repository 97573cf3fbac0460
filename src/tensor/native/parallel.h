// One pool of threads for every loop of ours: OpenMP where the compiler has it (oneDNN then shares the very same
// threads), else a small pool of std::thread. Work is cut into contiguous pieces whose bounds depend only on `n`, `grain`
// and the number of threads, so a result is reproducible bit for bit for a fixed thread count.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>

namespace unfold {

// Threads that loops use: UNFOLD_THREADS, else the physical cores this process may run on.
int threads();
void set_threads(int n);

// Runs task(t) for t = 0..tasks-1, one task per thread; tasks <= threads(). Calls inside a task run inline.
void run_tasks(int tasks, const std::function<void(int)>& task);

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How many pieces parallel_for cuts `n` items into when a piece should have at least `grain` of them.
inline int pieces_of(int64_t n, int64_t grain) {
  if (n <= 0) return 0;
  const int64_t most = ceil_div(n, grain < 1 ? 1 : grain);
  return static_cast<int>(most < threads() ? most : threads());
}

// body(begin, end) over [0, n), in pieces of at least `grain` items.
// `grain` should be worth about 20 microseconds of work: starting a parallel region costs some.
template <class Body>
void parallel_for(int64_t n, int64_t grain, const Body& body) {
  const int pieces = pieces_of(n, grain);
  if (pieces == 0) return;
  if (pieces == 1) {
    body(int64_t{0}, n);
    return;
  }
  run_tasks(pieces, [&](int t) {
    const int64_t begin = n * t / pieces, end = n * (t + 1) / pieces;
    if (begin < end) body(begin, end);
  });
}

}  // namespace unfold
