#include "engine_kernels.h"

namespace linnet {

static const int kLanes = 4;
#if defined(__wasm__) && !defined(__wasm_relaxed_simd__)
// A product that is not added at once needs a register of its own, and browsers have 15 on x86-64.
static const int kTileRegisters = 10, kMostRows = 5, kRareRows = 4, kUnroll = 2;
#elif defined(__wasm__)
static const int kTileRegisters = 12, kMostRows = 6, kRareRows = 4, kUnroll = 4;
#else
// SSE2 has 16 registers and NEON 32; a panel of one block is two of them.
static const int kTileRegisters = 12, kMostRows = 6, kRareRows = 4, kUnroll = 2;
#endif
static const int kDepthwisePixels = 4;
static const Index kPanelBlocks = 1;

#include "engine_table.inl"

const EngineKernels kEngineBaseline = LINNET_ENGINE_TABLE;

}  // namespace linnet
