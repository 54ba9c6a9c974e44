// Every kernel of every instruction set that this processor has, at all small sizes, beside the loop one can read; with
// forbidden pages around all that it is given.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "engine_kernels.h"
#include "guarded.h"
#include "integer_kernels.h"
#include "linnet.h"

using namespace linnet;
using namespace linnet_tests;

namespace {

const char* set = "";  // the one that is checked
std::uint32_t state = 1;

float random_number() {
  state = state * 1664525 + 1013904223;
  return static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
}

void fill(Guarded<float>& values) {
  for (Index i = 0; i < values.size(); ++i) values[i] = random_number();
}

float clamped(float x, float lowest, float highest) { return x < lowest ? lowest : x > highest ? highest : x; }

void expect(const char* kernel, const Guarded<float>& ours, const std::vector<float>& expected) {
  for (Index i = 0; i < ours.size(); ++i) {
    const float value = ours.data()[i], right = expected[static_cast<std::size_t>(i)];
    if (std::fabs(value - right) <= 2e-4F * (1 + std::fabs(right))) continue;
    std::fprintf(stderr, "%s %s: number %lld is %g and should be %g\n", set, kernel, static_cast<long long>(i),
                 static_cast<double>(value), static_cast<double>(right));
    std::exit(1);
  }
}

// A product whose rows of `a` are `run` floats, `step` apart from pixel to pixel.
void check_product(const EngineKernels& kernels, Index pixels, Index blocks, Index runs, Index run, Index step,
                   int variant) {
  const Index a_run_step = (pixels - 1) * step + run;
  Guarded<float> a(runs * a_run_step), weights(runs * run * blocks * kBlock), bias(blocks * kBlock);
  Guarded<float> added(blocks * pixels * kBlock), c(blocks * pixels * kBlock);
  fill(a), fill(weights), fill(bias), fill(added), fill(c);
  Product job = {};
  job.pixels = pixels;
  job.runs = runs;
  job.run = run;
  job.a = a.data();
  job.a_run_step = a_run_step;
  job.a_pixel_step = step;
  job.blocks = blocks;
  job.weights = weights.data();
  job.bias = variant % 2 == 0 ? bias.data() : nullptr;
  job.lowest = variant < 2 ? -INFINITY : 0;
  job.highest = variant < 2 ? INFINITY : 1.5F;
  job.added = variant % 3 == 0 ? added.data() : nullptr;
  job.added_step = job.c_step = pixels * kBlock;
  job.c = c.data();
  job.next = weights.data();
  job.next_floats = weights.size();
  std::vector<float> expected(static_cast<std::size_t>(c.size()));
  for (Index block = 0; block < blocks; ++block) {
    for (Index pixel = 0; pixel < pixels; ++pixel) {
      for (Index channel = 0; channel < kBlock; ++channel) {
        const Index place = (block * pixels + pixel) * kBlock + channel;
        double sum =
            job.bias != nullptr ? static_cast<double>(bias[block * kBlock + channel]) : static_cast<double>(c[place]);
        for (Index i = 0; i < runs * run; ++i) {
          sum += static_cast<double>(a[i / run * a_run_step + pixel * step + i % run]) *
                 static_cast<double>(weights[(i * blocks + block) * kBlock + channel]);
        }
        float x = clamped(static_cast<float>(sum), job.lowest, job.highest);
        if (job.added != nullptr) x += added[place];
        expected[static_cast<std::size_t>(place)] = x;
      }
    }
  }
  kernels.product(job);
  expect("product", c, expected);
}

void check_products(const EngineKernels& kernels) {
  for (Index blocks = 1; blocks <= 9; ++blocks) {
    // Panels as the engine cuts them: of one block up to the set's widest.
    const Index panel = kernels.panel_blocks(blocks, 0);
    for (Index pixels = 1; pixels <= 27; ++pixels) {
      for (int variant = 0; variant < 6; ++variant) {
        check_product(kernels, pixels, panel, 1 + pixels % 3, kBlock, kBlock, variant);
        if (blocks > 5) continue;
        check_product(kernels, pixels, panel, 3, 9, 6, variant);
        check_product(kernels, pixels, panel, 1 + variant, 1 + pixels % 5, 1 + variant % 4, variant);
      }
    }
  }
}

// A row of a depthwise convolution of `width` pixels, with `pads` zeros at the left and as many outputs as given; or
// the same row twice, the second time upside down.
void check_depthwise(const EngineKernels& kernels, Index width, Index stride, Index dilation, Index pad, Index outputs,
                     int missing) {
  Guarded<float> top(width * kBlock), middle(width * kBlock), bottom(width * kBlock), taps(9 * kBlock), bias(kBlock);
  const Index rows = 1 + width % 2;
  Guarded<float> output(rows * outputs * kBlock);
  fill(top), fill(middle), fill(bottom), fill(taps), fill(bias);
  DepthwiseRows job = {};
  job.output_rows = rows;
  for (Index r = 0; r < rows; ++r) {
    job.rows[r][2 * r] = missing == 0 ? nullptr : top.data();
    job.rows[r][1] = middle.data();
    job.rows[r][2 - 2 * r] = missing == 2 ? nullptr : bottom.data();
  }
  job.width = width;
  job.output_width = outputs;
  job.stride = stride;
  job.dilation = dilation;
  job.pad_left = pad;
  job.taps = taps.data();
  job.bias = bias.data();
  job.lowest = missing == 1 ? -INFINITY : -0.5F;
  job.highest = missing == 1 ? INFINITY : 0.75F;
  job.output = output.data();
  std::vector<float> expected(static_cast<std::size_t>(output.size()));
  for (Index i = 0; i < output.size(); ++i) {
    const Index channel = i % kBlock, x = i / kBlock % outputs, r = i / kBlock / outputs;
    float sum = bias[channel];
    for (Index tap = 0; tap < 9; ++tap) {
      const Index column = x * stride - pad + tap % 3 * dilation;
      const float* row = job.rows[r][tap / 3];
      if (row != nullptr && column >= 0 && column < width)
        sum += row[column * kBlock + channel] * taps[tap * kBlock + channel];
    }
    expected[static_cast<std::size_t>(i)] = clamped(sum, job.lowest, job.highest);
  }
  kernels.depthwise_rows(job);
  expect("depthwise_rows", output, expected);
}

void check_depthwise_rows(const EngineKernels& kernels) {
  for (Index width = 1; width <= 41; ++width) {
    for (Index stride = 1; stride <= 2; ++stride) {
      for (Index dilation = 1; dilation <= 3; ++dilation) {
        const Index outputs = (width + stride - 1) / stride, reach = 2 * dilation + 1;
        const Index total = (outputs - 1) * stride + reach > width ? (outputs - 1) * stride + reach - width : 0;
        for (int missing = 0; missing < 3; ++missing) {
          check_depthwise(kernels, width, stride, dilation, total / 2, outputs, missing);
          check_depthwise(kernels, width, stride, dilation, dilation, outputs, missing);
        }
      }
    }
  }
}

// Pixels anywhere between two of `before`, the last one with itself too.
void fill_neighbours(Guarded<Neighbours>& columns, Index before) {
  for (Index x = 0; x < columns.size(); ++x) {
    const auto low = static_cast<std::int32_t>(x * 7 % before);
    const auto steps = static_cast<std::int32_t>(x * 411 % 2049);
    const std::int32_t high = low + 1 < before ? low + 1 : low;
    columns[x] = {low, high, static_cast<float>(steps) / 2048.0F, steps};
  }
}

void check_resize(const EngineKernels& kernels, Index before, Index width) {
  Guarded<float> top(before * kBlock), bottom(before * kBlock), output(width * kBlock);
  Guarded<Neighbours> columns(width);
  fill(top), fill(bottom), fill_neighbours(columns, before);
  const float down = static_cast<float>(width % 5) / 4;
  std::vector<float> expected(static_cast<std::size_t>(output.size()));
  for (Index i = 0; i < output.size(); ++i) {
    const Neighbours& column = columns[i / kBlock];
    const Index left = column.low * kBlock + i % kBlock, right = column.high * kBlock + i % kBlock;
    const float upper = top[left] + (top[right] - top[left]) * column.share;
    const float lower = bottom[left] + (bottom[right] - bottom[left]) * column.share;
    expected[static_cast<std::size_t>(i)] = upper + (lower - upper) * down;
  }
  kernels.resize_row({top.data(), bottom.data(), down, columns.data(), width, output.data()});
  expect("resize_row", output, expected);
}

void check_pool(const EngineKernels& kernels, Index pixels) {
  Guarded<float> values(pixels * kBlock), sums(kBlock);
  fill(values);
  std::vector<float> expected(kBlock);
  for (std::size_t channel = 0; channel < kBlock; ++channel) {
    double sum = 0;
    for (Index pixel = 0; pixel < pixels; ++pixel) sum += static_cast<double>(values[pixel * kBlock + Index(channel)]);
    expected[channel] = static_cast<float>(sum / static_cast<double>(pixels));
  }
  kernels.pool_block(pixels, values.data(), 1 / static_cast<float>(pixels), sums.data());
  expect("pool_block", sums, expected);
}

void check_accumulate(const EngineKernels& kernels, Index inputs, Index columns) {
  Guarded<float> values(inputs), weights(inputs * columns), outputs(columns);
  fill(values), fill(weights), fill(outputs);
  std::vector<float> expected(static_cast<std::size_t>(columns));
  for (Index column = 0; column < columns; ++column) {
    double sum = static_cast<double>(outputs[column]);
    for (Index i = 0; i < inputs; ++i) {
      sum += static_cast<double>(values[i]) * static_cast<double>(weights[i * columns + column]);
    }
    expected[static_cast<std::size_t>(column)] = static_cast<float>(sum);
  }
  kernels.accumulate(inputs, values.data(), columns, weights.data(), outputs.data());
  expect("accumulate", outputs, expected);
}

void check_join(const EngineKernels& kernels, Index pixels, int parts, bool adds) {
  const Index floats = pixels * kBlock;
  Guarded<float> part(parts * floats), bias(kBlock), added(floats), c(floats);
  fill(part), fill(bias), fill(added);
  std::vector<float> expected(static_cast<std::size_t>(floats));
  for (Index i = 0; i < floats; ++i) {
    float sum = bias[i % kBlock];
    for (int k = 0; k < parts; ++k) sum += part[k * floats + i];
    expected[static_cast<std::size_t>(i)] = clamped(sum, -0.5F, 1) + (adds ? added[i] : 0);
  }
  kernels.join_block(pixels, parts, part.data(), floats, bias.data(), -0.5F, 1, adds ? added.data() : nullptr,
                     c.data());
  expect("join_block", c, expected);
}

// Kernels of bytes: equal to the plain loop, whatever the numbers are.

std::int32_t random_integer(std::int32_t least, std::int32_t most) {
  state = state * 1664525 + 1013904223;
  return least + static_cast<std::int32_t>((state >> 4) % static_cast<std::uint32_t>(most - least + 1));
}

template <typename Item>
void fill_between(Guarded<Item>& values, std::int32_t least, std::int32_t most) {
  for (Index i = 0; i < values.size(); ++i) values[i] = static_cast<Item>(random_integer(least, most));
}

// Of sums of about `size` and at most `largest`: most results are inside of a byte, some at its ends, and one of each
// kind at limits. Products that are not `far` stay below 2^31.
void fill_multipliers(Guarded<float>& multipliers, float size, float largest, bool far) {
  const float most = far ? 3e38F : 0x1p30F / largest;
  for (Index i = 0; i < multipliers.size(); ++i) {
    multipliers[i] = i % 8 == 3 ? 0.0F : i % 8 == 5 ? most : 200.0F / size * (1 + random_number() / 2);
  }
}

Requantisation random_rule(bool adds) {
  Requantisation rule = {};
  rule.zero = random_integer(0, 255);
  rule.lowest = random_integer(0, 1) * rule.zero;
  rule.highest = random_integer(0, 1) == 0 ? 255 : random_integer(rule.lowest, 255);
  rule.far = random_integer(0, 1) == 0;
  rule.adds = adds;
  rule.shift = random_integer(13, 30);
  rule.first = random_integer(1 << 12, 1 << 21);
  rule.second = random_integer(0, 1 << 21);
  if (rule.shift < 20) rule.first >>= 20 - rule.shift, rule.second >>= 20 - rule.shift;
  rule.first_zero = random_integer(0, 255);
  rule.second_zero = random_integer(0, 255);
  rule.sum_zero = random_integer(0, 255);
  rule.sum_lowest = random_integer(0, 100);
  rule.sum_highest = random_integer(rule.sum_lowest, 255);
  return rule;
}

// Makes some rules, of sums of at most `largest`, those that rectify.
void rectify_some(Requantisation& rule, float largest) {
  if (rule.adds || largest >= 0x1p23F || random_integer(0, 1) == 0) return;
  rule.zero = rule.lowest = 0;
  rule.highest = 255;
  rule.far = false;
  rule.rectifies = true;
}

// Sums of 32 bits go round.
std::int32_t wrapped(std::int64_t sum) { return static_cast<std::int32_t>(static_cast<std::uint32_t>(sum)); }

std::uint8_t byte_of(std::int32_t sum, float multiplier, const Requantisation& rule, const std::uint8_t* added) {
  const float scaled = static_cast<float>(sum) * multiplier;
  const float least = static_cast<float>(rule.lowest - rule.zero), most = static_cast<float>(rule.highest - rule.zero);
  std::int64_t byte = static_cast<std::int64_t>(std::nearbyint(clamped(scaled, least, most))) + rule.zero;
  if (rule.adds) {
    byte = (std::int64_t{1} << (rule.shift - 1)) + rule.first * (byte - rule.first_zero) +
           std::int64_t{rule.second} * (*added - rule.second_zero);
    byte = (byte >> rule.shift) + rule.sum_zero;
    byte = byte < rule.sum_lowest ? rule.sum_lowest : byte > rule.sum_highest ? rule.sum_highest : byte;
  }
  return static_cast<std::uint8_t>(byte);
}

// What products read: bytes, or bytes less a number, or the same in 16 bits.
class Operands {
 public:
  Operands(const IntegerKernels& kernels, Index count) : kernels_(kernels), memory_(count * kernels.operand_bytes) {}
  void* data() { return memory_.data(); }
  void set(Index i, int byte) {
    const auto value = static_cast<std::int16_t>(byte - kernels_.operand_zero);
    // The low byte of either is its first.
    std::memcpy(memory_.data() + i * kernels_.operand_bytes, &value, static_cast<std::size_t>(kernels_.operand_bytes));
  }
  Index operator[](Index i) const {
    std::int16_t value = 0;
    std::memcpy(&value, memory_.data() + i * kernels_.operand_bytes, static_cast<std::size_t>(kernels_.operand_bytes));
    if (kernels_.operand_bytes == 2) return value;
    return kernels_.operand_zero == 0 ? static_cast<std::uint8_t>(value) : static_cast<std::int8_t>(value);
  }
  void fill() {
    for (Index i = 0; i < memory_.size() / kernels_.operand_bytes; ++i) set(i, random_integer(0, 255));
  }

