// All training kernels for one instruction set. The including file defines kLanes, kTileRows and kTileVectors;
// everything here is static, so that no linker can take one set's code for another's.

#include "vector.inl"
// Above: vectors. Below: what is written with them.
#include "training_matrix.inl"
#include "training_norm.inl"
// Both of these use matrix and norm.
#include "training_depthwise.inl"
#include "training_pointwise.inl"

#define LINNET_TRAINING_TABLE \
  {packed_size,               \
   pack,                      \
   pointwise_scratch,         \
   pointwise,                 \
   pointwise_backward,        \
   depthwise_scratch,         \
   depthwise,                 \
   depthwise_backward,        \
   moments_of,                \
   activate,                  \
   sums_of,                   \
   gradient}
