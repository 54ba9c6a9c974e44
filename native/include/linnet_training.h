/**
 * linnet's training kernels: the part of the native library that only training needs.
 *
 * Tensors are float32 with the channels last: "rows" are the pixels of all pictures, a row holds its channels side by
 * side, nothing lies between rows. All memory is the caller's and must not overlap unless a function says otherwise.
 *
 * A convolution writes its own output u, before batch norm, and the moments that batch norm needs. Who reads u next
 * gets a `linnet_transform`, which says how the activation is made of it, so that neither the normalised tensor nor the
 * activation is ever stored. The backward functions read u again for the same reason.
 *
 * `threads` is from 1: the work is cut into that many parts of fixed bounds, so equal arguments give equal bits. The
 * calling thread does one part, a pool that is kept does the others; calls from several threads wait for each other.
 * Scratch space belongs to the pool. Every function gives LINNET_OK or what went wrong, and has then written nothing
 * that means anything; the codes are those of linnet.h.
 */
#ifndef LINNET_TRAINING_H
#define LINNET_TRAINING_H

#include <stdint.h>

#include "linnet.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/** The instruction set that the training kernels run on: LINNET_ISA if it is set, else the widest. Null if LINNET_ISA
 * names one that is unknown or that this processor lacks; the training functions then give LINNET_BAD_ARGUMENT. */
const char* linnet_training_instruction_set(void);

/** The activation of a stored tensor u, channel by channel: clamp(u * scale + shift, lowest, highest). */
typedef struct linnet_transform {
  const float* scale; /* [channels] */
  const float* shift; /* [channels] */
  const float* mean;  /* [channels]: of u; only backward functions read it */
  float lowest;       /* -infinity and infinity: no activation */
  float highest;
} linnet_transform;

/**
 * The gradient of a stored tensor u, made of the gradient g of its activation, channel by channel:
 * m * scale + (u - mean) * slope + offset, where m is g inside the clamp and 0 outside.
 */
typedef struct linnet_gradient {
  const float* values; /* g, [rows][channels] */
  const float* stored; /* u, [rows][channels] */
  linnet_transform transform;
  const float* slope;  /* [channels] */
  const float* offset; /* [channels] */
} linnet_gradient;

/** A depthwise 3x3 convolution. Pixels outside the picture are zeros; nothing asks for more than two beyond an edge.
 * Its taps are `dilation` pixels apart: above 1 the stride is 1, and output and pads have the size of the input and the
 * dilation. */
typedef struct linnet_depthwise_shape {
  int64_t pictures, height, width, channels;
  int64_t output_height, output_width;
  int64_t stride;            /* 1 or 2 */
  int64_t pad_top, pad_left; /* 0 or 1; of a dilated filter its dilation */
  int64_t dilation;          /* from 1 to 1024 */
} linnet_depthwise_shape;

/**
 * output[row][o] = sum over i of activation(input)[row][i] * weight[o][i].
 *
 * `transform` is null where the input is an activation already. `moments` gets mean and (biased) variance of every
 * output channel: [2][out].
 */
int linnet_train_pointwise(int threads, int64_t rows, int64_t in, int64_t out, const float* input,
                           const linnet_transform* transform, const float* weight, float* output, double* moments);

/**
 * Gradients of `linnet_train_pointwise`.
 *
 * `input_gradient` [rows][in] may be null. Where `transform` is given it is the gradient of the clamp's input, that is
 * zero outside the clamp, and `sums` gets [2][in]: its sum, and the sum of it times (input - mean). `weight_gradient`
 * is [out][in].
 */
int linnet_train_pointwise_backward(int threads, int64_t rows, int64_t in, int64_t out, const linnet_gradient* gradient,
                                    const float* input, const linnet_transform* transform, const float* weight,
                                    float* input_gradient, float* weight_gradient, double* sums);

/** As `linnet_train_pointwise`, for a depthwise convolution with weights [channels][9]. */
int linnet_train_depthwise(int threads, const linnet_depthwise_shape* shape, const float* input,
                           const linnet_transform* transform, const float* weight, float* output, double* moments);

/** As `linnet_train_pointwise_backward`; `input_gradient` is needed, `weight_gradient` is [channels][9]. */
int linnet_train_depthwise_backward(int threads, const linnet_depthwise_shape* shape, const linnet_gradient* gradient,
                                    const float* input, const linnet_transform* transform, const float* weight,
                                    float* input_gradient, float* weight_gradient, double* sums);

/** Mean and (biased) variance of every channel: moments [2][channels]. */
int linnet_train_moments(int threads, int64_t rows, int64_t channels, const float* values, double* moments);

/** output = activation(values) + added. Without a transform the values themselves; `added` may be null, `output` may be
 * `values`. */
int linnet_train_activate(int threads, int64_t rows, int64_t channels, const float* values,
                          const linnet_transform* transform, const float* added, float* output);

/** Sum of m and of m * (u - mean), [2][channels]; slope and offset are not read. */
int linnet_train_sums(int threads, int64_t rows, int64_t channels, const linnet_gradient* gradient, double* sums);

/** The gradient of u written out, [rows][channels]; `output` may be `gradient->values`. */
int linnet_train_gradient(int threads, int64_t rows, int64_t channels, const linnet_gradient* gradient, float* output);

/**
 * Memory for tensors of a training step, aligned to 64 bytes, not cleared; null where there is none. What is released
 * is kept and given out again, because touching fresh pages takes longer than computing what stands in them.
 */
void* linnet_train_allocate(int64_t bytes);

/** Takes back what `linnet_train_allocate` gave; null is nothing. */
void linnet_train_release(void* memory);

/** Gives all memory that is not in use to the system; the bytes that were given. */
int64_t linnet_train_trim(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
