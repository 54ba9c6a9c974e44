#include "linnet.h"

extern "C" const char* linnet_version(void) { return LINNET_VERSION; }

extern "C" const char* linnet_instruction_set(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl")) {
    return "avx512";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
  return "baseline";
#elif defined(__ARM_NEON)
  return "neon";
#else
  return "baseline";
#endif
}