 private:
  const IntegerKernels& kernels_;
  Guarded<std::uint8_t> memory_;
};

template <typename Item>
void expect_equal(const char* kernel, const Guarded<Item>& ours, const std::vector<Item>& expected) {
  for (Index i = 0; i < ours.size(); ++i) {
    const Item value = ours.data()[i], right = expected[static_cast<std::size_t>(i)];
    if (value == right) continue;
    std::fprintf(stderr, "%s %s: number %lld is %d and should be %d\n", set, kernel, static_cast<long long>(i),
                 static_cast<int>(value), static_cast<int>(right));
    std::exit(1);
  }
}

// As `check_product`; runs of any length are read in words, as those of a picture are.
void check_integer_product(const IntegerKernels& kernels, Index pixels, Index blocks, Index runs, Index run, Index step,
                           int variant) {
  const bool begins = variant % 2 == 0, ends = variant % 3 != 1, adds = variant % 4 >= 2, terms = variant % 5 < 2;
  const bool sums_given = !begins || !ends || variant % 7 == 0;
  const Index padded = round_up(run, 4), a_run_step = (pixels - 1) * step + run, group = group_of(kernels);
  // Of the last pixel's last run the last word may end behind the row.
  Operands a(kernels, (runs - 1) * a_run_step + (pixels - 1) * step + padded);
  Guarded<std::int8_t> weights(runs * padded * blocks * kBlock);
  Guarded<std::int32_t> bias(blocks * kBlock), own(pixels), sums(blocks * pixels * kBlock);
  Guarded<float> multipliers(blocks * kBlock);
  Guarded<std::uint8_t> added(blocks * pixels * kBlock), c(blocks * pixels * kBlock);
  a.fill(), fill_between(weights, -128, 127), fill_between(added, 0, 255), fill_between(c, 0, 255);
  const std::int32_t most = variant % 11 == 10 ? 1 << 29 : 1 << 18;
  fill_between(bias, -most, most), fill_between(own, -65536, 65536), fill_between(sums, -most, most);
  IntegerProduct job = {};
  job.rule = random_rule(adds);
  const auto factors = static_cast<float>(runs * padded), start = static_cast<float>(most);
  const float largest = start + 65536 + 65280 * factors;
  rectify_some(job.rule, largest);
  fill_multipliers(multipliers, start + 4000 * factors, largest, job.rule.far);
  job.pixels = pixels;
  job.runs = runs;
  job.run = padded;
  job.a = a.data();
  job.a_run_step = a_run_step;
  job.a_pixel_step = step;
  job.blocks = blocks;
  job.weights = weights.data();
  job.bias = begins ? bias.data() : nullptr;
  job.crossed = terms && run == kBlock && step == kBlock && variant % 3 != 2 && runs * run <= kernels.crossed_inputs;
  const std::int32_t own_factor = random_integer(-127, 128);
  Guarded<std::int32_t> less(blocks * kBlock);
  if (job.crossed) {
    for (Index i = 0; i < own.size(); ++i) own[i] = 0;
    kernels.sum_pixels(job, own_factor, own.data());
    for (Index i = 0; i < less.size(); ++i) {
      const auto weight = [&](Index k) { return weights[(k / group * blocks * kBlock + i) * group + k % group]; };
      less[i] = 0;
      for (Index k = 0; k < runs * run; ++k) less[i] += k % 4 < 2 ? weight(k) * weight(k + 2) : 0;
      bias[i] -= less[i];
    }
  }
  job.terms = terms ? own.data() : nullptr;
  job.sums = sums_given ? sums.data() : nullptr;
  job.sums_step = job.added_step = job.c_step = pixels * kBlock;
  job.multipliers = multipliers.data();
  job.added = adds ? added.data() : nullptr;
  job.c = ends ? c.data() : nullptr;
  job.next = weights.data();
  job.next_bytes = weights.size();
  std::vector<std::uint8_t> bytes(c.data(), c.data() + c.size());
  std::vector<std::int32_t> whole(sums.data(), sums.data() + sums.size());
  for (Index i = 0; i < c.size(); ++i) {
    const Index block = i / kBlock / pixels, pixel = i / kBlock % pixels, channel = block * kBlock + i % kBlock;
    Index sum = begins ? bias[channel] : sums[i];
    for (Index k = 0; k < runs * padded; ++k) {
      const Index weight = weights[(k / group * blocks * kBlock + channel) * group + k % group];
      sum += a[k / padded * a_run_step + pixel * step + k % padded] * weight;
    }
    if (job.crossed) {
      sum += less[channel];
      for (Index k = 0; k < runs * run; ++k) sum += own_factor * a[k / run * a_run_step + pixel * step + k % run];
    } else if (terms) {
      sum += own[pixel];
    }
    const auto place = static_cast<std::size_t>(i);
    if (!ends) whole[place] = wrapped(sum);
    if (ends) bytes[place] = byte_of(wrapped(sum), multipliers[channel], job.rule, added.data() + i);
  }
  kernels.product(job);
  expect_equal("product", c, bytes);
  if (!ends) expect_equal("product (sums)", sums, whole);

  std::vector<std::int32_t> totals(static_cast<std::size_t>(pixels));
  const std::int32_t factor = random_integer(-127, 128);
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    Index sum = 0;
    for (Index k = 0; k < runs * padded; ++k) sum += a[k / padded * a_run_step + pixel * step + k % padded];
    totals[static_cast<std::size_t>(pixel)] = wrapped(factor * sum);
  }
  job.crossed = false;
  for (Index i = 0; i < own.size(); ++i)
    totals[static_cast<std::size_t>(i)] = wrapped(totals[static_cast<std::size_t>(i)] + Index{own[i]});
  kernels.sum_pixels(job, factor, own.data());
  expect_equal("sum_pixels", own, totals);
}

