/**
 * linnet's engine and what detectors need: plain C, no dependencies, no exception across this boundary. The kernels of
 * training are in linnet_training.h.
 *
 * A complete program, which prints the average brightness of a picture of four pixels, and that of twice its red:
 *
 *     #include <stdio.h>
 *
 *     #include "linnet.h"
 *
 *     // Prints what went wrong; 1 if something did.
 *     static int failed(int code, const linnet_error* error) {
 *       if (code != LINNET_OK) fprintf(stderr, "%s\n", error->text);
 *       return code != LINNET_OK;
 *     }
 *
 *     int main(void) {
 *       // A convolution from red, green and blue to their mean and to twice red; then the average over all pixels.
 *       const float weights[] = {1 / 3.0f, 1 / 3.0f, 1 / 3.0f, 2, 0, 0, 0, 0.5f};  // behind them the two biases
 *       const int32_t inputs[] = {-1, 0};  // the convolution reads the picture, the pooling reads the convolution
 *       const linnet_layer layers[] = {
 *           {.kind = LINNET_CONVOLUTION, .first_input = 0, .input_count = 1,
 *            .body.convolution = {.in_channels = 3, .out_channels = 2, .lowest = 0, .highest = 6,
 *                                 .window = {.kernel = 1, .stride = 1, .dilation = 1, .padding = LINNET_SAME},
 *                                 .weights = 0, .bias = 24}},  // where they begin, in bytes
 *           {.kind = LINNET_POOLING, .first_input = 1, .input_count = 1, .body.pooling = {.channels = 2}}};
 *       linnet_error error;
 *       linnet_network* network = NULL;
 *       if (failed(linnet_network_open(layers, 2, inputs, 2, weights, sizeof(weights), &network, &error), &error))
 *         return 1;
 *
 *       float table[3 * 256];  // a byte of each of the three colours stands for a number from 0 to 1
 *       for (int i = 0; i < 3 * 256; ++i) table[i] = (float)(i % 256) / 255;
 *       const int32_t outputs[] = {1};
 *       const linnet_options options = {.height = 2, .width = 2, .threads = 1, .schedule = LINNET_AUTO,
 *                                       .joins_rows = -1, .outputs = outputs, .output_count = 1, .table = table};
 *       linnet_session* session = NULL;
 *       if (failed(linnet_session_open(network, &options, &session, &error), &error)) return 1;
 *
 *       const uint8_t picture[] = {255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 255};  // white, red; black, blue
 *       float averages[2];
 *       void* places[] = {averages};
 *       if (failed(linnet_session_run(session, picture, 1, places, &error), &error)) return 1;
 *       printf("%.4f %.4f\n", averages[0], averages[1]);
 *       linnet_session_close(session);
 *       linnet_network_close(network);
 *       return 0;
 *     }
 *
 * Every function is safe to call from several threads at once. Strings belong to the library and live as long as
 * it is loaded.
 */
#ifndef LINNET_H
#define LINNET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
/* All that the library shows. */
#pragma GCC visibility push(default)

/** Counts the changes of this interface: of what a function takes and gives, and of how structures lie in memory. */
#define LINNET_INTERFACE 6

/** LINNET_INTERFACE of the headers that this library was built with. A caller that was built with another number, or
 * a library without this function, must not call any other: structures would be read from the wrong places. */
int32_t linnet_interface_version(void);

/** The version of the package that this library was built with, such as "0.1.0". Never null. */
const char* linnet_version(void);

/**
 * The widest vector instruction set of this processor that linnet distinguishes: "avx512" (F, DQ, BW and VL), "avx2"
 * (with FMA), either with "_vnni" where it has vpdpbusd, "neon", "neon_dot" (with sdot) or "baseline". Never null.
 */
const char* linnet_instruction_set(void);

/** The instruction sets that LINNET_ISA may name on this processor, the narrowest first: number 0, 1 and so on; null
 * where there is no more. */
const char* linnet_instruction_set_number(int32_t number);

/*
 * The engine: networks of separable convolutions, run block by block.
 *
 * A program is an array of layers, each of which reads the picture or the output of a layer before it. A
 * `linnet_network` is a checked program with its weights packed; any number of sessions share it, and it may be closed
 * before them. A `linnet_session` holds the plan for one size of picture, all memory that a run needs, and threads. A
 * session belongs to one thread at a time; several sessions run side by side.
 *
 * Every function that can fail takes a `linnet_error`, which may be null, and gives LINNET_OK or another of the codes
 * below; the text is then a whole sentence. What a function gives out is written only if it succeeds.
 */

