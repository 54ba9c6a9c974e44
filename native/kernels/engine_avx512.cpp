#include "engine_kernels.h"

#if defined(__x86_64__)

namespace linnet {

// Registers of 256 bits, of which there are 32 here: where the 512-bit units are two of 256 they are as fast, and a
// block stays one register (docs/experiments.md).
static const int kLanes = 8;
// 6 pixels by 4 blocks.
static const int kTileRegisters = 24, kMostRows = 6, kDepthwisePixels = 8;
static const int kUnroll = 2;
static const Index kPanelBlocks = 4;

#include "engine_table.inl"

const EngineKernels kEngineAvx512 = LINNET_ENGINE_TABLE;

}  // namespace linnet

#endif
