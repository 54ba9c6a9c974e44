// The two kinds of numbers that a network computes with, for what is written once for both: how layers become jobs of
// the kernels. `Number` is what maps hold, `Operand` what products read, `Sum` what they add up.
#ifndef LINNET_ARITHMETIC_H
#define LINNET_ARITHMETIC_H

#include "resizing.h"
#include "worker.h"

namespace linnet {

// What a product reads of one or more pixels.
template <typename Operand, typename Sum>
struct Source {
  const Operand* data;
  Index run_step;    // operands from one run to the next
  const Sum* terms;  // what belongs to all sums of a pixel, or null
};

// A product of so many pixels whose inputs lie in blocks.
template <typename Job, typename Source>
Job product_over(const PackedLayer& layer, Index pixels, const Source& source) {
  Job job = {};
  job.pixels = pixels;
  job.runs = layer.in_blocks;
  job.run = kBlock;
  job.a = source.data;
  job.a_run_step = source.run_step;
  job.a_pixel_step = kBlock;
  return job;
}

// A filter over rows of a unit.
template <typename Job>
Job filter_over(const PackedLayer& layer, const Unit& unit) {
  const linnet_window& window = layer.depthwise().window;
  Job job = {};
  job.width = unit.input.width;
  job.output_width = unit.inner.width;
  job.stride = window.stride;
  job.dilation = window.dilation;
  job.pad_left = unit.pad_left;
  return job;
}

// What `operand_of` gives for each byte of some pixels.
template <typename Operand, typename OperandOf>
void look_up(const std::uint8_t* pixel, Index count, Index channels, Operand* value, const OperandOf& operand_of) {
  if (channels == 3) {
    for (Index x = 0; x < count; ++x, pixel += 3, value += 3) {
      value[0] = operand_of(0, pixel[0]);
      value[1] = operand_of(1, pixel[1]);
      value[2] = operand_of(2, pixel[2]);
    }
    return;
  }
  for (Index x = 0; x < count; ++x) {
    for (Index channel = 0; channel < channels; ++channel) *value++ = operand_of(channel, *pixel++);
  }
}

class Floats {
 public:
  using Number = float;
  using Operand = float;
  using Sum = float;
  using Source = linnet::Source<float, float>;
  using Product = linnet::Product;
  using DepthwiseRows = linnet::DepthwiseRows;

  explicit Floats(const Worker& worker) : worker_(worker) {}

  // A product of so many pixels whose inputs lie in blocks; of each pixel `runs` of them.
  Product product_of(const PackedLayer& layer, Index pixels, const Source& source) const {
    auto job = product_over<Product>(layer, pixels, source);
    job.lowest = layer.convolution().lowest;
    job.highest = layer.convolution().highest;
    return job;
  }
  static Index run_of(Index operands) { return operands; }
  static void add_terms(const PackedLayer&, const Map&, std::uint8_t*, Product*) {}
  Index panel_blocks(const PackedLayer& layer, Index first) const {
    return worker_.kernels().panel_blocks(layer.out_blocks, first);
  }
  // Makes a job one of the panel that begins at block `first`; gives the panel's blocks.
  Index take_panel(const PackedLayer& layer, Index first, Product* job) const {
    job->blocks = panel_blocks(layer, first);
    job->weights = layer.weights + first * kBlock * layer.inputs;
    job->bias = layer.bias + first * kBlock;
    return job->blocks;
  }
  void multiply(const Product& job) const { worker_.kernels().product(job); }
  // Says what is read after a job: so many rows of a panel of so many blocks, or null.
  static void fetch_next(Product* job, const float* weights, Index rows, Index blocks) {
    job->next = weights;
    job->next_floats = weights == nullptr ? 0 : rows * blocks * kBlock;
  }
  // Sums of several jobs stand where their result will: only the last one has an activation.
  static void gather(Product* job, float* sums, Index sums_step, float*, Index, bool ends) {
    job->c = sums;
    job->c_step = sums_step;
    if (ends) return;
    job->lowest = -__builtin_inff();
    job->highest = __builtin_inff();
  }
  void join(const PackedLayer& layer, Index block, Index pixels, const float* sums, Index parts_step,
            const float* added, float* c) const {
    worker_.kernels().join_block(pixels, worker_.threads(), sums, parts_step, layer.bias + block * kBlock,
                                 layer.convolution().lowest, layer.convolution().highest, added, c);
  }

  // Rows are read as they are.
  static bool prepares(const PackedLayer&) { return false; }
  void enter(const PackedLayer&, const Rows<float>&, Index, Index, const Map&, const Map&, std::uint8_t*) const {}
  Source source_of(const PackedLayer&, const Rows<float>& rows, Index row, const Map&, const Map&,
                   std::uint8_t*) const {
    return {rows.row(0, row), rows.block_step(), nullptr};
  }
  Source filtered(const PackedLayer&, const Rows<float>& rows, Index, Index, bool, bool, const Map&,
                  std::uint8_t*) const {
    return {rows.data, rows.block_step(), nullptr};
  }

