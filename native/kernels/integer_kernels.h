// What the engine asks of an instruction set where activations are bytes: a table of kernels beside that of floats.
//
// A byte q of a tensor stands for scale * (q - zero). Sums are whole numbers of 32 bits, so that their order does not
// matter: every instruction set, schedule and number of threads gives the same bits. Maps lie as those of floats do,
// [block][pixel][kBlock], and what fills the last block is multiplied by weights that stand for nothing.
#ifndef LINNET_INTEGER_KERNELS_H
#define LINNET_INTEGER_KERNELS_H

#include "engine_kernels.h"

namespace linnet {

// How a sum of 32 bits becomes a byte: clamp(rint(float(sum) * multiplier) + zero), and what is added to that.
struct Requantisation {
  std::int32_t zero, lowest, highest;
  // Of a shortcut: ((half + first * (a - first_zero) + second * (b - second_zero)) >> shift) + sum_zero, clamped.
  bool far;  // whether a product may be beyond 2^31; where it may not, results come sooner
  // Whether bytes are 0 for all sums below 0, nothing is added, and sums stay below 2^23: see `rectified`.
  bool rectifies;
  bool adds;
  std::int32_t first, second, shift, first_zero, second_zero, sum_zero, sum_lowest, sum_highest;
};

// c = requantise(a * weights + start), for all pixels and one panel of output channels; `a` as in `Product`, but of
// operands: bytes, or numbers of 16 bits with the same values, as the table's `operand_bytes` says.
struct IntegerProduct {
  Index pixels;
  Index runs, run;  // operands of a run: a multiple of 4
  const void* a;
  Index a_run_step;            // operands from one run to the next
  Index a_pixel_step;          // operands from one pixel to the next
  bool crossed;                // see `crossed_inputs`: what belongs to a pixel is in `terms`, to a channel in `bias`
  Index blocks;                // of output channels
  const std::int8_t* weights;  // [runs * run / group][blocks * kBlock][group]
  const std::int32_t* bias;    // [blocks * kBlock]; null: goes on from what stands in `sums`
  const std::int32_t* terms;   // [pixels]: what is added to all sums of a pixel, or null
  std::int32_t* sums;          // [block][pixel][kBlock]: where the sums end instead of in c; or null
  Index sums_step;             // from one block to the next
  const float* multipliers;    // [blocks * kBlock]
  Requantisation rule;
  const std::uint8_t* added;  // as c, where the rule adds
  Index added_step;
  std::uint8_t* c;  // null: only the sums are made
  Index c_step;
  const void* next;  // what will be read after this, so that it can be fetched in time; or null
  Index next_bytes;
};

// Rows of a depthwise 3x3 convolution for one block of channels.
struct IntegerDepthwise {
  // Of each row of outputs the three under it, [width][kBlock]; above and below the picture a row of `padding`. At
  // stride 1 without dilation rows of outputs follow each other: two of three are those of the row before.
  const std::uint8_t* rows[kFilterRows][3];
  Index output_rows;
  Index width, output_width;
  Index stride, dilation, pad_left;
  std::uint8_t padding;      // what lies beside the row
  bool wide;                 // whether taps have 16 bits
  const void* taps;          // [3][kBlock][4], of which the last is 0: 8 or 16 bits each
  const std::int32_t* bias;  // [kBlock]
  const float* multipliers;  // [kBlock]
  Requantisation rule;       // which adds nothing
  bool operands;             // whether operands are written, not bytes
  void* output;              // [output_rows][output_width][kBlock]
};

// One row of a resized map for one block of channels, as `ResizedRow`.
struct ResizedBytes {
  const std::uint8_t *top, *bottom;
  std::int32_t steps;  // the share of the second row in whole numbers of 2^-11
  const Neighbours* columns;
  Index width;
  std::uint8_t* output;
};

struct IntegerKernels {
  Index operand_bytes;  // 1 or 2
  Index operand_zero;   // what an operand is less than its byte
  Index panel_blocks;   // of the widest panel
  // Of pixels and runs of kBlock operands, products of up to so many inputs may be crossed: what two inputs and their
  // weights make, a * w + b * v, is (a + v) * (b + w) - a * b - v * w, where a * b belongs to a pixel and v * w to a
  // channel. That is half of the multiplications for the same number of instructions. 0: they may not.
  Index crossed_inputs;
  void (*product)(const IntegerProduct& job);
  void (*depthwise_rows)(const IntegerDepthwise& job);
  void (*resize_row)(const ResizedBytes& job);
  // Pixels of three colours as operands, by a table [3][256] of bytes and its words: see `linnet_session`. One operand
  // more than `count` pixels have is written.
  void (*read_colours)(const std::uint8_t* pixels, Index count, const std::uint8_t* table, const std::uint64_t* words,
                       void* operands);
  // Bytes as operands.
  void (*widen)(Index count, const std::uint8_t* bytes, void* operands);
  // sums[pixel] += factor * (sum of the pixel's operands) over `runs` runs, less the products of operands of a product
  // that is crossed.
  void (*sum_pixels)(const IntegerProduct& job, std::int32_t factor, std::int32_t* sums);
  // c = requantise(sum of all parts + bias), over one block of `pixels` pixels; parts lie part_step apart.
  void (*join_block)(Index pixels, int parts, const std::int32_t* part, Index part_step, const std::int32_t* bias,
                     const float* multipliers, const Requantisation& rule, const std::uint8_t* added, std::uint8_t* c);
};

// Weights side by side that meet the operands of one 32-bit word.
static inline Index group_of(const IntegerKernels& kernels) { return 4 / kernels.operand_bytes; }

// Whether operands are made of bytes before a product reads them.
static inline bool widens(const IntegerKernels& kernels) {
  return kernels.operand_bytes != 1 || kernels.operand_zero != 0;
}

extern const IntegerKernels kIntegerBaseline;
#if defined(__aarch64__)
extern const IntegerKernels kIntegerNeonDot;
#endif
#if defined(__x86_64__)
extern const IntegerKernels kIntegerAvx2;
extern const IntegerKernels kIntegerAvx2Vnni;
extern const IntegerKernels kIntegerAvx512Vnni;
#endif

// By instruction set; null where this build has none. Without vpdpbusd the registers of AVX-512 gain nothing.
constexpr Tables<IntegerKernels> kIntegerTables = {
    &kIntegerBaseline,
#if defined(__aarch64__)
    &kIntegerBaseline, &kIntegerNeonDot,
#elif defined(__ARM_NEON)
    &kIntegerBaseline,
    &kIntegerBaseline,
#else
    nullptr,
    nullptr,
#endif
#if defined(__x86_64__)
    &kIntegerAvx2,     &kIntegerAvx2Vnni, &kIntegerAvx2, &kIntegerAvx512Vnni,
#endif
};

}  // namespace linnet

#endif
