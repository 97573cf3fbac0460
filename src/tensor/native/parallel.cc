// The thread pool of parallel.h, and how many threads it has.
#include "parallel.h"

#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "addon.h"
#include "cores.h"
#include "signals.h"

#ifdef _OPENMP
#include <omp.h>
#else
#include <condition_variable>
#include <vector>
#endif

namespace unfold {
namespace {

int wanted() {
  if (const char* text = std::getenv("UNFOLD_THREADS")) {
    const int n = std::atoi(text);
    if (n >= 1 && n <= 1024) return n;
  }
  return physical_cores();
}

int& count() {
  static int n = wanted();
  return n;
}

// Keeps the first exception of many threads: none may leave a parallel region.
class Guard {
 public:
  template <class F>
  void run(const F& f) {
    try {
      f();
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!first_) first_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
};

}  // namespace

int threads() { return count(); }

#ifdef _OPENMP

void set_threads(int n) {
  count() = n < 1 ? 1 : n;
  omp_set_num_threads(count());
}

void run_tasks(int tasks, const std::function<void(int)>& task) {
  if (tasks <= 1 || omp_in_parallel()) {
    for (int t = 0; t < tasks; t++) task(t);
    return;
  }
  Guard guard;
  const SignalsHeld held;
#pragma omp parallel num_threads(tasks)
  {
    // A limited runtime may give fewer threads than asked for: the loop still does every task.
    const int given = omp_get_num_threads();
    guard.run([&] {
      for (int t = omp_get_thread_num(); t < tasks; t += given) task(t);
    });
  }
  guard.rethrow();
}

#else

namespace {

thread_local bool inside = false;

// Workers wait on a condition variable; the caller does task 0 itself.
class Pool {
 public:
  void run(int tasks, const std::function<void(int)>& task) {
    std::unique_lock<std::mutex> one(entry_);
    Guard guard;
    const SignalsHeld held;
    while (static_cast<int>(workers_.size()) < tasks - 1) {
      const int id = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, id, seen = generation_] { loop(id, seen); });
      workers_.back().detach();
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      guard_ = &guard;
      tasks_ = tasks;
      left_ = static_cast<int>(workers_.size());
      generation_++;
    }
    start_.notify_all();
    inside = true;
    guard.run([&] { task(0); });
    inside = false;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, [this] { return left_ == 0; });
    }
    guard.rethrow();
  }

 private:
  void loop(int id, uint64_t seen) {
    inside = true;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      start_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      const auto* task = task_;
      Guard* guard = guard_;
      const bool mine = id < tasks_;
      lock.unlock();
      if (mine) guard->run([&] { (*task)(id); });
      lock.lock();
      if (--left_ == 0) done_.notify_one();
    }
  }
  std::mutex entry_, mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
  const std::function<void(int)>* task_ = nullptr;
  Guard* guard_ = nullptr;
  int tasks_ = 0, left_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace

void set_threads(int n) { count() = n < 1 ? 1 : n; }

void run_tasks(int tasks, const std::function<void(int)>& task) {
  if (tasks <= 1 || inside) {
    for (int t = 0; t < tasks; t++) task(t);
    return;
  }
  static Pool* pool = new Pool();  // never destroyed: its threads may outlive static destruction
  pool->run(tasks, task);
}

#endif

}  // namespace unfold

UNFOLD_EXPORT(threads, args) { return args.result(static_cast<double>(unfold::threads())); }

UNFOLD_EXPORT(threadRuntime, args) {
#ifdef _OPENMP
  return args.result(std::string("OpenMP"));
#else
  return args.result(std::string("std::thread"));
#endif
}