void check_integer_products(const IntegerKernels& kernels) {
  for (Index blocks = 1; blocks <= kernels.panel_blocks; ++blocks) {
    for (Index pixels = 1; pixels <= 27; ++pixels) {
      for (int variant = 0; variant < 12; ++variant) {
        check_integer_product(kernels, pixels, blocks, 1 + (pixels + variant) % 4, kBlock, kBlock, variant);
        check_integer_product(kernels, pixels, blocks, 3, 9, 6, variant);
        check_integer_product(kernels, pixels, blocks, 1 + variant, 1 + (pixels + variant) % 15, 1 + variant % 4,
                              variant);
      }
    }
  }
  // So many inputs that what belongs to a zero of the weights goes round.
  Operands all(kernels, 9000 * kBlock);
  for (Index i = 0; i < 9000 * kBlock; ++i) all.set(i, 255);
  IntegerProduct job = {};
  job.pixels = 1;
  job.runs = 9000;
  job.run = job.a_run_step = job.a_pixel_step = kBlock;
  job.a = all.data();
  Guarded<std::int32_t> total(1);
  total[0] = 0;
  kernels.sum_pixels(job, 128, total.data());
  expect_equal("sum_pixels (many)", total, {wrapped(Index{9000} * kBlock * all[0] * 128)});
}

