#include "integer_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LINNET_QUADS 0
#define LINNET_WIDE 0

namespace linnet {

using Operand = std::int16_t;
static const int kLanes = 8, kGroup = 2, kOperandZero = 0;
// Registers of 256 bits, of which there are 32 here: 6 pixels by 4 blocks.
static const int kTileRegisters = 24, kMostRows = 6;
static const Index kPanelBlocks = 4;

#include "integer_vector.inl"
// Above: vectors. Below: what is written with them.
#include "integer_words16.inl"
// Both of these use the words.
#include "integer_table.inl"

const IntegerKernels kIntegerAvx512 = LINNET_INTEGER_TABLE;

}  // namespace linnet

#endif
