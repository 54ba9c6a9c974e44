// Whole numbers, and how many of something a thread does. All is static: kernels of several instruction sets include
// this, and of a shared function the linker would keep one set's code for all.
#ifndef LINNET_NUMBERS_H
#define LINNET_NUMBERS_H

#include <cstdint>

namespace linnet {

using Index = std::int64_t;

static inline Index smaller(Index a, Index b) { return a < b ? a : b; }
static inline Index larger(Index a, Index b) { return a > b ? a : b; }
static inline Index round_up(Index count, Index step) { return (count + step - 1) / step * step; }

struct Range {
  Index first, last;
  Index count() const { return last - first; }
};

// What one thread does of `count` things.
static inline Range share_of(Index count, int thread, int threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}

}  // namespace linnet

#endif