// As `check_depthwise`; what lies outside is a byte of its own.
void check_integer_depthwise(const IntegerKernels& kernels, Index width, Index stride, Index dilation, Index pad,
                             Index outputs, int variant) {
  const bool wide = variant % 2 == 1, operands = variant % 3 == 1;
  const Index rows = 1 + variant % 4, height = (rows - 1) * stride + 2 * dilation + 1;
  Guarded<std::uint8_t> input(height * width * kBlock);
  Guarded<std::int16_t> wide_taps(wide ? 3 * kBlock * 4 : 0);
  Guarded<std::int8_t> narrow_taps(wide ? 0 : 3 * kBlock * 4);
  Guarded<std::int32_t> bias(kBlock);
  Guarded<float> multipliers(kBlock);
  fill_between(input, 0, 255);
  fill_between(wide_taps, -255, 255), fill_between(narrow_taps, -128, 127), fill_between(bias, -100000, 100000);
  for (Index i = 3; i < 3 * kBlock * 4; i += 4) {
    if (wide) wide_taps[i] = 0;
    if (!wide) narrow_taps[i] = 0;
  }
  IntegerDepthwise job = {};
  for (Index r = 0; r < rows; ++r) {
    for (Index tap = 0; tap < 3; ++tap) {
      job.rows[r][tap] = input.data() + (r * stride + tap * dilation) * width * kBlock;
    }
  }
  job.output_rows = rows;
  job.width = width;
  job.output_width = outputs;
  job.stride = stride;
  job.dilation = dilation;
  job.pad_left = pad;
  job.padding = static_cast<std::uint8_t>(random_integer(0, 255));
  job.wide = wide;
  job.taps = wide ? static_cast<const void*>(wide_taps.data()) : narrow_taps.data();
  job.bias = bias.data();
  job.multipliers = multipliers.data();
  job.rule = random_rule(false);
  rectify_some(job.rule, 100000 + 9 * 255 * 255);
  fill_multipliers(multipliers, 200000, 100000 + 9 * 255 * 255, job.rule.far);
  job.operands = operands;
  Guarded<std::uint8_t> output(rows * outputs * kBlock);
  Operands written(kernels, rows * outputs * kBlock);
  job.output = operands ? written.data() : output.data();
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(output.size()));
  for (Index i = 0; i < rows * outputs * kBlock; ++i) {
    const Index x = i / kBlock % outputs, r = i / kBlock / outputs, channel = i % kBlock;
    Index sum = bias[channel];
    for (Index tap = 0; tap < 9; ++tap) {
      const Index column = x * stride - pad + tap % 3 * dilation, place = (tap / 3 * kBlock + channel) * 4 + tap % 3;
      const Index value = column >= 0 && column < width ? job.rows[r][tap / 3][column * kBlock + channel] : job.padding;
      sum += value * (wide ? wide_taps[place] : narrow_taps[place]);
    }
    expected[static_cast<std::size_t>(i)] = byte_of(wrapped(sum), multipliers[channel], job.rule, nullptr);
  }
  kernels.depthwise_rows(job);
  // Of operands the bytes that they stand for.
  for (Index i = 0; operands && i < output.size(); ++i) {
    output[i] = static_cast<std::uint8_t>(written[i] + kernels.operand_zero);
  }
  expect_equal(operands ? "depthwise_rows (operands)" : "depthwise_rows", output, expected);
}

