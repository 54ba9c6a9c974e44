#include "integer_kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LINNET_QUADS 0
#define LINNET_WIDE 0
#define LINNET_CROSSED 0

namespace linnet {

using Operand = std::int16_t;
static const int kLanes = 4, kGroup = 2, kOperandZero = 0;
// As for floats: 6 pixels by one block, which is two registers.
static const int kTileRegisters = 12, kMostRows = 6;
static const Index kPanelBlocks = 1;

#include "integer_vector.inl"
// Above: vectors. Below: what is written with them.
#include "integer_words16.inl"
// Both of these use the words.
#include "integer_table.inl"

const IntegerKernels kIntegerBaseline = LINNET_INTEGER_TABLE;

}  // namespace linnet
