// Opening a network: a program is checked, its weights are packed.

#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "clock.h"
#include "engine.h"
#include "instruction_sets.h"

namespace linnet {

int fail(linnet_error* error, int code, const char* format, ...) {
  if (error != nullptr) {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
  }
  return code;
}

Index in_channels(const linnet_layer& layer) {
  switch (layer.kind) {
    case LINNET_CONVOLUTION:
      return layer.body.convolution.in_channels;
    case LINNET_LINEAR:
      return layer.body.linear.in_channels;
    default:
      return out_channels(layer);
  }
}

Index out_channels(const linnet_layer& layer) {
  switch (layer.kind) {
    case LINNET_CONVOLUTION:
      return layer.body.convolution.out_channels;
    case LINNET_DEPTHWISE:
      return layer.body.depthwise.channels;
    case LINNET_POOLING:
      return layer.body.pooling.channels;
    case LINNET_LINEAR:
      return layer.body.linear.out_channels;
    case LINNET_ADD:
      return layer.body.addition.channels;
    case LINNET_CONCATENATE:
      return layer.body.concatenation.channels;
    default:
      return -1;
  }
}

const linnet_window* window_of(const linnet_layer& layer) {
  if (layer.kind == LINNET_CONVOLUTION) return &layer.body.convolution.window;
  return layer.kind == LINNET_DEPTHWISE ? &layer.body.depthwise.window : nullptr;
}

namespace {

bool in_range(Index value, Index least, Index most) { return least <= value && value <= most; }

struct Clamp {
  float lowest, highest;
};

// What a layer's output is clamped to.
Clamp clamp_of(const linnet_layer& layer) {
  switch (layer.kind) {
    case LINNET_CONVOLUTION:
      return {layer.body.convolution.lowest, layer.body.convolution.highest};
    case LINNET_DEPTHWISE:
      return {layer.body.depthwise.lowest, layer.body.depthwise.highest};
    case LINNET_LINEAR:
      return {layer.body.linear.lowest, layer.body.linear.highest};
    case LINNET_ADD:
      return {layer.body.addition.lowest, layer.body.addition.highest};
    default:
      return {-__builtin_inff(), __builtin_inff()};
  }
}

struct Places {
  Index weights, bias;
};

// Where a layer's weights and its bias begin; -1 of a kind that has none.
Places places_of(const linnet_layer& layer) {
  switch (layer.kind) {
    case LINNET_CONVOLUTION:
      return {layer.body.convolution.weights, layer.body.convolution.bias};
    case LINNET_DEPTHWISE:
      return {layer.body.depthwise.weights, layer.body.depthwise.bias};
    case LINNET_LINEAR:
      return {layer.body.linear.weights, layer.body.linear.bias};
    default:
      return {-1, -1};
  }
}

bool has_weights(const linnet_layer& layer) {
  return layer.kind == LINNET_CONVOLUTION || layer.kind == LINNET_DEPTHWISE || layer.kind == LINNET_LINEAR;
}

struct Count {
  Index least, most;
};

// How many outputs a layer reads.
Count reads_of(const linnet_layer& layer) {
  switch (layer.kind) {
    case LINNET_CONVOLUTION:
      return {1, 2};
    case LINNET_ADD:
      return {2, 2};
    case LINNET_CONCATENATE:
      return {2, kMostJoined};
    default:
      return {1, 1};
  }
}

const char* fault_of_window(const linnet_window& window, bool depthwise) {
  if (!in_range(window.stride, 1, 2)) return "its stride must be 1 or 2";
  if (!in_range(window.padding, LINNET_SAME, LINNET_SYMMETRIC)) return "its rule of padding is unknown";
  if (!in_range(window.dilation, 1, 1024)) return "its dilation must be from 1 to 1024";
  if (depthwise) return window.kernel == 3 ? nullptr : "a depthwise kernel must be 3";
  const bool fits = in_range(window.kernel, 1, 15) && window.kernel % 2 == 1;
  return fits ? nullptr : "its kernel must be odd and at most 15";
}

// What is wrong with a layer's own numbers, or null.
const char* fault_of(const linnet_layer& layer) {
  if (!in_range(layer.kind, LINNET_CONVOLUTION, LINNET_CONCATENATE)) return "its kind is unknown";
  if (!in_range(in_channels(layer), 1, kMostChannels) || !in_range(out_channels(layer), 1, kMostChannels)) {
    return "it must have from 1 to 16,777,216 channels";
  }
  const Clamp clamp = clamp_of(layer);
  if (!(clamp.lowest <= clamp.highest)) return "its lowest output must not be above its highest";
  if (const linnet_window* window = window_of(layer)) {
    if (const char* fault = fault_of_window(*window, layer.kind == LINNET_DEPTHWISE)) return fault;
  }
  const Count reads = reads_of(layer);
  if (!in_range(layer.input_count, reads.least, reads.most)) return "it reads too few outputs, or too many";
  return nullptr;
}

// Of layers that were found to fit: whether one gives numbers without pixels.
bool gives_vector(const linnet_layer* layers, const std::int32_t* inputs, Index number) {
  while (layers[number].kind == LINNET_ADD) number = inputs[layers[number].first_input];
  return layers[number].kind == LINNET_POOLING || layers[number].kind == LINNET_LINEAR;
}

// What is wrong with a layer that reads the picture, or null.
const char* misfit_of_picture(const linnet_layer& layer, const linnet_layer& first) {
  if (layer.kind != LINNET_CONVOLUTION) return "only a convolution may read the picture";
  const linnet_convolution& own = layer.body.convolution;
  if (own.window.dilation != 1) return "what reads the picture may not be dilated";
  if (own.in_channels > 4096) return "a picture has at most 4,096 channels";
  if (own.in_channels != in_channels(first)) return "all that read the picture must take its channels";
  return nullptr;
}

// What is wrong with the maps that a layer joins, or null.
const char* misfit_of_joined(const linnet_layer* layers, const std::int32_t* inputs, const linnet_layer& layer) {
  Index channels = 0;
  for (Index i = 0; i < layer.input_count; ++i) {
    const Index number = inputs[layer.first_input + i];
    if (gives_vector(layers, inputs, number)) return "only maps are joined";
    channels += out_channels(layers[number]);
  }
  return channels == out_channels(layer) ? nullptr : "it must have the channels of all that it joins";
}

// What is wrong with how a layer is tied to those before it, or null. Sizes of maps are a session's matter.
const char* misfit_of(const linnet_layer* layers, const std::int32_t* inputs, Index number) {
  const linnet_layer& layer = layers[number];
  const std::int32_t* read = inputs + layer.first_input;
  const bool reads_picture = read[0] == -1;
  for (Index i = 0; i < layer.input_count; ++i) {
    if (read[i] < (i == 0 ? -1 : 0) || read[i] >= number) {
      return "it may read only the picture (-1), and that first, and layers before it";
    }
  }
  if (reads_picture) {
    if (const char* misfit = misfit_of_picture(layer, layers[0])) return misfit;
  } else if (layer.kind == LINNET_CONCATENATE) {
    return misfit_of_joined(layers, inputs, layer);
  } else {
    if (out_channels(layers[read[0]]) != in_channels(layer)) {
      return "its inputs are not what the layer that it reads gives";
    }
    const bool vector = gives_vector(layers, inputs, read[0]);
    if (layer.kind != LINNET_ADD && vector != (layer.kind == LINNET_LINEAR)) {
      return "linear layers, and only they, follow a pooling or a linear layer";
    }
  }
  if (layer.input_count == 2) {
    const bool pixels = layer.kind != LINNET_ADD || !gives_vector(layers, inputs, read[0]);
    if (out_channels(layers[read[1]]) != out_channels(layer) || gives_vector(layers, inputs, read[1]) == pixels) {
      return "what is added must have its channels, and pixels where it has them";
    }
  }
  return nullptr;
}

// Weights of each input and output of a layer.
Index taps_of(const linnet_layer& layer) {
  const linnet_window* window = window_of(layer);
  return window == nullptr ? 1 : Index{window->kernel} * window->kernel;
}

struct Counts {
  Index weights, packed;  // floats given, floats packed with the bias
};

// False if the numbers are beyond all bounds.
bool count(const linnet_layer& layer, bool reads_picture, Counts& counts) {
  const Index in = in_channels(layer), out = out_channels(layer), taps = taps_of(layer);
  const Index padded_in = reads_picture ? in : blocks_of(in) * kBlock, padded_out = blocks_of(out) * kBlock;
  switch (layer.kind) {
    case LINNET_CONVOLUTION:
    case LINNET_LINEAR:
      counts = {in * out * taps, padded_in * padded_out * taps + padded_out};
      break;
    case LINNET_DEPTHWISE:
      counts = {in * taps, (taps + 1) * padded_out};
      break;
    default:
      counts = {0, 0};
      break;
  }
  return counts.packed <= kMostBytes / kFloat;
}

// The first weight that is not a number or infinite; -1 if there is none.
Index first_not_finite(const float* weights, Index count) {
  // Zero times any finite number is zero: eight sums at a time show whether all are finite, which they nearly always
  // are.
  float sums[8] = {};
  Index i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int k = 0; k < 8; ++k) sums[k] += weights[i + k] * 0;
  }
  bool fine = true;
  for (const float sum : sums) fine = fine && sum == 0;
  for (i = fine ? i : 0; i < count; ++i) {
    if (!std::isfinite(weights[i])) return i;
  }
  return -1;
}