void check_integer_depthwise_rows(const IntegerKernels& kernels) {
  for (Index width = 1; width <= 75; ++width) {
    for (Index stride = 1; stride <= 2; ++stride) {
      for (Index dilation = 1; dilation <= 3; ++dilation) {
        const Index outputs = (width + stride - 1) / stride, reach = 2 * dilation + 1;
        const Index total = (outputs - 1) * stride + reach > width ? (outputs - 1) * stride + reach - width : 0;
        for (int variant = 0; variant < 6; ++variant) {
          check_integer_depthwise(kernels, width, stride, dilation, total / 2, outputs, variant);
          check_integer_depthwise(kernels, width, stride, dilation, dilation, outputs, variant);
        }
      }
    }
  }
}

void check_integer_resize(const IntegerKernels& kernels, Index before, Index width) {
  Guarded<std::uint8_t> top(before * kBlock), bottom(before * kBlock), output(width * kBlock);
  Guarded<Neighbours> columns(width);
  fill_between(top, 0, 255), fill_between(bottom, 0, 255), fill_neighbours(columns, before);
  const auto down = static_cast<std::int32_t>(width * 300 % 2049);
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(output.size()));
  for (Index i = 0; i < output.size(); ++i) {
    const Neighbours& column = columns[i / kBlock];
    const Index left = column.low * kBlock + i % kBlock, right = column.high * kBlock + i % kBlock;
    const Index upper = top[left] * (2048 - column.steps) + top[right] * column.steps;
    const Index lower = bottom[left] * (2048 - column.steps) + bottom[right] * column.steps;
    const Index sum = upper * (2048 - down) + lower * down;
    expected[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>((sum + (1 << 21)) >> 22);
  }
  kernels.resize_row({top.data(), bottom.data(), down, columns.data(), width, output.data()});
  expect_equal("resize_row", output, expected);
}

