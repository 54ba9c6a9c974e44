// What the training functions ask of an instruction set: a table of kernels over ranges of rows or pictures.
#ifndef LINNET_TRAINING_KERNELS_H
#define LINNET_TRAINING_KERNELS_H

#include "instruction_sets.h"
#include "linnet_training.h"
#include "numbers.h"

namespace linnet {

// Mean and sum of squared distances of every channel over the rows seen so far.
struct Moments {
  double rows;
  double* mean;
  double* squares;
};

struct PointwiseJob {
  Index rows, in, out;
  const float* input;
  const linnet_transform* transform;
  const linnet_gradient* gradient;
  const float* packed;  // weights in panels; see `pack`
  float* output;        // or the gradient of the input
};

struct DepthwiseJob {
  linnet_depthwise_shape shape;
  const float* input;
  const linnet_transform* transform;
  const linnet_gradient* gradient;
  const float* taps;  // weights, [9][channels]
  float* output;      // or the gradient of the input
};

// Every function is given scratch space of the size that its `_scratch` names, in floats, aligned to 64 bytes.
// Ranges are [first, last).
struct TrainingKernels {
  // Weights as panels of up to three vectors of columns: each panel is [in][columns], the last one filled with
  // zeros. `weights` has element (row, column) at row * row_step + column * column_step.
  Index (*packed_size)(Index rows, Index columns);
  void (*pack)(Index rows, Index columns, const float* weights, Index row_step, Index column_step, float* packed);

  Index (*pointwise_scratch)(Index in, Index out);
  void (*pointwise)(const PointwiseJob& job, Index first, Index last, float* scratch, Moments* moments);
  // `weight_gradient` is [out][in], `sums` are [2][in] or null; both are added to.
  void (*pointwise_backward)(const PointwiseJob& job, Index first, Index last, float* scratch, float* weight_gradient,
                             double* sums);

  Index (*depthwise_scratch)(const linnet_depthwise_shape& shape);
  void (*depthwise)(const DepthwiseJob& job, Index first, Index last, float* scratch, Moments* moments);
  // `weight_gradient` is [9][channels], `sums` are [2][channels] or null; both are added to.
  void (*depthwise_backward)(const DepthwiseJob& job, Index first, Index last, float* scratch, float* weight_gradient,
                             double* sums);

  void (*moments)(Index channels, const float* values, Index first, Index last, Moments* moments);
  void (*activate)(Index channels, const float* values, const linnet_transform* transform, const float* added,
                   float* output, Index first, Index last);
  void (*sums)(Index channels, const linnet_gradient& gradient, Index first, Index last, double* sums);
  void (*gradient)(Index channels, const linnet_gradient& gradient, float* output, Index first, Index last);
};

extern const TrainingKernels kTrainingBaseline;
#if defined(__ARM_NEON)
extern const TrainingKernels kTrainingNeon;
#endif
#if defined(__x86_64__)
extern const TrainingKernels kTrainingAvx2;
extern const TrainingKernels kTrainingAvx512;
#endif

// By instruction set; null where this build has none.
constexpr Tables<TrainingKernels> kTrainingTables = {
    &kTrainingBaseline,
#if defined(__ARM_NEON)
    &kTrainingNeon,     &kTrainingNeon,
#else
    nullptr,
    nullptr,
#endif
#if defined(__x86_64__)
    &kTrainingAvx2,     &kTrainingAvx2, &kTrainingAvx512, &kTrainingAvx512,
#endif
};

}  // namespace linnet

#endif