int check(const linnet_layer* layers, Index layer_count, const std::int32_t* inputs, Index input_count,
          const float* weights, Index weight_count, Index* packed, linnet_error* error) {
  *packed = 0;
  for (Index number = 0; number < layer_count; ++number) {
    const linnet_layer& layer = layers[number];
    const char* fault = fault_of(layer);
    if (fault == nullptr && !in_range(layer.first_input, 0, input_count - layer.input_count)) {
      fault = "its inputs lie outside those that are given";
    }
    if (fault == nullptr) fault = misfit_of(layers, inputs, number);
    Counts counts = {0, 0};
    if (fault == nullptr && !count(layer, inputs[layer.first_input] < 0, counts))
      fault = "it has more weights than any memory holds";
    if (fault == nullptr && has_weights(layer)) {
      const Places places = places_of(layer);
      const bool inside = in_range(places.weights, 0, weight_count - counts.weights) &&
                          in_range(places.bias, 0, weight_count - out_channels(layer));
      if (!inside) fault = "its weights or its bias lie outside those that are given";
    }
    if (fault != nullptr) {
      return fail(error, LINNET_BAD_ARGUMENT, "Layer %lld of the program cannot run: %s.",
                  static_cast<long long>(number), fault);
    }
    *packed += round_up(counts.packed, kLine);
    if (*packed > kMostBytes / kFloat) {
      return fail(error, LINNET_BAD_ARGUMENT, "The program has more weights than any memory holds.");
    }
  }
  if (const Index bad = first_not_finite(weights, weight_count); bad >= 0) {
    return fail(error, LINNET_BAD_ARGUMENT, "Weight %lld is no finite number (%f): a network of such cannot run.",
                static_cast<long long>(bad), static_cast<double>(weights[bad]));
  }
  return LINNET_OK;
}

