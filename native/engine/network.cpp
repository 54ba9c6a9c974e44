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
    case LINNET_RESIZE:
      return layer.body.resizing.channels;
    case LINNET_QUANTIZE:
    case LINNET_DEQUANTIZE:
      return layer.body.conversion.channels;
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

// Whether a layer computes with bytes, and so is more than its body.
bool computes_with_bytes(const linnet_layer& layer) {
  return layer.precision == LINNET_UINT8 && layer.kind != LINNET_QUANTIZE;
}

bool is_byte(Index value) { return in_range(value, 0, 255); }

bool is_scale(float value) { return std::isfinite(value) && value > 0; }

// What is wrong with what a layer of bytes has beside its body, or null.
const char* fault_of_integers(const linnet_layer& layer) {
  const linnet_integers& own = layer.integers;
  if (!is_byte(own.input_zero) || !is_byte(own.zero) || !is_byte(own.lowest) || !is_byte(own.highest) ||
      own.lowest > own.highest) {
    return "its zeros and bounds must be from 0 to 255, the lowest not above the highest";
  }
  if (!in_range(own.weight_zero, -128, 127)) return "the zero of its weights must be from -128 to 127";
  if (layer.kind == LINNET_POOLING) {
    const bool known = in_range(own.average, 0, 1) && (own.raw_zero == 0 || own.raw_zero == 128);
    // Beyond, what zeros and whole maps make of it is not finite in float32.
    const bool near = own.ratio >= 0x1p-100F && own.ratio <= 0x1p100F;
    return known && near ? nullptr : "its rule of pooling is unknown";
  }
  if (layer.kind != LINNET_ADD && layer.input_count != 2) return nullptr;
  const linnet_sum& sum = own.sum;
  const bool fits = in_range(sum.first, 0, 1 << 21) && in_range(sum.second, 0, 1 << 21) && in_range(sum.shift, 13, 30);
  const bool zeros = is_byte(sum.first_zero) && is_byte(sum.second_zero) && is_byte(sum.zero);
  const bool bounds = is_byte(sum.lowest) && is_byte(sum.highest) && sum.lowest <= sum.highest;
  return layer.kind == LINNET_CONCATENATE || (fits && zeros && bounds) ? nullptr : "its rule of sums is unknown";
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
  if (!in_range(layer.kind, LINNET_CONVOLUTION, LINNET_DEQUANTIZE)) return "its kind is unknown";
  if (!in_range(layer.precision, LINNET_FLOAT32, LINNET_UINT8)) return "its precision is unknown";
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
  if (layer.kind == LINNET_RESIZE) {
    const linnet_resizing& own = layer.body.resizing;
    const bool known = in_range(own.grid, LINNET_ALIGN_CORNERS, LINNET_ASYMMETRIC);
    return known && in_range(own.stride, 1, kMostSide) ? nullptr : "its grid is unknown, or its stride below 1";
  }
  if (layer.kind >= LINNET_QUANTIZE) {
    const linnet_conversion& own = layer.body.conversion;
    if ((layer.kind == LINNET_QUANTIZE) != (layer.precision == LINNET_UINT8)) return "its precision is the other one";
    return is_scale(own.scale) && is_scale(1 / own.scale) && is_byte(own.zero) ? nullptr : "its scale makes no sense";
  }
  return computes_with_bytes(layer) ? fault_of_integers(layer) : nullptr;
}

// Of layers that were found to fit: whether one gives numbers without pixels.
bool gives_vector(const linnet_layer* layers, const std::int32_t* inputs, Index number) {
  while (layers[number].kind == LINNET_ADD || layers[number].kind >= LINNET_QUANTIZE) {
    number = inputs[layers[number].first_input];
  }
  return layers[number].kind == LINNET_POOLING || layers[number].kind == LINNET_LINEAR;
}

