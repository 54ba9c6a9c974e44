#include "training_kernels.h"

#if defined(__x86_64__)

namespace linnet {

static const int kLanes = 8, kTileRows = 4, kTileVectors = 3;

#include "training_table.inl"

const TrainingKernels kTrainingAvx2 = LINNET_TRAINING_TABLE;

}  // namespace linnet

#endif
