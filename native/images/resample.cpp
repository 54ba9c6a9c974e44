// Pillow's resampling: first across, then down, each with weights of 22 bits of its own for every output, and rounded
// to bytes in between. The weights are made in double precision in Pillow's own order: nothing may be contracted here.

#include "resample.h"

#include <cmath>

namespace linnet {
namespace {

constexpr int kPrecision = 22;  // a sum of weighted bytes, negative lobes included, stays within 32 bits

double triangle(double x) {
  x = x < 0 ? -x : x;
  return x < 1 ? 1 - x : 0;
}

// Keys' cubic with a = -1/2.
double cubic(double x) {
  x = x < 0 ? -x : x;
  if (x < 1) return ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

struct Filter {
  double (*weight)(double);
  double support;
};

// The inputs of one output: the first, how many, and where their weights begin.
struct Taps {
  Index first, count, weights;
};

struct Weights {
  Array<Taps> taps;            // of each output that is made
  Array<std::int32_t> values;  // in 2^-22
};

// Weights of one output, which sum to 1, as Pillow has them.
void fill(const Filter& filter, const Axis& axis, Index output, double* scratch, Taps* taps, std::int32_t* values) {
  const double scale = static_cast<double>(axis.to - axis.from) / static_cast<double>(axis.size);
  const double widened = scale < 1 ? 1 : scale, support = filter.support * widened, narrowed = 1.0 / widened;
  const double center = axis.from + (static_cast<double>(output) + 0.5) * scale;
  Index first = static_cast<Index>(center - support + 0.5);
  Index last = static_cast<Index>(center + support + 0.5);
  first = first < 0 ? 0 : first;
  last = last > axis.length ? axis.length : last;
  double sum = 0;
  for (Index i = 0; i < last - first; ++i) {
    scratch[i] = filter.weight((static_cast<double>(i + first) - center + 0.5) * narrowed);
    sum += scratch[i];
  }
  for (Index i = 0; i < last - first; ++i) {
    const double weight = (sum != 0 ? scratch[i] / sum : scratch[i]) * (1 << kPrecision);
    values[i] = static_cast<std::int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
  }
  taps->first = first;
  taps->count = last - first;
}

bool weigh(const Filter& filter, const Axis& axis, Weights* weights) {
  const double scale = static_cast<double>(axis.to - axis.from) / static_cast<double>(axis.size);
  const Index most = static_cast<Index>(std::ceil(filter.support * (scale < 1 ? 1 : scale))) * 2 + 1;
  Array<double> scratch;
  if (!weights->taps.allocate(axis.count) || !weights->values.allocate(axis.count * most) || !scratch.allocate(most)) {
    return false;
  }
  for (Index i = 0; i < axis.count; ++i) {
    Taps& taps = weights->taps[i];
    taps.weights = i * most;
    fill(filter, axis, axis.first + i, scratch.data(), &taps, weights->values.data() + taps.weights);
  }
  return true;
}

std::uint8_t byte_of(std::int32_t sum) {
  const std::int32_t value = sum >> kPrecision;
  return static_cast<std::uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
}

// The channels of a pixel side by side.
typedef std::int32_t Four __attribute__((vector_size(16)));
typedef std::uint8_t FourBytes __attribute__((vector_size(4)));

Four four_of(const std::uint8_t* p) {
  FourBytes bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return __builtin_convertvector(bytes, Four);
}

constexpr std::int32_t kHalf = 1 << (kPrecision - 1);

// One output of `channels` channels, from pixels of `pixel` bytes side by side. Pixels of three bytes are read four
// bytes at a time but for the last one, behind which nothing need be.
void sum_across(const std::uint8_t* pixels, const std::int32_t* weights, Index count, int pixel, int channels,
                std::uint8_t* output) {
  if (pixel >= 3) {
    Four sum = {kHalf, kHalf, kHalf, kHalf};
    const Index safe = pixel == 3 ? count - 1 : count;
    for (Index i = 0; i < safe; ++i) sum += four_of(pixels + i * pixel) * weights[i];
    for (int k = 0; k < channels; ++k) {
      output[k] = byte_of(safe < count ? sum[k] + pixels[safe * pixel + k] * weights[safe] : sum[k]);
    }
    return;
  }
  for (int k = 0; k < channels; ++k) {
    std::int32_t sum = kHalf;
    for (Index i = 0; i < count; ++i) sum += pixels[i * pixel + k] * weights[i];
    output[k] = byte_of(sum);
  }
}

// A row of `bytes` bytes, from rows of so many that lie `stride` bytes apart.
void sum_down(const std::uint8_t* rows, Index stride, const std::int32_t* weights, Index count, Index bytes,
              std::uint8_t* output) {
  constexpr Index kTogether = 16;
  Index x = 0;
  for (; x + kTogether <= bytes; x += kTogether) {
    Four sums[kTogether / 4];
    for (Four& sum : sums) sum = Four{kHalf, kHalf, kHalf, kHalf};
    for (Index i = 0; i < count; ++i) {
      const std::uint8_t* row = rows + i * stride + x;
      for (Index k = 0; k < kTogether / 4; ++k) sums[k] += four_of(row + 4 * k) * weights[i];
    }
    for (Index k = 0; k < kTogether; ++k) output[x + k] = byte_of(sums[k / 4][k % 4]);
  }
  for (; x < bytes; ++x) {
    std::int32_t sum = kHalf;
    for (Index i = 0; i < count; ++i) sum += rows[i * stride + x] * weights[i];
    output[x] = byte_of(sum);
  }
}

// Rows [first, first + count) of a picture, made narrower or wider.
void pass_across(const Pixels& picture, const Axis& axis, const Weights& weights, Index first, Index count,
                 std::uint8_t* output) {
  for (Index y = first; y < first + count; ++y) {
    for (Index x = 0; x < axis.count; ++x, output += picture.channels) {
      const Taps& taps = weights.taps[x];
      sum_across(picture.row(y) + taps.first * picture.pixel, weights.values.data() + taps.weights, taps.count,
                 picture.pixel, picture.channels, output);
    }
  }
}

// Columns [first, first + count) of a picture, made lower or higher; its pixels keep their bytes.
void pass_down(const Pixels& picture, const Axis& axis, const Weights& weights, Index first, Index count,
               std::uint8_t* output) {
  const Index bytes = count * picture.pixel;
  for (Index y = 0; y < axis.count; ++y) {
    const Taps& taps = weights.taps[y];
    sum_down(picture.row(taps.first) + first * picture.pixel, picture.stride, weights.values.data() + taps.weights,
             taps.count, bytes, output + y * bytes);
  }
}

// The inputs that a pass reads.
Range read_by(const Weights& weights) {
  const Taps &first = weights.taps[0], &last = weights.taps[weights.taps.size() - 1];
  return {first.first, last.first + last.count};
}

// Weights of what the first pass made, which begins at `first`.
void shift(Weights* weights, Index first) {
  for (Index i = 0; i < weights->taps.size(); ++i) weights->taps[i].first -= first;
}

}  // namespace

bool resample(const Pixels& picture, const Axis& across, const Axis& down, int interpolation, std::uint8_t* output) {
  const Filter filter = interpolation == LINNET_BICUBIC ? Filter{cubic, 2} : Filter{triangle, 1};
  Weights columns, rows;
  if (!weigh(filter, across, &columns) || !weigh(filter, down, &rows)) return false;
  // Only what the second pass reads is made. A side that stays has one weight of 1 for each pixel: it changes nothing.
  const Range wide = read_by(columns), high = read_by(rows);
  Array<std::uint8_t> made;
  // Since version 13 Pillow begins with the side that loses more than twice as many pixels; bits depend on the order.
  const Index lost = down.length - down.size;
  if (lost > 0 && lost > 2 * (across.length - across.size)) {
    if (!made.allocate(down.count * wide.count() * picture.pixel)) return false;
    pass_down(picture, down, rows, wide.first, wide.count(), made.data());
    shift(&columns, wide.first);
    const Pixels inner = {made.data(),   wide.count(),    down.count, wide.count() * picture.pixel,
                          picture.pixel, picture.channels};
    pass_across(inner, across, columns, 0, down.count, output);
    return true;
  }
  const Index stride = across.count * picture.channels;
  if (!made.allocate(high.count() * stride)) return false;
  pass_across(picture, across, columns, high.first, high.count(), made.data());
  shift(&rows, high.first);
  const Pixels inner = {made.data(), across.count, high.count(), stride, picture.channels, picture.channels};
  pass_down(inner, down, rows, 0, across.count, output);
  return true;
}

namespace {

// The input of each output. Pillow adds the step up, and its rounding with it.
void find_nearest(const Axis& axis, Index* places) {
  const double step = static_cast<double>(axis.to - axis.from) / static_cast<double>(axis.size);
  double place = axis.from + step * 0.5;
  for (Index i = 0; i < axis.first + axis.count; ++i, place += step) {
    const Index found = static_cast<Index>(place);
    if (i >= axis.first) places[i - axis.first] = found < axis.length ? found : axis.length - 1;
  }
}

}  // namespace

bool take_nearest(const Pixels& picture, const Axis& across, const Axis& down, std::uint8_t* output) {
  Array<Index> columns, rows;
  if (!columns.allocate(across.count) || !rows.allocate(down.count)) return false;
  find_nearest(across, columns.data());
  find_nearest(down, rows.data());
  for (Index y = 0; y < down.count; ++y) {
    for (Index x = 0; x < across.count; ++x) {
      const std::uint8_t* pixel = picture.row(rows[y]) + columns[x] * picture.pixel;
      for (int k = 0; k < picture.channels; ++k) *output++ = pixel[k];
    }
  }
  return true;
}

namespace {

struct Pair {
  Index low, high;
  float share;  // of the second one
};

// float32 as in `linnet.images.resizing`.
void find_pairs(const Axis& axis, Pair* pairs) {
  const auto step = static_cast<float>(static_cast<double>(axis.length) / static_cast<double>(axis.size));
  for (Index i = 0; i < axis.count; ++i) {
    float centre = (static_cast<float>(axis.first + i) + 0.5F) * step - 0.5F;
    centre = centre > 0 ? centre : 0;
    const Index low = static_cast<Index>(centre);
    pairs[i].low = low < axis.length ? low : axis.length - 1;
    pairs[i].high = pairs[i].low + 1 < axis.length ? pairs[i].low + 1 : axis.length - 1;
    pairs[i].share = static_cast<float>(static_cast<double>(centre) - static_cast<double>(pairs[i].low));
  }
}

}  // namespace

bool sample_bilinear(const Pixels& picture, const Axis& across, const Axis& down, std::uint8_t* output) {
  Array<Pair> columns, rows;
  if (!columns.allocate(across.count) || !rows.allocate(down.count)) return false;
  find_pairs(across, columns.data());
  find_pairs(down, rows.data());
  for (Index y = 0; y < down.count; ++y) {
    const std::uint8_t *above = picture.row(rows[y].low), *below = picture.row(rows[y].high);
    const float lower = rows[y].share;
    for (Index x = 0; x < across.count; ++x) {
      const Index left = columns[x].low * picture.pixel, right = columns[x].high * picture.pixel;
      const float share = columns[x].share;
      for (int k = 0; k < picture.channels; ++k) {
        const float first = above[left + k] * (1 - lower) + below[left + k] * lower;
        const float second = above[right + k] * (1 - lower) + below[right + k] * lower;
        *output++ = static_cast<std::uint8_t>(std::rint(first * (1 - share) + second * share));
      }
    }
  }
  return true;
}

}  // namespace linnet