// Panels in the order in which they are read: for each input of each tap, the weights of all outputs of the panel.
void pack_product(const PackedLayer& own, const EngineKernels& kernels, const float* weights, float* packed) {
  const linnet_layer& layer = own.given;
  const Index in = in_channels(layer), out = out_channels(layer), taps = taps_of(layer);
  const Index padded_in = own.input < 0 ? in : blocks_of(in) * kBlock, blocks = blocks_of(out);
  for (Index first = 0; first < blocks;) {
    const Index panel = layer.kind == LINNET_LINEAR ? blocks : kernels.panel_blocks(blocks, first);
    const Index columns = panel * kBlock;
    // Some inputs at a time, so that the lines that are written stay in the cache for all columns. The packed weights
    // are zeros as long as nothing else is written there.
    constexpr Index kInputs = 64;
    for (Index begin = 0; begin < in; begin += kInputs) {
      const Index end = smaller(begin + kInputs, in);
      for (Index column = 0; column < columns && first * kBlock + column < out; ++column) {
        const float* given = weights + ((first * kBlock + column) * in + begin) * taps;
        for (Index i = begin; i < end; ++i) {
          for (Index tap = 0; tap < taps; ++tap) packed[(tap * padded_in + i) * columns + column] = *given++;
        }
      }
    }
    packed += taps * padded_in * columns;
    first += panel;
  }
}

void pack_depthwise(Index channels, const float* weights, float* packed) {
  for (Index channel = 0; channel < channels; ++channel) {
    for (Index tap = 0; tap < 9; ++tap) {
      packed[(channel / kBlock * 9 + tap) * kBlock + channel % kBlock] = weights[channel * 9 + tap];
    }
  }
}