void check_read_colours(const IntegerKernels& kernels, Index count) {
  Guarded<std::uint8_t> pixels(3 * count), table(3 * 256);
  std::vector<std::uint64_t> words(3 * 256);
  fill_between(pixels, 0, 255), fill_between(table, 0, 255);
  const int bits = 8 * static_cast<int>(kernels.operand_bytes);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto operand = static_cast<std::uint64_t>(table[static_cast<Index>(i)] - kernels.operand_zero);
    words[i] = (operand & ((std::uint64_t{1} << bits) - 1)) << static_cast<int>(i / 256) * bits;
  }
  Operands operands(kernels, 3 * count + 1);
  kernels.read_colours(pixels.data(), count, table.data(), words.data(), operands.data());
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(3 * count));
  Guarded<std::uint8_t> back(3 * count);
  for (Index i = 0; i < 3 * count; ++i) {
    expected[static_cast<std::size_t>(i)] = table[i % 3 * 256 + pixels[i]];
    back[i] = static_cast<std::uint8_t>(operands[i] + kernels.operand_zero);
  }
  expect_equal("read_colours", back, expected);
}

void check_widen(const IntegerKernels& kernels, Index count) {
  Guarded<std::uint8_t> bytes(count), back(count);
  Operands operands(kernels, count);
  fill_between(bytes, 0, 255);
  kernels.widen(count, bytes.data(), operands.data());
  for (Index i = 0; i < count; ++i) back[i] = static_cast<std::uint8_t>(operands[i] + kernels.operand_zero);
  expect_equal("widen", back, std::vector<std::uint8_t>(bytes.data(), bytes.data() + count));
}