  DepthwiseRows depthwise_of(const PackedLayer& layer, const Unit& unit, bool) const {
    auto job = filter_over<DepthwiseRows>(layer, unit);
    job.lowest = layer.depthwise().lowest;
    job.highest = layer.depthwise().highest;
    return job;
  }
  static void take_block(const PackedLayer& layer, Index block, DepthwiseRows* job) {
    job->taps = layer.weights + block * 9 * kBlock;
    job->bias = layer.bias + block * kBlock;
  }
  void filter(const DepthwiseRows& job) const { worker_.kernels().depthwise_rows(job); }
  // A row of one block of a resized map, between two rows of the map that is resized.
  void resize(const float* top, const float* bottom, const Neighbours& row, const Neighbours* columns, Index width,
              float* output) const {
    worker_.kernels().resize_row({top, bottom, row.share, columns, width, output});
  }
  // Whether what a concatenation joins as number `i` has the encoding of its output; and numbers of it in that.
  static bool stays(const PackedLayer&, Index) { return true; }
  static void copy_joined(const PackedLayer&, Index, const float* from, Index count, float* to) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
  }
  // What stands for a row outside of a map: nothing, which counts as zeros.
  static const float* outer_row(const PackedLayer&, const Map&, std::uint8_t*) { return nullptr; }

  // Pixels of a picture, and what lies outside.
  void read_pixels(const std::uint8_t* pixels, Index count, Index channels, float* values) const {
    const auto* table = reinterpret_cast<const float*>(worker_.session.table.data());
    look_up(pixels, count, channels, values,
            [=](Index channel, std::uint8_t byte) { return table[channel * 256 + byte]; });
  }
  static float outside(const PackedLayer&) { return 0; }
  static void copy_pixel(const float* from, float* to) { std::memcpy(to, from, kBlock * sizeof(float)); }

 private:
  const Worker& worker_;
};

// Bytes, of which the kernels of an instruction set read operands of one or two bytes.
template <typename Word>
class Bytes {
 public:
  using Number = std::uint8_t;
  using Operand = Word;
  using Sum = std::int32_t;
  using Source = linnet::Source<Word, std::int32_t>;
  using Product = IntegerProduct;
  using DepthwiseRows = IntegerDepthwise;

  explicit Bytes(const Worker& worker) : worker_(worker), kernels_(worker.integers()), converts_(widens(kernels_)) {}

  Product product_of(const PackedLayer& layer, Index pixels, const Source& source) const {
    auto job = product_over<Product>(layer, pixels, source);
    job.terms = source.terms;
    job.crossed = layer.bytes.crossed;
    job.rule = layer.bytes.rule;
    return job;
  }
  // Operands are read in whole words.
  static Index run_of(Index operands) { return round_up(operands, 4); }
  // Gives a product whose operands are set each pixel's own term, where there is one.
  void add_terms(const PackedLayer& layer, const Map& terms, std::uint8_t* scratch, Product* job) const {
    if (!layer.bytes.has_terms()) return;
    job->terms = sum_terms(layer, *job, true, rows_in<std::int32_t>(scratch, terms).data);
  }
  Index panel_blocks(const PackedLayer& layer, Index first) const {
    return smaller(kernels_.panel_blocks, layer.out_blocks - first);
  }
  Index take_panel(const PackedLayer& layer, Index first, Product* job) const {
    job->blocks = panel_blocks(layer, first);
    job->weights = layer.bytes.weights + first * kBlock * layer.inputs;
    job->bias = layer.bytes.bias + first * kBlock;
    job->multipliers = layer.bytes.multipliers + first * kBlock;
    return job->blocks;
  }
  void multiply(const Product& job) const { kernels_.product(job); }
  static void fetch_next(Product* job, const std::int8_t* weights, Index rows, Index blocks) {
    job->next = weights;
    job->next_bytes = weights == nullptr ? 0 : rows * blocks * kBlock;
  }
  // Sums of several jobs have a place of their own until the last one makes bytes of them.
  static void gather(Product* job, std::int32_t* sums, Index sums_step, std::uint8_t* c, Index c_step, bool ends) {
    job->sums = sums;
    job->sums_step = sums_step;
    job->c = ends ? c : nullptr;
    job->c_step = c_step;
  }
  void join(const PackedLayer& layer, Index block, Index pixels, const std::int32_t* sums, Index parts_step,
            const std::uint8_t* added, std::uint8_t* c) const {
    kernels_.join_block(pixels, worker_.threads(), sums, parts_step, layer.bytes.bias + block * kBlock,
                        layer.bytes.multipliers + block * kBlock, layer.bytes.rule, added, c);
  }

