// Running a plan. All threads of a session go through the steps together, each doing its share, with a barrier after
// every step. Compiled without contraction: the averages of bytes are rounded twice, as their rule says.

#include "chain.h"
#include "clock.h"
#include "groups.h"
#include "resizing.h"

namespace linnet {
namespace {

// A pointwise layer of its own, over all pixels. Few pixels are not cut between threads, but the outputs are: every
// thread then reads its own weights.
template <typename Arithmetic>
void run_pointwise(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const Arithmetic math(worker);
  const PackedLayer& layer = worker.layer(step.single.layer);
  const Rows<Number> input = whole_rows<Number>(worker, layer.input),
                     output = whole_rows<Number>(worker, step.single.layer);
  const Index all = output.map.slots * output.map.width;
  const bool cuts_pixels = all >= 64 * worker.threads();
  const Range own = cuts_pixels ? share_of(all, worker.thread, worker.threads()) : Range{0, all};
  const Range blocks =
      cuts_pixels ? Range{0, layer.out_blocks} : share_of(layer.out_blocks, worker.thread, worker.threads());
  const Unit* sizes = step.single.sizes;
  const Map widened = sizes == nullptr ? Map() : sizes->widened, terms = sizes == nullptr ? Map() : sizes->terms;
  Rows<Number> added;
  if (layer.added >= 0) added = whole_rows<Number>(worker, layer.added);
  for (Range pixels = {own.first, own.first}; pixels.first < own.last; pixels.first = pixels.last) {
    pixels.last = sizes == nullptr ? own.last : smaller(own.last, pixels.first + kPixelsAtOnce);
    const Index shift = pixels.first * kBlock;
    Rows<Number> part = input;
    part.data += shift;
    math.enter(layer, part, 0, pixels.count(), widened, terms, worker.scratch(step));
    auto product =
        math.product_of(layer, pixels.count(), math.source_of(layer, part, 0, widened, terms, worker.scratch(step)));
    product.c_step = output.block_step();
    product.added_step = added.block_step();
    for (Index first = 0, count; first < layer.out_blocks; first += count) {
      count = math.take_panel(layer, first, &product);
      // A panel is the thread's in whose share it begins.
      if (first < blocks.first || first >= blocks.last) continue;
      product.c = output.row(first, 0) + shift;
      if (added.data != nullptr) product.added = added.row(first, 0) + shift;
      math.multiply(product);
    }
  }
}

// A depthwise layer of its own.
template <typename Arithmetic>
void run_depthwise(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const Arithmetic math(worker);
  const PackedLayer& layer = worker.layer(step.depthwise.layer);
  const Rows<Number> input = whole_rows<Number>(worker, layer.input),
                     output = whole_rows<Number>(worker, step.depthwise.layer);
  const Unit& unit = *step.depthwise.sizes;
  const Range rows = share_of(layer.out_blocks * unit.inner.height, worker.thread, worker.threads());
  const Number* outer = math.outer_row(layer, unit.padding, worker.scratch(step));
  auto job = math.depthwise_of(layer, unit, false);
  for (Index i = rows.first, count; i < rows.last; i += count) {
    const Index block = i / unit.inner.height, r = i % unit.inner.height;
    count = smaller(kFilterRows, smaller(unit.inner.height - r, rows.last - i));
    take_rows(&job, input, outer, block, r, count, unit);
    math.take_block(layer, block, &job);
    job.output = output.row(block, r);
    math.filter(job);
  }
}

// The nearest whole number, ties to even, of a number within 2^22: above, a sum with 1.5 * 2^23 has no room for parts.
float rounded(float value) {
  const float moved = value + 12582912.0f;
  return moved - 12582912.0f;
}

// The averages of one block's pixels.
void pool_block(const Worker& worker, const PackedLayer&, Index pixels, const float* values, float* averages) {
  worker.kernels().pool_block(pixels, values, 1 / static_cast<float>(pixels), averages);
}

void pool_block(const Worker&, const PackedLayer& layer, Index pixels, const std::uint8_t* values,
                std::uint8_t* averages) {
  const linnet_integers& own = layer.given.integers;
  Index sums[kBlock] = {};
  // A sum of 32 bits holds so many bytes.
  constexpr Index kMost = 1 << 23;
  for (Index begin = 0; begin < pixels; begin += kMost) {
    std::int32_t some[kBlock] = {};
    for (Index pixel = begin; pixel < smaller(pixels, begin + kMost); ++pixel) {
      for (Index k = 0; k < kBlock; ++k) some[k] += values[pixel * kBlock + k];
    }
    for (Index k = 0; k < kBlock; ++k) sums[k] += some[k];
  }
  const Index raw = own.raw_zero;
  const float c = own.ratio * (1 / static_cast<float>(pixels));
  const float product = static_cast<float>(pixels * (own.input_zero - raw)) * c;
  const float b = static_cast<float>(own.zero - raw) - product;
  for (Index k = 0; k < kBlock; ++k) {
    const Index sum = sums[k] - pixels * raw;
    float value;
    if (own.average != 0) {
      value = static_cast<float>((sum > 0 ? sum + pixels / 2 : sum - pixels / 2) / pixels);
    } else {
      value = static_cast<float>(sum) * c;
      value += b;
    }
    const float lowest = static_cast<float>(own.lowest - raw), highest = static_cast<float>(own.highest - raw);
    value = value < lowest ? lowest : value > highest ? highest : value;
    averages[k] = static_cast<std::uint8_t>(static_cast<Index>(rounded(value)) + raw);
  }
}

template <typename Arithmetic>
void run_pool(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const PackedLayer& layer = worker.layer(step.single.layer);
  const Rows<Number> input = whole_rows<Number>(worker, layer.input),
                     output = whole_rows<Number>(worker, step.single.layer);
  const Index pixels = input.map.slots * input.map.width;
  const Range blocks = share_of(layer.out_blocks, worker.thread, worker.threads());
  for (Index block = blocks.first; block < blocks.last; ++block) {
    pool_block(worker, layer, pixels, input.row(block, 0), output.row(block, 0));
  }
}

// The last convolution, averaged panel by panel: the map does not exist whole. Each thread takes its own panels. Of
// floats, the linear layer behind it takes each panel's averages while they are warm, and each thread has its own sums
// of it.
template <typename Arithmetic>
void run_head(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const Arithmetic math(worker);
  const HeadStep& head = step.head;
  const PackedLayer &layer = worker.layer(head.layer), &pool = worker.layer(head.pool);
  const Rows<Number> input = whole_rows<Number>(worker, layer.input);
  const Index pixels = input.map.slots * input.map.width;
  const Range own = share_of(layer.out_blocks, worker.thread, worker.threads());
  // A panel of the map, its averages, and the thread's sums of the linear layer.
  const Rows<Number> panel = rows_in<Number>(worker.scratch(step), head.sizes->made);
  math.enter(layer, input, 0, pixels, head.sizes->widened, head.sizes->terms, worker.scratch(step));
  auto product = math.product_of(
      layer, pixels, math.source_of(layer, input, 0, head.sizes->widened, head.sizes->terms, worker.scratch(step)));
  product.c = panel.data;
  product.c_step = pixels * kBlock;
  Number* output = whole_rows<Number>(worker, step.last_layer()).data;
  if constexpr (sizeof(Number) == sizeof(float)) {
    const PackedLayer* linear = head.linear < 0 ? nullptr : &worker.layer(head.linear);
    const Index columns = linear == nullptr ? 0 : linear->out_blocks * kBlock;
    float *averages = panel.data + kMostPanelBlocks * pixels * kBlock, *sums = averages + kMostPanelBlocks * kBlock;
    if (linear != nullptr) std::memset(sums, 0, static_cast<std::size_t>(columns) * sizeof(float));
    for (Index first = 0, blocks; first < layer.out_blocks; first += blocks) {
      blocks = math.take_panel(layer, first, &product);
      if (first < own.first || first >= own.last) continue;
      if (linear != nullptr) {
        product.next = linear->weights + first * kBlock * columns;
        product.next_floats = blocks * kBlock * columns;
      }
      math.multiply(product);
      float* places = linear == nullptr ? output + first * kBlock : averages;
      for (Index block = 0; block < blocks; ++block) {
        pool_block(worker, pool, pixels, panel.data + block * product.c_step, places + block * kBlock);
      }
      if (linear != nullptr) {
        worker.kernels().accumulate(blocks * kBlock, averages, columns, linear->weights + first * kBlock * columns,
                                    sums);
      }
    }
    if (linear == nullptr) return;
    if (worker.threads() > 1) worker.session.team.barrier();
    const float* all = reinterpret_cast<float*>(worker.arena() + step.scratch_offset) + (sums - panel.data);
    const Range joined = share_of(linear->out_blocks, worker.thread, worker.threads());
    for (Index block = joined.first; block < joined.last; ++block) {
      worker.kernels().join_block(1, worker.threads(), all + block * kBlock, step.scratch_bytes / kFloat,
                                  linear->bias + block * kBlock, linear->linear().lowest, linear->linear().highest,
                                  nullptr, output + block * kBlock);
    }
  } else {
    for (Index first = 0, blocks; first < layer.out_blocks; first += blocks) {
      blocks = math.take_panel(layer, first, &product);
      if (first < own.first || first >= own.last) continue;
      const bool more = first + blocks < own.last;
      math.fetch_next(&product, more ? product.weights + blocks * kBlock * layer.inputs : nullptr, layer.inputs,
                      math.panel_blocks(layer, first + blocks));
      math.multiply(product);
      for (Index block = 0; block < blocks; ++block) {
        pool_block(worker, pool, pixels, panel.data + block * product.c_step, output + (first + block) * kBlock);
      }
    }
  }
}

template <typename Arithmetic>
void run_linear(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const PackedLayer& layer = worker.layer(step.single.layer);
  const Rows<Number> input = whole_rows<Number>(worker, layer.input),
                     output = whole_rows<Number>(worker, step.single.layer);
  if constexpr (sizeof(Number) == sizeof(float)) {
    if (worker.thread > 0) return;
    const Index columns = layer.out_blocks * kBlock;
    std::memset(output.data, 0, static_cast<std::size_t>(columns) * sizeof(float));
    worker.kernels().accumulate(layer.linear().in_channels, input.data, columns, layer.weights, output.data);
    for (Index block = 0; block < layer.out_blocks; ++block) {
      float* values = output.data + block * kBlock;
      worker.kernels().join_block(1, 1, values, 0, layer.bias + block * kBlock, layer.linear().lowest,
                                  layer.linear().highest, nullptr, values);
    }
  } else {
    // A product with one pixel: each thread reads its own panels.
    const Arithmetic math(worker);
    const Unit& sizes = *step.single.sizes;
    math.enter(layer, input, 0, 1, sizes.widened, sizes.terms, worker.scratch(step));
    auto product =
        math.product_of(layer, 1, math.source_of(layer, input, 0, sizes.widened, sizes.terms, worker.scratch(step)));
    product.c_step = output.block_step();
    const Range own = share_of(layer.out_blocks, worker.thread, worker.threads());
    for (Index first = 0, blocks; first < layer.out_blocks; first += blocks) {
      blocks = math.take_panel(layer, first, &product);
      if (first < own.first || first >= own.last) continue;
      product.c = output.row(first, 0);
      math.multiply(product);
    }
  }
}

// Two outputs of one shape, number by number: maps and vectors alike, what fills their blocks included.
float sum_of(const PackedLayer& layer, float first, float second) {
  const float sum = first + second, lowest = layer.addition().lowest, highest = layer.addition().highest;
  return sum < lowest ? lowest : sum > highest ? highest : sum;
}

std::uint8_t sum_of(const PackedLayer& layer, std::uint8_t first, std::uint8_t second) {
  const Requantisation& rule = layer.bytes.rule;
  std::int32_t sum = (1 << (rule.shift - 1)) + rule.first * (first - rule.first_zero);
  sum = ((sum + rule.second * (second - rule.second_zero)) >> rule.shift) + rule.sum_zero;
  return static_cast<std::uint8_t>(sum < rule.sum_lowest    ? rule.sum_lowest
                                   : sum > rule.sum_highest ? rule.sum_highest
                                                            : sum);
}

template <typename Arithmetic>
void run_add(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const PackedLayer& layer = worker.layer(step.single.layer);
  const Number* first = whole_rows<Number>(worker, layer.input).data;
  const Number* second = whole_rows<Number>(worker, layer.added).data;
  const Rows<Number> output = whole_rows<Number>(worker, step.single.layer);
  const Range own = share_of(output.map.numbers() / kBlock, worker.thread, worker.threads());
  for (Index i = own.first * kBlock; i < own.last * kBlock; ++i) output.data[i] = sum_of(layer, first[i], second[i]);
}

// Maps of one size behind each other along the channels. Blocks that begin where a block begins are copied whole; what
// was written where it belongs stays there.
template <typename Arithmetic>
void run_concatenate(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const PackedLayer& layer = worker.layer(step.single.layer);
  const Rows<Number> output = whole_rows<Number>(worker, step.single.layer);
  const Range own = share_of(output.map.slots * output.map.width, worker.thread, worker.threads());
  const Index pixels = own.count();
  if (pixels == 0) return;
  Index begin = 0;  // channels of the output that are written
  for (Index i = 0; i < layer.given.input_count; ++i) {
    const int number = worker.input_of(layer, i);
    const Rows<Number> input = whole_rows<Number>(worker, number);
    const Index channels = worker.layer(number).channels;
    const bool stands = worker.tensor(number).within == step.single.layer && Arithmetic::stays(layer, i);
    for (Index channel = stands ? channels : 0; channel < channels;) {
      const Index place = begin + channel, source = channel % kBlock, target = place % kBlock;
      const Index count = smaller(smaller(kBlock - source, kBlock - target), channels - channel);
      const Number* read = input.row(channel / kBlock, 0) + own.first * kBlock + source;
      Number* write = output.row(place / kBlock, 0) + own.first * kBlock + target;
      for (Index pixel = 0; pixel < pixels; ++pixel) {
        Arithmetic::copy_joined(layer, i, read + pixel * kBlock, count, write + pixel * kBlock);
      }
      channel += count;
    }
    begin += channels;
  }
  // What fills the last block is read with it.
  for (Index target = begin % kBlock; target > 0 && target < kBlock; ++target) {
    Number* write = output.row(begin / kBlock, 0) + own.first * kBlock + target;
    for (Index pixel = 0; pixel < pixels; ++pixel) write[pixel * kBlock] = 0;
  }
}

// A map at another size, block by block. What fills the last block is resized with it.
template <typename Arithmetic>
void run_resize(const Worker& worker, const Step& step) {
  using Number = typename Arithmetic::Number;
  const Arithmetic math(worker);
  const PackedLayer& layer = worker.layer(step.single.layer);
  const Rows<Number> input = whole_rows<Number>(worker, layer.input),
                     output = whole_rows<Number>(worker, step.single.layer);
  const Size before = worker.tensor(layer.input).size, after = worker.tensor(step.single.layer).size;
  auto* columns = reinterpret_cast<Neighbours*>(worker.scratch(step));
  find_columns(before.width, after.width, layer.resizing().grid, columns);
  const Range own = share_of(layer.out_blocks * after.height, worker.thread, worker.threads());
  for (Index i = own.first; i < own.last; ++i) {
    const Index block = i / after.height, y = i % after.height;
    const Neighbours row = neighbours_of(y, before.height, after.height, layer.resizing().grid);
    math.resize(input.row(block, row.low), input.row(block, row.high), row, columns, after.width, output.row(block, y));
  }
}

// Floats to bytes or bytes to floats.
void run_convert(const Worker& worker, const LayerStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const linnet_conversion& own = layer.conversion();
  const Range blocks = share_of(worker.tensor(step.layer).map.numbers() / kBlock, worker.thread, worker.threads());
  const float zero = static_cast<float>(own.zero), inverse = 1 / own.scale;
  if (layer.given.kind == LINNET_QUANTIZE) {
    const float* from = whole_rows<float>(worker, layer.input).data;
    std::uint8_t* to = whole_rows<std::uint8_t>(worker, step.layer).data;
    for (Index i = blocks.first * kBlock; i < blocks.last * kBlock; ++i) {
      // What is not a number becomes the lowest.
      float value = from[i] * inverse;
      value = rounded(value > 512 ? 512 : value > -512 ? value : -512) + zero;
      to[i] = static_cast<std::uint8_t>(value > 255 ? 255 : value > 0 ? value : 0);
    }
    return;
  }
  const std::uint8_t* from = whole_rows<std::uint8_t>(worker, layer.input).data;
  float* to = whole_rows<float>(worker, step.layer).data;
  for (Index i = blocks.first * kBlock; i < blocks.last * kBlock; ++i) {
    to[i] = static_cast<float>(from[i] - own.zero) * own.scale;
  }
}

template <typename Number>
void run_output(const Worker& worker, const OutputStep& step) {
  const Rows<Number> values = whole_rows<Number>(worker, step.layer);
  const Range pixels = share_of(values.map.slots * values.map.width, worker.thread, worker.threads());
  give_pixels(worker, step.layer, step.output, values.data + pixels.first * kBlock, values.block_step(), pixels);
}

// Of a step that computes with one kind of numbers.
template <typename Arithmetic>
void run_with(const Worker& worker, const Step& step) {
  switch (step.kind) {
    case StepKind::kChain:
      return Chain<Arithmetic>(worker, step).run();
    case StepKind::kGroups:
      return Groups<Arithmetic>(worker, step).run();
    case StepKind::kPointwise:
      return run_pointwise<Arithmetic>(worker, step);
    case StepKind::kDepthwise:
      return run_depthwise<Arithmetic>(worker, step);
    case StepKind::kHead:
      return run_head<Arithmetic>(worker, step);
    case StepKind::kPool:
      return run_pool<Arithmetic>(worker, step);
    case StepKind::kLinear:
      return run_linear<Arithmetic>(worker, step);
    case StepKind::kAdd:
      return run_add<Arithmetic>(worker, step);
    case StepKind::kConcatenate:
      return run_concatenate<Arithmetic>(worker, step);
    case StepKind::kResize:
      return run_resize<Arithmetic>(worker, step);
    case StepKind::kConvert:
      return run_convert(worker, step.single);
    case StepKind::kOutput:
      return run_output<typename Arithmetic::Number>(worker, step.output);
  }
}

void run_step(const Worker& worker, const Step& step) {
  if (worker.layer(step.last_layer()).element == kFloat) return run_with<Floats>(worker, step);
  if (worker.integers().operand_bytes == 2) return run_with<Bytes<std::int16_t>>(worker, step);
  run_with<Bytes<std::uint8_t>>(worker, step);
}

}  // namespace

void run_steps(linnet_session& session, int thread, const std::uint8_t* pixels, void* const* outputs, Index picture) {
  const Worker worker = {session, thread, pixels, outputs, picture};
  double begun = now();
  for (Index i = 0; i < session.step_count; ++i) {
    Step& step = session.steps[i];
    run_step(worker, step);
    if (session.threads > 1) session.team.barrier();
    if (thread > 0) continue;
    const double ended = now();
    step.seconds = ended - begun;
    if (step.least_seconds == 0 || step.seconds < step.least_seconds) step.least_seconds = step.seconds;
    begun = ended;
  }
}

}  // namespace linnet