void check_integer_join(const IntegerKernels& kernels, Index pixels, int parts, bool adds) {
  const Index count = pixels * kBlock;
  Guarded<std::int32_t> part(parts * count), bias(kBlock);
  Guarded<float> multipliers(kBlock);
  Guarded<std::uint8_t> added(count), c(count);
  fill_between(part, -100000, 100000), fill_between(bias, -100000, 100000), fill_between(added, 0, 255);
  const Requantisation rule = random_rule(adds);
  fill_multipliers(multipliers, 200000, 600000, rule.far);
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) {
    Index sum = bias[i % kBlock];
    for (int k = 0; k < parts; ++k) sum += part[k * count + i];
    expected[static_cast<std::size_t>(i)] = byte_of(wrapped(sum), multipliers[i % kBlock], rule, added.data() + i);
  }
  kernels.join_block(pixels, parts, part.data(), count, bias.data(), multipliers.data(), rule,
                     adds ? added.data() : nullptr, c.data());
  expect_equal("join_block", c, expected);
}

void check_integers(const IntegerKernels& kernels) {
  check_integer_products(kernels);
  check_integer_depthwise_rows(kernels);
  for (Index count = 0; count <= 100; ++count) check_widen(kernels, count), check_read_colours(kernels, count);
  for (Index width = 1; width <= 20; ++width) check_integer_resize(kernels, 1 + width / 2, width);
  for (Index pixels = 1; pixels <= 9; ++pixels) {
    for (int parts = 1; parts <= 5; ++parts) check_integer_join(kernels, pixels, parts, parts % 2 == 0);
  }
}

