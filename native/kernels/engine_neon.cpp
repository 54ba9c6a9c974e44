#include "engine_kernels.h"

#if defined(__ARM_NEON)

namespace linnet {

static const int kLanes = 4;
// SSE2 has 16 registers and NEON 32; a panel of one block is two of them.
static const int kTileRegisters = 12, kMostRows = 6, kRareRows = 4, kDepthwisePixels = 4;
static const int kUnroll = 2;
static const Index kPanelBlocks = 1;

#include "engine_table.inl"

const EngineKernels kEngineNeon = LINNET_ENGINE_TABLE;

}  // namespace linnet

#endif
