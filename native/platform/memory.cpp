#include "memory.h"

#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace linnet {

static const std::size_t kLargePage = std::size_t{1} << 21;

void* take_memory(std::size_t bytes) {
#if defined(__linux__)
  // Weights are read from end to end in every run: with pages of 2 MiB their addresses are found without a search.
  const bool large = bytes >= 2 * kLargePage;
#else
  const bool large = false;
#endif
  const std::size_t unit = large ? kLargePage : 64, whole = (bytes + unit - 1) / unit * unit;
  void* memory = std::aligned_alloc(unit, whole > 0 ? whole : unit);
  if (memory == nullptr) return nullptr;
#if defined(__linux__)
  if (large) madvise(memory, whole, MADV_HUGEPAGE);
#endif
  std::memset(memory, 0, bytes);
  return memory;
}

void give_memory(void* memory) { std::free(memory); }

}  // namespace linnet
