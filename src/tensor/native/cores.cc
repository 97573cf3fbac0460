// Counting cores: /sys topology and cgroup quota on Linux, sysctl on macOS.
#include "cores.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace unfold {
namespace {

#ifdef __linux__
// Cores by the container's quota (cgroup version 2, then 1); 0 where there is none.
int quota() {
  double limit = 0, period = 0;
  std::string first;
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  if (v2 >> first >> period && first != "max" && period > 0) {
    limit = std::atof(first.c_str());
  } else {
    std::ifstream q("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), p("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(q >> limit && p >> period) || limit <= 0 || period <= 0) return 0;
  }
  return std::max(1, static_cast<int>(std::ceil(limit / period)));
}

int affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    // Siblings of one core share this list; without it every logical processor counts.
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!(file >> siblings)) siblings = "cpu" + std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}
#endif

}  // namespace

int physical_cores() {
  int cores = 0;
#if defined(__linux__)
  cores = affinity_cores();
  if (const int q = quota(); q > 0 && cores > 0) cores = std::min(cores, q);
#elif defined(__APPLE__)
  size_t size = sizeof cores;
  // Performance cores where the machine tells them apart: efficiency cores hold statically cut loops up.
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) != 0) {
    size = sizeof cores;
    if (sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) != 0) cores = 0;
  }
#endif
  if (cores <= 0) cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, cores);
}

bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

}  // namespace unfold
