#include "training_kernels.h"

namespace linnet {

static const int kLanes = 4, kTileRows = 4, kTileVectors = 3;

#include "training_table.inl"

const TrainingKernels kTrainingBaseline = LINNET_TRAINING_TABLE;

}  // namespace linnet