// Boxes have a reference in Python; here is only that nothing is touched but what the caller gave.
void check_detection(std::int32_t scoring, Index count, std::int32_t classes) {
  const linnet_detection rule = {count, classes, scoring, 0.2, 0.5, 3, 7};
  Guarded<float> offsets(4 * count), logits(count * (1 + classes)), places(4 * count), boxes(4 * rule.total);
  Guarded<float> scores(rule.total);
  Guarded<std::int32_t> kinds(rule.total);
  Guarded<double> workspace(linnet_detect_workspace(&rule) / 8);
  fill(offsets), fill(logits), fill(places);
  std::int64_t kept = -1;
  const int code = linnet_detect(&rule, offsets.data(), logits.data(), places.data(), workspace.data(), boxes.data(),
                                 scores.data(), kinds.data(), &kept, nullptr);
  if (code == LINNET_OK && kept >= 0 && kept <= rule.total) return;
  std::fprintf(stderr, "linnet_detect gives %d and %lld boxes\n", code, static_cast<long long>(kept));
  std::exit(1);
}

void check_floats(const EngineKernels& kernels) {
  check_products(kernels);
  check_depthwise_rows(kernels);
  for (Index width = 1; width <= 20; ++width) check_resize(kernels, 1 + width / 2, width);
  for (Index pixels = 1; pixels <= 50; ++pixels) check_pool(kernels, pixels);
  for (Index inputs = 1; inputs <= 19; ++inputs) {
    for (Index blocks = 1; blocks <= 13; ++blocks) check_accumulate(kernels, inputs, blocks * kBlock);
  }
  for (Index pixels = 1; pixels <= 9; ++pixels) {
    for (int parts = 1; parts <= 5; ++parts) check_join(kernels, pixels, parts, parts % 2 == 0);
  }
}

}  // namespace

int main() {
  for (const Guard guard : {Guard::kBehind, Guard::kBefore}) {
    set_guard(guard);
    for (Index count = 1; count <= 40; ++count) {
      check_detection(LINNET_SIGMOID, count, 1 + static_cast<std::int32_t>(count % 7));
      check_detection(LINNET_SOFTMAX, count, 1 + static_cast<std::int32_t>(count % 7));
    }
    for (int number = 0; number < kSetCount; ++number) {
      if (kEngineTables[number] == nullptr || !has(static_cast<InstructionSet>(number))) continue;
      set = kSetNames[number];
      check_floats(*kEngineTables[number]);
      check_integers(*kIntegerTables[number]);
      std::printf("%s: all kernels\n", set);
    }
  }
  return 0;
}
