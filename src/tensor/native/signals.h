// Holds signals back while a matrix library computes. oneDNN 2.6's generated kernels do not survive a signal handler on
// their stack: with a profiler's SIGPROF (node --cpu-prof) the heap was corrupted on every run, and a Ctrl-C could do the
// same. Threads made meanwhile inherit the mask, so the pool's workers never see a signal; the calling thread gets
// what came in as soon as the product is done. Two system calls, about 0.2 microseconds.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace unfold {

class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t held;
    sigfillset(&held);
    // Faults of the thread itself cannot wait.
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&held, fault);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~SignalsHeld() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  sigset_t before_;
};

}  // namespace unfold
