// The one list of instruction sets. A new one is a row here, its test in `has`, and a file with a table of kernels.
#ifndef LINNET_INSTRUCTION_SETS_H
#define LINNET_INSTRUCTION_SETS_H

#include <atomic>

namespace linnet {

// Of a processor that has several, the last is the widest.
enum InstructionSet { kBaseline, kNeon, kNeonDot, kAvx2, kAvx2Vnni, kAvx512, kAvx512Vnni, kSetCount };
constexpr const char* kSetNames[kSetCount] = {"baseline",  "neon",   "neon_dot",   "avx2",
                                              "avx2_vnni", "avx512", "avx512_vnni"};

// Tables of kernels by instruction set; null where this build has none.
template <typename Kernels>
using Tables = const Kernels* const[kSetCount];

// Whether this processor has a set.
bool has(InstructionSet set);

// The name that LINNET_ISA forces, null if it is unset or empty, and in a build without an environment.
const char* forced_set();

// The set whose table runs: the forced one, else the widest; -1 if the forced set is unknown or not there.
int choose_set(const void* const* tables);

template <typename Kernels>
int choose_set(const Tables<Kernels>& tables) {
  const void* all[kSetCount];
  for (int set = 0; set < kSetCount; ++set) all[set] = tables[set];
  return choose_set(static_cast<const void* const*>(all));
}

constexpr int kNotChosen = -2;

// The same, asked once. Several threads may ask at the same time, and all get the same: there is nothing to guard, for
// which the library would need a C++ library.
template <typename Kernels>
int choose_once(std::atomic<int>& chosen, const Tables<Kernels>& tables) {
  int set = chosen.load(std::memory_order_relaxed);
  if (set == kNotChosen) chosen.store(set = choose_set(tables), std::memory_order_relaxed);
  return set;
}

}  // namespace linnet

#endif
