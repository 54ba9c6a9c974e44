#include "training_kernels.h"

#if defined(__x86_64__)

namespace linnet {

static const int kLanes = 16, kTileRows = 8, kTileVectors = 3;

#include "training_table.inl"

const TrainingKernels kTrainingAvx512 = LINNET_TRAINING_TABLE;

}  // namespace linnet

#endif