#define LINNET_OK 0
#define LINNET_BAD_ARGUMENT 1
#define LINNET_OUT_OF_MEMORY 2
#define LINNET_NO_THREADS 3

typedef struct linnet_error {
  char text[256];
} linnet_error;

/* Kinds of layers; each has a structure of its own below. */
#define LINNET_CONVOLUTION 0 /* pointwise if the kernel is 1 */
#define LINNET_DEPTHWISE 1   /* each channel is filtered by itself */
#define LINNET_POOLING 2     /* the average over all pixels */
#define LINNET_LINEAR 3      /* after a pooling or a linear layer */
#define LINNET_ADD 4         /* two outputs of one shape, with or without pixels */
#define LINNET_CONCATENATE 5 /* from 2 to 64 outputs of one size behind each other along their channels */
#define LINNET_RESIZE 6      /* an output at another size, bilinearly; without pixels, the same everywhere */
#define LINNET_QUANTIZE 7    /* floats to bytes */
#define LINNET_DEQUANTIZE 8  /* bytes to floats */

/* Numbers of a layer's output, and of all that it reads but for the last two kinds. */
#define LINNET_FLOAT32 0
#define LINNET_UINT8 1 /* a byte q stands for scale * (q - zero); what is int8 elsewhere is a byte less 128 */

/* Rules of padding: zeros after the activation of the layer before, so that one output comes of each `stride` pixels.
 */
#define LINNET_SAME 0      /* as few zeros as are needed, the odd one at the end */
#define LINNET_SYMMETRIC 1 /* dilation * (kernel - 1) / 2 at every side */

/* Where pixel o of m lies among n that it is made of, at least 0 and at most n - 1. */
#define LINNET_ALIGN_CORNERS 0 /* o (n - 1) / (m - 1) */
#define LINNET_HALF_PIXEL 1    /* (o + 1/2) n / m - 1/2 */
#define LINNET_ASYMMETRIC 2    /* o n / m */

/** Which pixels one output is computed from. */
typedef struct linnet_window {
  int32_t kernel;   /* pixels a side: odd and at most 15; of a depthwise convolution 3 */
  int32_t stride;   /* 1 or 2 */
  int32_t dilation; /* from 1 to 1024; 1 where the picture is read */
  int32_t padding;
} linnet_window;

/**
 * clamp(weights * input + bias, lowest, highest), to which a second input is added where there is one. Here and below:
 * `lowest` and `highest` are -infinity and infinity where there is no activation; `weights` and `bias` say where they
 * begin among the program's data, in bytes, at multiples of 4. Of a layer of bytes, weights are int8 and the bias is
 * int32, and `lowest` and `highest` mean nothing: see linnet_integers.
 */
typedef struct linnet_convolution {
  int32_t in_channels, out_channels;
  linnet_window window;
  float lowest, highest;
  int64_t weights; /* [out_channels][in_channels][kernel][kernel] */
  int64_t bias;    /* [out_channels] */
} linnet_convolution;

/** clamp(weights * input + bias, lowest, highest). */
typedef struct linnet_depthwise {
  int32_t channels;
  linnet_window window;
  float lowest, highest;
  int64_t weights; /* [channels][kernel][kernel] */
  int64_t bias;    /* [channels] */
} linnet_depthwise;

typedef struct linnet_pooling {
  int32_t channels;
} linnet_pooling;

/** clamp(weights * input + bias, lowest, highest). */
typedef struct linnet_linear {
  int32_t in_channels, out_channels;
  float lowest, highest;
  int64_t weights; /* [out_channels][in_channels] */
  int64_t bias;    /* [out_channels] */
} linnet_linear;

/** clamp(first + second, lowest, highest). */
typedef struct linnet_addition {
  int32_t channels;
  float lowest, highest;
} linnet_addition;

typedef struct linnet_concatenation {
  int32_t channels; /* of all that it joins */
} linnet_concatenation;

/** The size of the result is that of the picture divided by the stride, rounded up. */
typedef struct linnet_resizing {
  int32_t channels;
  int32_t stride; /* from 1 to 65,536 */
  int32_t grid;
} linnet_resizing;

