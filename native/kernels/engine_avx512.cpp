#include "engine_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

namespace linnet {

// What works on one block of channels has registers of 256 bits; products, which work on several, and depthwise rows,
// of which two pixels lie side by side, have registers of 512 (docs/experiments.md).
static const int kLanes = 8;
// 12 pixels by 4 blocks.
static const int kTileRegisters = 24, kMostRows = 12, kRareRows = 6, kDepthwisePixels = 8;
static const int kUnroll = 2;
static const Index kPanelBlocks = 4;

#define LINNET_WIDE 1

#include "engine_table.inl"

const EngineKernels kEngineAvx512 = LINNET_ENGINE_TABLE;

}  // namespace linnet

#endif
