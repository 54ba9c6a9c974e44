// What the engine asks of an instruction set: a table of kernels. Activations lie in blocks of kBlock channels:
// [block][pixel][kBlock], the last block filled with zeros.
#ifndef LINNET_ENGINE_KERNELS_H
#define LINNET_ENGINE_KERNELS_H

#include "instruction_sets.h"
#include "numbers.h"
#include "pin.h"

namespace linnet {

constexpr Index kBlock = 8;

// Floats of a cache line.
constexpr Index kLine = 16;

// The most blocks of output channels that a panel of weights has.
constexpr Index kMostPanelBlocks = 4;

// The most rows of a depthwise convolution that one call filters.
constexpr Index kFilterRows = 16;

// c = clamp(a * weights + start) + added, for all pixels and one panel of output channels. The row of `a` that belongs
// to a pixel is `runs` runs of `run` floats side by side.
struct Product {
  Index pixels;
  Index runs, run;
  const float* a;
  Index a_run_step;      // floats from one run to the next
  Index a_pixel_step;    // floats from one pixel to the next
  Index blocks;          // of output channels, as `panel_blocks` gives them
  const float* weights;  // [runs * run][blocks * kBlock]
  const float* bias;     // [blocks * kBlock]; null: goes on from what stands in c
  float lowest, highest;
  const float* added;  // as c, or null
  Index added_step;    // floats from one block to the next
  float* c;
  Index c_step;
  const float* next;  // what will be read after this, so that it can be fetched in time; or null
  Index next_floats;
};

// Rows of a depthwise 3x3 convolution for one block of channels.
struct DepthwiseRows {
  const float* rows[kFilterRows][3];  // under each row of outputs, [width][kBlock]; null above and below the picture
  Index output_rows;
  Index width, output_width;
  Index stride, dilation, pad_left;
  const float* taps;  // [9][kBlock]
  const float* bias;  // [kBlock]
  float lowest, highest;
  float* output;  // [output_rows][output_width][kBlock]
};

// One of them.
struct DepthwiseRow {
  const float* rows[3];
  Index width, output_width;
  Index stride, dilation, pad_left;
  const float *taps, *bias;
  float lowest, highest;
  float* output;
};

// Where a pixel of a resized row lies: between two of the row that is resized, and the share of the second one; of
// bytes that in whole numbers of 2^-11.
struct Neighbours {
  std::int32_t low, high;
  float share;
  std::int32_t steps;
};

// One row of a resized map for one block of channels: first along the row, then down.
struct ResizedRow {
  const float *top, *bottom;  // [width before][kBlock]: the rows between which it lies
  float share;                // of the second one
  const Neighbours* columns;  // [width]
  Index width;
  float* output;  // [width][kBlock]
};

struct EngineKernels {
  // How `blocks` blocks of output channels are cut into panels: blocks of the panel that begins at block `first`.
  Index (*panel_blocks)(Index blocks, Index first);
  void (*product)(const Product& job);
  void (*depthwise_rows)(const DepthwiseRows& job);
  void (*resize_row)(const ResizedRow& job);
  // sums[channel] += values of all pixels of one block, scaled.
  void (*pool_block)(Index pixels, const float* values, float scale, float* sums);
  // outputs[column] += sum over k of inputs[k] * weights[k][column]; columns is a multiple of kBlock.
  void (*accumulate)(Index inputs_count, const float* inputs, Index columns, const float* weights, float* outputs);
  // c = clamp(sum of all parts + bias) + added, over whole blocks of `pixels` pixels; parts lie part_step apart.
  void (*join_block)(Index pixels, int parts, const float* part, Index part_step, const float* bias, float lowest,
                     float highest, const float* added, float* c);
  // Nothing but multiply-adds on registers: `rounds` times as many as it gives, each on floats of its own.
  Index (*multiply_add)(Index rounds, float* sink);
};

extern const EngineKernels kEngineBaseline;
#if defined(__ARM_NEON)
extern const EngineKernels kEngineNeon;
#endif
#if defined(__x86_64__)
extern const EngineKernels kEngineAvx2;
extern const EngineKernels kEngineAvx512;
#endif

// By instruction set; null where this build has none.
constexpr Tables<EngineKernels> kEngineTables = {
    &kEngineBaseline,
#if defined(__ARM_NEON)
    &kEngineNeon,     &kEngineNeon,
#else
    nullptr,
    nullptr,
#endif
#if defined(__x86_64__)
    &kEngineAvx2,     &kEngineAvx2, &kEngineAvx512, &kEngineAvx512,
#endif
};

}  // namespace linnet

#endif