/** Floats to bytes, clamp(rint(x * (1 / scale)) + zero, 0, 255), or bytes to floats, scale * (q - zero). */
typedef struct linnet_conversion {
  int32_t channels, zero;
  float scale;
} linnet_conversion;

/**
 * The sum of two bytes, clamp(((half + first * (a - first_zero) + second * (b - second_zero)) >> shift) + zero, lowest,
 * highest), where half is 2^(shift - 1).
 */
typedef struct linnet_sum {
  int32_t first, second; /* from 0 to 2^21 */
  int32_t shift;         /* from 13 to 30 */
  int32_t first_zero, second_zero, zero, lowest, highest;
} linnet_sum;

/**
 * What a layer of bytes has beside its body. A convolution, a depthwise or a linear layer gives
 * clamp(rint(float(bias + sum of (input - input_zero) * (weight - weight_zero)) * multiplier) + zero, lowest, highest)
 * with one multiplier for each output channel, ties to even; a convolution's second input is added to that by `sum`, as
 * an addition adds both of its inputs. What lies outside a map is input_zero. |bias| + 255 * sum of
 * |weight - weight_zero| must be below 2^31. A pooling of n pixels gives, of bytes less raw_zero,
 * rint(float(their sum) * c + b), with c = ratio * (1 / float(n)) and b = float(zero) - float(n * input_zero) * c,
 * where input_zero and zero are less raw_zero too; or, if it is an average, their sum over n, halves away from 0. A
 * concatenation sends each of its inputs through a table of 256 bytes. A resizing has weights in steps of 2^-11 along
 * each axis, and rounds once, halves up; what bytes stand for stays.
 */
typedef struct linnet_integers {
  int32_t input_zero, zero, lowest, highest; /* from 0 to 255 */
  int32_t weight_zero;                       /* from -128 to 127 */
  int32_t average, raw_zero;                 /* 0 or 1; 0 or 128 */
  float ratio;                               /* input scale / output scale, from 2^-100 to 2^100 */
  int64_t multipliers;                       /* where floats begin, in bytes */
  int64_t tables;                            /* the same of [input_count][256] bytes */
  linnet_sum sum;
} linnet_integers;

/**
 * A layer reads `inputs[first_input]` and so on of the program's inputs: numbers of earlier layers, or -1 for the
 * picture, which only convolutions read. Any number of later layers may read one output, and any output may be asked
 * for.
 */
typedef struct linnet_layer {
  int32_t kind;                     /* which of the structures in `body` counts */
  int32_t precision;                /* of its output; all that read the picture have the same */
  int32_t first_input, input_count; /* 1; of a convolution 1 or 2; of an addition 2; of a concatenation 2 to 64 */
  union {
    linnet_convolution convolution;
    linnet_depthwise depthwise;
    linnet_pooling pooling;
    linnet_linear linear;
    linnet_addition addition;
    linnet_concatenation concatenation;
    linnet_resizing resizing;
    linnet_conversion conversion;
  } body;
  linnet_integers integers; /* of a layer that computes with bytes */
} linnet_layer;

typedef struct linnet_network linnet_network;
typedef struct linnet_session linnet_session;

/** The instruction set that the engine runs on: LINNET_ISA if it is set, else the widest that it has kernels for. Null
 * if LINNET_ISA names one that is unknown or that this processor lacks; networks then do not open. */
const char* linnet_engine_instruction_set(void);

/**
 * Multiply-adds of float32 a second that one thread can do with the engine's instruction set: the fastest of many short
 * measurements within `seconds` (0.1 will do) of nothing else. What the engine reaches is to be held against this. 0 if
 * LINNET_ISA names a set that cannot run.
 */
double linnet_measure_peak(double seconds);

/** Checks a program and packs its weights into memory of its own. `data` are aligned to 4 bytes and hold all that
 * layers point to; all floats must be finite. */
int linnet_network_open(const linnet_layer* layers, int64_t layer_count, const int32_t* inputs, int64_t input_count,
                        const void* data, int64_t data_bytes, linnet_network** network, linnet_error* error);

/** Closes a network; a null pointer is ignored. Sessions that are still open keep the packed weights. */
void linnet_network_close(linnet_network* network);

