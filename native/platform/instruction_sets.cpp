#include "instruction_sets.h"

#include <cstdlib>
#include <cstring>

#include "linnet.h"

namespace linnet {

bool has(InstructionSet set) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  switch (set) {
    case kBaseline:
      return true;
    case kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    default:
      return false;
  }
#elif defined(__ARM_NEON)
  return set == kBaseline || set == kNeon;
#else
  return set == kBaseline;
#endif
}

const char* forced_set() {
#if LINNET_HOSTED
  const char* forced = std::getenv("LINNET_ISA");
  return forced == nullptr || *forced == 0 ? nullptr : forced;
#else
  return nullptr;
#endif
}

const void* choose_table(const void* const* tables) {
  const char* forced = forced_set();
  for (int set = kSetCount - 1; set >= 0; --set) {
    const bool asked = forced == nullptr || std::strcmp(forced, kSetNames[set]) == 0;
    if (asked && tables[set] != nullptr && has(static_cast<InstructionSet>(set))) return tables[set];
  }
  return nullptr;
}

}  // namespace linnet

extern "C" int32_t linnet_interface_version(void) { return LINNET_INTERFACE; }

extern "C" const char* linnet_version(void) { return LINNET_VERSION; }

extern "C" const char* linnet_instruction_set_number(int32_t number) {
  for (int set = 0; set < linnet::kSetCount; ++set) {
    if (linnet::has(static_cast<linnet::InstructionSet>(set)) && number-- == 0) return linnet::kSetNames[set];
  }
  return nullptr;
}

extern "C" const char* linnet_instruction_set(void) {
  int widest = linnet::kSetCount - 1;
  while (!linnet::has(static_cast<linnet::InstructionSet>(widest))) --widest;
  return linnet::kSetNames[widest];
}
