// Where the engine's memory comes from. The programs of native/tests link functions of their own, which put it between
// pages that nobody may touch.
#ifndef LINNET_MEMORY_H
#define LINNET_MEMORY_H

#include <cstddef>

namespace linnet {

// Zeros, aligned to cache lines; null where there is no memory.
void* take_memory(std::size_t bytes);

// Null is nothing.
void give_memory(void* memory);

}  // namespace linnet

#endif
