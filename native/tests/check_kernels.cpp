// Every kernel of every instruction set that this processor has, at all small sizes, beside the loop one can read; with
// forbidden pages around all that it is given.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "engine_kernels.h"
#include "guarded.h"
#include "linnet.h"

using namespace linnet;
using namespace linnet_tests;

namespace {

std::uint32_t state = 1;

float random_number() {
  state = state * 1664525 + 1013904223;
  return static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
}

void fill(Guarded<float>& values) {
  for (Index i = 0; i < values.size(); ++i) values[i] = random_number();
}

float clamped(float x, float lowest, float highest) { return x < lowest ? lowest : x > highest ? highest : x; }

void expect(const EngineKernels& kernels, const char* kernel, const Guarded<float>& ours,
            const std::vector<float>& expected) {
  for (Index i = 0; i < ours.size(); ++i) {
    const float value = ours.data()[i], right = expected[static_cast<std::size_t>(i)];
    if (std::fabs(value - right) <= 2e-4F * (1 + std::fabs(right))) continue;
    std::fprintf(stderr, "%s %s: number %lld is %g and should be %g\n", kernels.name, kernel, static_cast<long long>(i),
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
  expect(kernels, "product", c, expected);
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

// A row of a depthwise convolution of `width` pixels, with `pads` zeros at the left and as many outputs as given.
void check_depthwise(const EngineKernels& kernels, Index width, Index stride, Index dilation, Index pad, Index outputs,
                     int missing) {
  Guarded<float> top(width * kBlock), middle(width * kBlock), bottom(width * kBlock), taps(9 * kBlock), bias(kBlock);
  Guarded<float> output(outputs * kBlock);
  fill(top), fill(middle), fill(bottom), fill(taps), fill(bias);
  DepthwiseRow job = {};
  job.rows[0] = missing == 0 ? nullptr : top.data();
  job.rows[1] = middle.data();
  job.rows[2] = missing == 2 ? nullptr : bottom.data();
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
  for (Index x = 0; x < outputs; ++x) {
    for (Index channel = 0; channel < kBlock; ++channel) {
      float sum = bias[channel];
      for (Index tap = 0; tap < 9; ++tap) {
        const Index column = x * stride - pad + tap % 3 * dilation;
        const float* row = job.rows[tap / 3];
        if (row != nullptr && column >= 0 && column < width)
          sum += row[column * kBlock + channel] * taps[tap * kBlock + channel];
      }
      expected[static_cast<std::size_t>(x * kBlock + channel)] = clamped(sum, job.lowest, job.highest);
    }
  }
  kernels.depthwise_row(job);
  expect(kernels, "depthwise_row", output, expected);
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
  expect(kernels, "pool_block", sums, expected);
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
  expect(kernels, "accumulate", outputs, expected);
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
  expect(kernels, "join_block", c, expected);
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

void check_all(const EngineKernels& kernels) {
  check_products(kernels);
  check_depthwise_rows(kernels);
  for (Index pixels = 1; pixels <= 50; ++pixels) check_pool(kernels, pixels);
  for (Index inputs = 1; inputs <= 19; ++inputs) {
    for (Index blocks = 1; blocks <= 13; ++blocks) check_accumulate(kernels, inputs, blocks * kBlock);
  }
  for (Index pixels = 1; pixels <= 9; ++pixels) {
    for (int parts = 1; parts <= 5; ++parts) check_join(kernels, pixels, parts, parts % 2 == 0);
  }
  std::printf("%s: all kernels\n", kernels.name);
}

}  // namespace

int main() {
  for (const Guard guard : {Guard::kBehind, Guard::kBefore}) {
    set_guard(guard);
    for (Index count = 1; count <= 40; ++count) {
      check_detection(LINNET_SIGMOID, count, 1 + static_cast<std::int32_t>(count % 7));
      check_detection(LINNET_SOFTMAX, count, 1 + static_cast<std::int32_t>(count % 7));
    }
    for (int set = 0; set < kSetCount; ++set) {
      if (kEngineTables[set] != nullptr && has(static_cast<InstructionSet>(set))) check_all(*kEngineTables[set]);
    }
  }
  return 0;
}
