// The one list of instruction sets. A new one is a row here, its test in `has`, and a file with a table of kernels.
#ifndef LINNET_INSTRUCTION_SETS_H
#define LINNET_INSTRUCTION_SETS_H

namespace linnet {

// Of a processor that has several, the last is the widest.
enum InstructionSet { kBaseline, kNeon, kAvx2, kAvx512, kSetCount };
constexpr const char* kSetNames[kSetCount] = {"baseline", "neon", "avx2", "avx512"};

// Tables of kernels by instruction set; null where this build has none.
template <typename Kernels>
using Tables = const Kernels* const[kSetCount];

// Whether this processor has a set.
bool has(InstructionSet set);

// The name that LINNET_ISA forces, null if it is unset or empty, and in a build without an environment.
const char* forced_set();

// The table that runs: the forced set's, else the widest; null if the forced set is unknown or not there.
const void* choose_table(const void* const* tables);

template <typename Kernels>
const Kernels* choose_kernels(const Tables<Kernels>& tables) {
  const void* all[kSetCount];
  for (int set = 0; set < kSetCount; ++set) all[set] = tables[set];
  return static_cast<const Kernels*>(choose_table(all));
}

}  // namespace linnet

#endif