// What is wrong with a layer that reads the picture, or null.
const char* misfit_of_picture(const linnet_layer& layer, const linnet_layer& first) {
  if (layer.kind != LINNET_CONVOLUTION) return "only a convolution may read the picture";
  const linnet_convolution& own = layer.body.convolution;
  if (own.window.dilation != 1) return "what reads the picture may not be dilated";
  if (own.in_channels > 4096) return "a picture has at most 4,096 channels";
  if (own.in_channels != in_channels(first)) return "all that read the picture must take its channels";
  if (layer.precision != first.precision) return "all that read the picture must compute with the same numbers";
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
  const bool reads_bytes = layer.precision == (layer.kind >= LINNET_QUANTIZE ? LINNET_FLOAT32 : LINNET_UINT8);
  for (Index i = 0; i < layer.input_count; ++i) {
    if (read[i] < (i == 0 ? -1 : 0) || read[i] >= number) {
      return "it may read only the picture (-1), and that first, and layers before it";
    }
    if (read[i] >= 0 && (layers[read[i]].precision == LINNET_UINT8) != reads_bytes) {
      return "the numbers of what it reads are of another precision";
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
    const bool either = layer.kind == LINNET_ADD || layer.kind >= LINNET_RESIZE;
    if (!either && vector != (layer.kind == LINNET_LINEAR)) {
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
  Index weights, inputs, packed;  // numbers given, rows of a panel, bytes packed with all that belongs to them
};

// False if the numbers are beyond all bounds.
bool count(const linnet_layer& layer, bool reads_picture, Counts& counts) {
  const Index in = in_channels(layer), out = out_channels(layer), taps = taps_of(layer);
  const Index blocks = blocks_of(out), padded_out = blocks * kBlock;
  const bool bytes = computes_with_bytes(layer), full = layer.kind != LINNET_DEPTHWISE;
  counts = {0, 0, 0};
  if (layer.kind == LINNET_CONCATENATE && bytes) counts.packed = Index{layer.input_count} * 256;
  if (!has_weights(layer)) return true;
  counts.weights = full ? in * out * taps : in * taps;
  counts.inputs = taps * blocks_of(in) * kBlock;
  if (reads_picture) {
    // Bytes of a row under the kernel are read in whole words.
    const Index kernel = window_of(layer)->kernel;
    counts.inputs = bytes ? kernel * round_up(kernel * in, 4) : taps * in;
  }
  if (bytes) {
    const Index taps_bytes = blocks * 3 * kBlock * 4 * (layer.integers.weight_zero != 0 ? 2 : 1);
    counts.packed = round_up(full ? counts.inputs * padded_out : taps_bytes, kLineBytes) + padded_out * 8;
  } else {
    counts.packed = ((full ? counts.inputs : taps) + 1) * padded_out * kFloat;
  }
  return counts.packed <= kMostBytes;
}

// The first float that is not a number or infinite; -1 if there is none.
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

// All that a program's layers point to.
struct Data {
  const std::uint8_t* bytes;
  Index size;

  // Whether so many numbers of `element` bytes lie at a place.
  bool holds(Index place, Index count, Index element) const {
    return in_range(place, 0, size) && count <= (size - place) / element && (element == 1 || place % element == 0);
  }
  template <typename Number>
  const Number* at(Index place) const {
    return reinterpret_cast<const Number*>(bytes + place);
  }
};

// Whether all sums of a layer of bytes stay within 32 bits, whatever the inputs are.
bool sums_fit(const linnet_layer& layer, const Data& data) {
  const Index out = out_channels(layer),
              taps = layer.kind == LINNET_DEPTHWISE ? taps_of(layer) : in_channels(layer) * taps_of(layer);
  const Places places = places_of(layer);
  const auto* weights = data.at<std::int8_t>(places.weights);
  const auto* bias = data.at<std::int32_t>(places.bias);
  for (Index channel = 0; channel < out; ++channel) {
    Index most = bias[channel] < 0 ? -Index{bias[channel]} : bias[channel];
    for (Index i = 0; i < taps; ++i) {
      const Index weight = weights[channel * taps + i] - layer.integers.weight_zero;
      most += 255 * (weight < 0 ? -weight : weight);
    }
    if (most > INT32_MAX) return false;
  }
  return true;
}

// What is wrong with the data of a layer that has some, or null.
const char* fault_of_data(const linnet_layer& layer, const Counts& counts, const Data& data) {
  const bool bytes = computes_with_bytes(layer);
  if (layer.kind == LINNET_CONCATENATE) {
    const bool inside = !bytes || data.holds(layer.integers.tables, counts.packed, 1);
    return inside ? nullptr : "its tables lie outside the data that are given";
  }
  if (!has_weights(layer)) return nullptr;
  const Places places = places_of(layer);
  const Index out = out_channels(layer);
  // The bias and what belongs to it are words of 32 bits.
  if (!data.holds(places.weights, counts.weights, bytes ? 1 : kFloat) || !data.holds(places.bias, out, kFloat)) {
    return "its weights or its bias lie outside the data that are given";
  }
  if (!bytes) return nullptr;
  if (!data.holds(layer.integers.multipliers, out, kFloat))
    return "its multipliers lie outside the data that are given";
  const auto* multipliers = data.at<float>(layer.integers.multipliers);
  for (Index channel = 0; channel < out; ++channel) {
    if (!std::isfinite(multipliers[channel]) || multipliers[channel] < 0) return "a multiplier of it makes no sense";
  }
  return sums_fit(layer, data) ? nullptr : "its sums may be beyond 32 bits";
}

// Refuses a layer of floats if one of them is not a number or infinite; `number` is the layer's.
int check_finite(const linnet_layer& layer, Index number, const Counts& counts, const Data& data, linnet_error* error) {
  if (!has_weights(layer) || computes_with_bytes(layer)) return LINNET_OK;
  const Places places = places_of(layer);
  const struct {
    const char* name;
    const float* values;
    Index count;
  } both[] = {{"weight", data.at<float>(places.weights), counts.weights},
              {"bias", data.at<float>(places.bias), out_channels(layer)}};
  for (const auto& each : both) {
    const Index bad = first_not_finite(each.values, each.count);
    if (bad < 0) continue;
    return fail(
        error, LINNET_BAD_ARGUMENT, "Layer %lld of the program cannot run: its %s %lld is no finite number (%f).",
        static_cast<long long>(number), each.name, static_cast<long long>(bad), static_cast<double>(each.values[bad]));
  }
  return LINNET_OK;
}

int check(const linnet_layer* layers, Index layer_count, const std::int32_t* inputs, Index input_count,
          const Data& data, Index* packed, linnet_error* error) {
  *packed = 0;
  for (Index number = 0; number < layer_count; ++number) {
    const linnet_layer& layer = layers[number];
    const char* fault = fault_of(layer);
    if (fault == nullptr && !in_range(layer.first_input, 0, input_count - layer.input_count)) {
      fault = "its inputs lie outside those that are given";
    }
    if (fault == nullptr) fault = misfit_of(layers, inputs, number);
    Counts counts = {0, 0, 0};
    if (fault == nullptr && !count(layer, inputs[layer.first_input] < 0, counts))
      fault = "it has more weights than any memory holds";
    if (fault == nullptr) fault = fault_of_data(layer, counts, data);
    if (fault != nullptr) {
      return fail(error, LINNET_BAD_ARGUMENT, "Layer %lld of the program cannot run: %s.",
                  static_cast<long long>(number), fault);
    }
    if (const int code = check_finite(layer, number, counts, data, error)) return code;
    *packed += round_up(counts.packed, kLineBytes);
    if (*packed > kMostBytes) {
      return fail(error, LINNET_BAD_ARGUMENT, "The program has more weights than any memory holds.");
    }
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

// The same of bytes. What is only there to fill words and panels stands for nothing: it is the zero of the weights.
void pack_product(const PackedLayer& own, const IntegerKernels& kernels, const std::int8_t* weights,
                  std::int8_t* packed) {
  const linnet_layer& layer = own.given;
  const Index in = in_channels(layer), out = out_channels(layer), taps = taps_of(layer), group = group_of(kernels);
  std::memset(packed, layer.integers.weight_zero, static_cast<std::size_t>(own.inputs * own.out_blocks * kBlock));
  const Index kernel = window_of(layer) == nullptr ? 1 : window_of(layer)->kernel;
  const Index row = round_up(kernel * in, 4);
  for (Index first = 0, panel; first < own.out_blocks; first += panel) {
    panel = smaller(kernels.panel_blocks, own.out_blocks - first);
    const Index columns = panel * kBlock;
    for (Index column = 0; column < columns && first * kBlock + column < out; ++column) {
      const std::int8_t* given = weights + (first * kBlock + column) * in * taps;
      for (Index i = 0; i < in; ++i) {
        for (Index tap = 0; tap < taps; ++tap) {
          const Index place =
              own.input < 0 ? tap / kernel * row + tap % kernel * in + i : tap * own.in_blocks * kBlock + i;
          packed[(place / group * columns + column) * group + place % group] = *given++;
        }
      }
    }
    packed += own.inputs * columns;
  }
}

// A bias without the products of the channel's weights that crossed products have beside their sums: of inputs 0 and 2,
// 1 and 3 of each four. On the way it may go round.
std::int32_t less_crossed(const PackedLayer& layer, const IntegerKernels& kernels, Index channel, std::int32_t bias) {
  const Index group = group_of(kernels), block = channel / kBlock, widest = kernels.panel_blocks;
  const Index first = block / widest * widest, columns = smaller(widest, layer.out_blocks - first) * kBlock;
  const std::int8_t* panel = layer.bytes.weights + first * kBlock * layer.inputs;
  const auto weight = [&](Index i) {
    return Index{panel[(i / group * columns + channel - first * kBlock) * group + i % group]};
  };
  auto rest = static_cast<std::uint32_t>(bias);
  for (Index i = 0; i < layer.inputs; i += 4) {
    rest -= static_cast<std::uint32_t>(weight(i) * weight(i + 2) + weight(i + 1) * weight(i + 3));
  }
  return static_cast<std::int32_t>(rest);
}

template <typename Tap>
void pack_taps(const linnet_layer& layer, const std::int8_t* weights, Tap* packed) {
  for (Index channel = 0; channel < out_channels(layer); ++channel) {
    for (Index tap = 0; tap < 9; ++tap) {
      const Index row = channel / kBlock * 3 + tap / 3;
      packed[(row * kBlock + channel % kBlock) * 4 + tap % 3] =
          static_cast<Tap>(weights[channel * 9 + tap] - layer.integers.weight_zero);
    }
  }
}

Requantisation rule_of(const linnet_layer& layer) {
  const linnet_integers& own = layer.integers;
  const linnet_sum& sum = own.sum;
  Requantisation rule = {};
  rule.zero = own.zero;
  rule.lowest = own.lowest;
  rule.highest = own.highest;
  rule.adds = layer.kind == LINNET_ADD || (layer.kind == LINNET_CONVOLUTION && layer.input_count == 2);
  rule.first = sum.first;
  rule.second = sum.second;
  rule.shift = rule.adds ? sum.shift : 1;
  rule.first_zero = sum.first_zero;
  rule.second_zero = sum.second_zero;
  rule.sum_zero = sum.zero;
  rule.sum_lowest = sum.lowest;
  rule.sum_highest = sum.highest;
  return rule;
}

// Weights, then the bias with what the zero of the inputs makes of all weights, then multipliers.
void pack_bytes(const linnet_network& network, PackedLayer& layer, const Data& data, const Counts& counts,
                std::uint8_t* packed) {
  const linnet_layer& given = layer.given;
  const Places places = places_of(given);
  const auto* weights = data.at<std::int8_t>(places.weights);
  const Index padded_out = layer.out_blocks * kBlock;
  const bool depthwise = given.kind == LINNET_DEPTHWISE;
  auto* bias = reinterpret_cast<std::int32_t*>(packed + counts.packed - padded_out * 8);
  auto* multipliers = reinterpret_cast<float*>(bias + padded_out);
  PackedBytes& own = layer.bytes;
  own.weights = reinterpret_cast<std::int8_t*>(packed);
  own.bias = bias;
  own.multipliers = multipliers;
  own.wide = depthwise && given.integers.weight_zero != 0;
  own.factor = depthwise ? 0 : -given.integers.weight_zero;
  // Of few outputs what belongs to a pixel takes longer than is saved, and so does what belongs to one pixel alone.
  own.crossed = given.kind == LINNET_CONVOLUTION && layer.input >= 0 && layer.out_blocks > 2 &&
                layer.inputs <= network.integers->crossed_inputs;
  if (own.wide) {
    pack_taps(given, weights, reinterpret_cast<std::int16_t*>(packed));
  } else if (depthwise) {
    pack_taps(given, weights, reinterpret_cast<std::int8_t*>(packed));
  } else {
    pack_product(layer, *network.integers, weights, reinterpret_cast<std::int8_t*>(packed));
  }
  // Operands are bytes less a number of their own; a depthwise filter reads the bytes themselves.
  const Index zero = given.integers.input_zero - (depthwise ? 0 : network.integers->operand_zero);
  const Index taps = counts.weights / layer.channels;
  own.rule.rectifies = !own.rule.adds && own.rule.zero == 0 && own.rule.lowest == 0 && own.rule.highest == 255;
  for (Index channel = 0; channel < layer.channels; ++channel) {
    const std::int32_t given_bias = data.at<std::int32_t>(places.bias)[channel];
    Index sum = 0, most = given_bias < 0 ? -Index{given_bias} : given_bias, highest = given_bias;
    for (Index i = 0; i < taps; ++i) {
      const Index weight = weights[channel * taps + i] - given.integers.weight_zero;
      sum += weight;
      most += 255 * (weight < 0 ? -weight : weight);
      highest += weight * ((weight < 0 ? 0 : 255) - given.integers.input_zero);
    }
    bias[channel] = static_cast<std::int32_t>(given_bias - zero * sum);
    if (own.crossed) bias[channel] = less_crossed(layer, *network.integers, channel, bias[channel]);
    multipliers[channel] = data.at<float>(given.integers.multipliers)[channel];
    // Half of what may be, since both factors are rounded.
    own.rule.far = own.rule.far || static_cast<double>(most) * static_cast<double>(multipliers[channel]) >= 0x1p30;
    own.rule.rectifies = own.rule.rectifies && !own.rule.far && highest < 1 << 23;
  }
}

void pack(linnet_network& network, const linnet_layer* layers, const Data& data) {
  std::uint8_t* packed = network.weights.data();
  for (Index number = 0; number < network.layers.size(); ++number) {
    const linnet_layer& given = layers[number];
    PackedLayer& layer = network.layers[number];
    layer.given = given;
    layer.channels = out_channels(given);
    layer.element = given.precision == LINNET_UINT8 ? 1 : kFloat;
    layer.integers = computes_with_bytes(given);
    layer.in_blocks = blocks_of(in_channels(given));
    layer.out_blocks = blocks_of(layer.channels);
    layer.input = network.inputs[given.first_input];
    layer.added =
        given.input_count > 1 && given.kind != LINNET_CONCATENATE ? network.inputs[given.first_input + 1] : -1;
    if (layer.integers) layer.bytes.rule = rule_of(given);
    Counts counts = {0, 0, 0};
    count(given, layer.input < 0, counts);
    layer.inputs = counts.inputs;
    if (given.kind == LINNET_CONCATENATE && layer.integers) {
      std::memcpy(packed, data.bytes + given.integers.tables, static_cast<std::size_t>(counts.packed));
      layer.bytes.tables = packed;
    } else if (has_weights(given) && layer.integers) {
      pack_bytes(network, layer, data, counts, packed);
    } else if (has_weights(given)) {
      const Places places = places_of(given);
      auto* floats = reinterpret_cast<float*>(packed);
      float* bias = floats + counts.packed / kFloat - layer.out_blocks * kBlock;
      layer.weights = floats;
      layer.bias = bias;
      if (given.kind == LINNET_DEPTHWISE) {
        pack_depthwise(layer.channels, data.at<float>(places.weights), floats);
      } else {
        pack_product(layer, *network.kernels, data.at<float>(places.weights), floats);
      }
      std::memcpy(bias, data.at<float>(places.bias), static_cast<std::size_t>(layer.channels) * sizeof(float));
    }
    packed += round_up(counts.packed, kLineBytes);
  }
}

}  // namespace

int engine_set() {
  static std::atomic<int> chosen{kNotChosen};
  return choose_once(chosen, kEngineTables);
}

}  // namespace linnet

using namespace linnet;

extern "C" const char* linnet_engine_instruction_set(void) {
  return engine_set() < 0 ? nullptr : kSetNames[engine_set()];
}

extern "C" double linnet_measure_peak(double seconds) {
  if (engine_set() < 0) return 0;
  // A few microseconds: short enough to fall between two interruptions.
  constexpr Index rounds = 2000;
  float sink[kLine] = {1};
  double best = 0;
  const double started = now(), end = started + (seconds < 10 ? seconds : 10);
  for (double begun = started, ended; begun == started || begun < end; begun = ended) {
    const Index each = kEngineTables[engine_set()]->multiply_add(rounds, sink);
    ended = now();
    const double taken = ended - begun;
    if (taken > 0 && rounds * each / taken > best) best = rounds * each / taken;
    if (ended == 0) break;  // there is no clock
  }
  return best;
}

extern "C" int linnet_network_open(const linnet_layer* layers, int64_t layer_count, const int32_t* inputs,
                                   int64_t input_count, const void* data, int64_t data_bytes, linnet_network** network,
                                   linnet_error* error) {
  if (layers == nullptr || inputs == nullptr || data == nullptr || network == nullptr || input_count < 0 ||
      data_bytes < 0 || layer_count < 1 || layer_count > kMostLayers ||
      reinterpret_cast<std::uintptr_t>(data) % kFloat != 0) {
    return fail(error, LINNET_BAD_ARGUMENT,
                "A program has from 1 to %lld layers, their inputs, and data at an address that is a "
                "multiple of 4.",
                static_cast<long long>(kMostLayers));
  }
  if (engine_set() < 0) {
    return fail(error, LINNET_BAD_ARGUMENT, "LINNET_ISA names an instruction set that is unknown or not there: '%s'.",
                forced_set());
  }
  const Data given = {static_cast<const std::uint8_t*>(data), data_bytes};
  Index packed = 0;
  if (const int code = check(layers, layer_count, inputs, input_count, given, &packed, error)) return code;
  auto* made = make<linnet_network>();
  if (made == nullptr || !made->layers.allocate(layer_count) || !made->inputs.allocate(input_count) ||
      !made->weights.allocate(packed)) {
    destroy(made);
    return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for %lld bytes of packed weights.",
                static_cast<long long>(packed));
  }
  made->kernels = kEngineTables[engine_set()];
  made->integers = kIntegerTables[engine_set()];
  std::memcpy(made->inputs.data(), inputs, static_cast<std::size_t>(input_count) * sizeof(std::int32_t));
  pack(*made, layers, given);
  *network = made;
  return LINNET_OK;
}

extern "C" void linnet_network_close(linnet_network* network) {
  if (network != nullptr && network->users.fetch_sub(1) == 1) destroy(network);
}
