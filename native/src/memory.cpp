#include "memory.h"

#include <cstdlib>
#include <cstring>

namespace linnet {

void* take_memory(std::size_t bytes) {
  const std::size_t lines = (bytes + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, lines > 0 ? lines : 64);
  if (memory != nullptr) std::memset(memory, 0, lines);
  return memory;
}

void give_memory(void* memory) { std::free(memory); }

}  // namespace linnet
