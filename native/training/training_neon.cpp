#include "training_kernels.h"

#if defined(__ARM_NEON)

namespace linnet {

static const int kLanes = 4, kTileRows = 4, kTileVectors = 3;

#include "training_table.inl"

const TrainingKernels kTrainingNeon = LINNET_TRAINING_TABLE;

}  // namespace linnet

#endif
