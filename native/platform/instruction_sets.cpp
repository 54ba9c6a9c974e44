#include "instruction_sets.h"

#include <cstdlib>
#include <cstring>

#include "linnet.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__) && LINNET_HOSTED
#include <sys/auxv.h>
#endif

namespace linnet {
namespace {

#if defined(__x86_64__) || defined(__i386__)
// Leaf 7.1 of cpuid: older compilers do not know the name. The system keeps the registers, or there would be no AVX2.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) == 1;
}
#elif defined(__ARM_NEON)
bool has_dot_products() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__aarch64__) && defined(__linux__) && LINNET_HOSTED
  return (getauxval(AT_HWCAP) >> 20 & 1) == 1;  // HWCAP_ASIMDDP
#else
  return false;
#endif
}
#endif

}  // namespace

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
    case kAvx2Vnni:
      return has(kAvx2) && has_avx_vnni();
    case kAvx512Vnni:
      return has(kAvx512) && __builtin_cpu_supports("avx512vnni");
    default:
      return false;
  }
#elif defined(__ARM_NEON)
  return set == kBaseline || set == kNeon || (set == kNeonDot && has_dot_products());
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

int choose_set(const void* const* tables) {
  const char* forced = forced_set();
  for (int set = kSetCount - 1; set >= 0; --set) {
    const bool asked = forced == nullptr || std::strcmp(forced, kSetNames[set]) == 0;
    if (asked && tables[set] != nullptr && has(static_cast<InstructionSet>(set))) return set;
  }
  return -1;
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
