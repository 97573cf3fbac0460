// How many physical cores this process may use, and what the processor can do.
#pragma once

namespace unfold {

// Cores in the process's affinity mask (hyperthreads counted once), bounded by the container's CPU quota. At least 1.
int physical_cores();
// True where AVX-512 (F, BW, DQ, VL) is there and the operating system saves its registers.
bool has_avx512();

}  // namespace unfold
