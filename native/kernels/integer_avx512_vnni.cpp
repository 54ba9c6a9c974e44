#include "integer_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LINNET_QUADS 1
#define LINNET_WIDE 1
#define LINNET_CROSSED 0

namespace linnet {

using Operand = std::uint8_t;
static const int kLanes = 8, kGroup = 4, kOperandZero = 0;
// Registers of 256 bits, of which there are 32 here, or as many of 512 for two blocks: 6 pixels by 4 blocks, 8 by 2.
static const int kTileRegisters = 32, kMostRows = 8;
static const Index kPanelBlocks = 4;

#include "integer_vector.inl"
// Above: vectors. Below: what is written with them.
#include "integer_words8.inl"
// Both of these use the words.
#include "integer_table.inl"

const IntegerKernels kIntegerAvx512Vnni = LINNET_INTEGER_TABLE;

}  // namespace linnet

#endif