void pack(linnet_network& network, const linnet_layer* layers, const float* weights) {
  float* packed = network.weights.data();
  for (Index number = 0; number < network.layers.size(); ++number) {
    const linnet_layer& given = layers[number];
    PackedLayer& layer = network.layers[number];
    layer.given = given;
    layer.channels = out_channels(given);
    layer.element = kFloat;
    layer.in_blocks = blocks_of(in_channels(given));
    layer.out_blocks = blocks_of(layer.channels);
    layer.input = network.inputs[given.first_input];
    layer.added =
        given.input_count > 1 && given.kind != LINNET_CONCATENATE ? network.inputs[given.first_input + 1] : -1;
    if (!has_weights(given)) continue;
    Counts counts = {0, 0};
    count(given, layer.input < 0, counts);
    const Index padded_out = layer.out_blocks * kBlock;
    layer.inputs = (counts.packed - padded_out) / padded_out;
    layer.weights = packed;
    layer.bias = packed + counts.packed - padded_out;
    const Places places = places_of(given);
    if (given.kind == LINNET_DEPTHWISE) {
      pack_depthwise(layer.channels, weights + places.weights, packed);
    } else {
      pack_product(layer, *network.kernels, weights + places.weights, packed);
    }
    std::memcpy(packed + counts.packed - padded_out, weights + places.bias,
                static_cast<std::size_t>(layer.channels) * sizeof(float));
    packed += round_up(counts.packed, kLine);
  }
}

}  // namespace

const EngineKernels* engine_kernels() {
  static const EngineKernels* const chosen = choose_kernels(kEngineTables);
  return chosen;
}

}  // namespace linnet

using namespace linnet;

extern "C" const char* linnet_engine_instruction_set(void) {
  return engine_kernels() == nullptr ? nullptr : engine_kernels()->name;
}

extern "C" double linnet_measure_peak(double seconds) {
  if (engine_kernels() == nullptr) return 0;
  // A few microseconds: short enough to fall between two interruptions.
  constexpr Index rounds = 2000;
  float sink[kLine] = {1};
  double best = 0;
  const double started = now(), end = started + (seconds < 10 ? seconds : 10);
  for (double begun = started, ended; begun == started || begun < end; begun = ended) {
    const Index each = engine_kernels()->multiply_add(rounds, sink);
    ended = now();
    const double taken = ended - begun;
    if (taken > 0 && rounds * each / taken > best) best = rounds * each / taken;
    if (ended == 0) break;  // there is no clock
  }
  return best;
}

extern "C" int linnet_network_open(const linnet_layer* layers, int64_t layer_count, const int32_t* inputs,
                                   int64_t input_count, const float* weights, int64_t weight_count,
                                   linnet_network** network, linnet_error* error) {
  if (layers == nullptr || inputs == nullptr || weights == nullptr || network == nullptr || input_count < 0 ||
      weight_count < 0 || layer_count < 1 || layer_count > kMostLayers) {
    return fail(error, LINNET_BAD_ARGUMENT, "A program has from 1 to %lld layers, their inputs, and weights.",
                static_cast<long long>(kMostLayers));
  }
  if (engine_kernels() == nullptr) {
    return fail(error, LINNET_BAD_ARGUMENT, "LINNET_ISA names an instruction set that is unknown or not there: '%s'.",
                forced_set());
  }
  Index packed = 0;
  if (const int code = check(layers, layer_count, inputs, input_count, weights, weight_count, &packed, error))
    return code;
  auto* made = make<linnet_network>();
  if (made == nullptr || !made->layers.allocate(layer_count) || !made->inputs.allocate(input_count) ||
      !made->weights.allocate(packed)) {
    destroy(made);
    return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for %lld bytes of packed weights.",
                static_cast<long long>(packed * kFloat));
  }
  made->kernels = engine_kernels();
  std::memcpy(made->inputs.data(), inputs, static_cast<std::size_t>(input_count) * sizeof(std::int32_t));
  pack(*made, layers, weights);
  *network = made;
  return LINNET_OK;
}

extern "C" void linnet_network_close(linnet_network* network) {
  if (network != nullptr && network->users.fetch_sub(1) == 1) destroy(network);
}
