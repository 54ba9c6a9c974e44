#include "integer_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LINNET_QUADS 1
#define LINNET_WIDE 0
#define LINNET_CROSSED 0

namespace linnet {

using Operand = std::uint8_t;
static const int kLanes = 8, kGroup = 4, kOperandZero = 0;
// Of 16 registers 12 hold sums: 6 pixels by 2 blocks.
static const int kTileRegisters = 12, kMostRows = 6;
static const Index kPanelBlocks = 2;

#include "integer_vector.inl"
// Above: vectors. Below: what is written with them.
#include "integer_words8.inl"
// Both of these use the words.
#include "integer_table.inl"

const IntegerKernels kIntegerAvx2Vnni = LINNET_INTEGER_TABLE;

}  // namespace linnet

#endif