/* How a block (an expansion if there is one, a depthwise convolution and a pointwise one) runs. */
#define LINNET_AUTO 0
#define LINNET_LAYERWISE 1 /* layer by layer; every inner tensor exists whole */
#define LINNET_ROWS 2      /* row by row; as many rows of the expanded tensor exist as the depthwise kernel spans */
#define LINNET_GROUPS 3    /* some expanded channels at a time, over all rows: the split of the paper's section 5.1 */

typedef struct linnet_options {
  int32_t height, width;  /* of the picture in pixels */
  int32_t threads;        /* from 1 to 256, the caller included */
  int32_t schedule;       /* how all blocks run: one of the above */
  int32_t group;          /* expanded channels of a group; 0: the engine decides */
  int32_t joins_rows;     /* 1: neighbours that run by rows become one, so that no tensor between them exists whole;
                             0: never; -1: the engine decides */
  const int32_t* outputs; /* layers whose outputs are asked for */
  int32_t output_count;
  const void* table;        /* [channels][256]: what each value of a picture's bytes stands for: floats or bytes, as the
                               layers that read the picture compute */
  const int32_t* schedules; /* one for each layer, read at depthwise ones: overrides `schedule` unless 0; may be null */
  const int32_t* groups;    /* the same for `group` */
  int32_t apart; /* 1: each thread runs pictures of its own, in an arena of its own; 0: all run each picture */
} linnet_options;

/** Makes the plan and takes all memory that a run needs. A picture is padded with the number 0 (of bytes: input_zero),
 * not with what `table` gives for the byte 0. */
int linnet_session_open(linnet_network* network, const linnet_options* options, linnet_session** session,
                        linnet_error* error);

/** Ends a session's threads and gives its memory back; a null pointer is ignored. */
void linnet_session_close(linnet_session* session);

/**
 * Runs pictures: one after the other, each on all threads; or, of a session whose threads are apart, as many at a time
 * as there are threads.
 *
 * `pixels` are [pictures][height][width][channels]. `outputs` has one pointer for each of the session's outputs, in
 * their order: [pictures][height][width][channels] of the layer, or [pictures][channels] of a pooling or linear layer;
 * floats or bytes, as the layer's precision says. Allocates nothing.
 */
int linnet_session_run(linnet_session* session, const uint8_t* pixels, int64_t pictures, void* const* outputs,
                       linnet_error* error);

typedef struct linnet_memory {
  int64_t weights; /* bytes of the network's packed weights */
  int64_t arena;   /* bytes of the session's activations, scratch space of all threads included */
} linnet_memory;

void linnet_session_memory(const linnet_session* session, linnet_memory* memory);

/** A step of a session's plan: the layers that run as one. */
typedef struct linnet_step {
  int32_t first, last;   /* layers */
  int32_t schedule;      /* one of the above; LINNET_AUTO where there is only one way */
  int32_t group;         /* channels of a group */
  int32_t element_bytes; /* of one number of its output */
  int64_t output_bytes;  /* of its output, as it stands in the arena; 0 if its rows go to the caller at once */
  int64_t scratch_bytes; /* of all threads */
  double seconds;        /* of the last picture */
  double least_seconds;  /* of the fastest picture so far */
} linnet_step;

int64_t linnet_session_steps(const linnet_session* session);

/** The step of this number; LINNET_BAD_ARGUMENT if there is none. */
int linnet_session_step(const linnet_session* session, int64_t number, linnet_step* step);

/*
 * Detection: what a detector's output means.
 */

#define LINNET_SIGMOID 0 /* each class by itself */
#define LINNET_SOFTMAX 1 /* all classes and the background together */

/** Which boxes are kept. */
typedef struct linnet_detection {
  int64_t anchors;
  int32_t classes; /* the background not counted; anchors * classes is below 2^31 */
  int32_t scoring;
  double score_threshold; /* the lowest score of a box to keep, from 0 to 1 */
  double iou_threshold;   /* of two boxes of a class that overlap more, the better one stays; from 0 to 1 */
  int64_t per_class;      /* most boxes of a class, from 1 to 100,000 */
  int64_t total;          /* most boxes, from 1 to 100,000 */
} linnet_detection;

/** Bytes of the workspace that `linnet_detect` needs; -1 for a rule that makes no sense. */
int64_t linnet_detect_workspace(const linnet_detection* rule);

