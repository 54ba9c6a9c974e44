#include "integer_kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define LINNET_QUADS 0
#define LINNET_WIDE 0
#define LINNET_CROSSED 0

namespace linnet {

// sdot multiplies numbers with a sign by such: an operand is its byte less 128.
using Operand = std::int8_t;
static const int kLanes = 4, kGroup = 4, kOperandZero = 128;
// Of 32 registers 16 hold sums: 4 pixels by 2 blocks.
static const int kTileRegisters = 16, kMostRows = 4;
static const Index kPanelBlocks = 2;

#include "integer_vector.inl"
// Above: vectors. Below: what is written with them.
using Weights = Ints;

static inline Weights load_weights(const std::int8_t* p) { return load_ints(p); }

static inline Ints dot(Ints sums, Ints values, Weights weights) {
  return reinterpret_cast<Ints>(vdotq_s32(reinterpret_cast<int32x4_t>(sums), reinterpret_cast<int8x16_t>(values),
                                          reinterpret_cast<int8x16_t>(weights)));
}

// Words of two numbers of 16 bits, of bytes that were not changed.
static inline Ints dot16(Ints sums, Ints values, Ints weights) {
  const int16x8_t a = reinterpret_cast<int16x8_t>(values), b = reinterpret_cast<int16x8_t>(weights);
  const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
  return sums + reinterpret_cast<Ints>(vpaddq_s32(low, high));
}

// Uses the words.
#include "integer_table.inl"

const IntegerKernels kIntegerNeonDot = LINNET_INTEGER_TABLE;

}  // namespace linnet

#endif
