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
struct Registers {
  unsigned a, b, c, d;
};

// What cpuid says of itself, zeros of a leaf that it does not have. Compilers have names for it, and the answers in
// their runtime libraries: that of zig says no to every one.
Registers cpuid(unsigned leaf, unsigned part = 0) {
  Registers told = {};
  __get_cpuid_count(leaf, part, &told.a, &told.b, &told.c, &told.d);
  return told;
}

bool has_bits(unsigned told, unsigned bits) { return (told & bits) == bits; }

// Whether the system keeps these registers when it changes threads.
bool keeps(unsigned registers) {
  if (!has_bits(cpuid(1).c, 1u << 27)) return false;
  unsigned low, high;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return has_bits(low, registers);
}

constexpr unsigned kYmm = 6, kZmm = 0xe6;
constexpr unsigned kFma = 1u << 12, kAvx = 1u << 28, kAvx2Bit = 1u << 5;                                // 1.c, 7.b
constexpr unsigned kAvx512Bits = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, kAvx512VnniBit = 1u << 11;  // 7.b, 7.c
constexpr unsigned kAvxVnniBit = 1u << 4;                                                               // 7.1.a
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
  switch (set) {
    case kBaseline:
      return true;
    case kAvx2:
      return keeps(kYmm) && has_bits(cpuid(1).c, kAvx | kFma) && has_bits(cpuid(7).b, kAvx2Bit);
    case kAvx512:
      return keeps(kZmm) && has_bits(cpuid(7).b, kAvx512Bits);
    case kAvx2Vnni:
      return has(kAvx2) && has_bits(cpuid(7, 1).a, kAvxVnniBit);
    case kAvx512Vnni:
      return has(kAvx512) && has_bits(cpuid(7).c, kAvx512VnniBit);
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