/**
 * Scores, decodes and suppresses the boxes of one picture.
 *
 * `offsets` are [anchors][4] over the variances 0.1, 0.1, 0.2, 0.2, `logits` [anchors][1 + classes] with the background
 * first, `anchors` [anchors][4]: centre x, centre y, width, height. `boxes` [total][4] get x0, y0, x1, y1, clipped to
 * the picture from 0 to 1; `scores` [total] fall; `classes` [total] count from 0; `count` gets how many they are.
 * `workspace` is aligned to 8 bytes. An output that is not finite is refused. Allocates nothing.
 */
int linnet_detect(const linnet_detection* rule, const float* offsets, const float* logits, const float* anchors,
                  void* workspace, float* boxes, float* scores, int32_t* classes, int64_t* count, linnet_error* error);

/*
 * Segmentation: what a segmenter's output means.
 */

/** Logits of a map, and the size at which their best classes are wanted. */
typedef struct linnet_labelling {
  int32_t height, width, classes;      /* of the logits; classes from 1 to 255 */
  int32_t precision;                   /* LINNET_FLOAT32, or LINNET_UINT8 of a quantised network */
  int32_t grid;                        /* where pixels lie; see above */
  int32_t output_height, output_width; /* from 1 to 65,536 */
} linnet_labelling;

/** Bytes of the workspace that `linnet_labels` needs; -1 for a rule that makes no sense. */
int64_t linnet_labels_workspace(const linnet_labelling* rule);

/**
 * The best class of every pixel of one picture: that of the largest logit, the first of equals, of logits resized as a
 * resizing layer does it. They are never there at full size; between four pixels that clearly agree nothing is
 * computed.
 *
 * `logits` are [height][width][classes]; `labels` [output_height][output_width] count from 0. `workspace` is aligned to
 * 8 bytes. Logits that are not finite, or beyond 1e37, are refused. Allocates nothing.
 */
int linnet_labels(const linnet_labelling* rule, const void* logits, void* workspace, uint8_t* labels,
                  linnet_error* error);

/*
 * Pictures: from their pixels to a network's bytes.
 */

#define LINNET_NEAREST 0
#define LINNET_BILINEAR 1
#define LINNET_BICUBIC 2

/** What of a picture is resized, and how. */
typedef struct linnet_resampling {
  int64_t width, height, row_bytes; /* of the picture; a row may be longer than its pixels */
  int32_t pixel_bytes;              /* from 1 to 4, of which the first `channels` are resized */
  int32_t channels;
  int32_t interpolation;
  int32_t antialias; /* 1: filters when scaling down, as Pillow; 0, of bilinear: samples, as TensorFlow, all of it */
  float box[4];      /* left, top, right and bottom of what is resized; all: 0, 0, width, height */
  int64_t new_width, new_height; /* pixels that the box becomes */
  int64_t window[4];             /* left, top, width and height of those that are made */
} linnet_resampling;

/** Resizes as Pillow does, to the bit. `resized` gets [window height][window width][channels]. */
int linnet_resample(const linnet_resampling* rule, const uint8_t* pixels, uint8_t* resized, linnet_error* error);

#define LINNET_SHORTER_SIDE 0 /* covers the network's size over `crop`, and cuts the centre out */
#define LINNET_CENTRAL_CROP 1 /* cuts the central `crop` share of both sides out, then squashes it */
#define LINNET_SQUASH 2

#define LINNET_RGB 0
#define LINNET_BGR 1
#define LINNET_GREY 2 /* one channel, by the integers of Pillow's conversion (ITU-R 601) */

/** The preprocessing contract of a checkpoint: how a picture becomes the pixels that a session takes. */
typedef struct linnet_preparation {
  int32_t height, width; /* of the network's input */
  int32_t resize, interpolation;
  double crop; /* from 0.01 to 1 */
  int32_t antialias, colours;
} linnet_preparation;

/** Resizes and cuts an RGB picture, [height][width][pixel_bytes] of 3 or 4 bytes a pixel, as a contract says.
 * `prepared` gets [rule height][rule width][3], or [1] of grey. */
int linnet_prepare(const linnet_preparation* rule, const uint8_t* pixels, int64_t width, int64_t height,
                   int32_t pixel_bytes, uint8_t* prepared, linnet_error* error);

/** Fills a session's table, [channels][256]: (value / 255 - mean) / std of each channel. */
int linnet_normalisation_table(int32_t channels, const float* mean, const float* std, float* table,
                               linnet_error* error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