  // Whether there is something to make before `layer` reads a row.
  bool prepares(const PackedLayer& layer) const { return converts_ || layer.bytes.has_terms(); }
  // Makes operands, and each pixel's own term, of a row that `layer` will read.
  void enter(const PackedLayer& layer, const Rows<std::uint8_t>& rows, Index row, Index pixels, const Map& widened,
             const Map& terms, std::uint8_t* scratch) const {
    if (converts_) {
      const Rows<Word> words = rows_in<Word>(scratch, widened);
      for (Index block = 0; block < layer.in_blocks; ++block) {
        kernels_.widen(pixels * kBlock, rows.row(block, row), words.row(block, row));
      }
    }
    if (!layer.bytes.has_terms()) return;
    Source source = source_of(layer, rows, row, widened, terms, scratch);
    sum_terms(layer, product_of(layer, pixels, source), true, rows_in<std::int32_t>(scratch, terms).row(0, row));
  }
  // What the last `enter` of the row made.
  Source source_of(const PackedLayer& layer, const Rows<std::uint8_t>& rows, Index row, const Map& widened,
                   const Map& terms, std::uint8_t* scratch) const {
    const Rows<Word> words = rows_in<Word>(scratch, widened);
    const std::int32_t* own = layer.bytes.has_terms() ? rows_in<std::int32_t>(scratch, terms).row(0, row) : nullptr;
    if (converts_) return {words.row(0, row), words.block_step(), own};
    return {reinterpret_cast<const Word*>(rows.row(0, row)), rows.block_step(), own};
  }
  // Operands that a filter wrote, `runs` blocks of them. Terms grow from the first of them to the last, whose product
  // adds them.
  Source filtered(const PackedLayer& layer, const Rows<Word>& rows, Index runs, Index pixels, bool begins, bool ends,
                  const Map& terms, std::uint8_t* scratch) const {
    const Source source = {rows.data, rows.block_step(), nullptr};
    Product job = product_of(layer, pixels, source);
    job.runs = runs;
    if (!layer.bytes.has_terms()) return source;
    const std::int32_t* own = sum_terms(layer, job, begins, rows_in<std::int32_t>(scratch, terms).data);
    return {source.data, source.run_step, ends ? own : nullptr};
  }

  DepthwiseRows depthwise_of(const PackedLayer& layer, const Unit& unit, bool operands) const {
    auto job = filter_over<DepthwiseRows>(layer, unit);
    job.padding = static_cast<std::uint8_t>(layer.given.integers.input_zero);
    job.wide = layer.bytes.wide;
    job.rule = layer.bytes.rule;
    job.operands = operands;
    return job;
  }
  static void take_block(const PackedLayer& layer, Index block, DepthwiseRows* job) {
    job->taps = layer.bytes.weights + block * 3 * kBlock * 4 * (layer.bytes.wide ? 2 : 1);
    job->bias = layer.bytes.bias + block * kBlock;
    job->multipliers = layer.bytes.multipliers + block * kBlock;
  }
  void filter(const DepthwiseRows& job) const { kernels_.depthwise_rows(job); }
  void resize(const std::uint8_t* top, const std::uint8_t* bottom, const Neighbours& row, const Neighbours* columns,
              Index width, std::uint8_t* output) const {
    kernels_.resize_row({top, bottom, row.steps, columns, width, output});
  }
  static bool stays(const PackedLayer& layer, Index i) {
    const std::uint8_t* table = layer.bytes.tables + i * 256;
    for (int byte = 0; byte < 256; ++byte) {
      if (table[byte] != byte) return false;
    }
    return true;
  }
  static void copy_joined(const PackedLayer& layer, Index i, const std::uint8_t* from, Index count, std::uint8_t* to) {
    const std::uint8_t* table = layer.bytes.tables + i * 256;
    for (Index k = 0; k < count; ++k) to[k] = table[from[k]];
  }
  // What stands for a row outside of a map; written anew for each step, whose scratch space others have used.
  static const std::uint8_t* outer_row(const PackedLayer& layer, const Map& padding, std::uint8_t* scratch) {
    std::uint8_t* row = scratch + padding.offset;
    std::memset(row, layer.given.integers.input_zero, static_cast<std::size_t>(padding.bytes()));
    return row;
  }

  // Of three channels one operand more than `count` pixels have is written.
  void read_pixels(const std::uint8_t* pixel, Index count, Index channels, Word* value) const {
    const std::uint8_t* table = worker_.session.table.data();
    if (channels == 3) return kernels_.read_colours(pixel, count, table, worker_.session.words.data(), value);
    look_up(pixel, count, channels, value, [table, zero = kernels_.operand_zero](Index channel, std::uint8_t byte) {
      return static_cast<Word>(table[channel * 256 + byte] - zero);
    });
  }
  Word outside(const PackedLayer& layer) const {
    return static_cast<Word>(layer.given.integers.input_zero - kernels_.operand_zero);
  }
  void copy_pixel(const std::uint8_t* from, Word* to) const {
    for (Index i = 0; i < kBlock; ++i) to[i] = static_cast<Word>(from[i] - kernels_.operand_zero);
  }

 private:
  // What belongs to all sums of each pixel of a job, or, where it does not begin, this and what is there.
  const std::int32_t* sum_terms(const PackedLayer& layer, const Product& job, bool begins, std::int32_t* terms) const {
    if (begins) std::memset(terms, 0, static_cast<std::size_t>(job.pixels) * sizeof(*terms));
    kernels_.sum_pixels(job, layer.bytes.factor, terms);
    return terms;
  }

  const Worker& worker_;
  const IntegerKernels& kernels_;
  const bool converts_;
};

}  // namespace linnet

#endif
