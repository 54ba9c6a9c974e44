#include "engine_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LINNET_WIDE 1

namespace linnet {

// A block is a register of 256 bits; products have registers of 512 for two.
static const int kLanes = 8;
// Of 32 registers 24 hold sums: 12 pixels by 4 blocks.
static const int kTileRegisters = 24, kMostRows = 12, kDepthwisePixels = 8;
static const int kUnroll = 2;
static const Index kPanelBlocks = 4;

#include "engine_table.inl"

const EngineKernels kEngineAvx512 = LINNET_ENGINE_TABLE;

}  // namespace linnet

#endif
