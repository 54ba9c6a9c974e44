#include "engine_kernels.h"

#if defined(__x86_64__)

namespace linnet {

static const int kLanes = 8;
// Of 16 registers 12 hold sums: 6 pixels by 2 blocks, or 4 by 3.
static const int kTileRegisters = 12, kMostRows = 6, kRareRows = 4, kDepthwisePixels = 8;
static const int kUnroll = 2;
static const Index kPanelBlocks = 2;

#include "engine_table.inl"

const EngineKernels kEngineAvx2 = LINNET_ENGINE_TABLE;

}  // namespace linnet

#endif
