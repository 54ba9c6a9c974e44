// Running a plan. All threads of a session go through the steps together, each doing its share, with a barrier after
// every step.

#include "clock.h"
#include "engine.h"

namespace linnet {
namespace {

// What one thread knows of a run.
struct Worker {
  linnet_session& session;
  const EngineKernels& kernels;
  int thread;
  const std::uint8_t* pixels;  // of this picture
  float* const* outputs;
  Index picture;

  int threads() const { return session.threads; }
  const PackedLayer& layer(int number) const { return session.network->layers[number]; }
  const Tensor& tensor(int number) const { return session.tensors[number]; }
  int input_of(const PackedLayer& layer, Index i) const { return session.network->inputs[layer.given.first_input + i]; }
  std::uint8_t* arena() const { return session.arena.data(); }
  std::uint8_t* scratch(const Step& step) const { return arena() + step.scratch_offset + thread * step.scratch_bytes; }
};

// A map in memory, of numbers of one type.
template <typename Number>
struct Rows {
  Number* data = nullptr;
  Map map;
  Index block_step() const { return map.block_step(); }
  // The rows of a whole map need no division, which on some processors takes as long as a row of few pixels.
  Number* row(Index block, Index r) const {
    const Index slot = r < map.slots ? r : r % map.slots;
    return data + block * block_step() + slot * map.width * kBlock;
  }
};

// The map that lies in `memory`, an arena or scratch space, at its own offset.
template <typename Number>
Rows<Number> rows_in(std::uint8_t* memory, const Map& map) {
  return {reinterpret_cast<Number*>(memory + map.offset), map};
}

// A layer's whole output.
Rows<float> whole_rows(const Worker& worker, int number) {
  return rows_in<float>(worker.arena(), worker.tensor(number).map);
}

// A convolution of so many pixels, whose inputs lie in blocks.
Product product_of(const PackedLayer& layer, Index pixels, const float* a, Index a_run_step) {
  Product job = {};
  job.pixels = pixels;
  job.runs = layer.in_blocks;
  job.run = kBlock;
  job.a = a;
  job.a_run_step = a_run_step;
  job.a_pixel_step = kBlock;
  job.lowest = layer.convolution().lowest;
  job.highest = layer.convolution().highest;
  return job;
}

// Makes a job one of the panel that begins at block `first`; gives the panel's blocks.
Index take_panel(const Worker& worker, const PackedLayer& layer, Index first, Product* job) {
  const Index blocks = worker.kernels.panel_blocks(layer.out_blocks, first);
  job->blocks = blocks;
  job->weights = layer.weights + first * kBlock * layer.inputs;
  job->bias = layer.bias + first * kBlock;
  return blocks;
}

DepthwiseRow depthwise_of(const PackedLayer& layer, const Unit& unit) {
  const linnet_depthwise& own = layer.depthwise();
  DepthwiseRow job = {};
  job.width = unit.input.width;
  job.output_width = unit.inner.width;
  job.stride = own.window.stride;
  job.dilation = own.window.dilation;
  job.pad_left = unit.pad_left;
  job.lowest = own.lowest;
  job.highest = own.highest;
  return job;
}

// The three input rows of output row `r` of one block.
void take_rows(DepthwiseRow* job, const Rows<float>& input, Index block, Index r, const Unit& unit) {
  for (Index tap = 0; tap < 3; ++tap) {
    const Index y = r * job->stride - unit.pad_top + tap * job->dilation;
    job->rows[tap] = y < 0 || y >= unit.input.height ? nullptr : input.row(block, y);
  }
}

// A chain of units, each of which makes its rows when the next one asks for them.
class Chain {
 public:
  Chain(const Worker& worker, const Step& step) : worker_(worker), step_(step.chain), scratch_(worker.scratch(step)) {}

  void run() {
    const int last = step_.count - 1;
    const Range rows = share_of(step_.units[last].output.height, worker_.thread, worker_.threads());
    if (rows.count() == 0) return;
    Index first = rows.first;
    for (int i = last; i >= 0; --i) {
      const Unit& unit = step_.units[i];
      states_[i].next = first;
      first = larger(first * filter_of(unit).stride - unit.pad_top, 0);
      states_[i].entered = first;
      states_[i].output = i == last ? whole_rows(worker_, unit.project) : rows_in<float>(scratch_, unit.made);
      const int input = worker_.layer(unit.first()).input;
      if (i == 0 && input >= 0) input_ = whole_rows(worker_, input);
    }
    while (states_[last].next < rows.last) make(last);
  }

 private:
  struct State {
    Index next;     // the row to be made next
    Index entered;  // the input row that is taken next: expanded, or read from the picture
    Rows<float> output;
  };

  // What a unit's rows are made from: the pixels under its filter, or under its only convolution.
  const linnet_window& filter_of(const Unit& unit) const {
    return unit.depthwise >= 0 ? worker_.layer(unit.depthwise).depthwise().window
                               : worker_.layer(unit.project).convolution().window;
  }

  const Rows<float>& input_of(int i) const { return i == 0 ? input_ : states_[i - 1].output; }

  void make(int i) {
    const Unit& unit = step_.units[i];
    State& state = states_[i];
    const linnet_window& filter = filter_of(unit);
    const Index r = state.next++;
    const Index reach = Index{filter.kernel - 1} * filter.dilation;
    const Index lowest_row = smaller(r * filter.stride - unit.pad_top + reach, unit.input.height - 1);
    if (i > 0) {
      while (states_[i - 1].next <= lowest_row) make(i - 1);
    }
    if (unit.depthwise < 0) {
      worker_.layer(unit.project).input < 0 ? convolve_picture(unit, state, r) : convolve(unit, state, r);
    } else {
      filter_row(i, unit, state, r, lowest_row);
      const PackedLayer& project = worker_.layer(unit.project);
      const Rows<float> filtered = rows_in<float>(scratch_, unit.filtered);
      write(project, state, r, product_of(project, filtered.map.width, filtered.data, filtered.block_step()));
    }
  }

  // Expands what the row needs and is not there yet, and filters it: panel by panel, so that it is read from the
  // fastest cache.
  void filter_row(int i, const Unit& unit, State& state, Index r, Index lowest_row) {
    const Rows<float>& input = input_of(i);
    const Rows<float> filtered = rows_in<float>(scratch_, unit.filtered);
    const PackedLayer& filter = worker_.layer(unit.depthwise);
    DepthwiseRow job = depthwise_of(filter, unit);
    const auto filter_block = [&](const Rows<float>& rows, Index block) {
      take_rows(&job, rows, block, r, unit);
      job.taps = filter.weights + block * 9 * kBlock;
      job.bias = filter.bias + block * kBlock;
      job.output = filtered.row(block, 0);
      worker_.kernels.depthwise_row(job);
    };
    if (unit.expand < 0) {
      for (Index block = 0; block < filter.in_blocks; ++block) filter_block(input, block);
      return;
    }
    const PackedLayer& expand = worker_.layer(unit.expand);
    const Rows<float> expanded = rows_in<float>(scratch_, unit.expanded);
    Product product = product_of(expand, unit.input.width, nullptr, input.block_step());
    product.c_step = expanded.block_step();
    for (Index first = 0, blocks; first < expand.out_blocks; first += blocks) {
      blocks = take_panel(worker_, expand, first, &product);
      for (Index row = state.entered; row <= lowest_row; ++row) {
        product.a = input.row(0, row);
        product.c = expanded.row(first, row);
        worker_.kernels.product(product);
      }
      for (Index block = first; block < first + blocks; ++block) filter_block(expanded, block);
    }
    state.entered = larger(state.entered, lowest_row + 1);
  }

  // The last product of a unit, into row `r` of its output.
  void write(const PackedLayer& layer, const State& state, Index r, Product product) {
    const Rows<float>& output = state.output;
    product.c_step = output.block_step();
    Rows<float> added;
    if (layer.added >= 0) {
      added = added_rows(layer.added);
      product.added_step = added.block_step();
    }
    for (Index first = 0, blocks; first < layer.out_blocks; first += blocks) {
      blocks = take_panel(worker_, layer, first, &product);
      product.c = output.row(first, r);
      if (layer.added >= 0) product.added = added.row(first, r);
      worker_.kernels.product(product);
    }
  }

  Rows<float> added_rows(int number) const {
    for (int i = 0; i + 1 < step_.count; ++i) {
      if (step_.units[i].project == number) return states_[i].output;
    }
    return whole_rows(worker_, number);
  }

  // A window of rows of the picture, as floats and with zeros around them, moves down.
  void convolve_picture(const Unit& unit, State& state, Index r) {
    const PackedLayer& layer = worker_.layer(unit.project);
    const linnet_convolution& own = layer.convolution();
    const Index kernel = own.window.kernel, stride = own.window.stride, channels = own.in_channels;
    const Index width = unit.window.width, top = r * stride - unit.pad_top;
    float* window = rows_in<float>(scratch_, unit.window).data;
    // Rows that the window had before move up; the others are read.
    const Index kept = state.entered > larger(top, 0) ? state.entered - top : 0;
    if (kept > 0) {
      std::memmove(window, window + (kernel - kept) * width, static_cast<std::size_t>(kept * width) * sizeof(float));
    }
    for (Index tap = kept; tap < kernel; ++tap) read_row(window + tap * width, top + tap, unit, channels);
    state.entered = top + kernel;
    Product product = product_of(layer, unit.output.width, window, width);
    product.runs = kernel;
    product.run = kernel * channels;
    product.a_pixel_step = stride * channels;
    write(layer, state, r, product);
  }

  void read_row(float* row, Index y, const Unit& unit, Index channels) {
    const Index width = unit.window.width;
    std::memset(row, 0, static_cast<std::size_t>(width) * sizeof(float));
    if (y < 0 || y >= unit.input.height) return;
    const std::uint8_t* pixel = worker_.pixels + y * unit.input.width * channels;
    const float* table = worker_.session.table.data();
    float* value = row + unit.pad_left * channels;
    if (channels == 3) {
      for (Index x = 0; x < unit.input.width; ++x, pixel += 3, value += 3) {
        value[0] = table[pixel[0]];
        value[1] = table[256 + pixel[1]];
        value[2] = table[512 + pixel[2]];
      }
      return;
    }
    for (Index x = 0; x < unit.input.width; ++x) {
      for (Index channel = 0; channel < channels; ++channel) *value++ = table[channel * 256 + *pixel++];
    }
  }

  // The pixels under the kernel are gathered for a row of outputs; then it is one product.
  void convolve(const Unit& unit, State& state, Index r) {
    const PackedLayer& layer = worker_.layer(unit.project);
    const linnet_window& own = layer.convolution().window;
    const Index kernel = own.kernel, stride = own.stride, dilation = own.dilation;
    const Index blocks = layer.in_blocks, width = unit.output.width;
    float* const runs = rows_in<float>(scratch_, unit.window).data;
    float* run = runs;
    for (Index tap = 0; tap < kernel * kernel; ++tap) {
      const Index y = r * stride - unit.pad_top + tap / kernel * dilation;
      const bool inside = y >= 0 && y < unit.input.height;
      for (Index block = 0; block < blocks; ++block, run += width * kBlock) {
        const float* row = inside ? input_.row(block, y) : nullptr;
        for (Index x = 0; x < width; ++x) {
          const Index column = x * stride - unit.pad_left + tap % kernel * dilation;
          float* pixel = run + x * kBlock;
          if (row != nullptr && column >= 0 && column < unit.input.width) {
            std::memcpy(pixel, row + column * kBlock, kBlock * sizeof(float));
          } else {
            std::memset(pixel, 0, kBlock * sizeof(float));
          }
        }
      }
    }
    Product product = product_of(layer, width, runs, width * kBlock);
    product.runs = kernel * kernel * blocks;
    write(layer, state, r, product);
  }

  const Worker& worker_;
  const ChainStep& step_;
  std::uint8_t* scratch_;
  Rows<float> input_;
  State states_[kMostUnits];
};

// The paper's split: some expanded channels at a time go through expansion and filter over all rows and are added to
// the projection's sums. Each thread takes its own channels, and all join their sums.
class Groups {
 public:
  Groups(const Worker& worker, const Step& step)
      : worker_(worker), step_(step), unit_(*step.groups.unit), scratch_(worker.scratch(step)) {}

  void run() {
    const PackedLayer& filter = worker_.layer(unit_.depthwise);
    const Range own = own_blocks(filter.in_blocks);
    const bool alone = worker_.threads() == 1;
    const Rows<float> output = whole_rows(worker_, unit_.project);
    sums_ = alone ? output : rows_in<float>(scratch_, unit_.made);
    for (Index first = own.first; first < own.last;) {
      Index group = 0;
      while (first + group < own.last) {
        const Index panel = panel_at(first + group);
        if (group > 0 && group + panel > step_.groups.group_blocks) break;
        filter_panel(first + group, panel, group, own);
        group += panel;
      }
      project(first, group, first == own.first, alone && first + group == own.last);
      first += group;
    }
    if (alone) return;
    if (own.count() == 0) std::memset(sums_.data, 0, static_cast<std::size_t>(sums_.map.bytes()));
    worker_.session.team.barrier();
    join(output);
  }

 private:
  // A thread's blocks of expanded channels: whole panels, since they are made by panels.
  Range own_blocks(Index blocks) const {
    const Range even = share_of(blocks, worker_.thread, worker_.threads());
    return {rounded(even.first, blocks), rounded(even.last, blocks)};
  }
  Index rounded(Index bound, Index blocks) const {
    if (unit_.expand < 0 || bound == blocks) return bound;
    Index first = 0;
    while (first < bound) first += panel_at(first);
    return smaller(first, blocks);
  }

  Index panel_at(Index first) const {
    if (unit_.expand < 0) return 1;
    return worker_.kernels.panel_blocks(worker_.layer(unit_.expand).out_blocks, first);
  }

  // Expands and filters a panel of so many blocks, to place `place` of the group.
  void filter_panel(Index first, Index blocks, Index place, const Range& own) {
    const PackedLayer& filter = worker_.layer(unit_.depthwise);
    Rows<float> input = whole_rows_of_input();
    Index shift = first;
    if (unit_.expand >= 0) {
      const PackedLayer& expand = worker_.layer(unit_.expand);
      const Rows<float> expanded = rows_in<float>(scratch_, unit_.expanded);
      const Index pixels = unit_.input.height * unit_.input.width;
      Product product = product_of(expand, pixels, input.data, input.block_step());
      take_panel(worker_, expand, first, &product);
      product.c = expanded.data;
      product.c_step = expanded.block_step();
      if (first + blocks < own.last) {
        product.next = product.weights + blocks * kBlock * expand.inputs;
        product.next_floats = smaller(blocks, own.last - first - blocks) * kBlock * expand.inputs;
      }
      worker_.kernels.product(product);
      input = expanded;
      shift = 0;
    }
    DepthwiseRow job = depthwise_of(filter, unit_);
    for (Index block = 0; block < blocks; ++block) {
      job.taps = filter.weights + (first + block) * 9 * kBlock;
      job.bias = filter.bias + (first + block) * kBlock;
      for (Index r = 0; r < unit_.inner.height; ++r) {
        take_rows(&job, input, shift + block, r, unit_);
        job.output = filtered().row(place + block, r);
        worker_.kernels.depthwise_row(job);
      }
    }
  }

  Rows<float> filtered() const { return rows_in<float>(scratch_, unit_.filtered); }

  Rows<float> whole_rows_of_input() const { return whole_rows(worker_, worker_.layer(unit_.first()).input); }

  // Adds a group's part to the sums; what comes after the sums is done with the last one.
  void project(Index first, Index group, bool begins, bool ends) {
    const PackedLayer& layer = worker_.layer(unit_.project);
    const Index pixels = unit_.inner.height * unit_.inner.width;
    Product product = product_of(layer, pixels, filtered().data, filtered().block_step());
    product.runs = group;
    product.c_step = sums_.block_step();
    if (!ends) {
      product.lowest = -__builtin_inff();
      product.highest = __builtin_inff();
    }
    Rows<float> added;
    if (ends && layer.added >= 0) {
      added = whole_rows(worker_, layer.added);
      product.added_step = added.block_step();
    }
    for (Index panel = 0, blocks; panel < layer.out_blocks; panel += blocks) {
      blocks = take_panel(worker_, layer, panel, &product);
      product.weights += first * kBlock * blocks * kBlock;
      // Of several threads none adds the bias: it comes when their sums are joined.
      if (!begins) product.bias = nullptr;
      if (begins && worker_.threads() > 1) product.bias = zeros_;
      product.c = sums_.row(panel, 0);
      if (added.data != nullptr) product.added = added.row(panel, 0);
      // The same rows of the next panel.
      product.next = panel + blocks < layer.out_blocks ? product.weights + blocks * kBlock * layer.inputs : nullptr;
      product.next_floats = group * kBlock * blocks * kBlock;
      worker_.kernels.product(product);
    }
  }

  void join(const Rows<float>& output) const {
    const PackedLayer& layer = worker_.layer(unit_.project);
    const Range blocks = share_of(layer.out_blocks, worker_.thread, worker_.threads());
    // The sums of the first thread; those of the next one lie behind its scratch space.
    const float* all = rows_in<float>(worker_.arena() + step_.scratch_offset, unit_.made).data;
    Rows<float> added;
    if (layer.added >= 0) added = whole_rows(worker_, layer.added);
    for (Index block = blocks.first; block < blocks.last; ++block) {
      worker_.kernels.join_block(unit_.output.height * unit_.output.width, worker_.threads(),
                                 all + block * sums_.block_step(), step_.scratch_bytes / kFloat,
                                 layer.bias + block * kBlock, layer.convolution().lowest, layer.convolution().highest,
                                 added.data == nullptr ? nullptr : added.row(block, 0), output.row(block, 0));
    }
  }

  const Worker& worker_;
  const Step& step_;
  const Unit& unit_;
  std::uint8_t* scratch_;
  Rows<float> sums_;
  alignas(64) float zeros_[kMostPanelBlocks * kBlock] = {};
};

// A pointwise layer of its own, over all pixels. Few pixels are not cut between threads, but the outputs are: every
// thread then reads its own weights.
void run_pointwise(const Worker& worker, const LayerStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const Rows<float> input = whole_rows(worker, layer.input), output = whole_rows(worker, step.layer);
  const Index all = output.map.slots * output.map.width;
  const bool cuts_pixels = all >= 64 * worker.threads();
  const Range pixels = cuts_pixels ? share_of(all, worker.thread, worker.threads()) : Range{0, all};
  if (pixels.count() == 0) return;
  const Index shift = pixels.first * kBlock;
  Product product = product_of(layer, pixels.count(), input.data + shift, input.block_step());
  product.c_step = output.block_step();
  Rows<float> added;
  if (layer.added >= 0) {
    added = whole_rows(worker, layer.added);
    product.added_step = added.block_step();
  }
  const Range blocks =
      cuts_pixels ? Range{0, layer.out_blocks} : share_of(layer.out_blocks, worker.thread, worker.threads());
  for (Index first = 0, count; first < layer.out_blocks; first += count) {
    count = take_panel(worker, layer, first, &product);
    // A panel is the thread's in whose share it begins.
    if (first < blocks.first || first >= blocks.last) continue;
    product.c = output.row(first, 0) + shift;
    if (added.data != nullptr) product.added = added.row(first, 0) + shift;
    worker.kernels.product(product);
  }
}

// A depthwise layer of its own.
void run_depthwise(const Worker& worker, const DepthwiseStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const Rows<float> input = whole_rows(worker, layer.input), output = whole_rows(worker, step.layer);
  const Unit& unit = *step.sizes;
  const Range rows = share_of(layer.out_blocks * unit.inner.height, worker.thread, worker.threads());
  DepthwiseRow job = depthwise_of(layer, unit);
  for (Index i = rows.first; i < rows.last; ++i) {
    const Index block = i / unit.inner.height, r = i % unit.inner.height;
    take_rows(&job, input, block, r, unit);
    job.taps = layer.weights + block * 9 * kBlock;
    job.bias = layer.bias + block * kBlock;
    job.output = output.row(block, r);
    worker.kernels.depthwise_row(job);
  }
}

// The last convolution, averaged panel by panel, and the linear layer's part of each panel: neither the map nor the
// averages exist whole. Each thread takes its own panels and has its own sums of the linear layer.
void run_head(const Worker& worker, const Step& step) {
  const PackedLayer& layer = worker.layer(step.head.layer);
  const Rows<float> input = whole_rows(worker, layer.input);
  const Index pixels = input.map.slots * input.map.width;
  // A panel of the map, its averages, and the thread's sums of the linear layer.
  const Index averages_at = kMostPanelBlocks * pixels * kBlock, sums_at = averages_at + kMostPanelBlocks * kBlock;
  float* panel = reinterpret_cast<float*>(worker.scratch(step));
  float *averages = panel + averages_at, *sums = panel + sums_at;
  const PackedLayer* linear = step.head.linear < 0 ? nullptr : &worker.layer(step.head.linear);
  const Index columns = linear == nullptr ? 0 : linear->out_blocks * kBlock;
  if (linear != nullptr) std::memset(sums, 0, static_cast<std::size_t>(columns) * sizeof(float));
  float* output = whole_rows(worker, step.last_layer()).data;
  const Range own = share_of(layer.out_blocks, worker.thread, worker.threads());
  Product product = product_of(layer, pixels, input.data, input.block_step());
  product.c = panel;
  product.c_step = pixels * kBlock;
  for (Index first = 0, blocks; first < layer.out_blocks; first += blocks) {
    blocks = take_panel(worker, layer, first, &product);
    if (first < own.first || first >= own.last) continue;
    if (linear != nullptr) {
      product.next = linear->weights + first * kBlock * columns;
      product.next_floats = blocks * kBlock * columns;
    }
    worker.kernels.product(product);
    float* places = linear == nullptr ? output + first * kBlock : averages;
    for (Index block = 0; block < blocks; ++block) {
      worker.kernels.pool_block(pixels, panel + block * product.c_step, 1 / static_cast<float>(pixels),
                                places + block * kBlock);
    }
    if (linear != nullptr) {
      worker.kernels.accumulate(blocks * kBlock, averages, columns, linear->weights + first * kBlock * columns, sums);
    }
  }
  if (linear == nullptr) return;
  if (worker.threads() > 1) worker.session.team.barrier();
  const float* all = reinterpret_cast<float*>(worker.arena() + step.scratch_offset) + sums_at;
  const Range joined = share_of(linear->out_blocks, worker.thread, worker.threads());
  for (Index block = joined.first; block < joined.last; ++block) {
    worker.kernels.join_block(1, worker.threads(), all + block * kBlock, step.scratch_bytes / kFloat,
                              linear->bias + block * kBlock, linear->linear().lowest, linear->linear().highest, nullptr,
                              output + block * kBlock);
  }
}

void run_pool(const Worker& worker, const LayerStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const Rows<float> input = whole_rows(worker, layer.input), output = whole_rows(worker, step.layer);
  const Index pixels = input.map.slots * input.map.width;
  const Range blocks = share_of(layer.out_blocks, worker.thread, worker.threads());
  for (Index block = blocks.first; block < blocks.last; ++block) {
    worker.kernels.pool_block(pixels, input.row(block, 0), 1 / static_cast<float>(pixels), output.row(block, 0));
  }
}

void run_linear(const Worker& worker, const LayerStep& step) {
  if (worker.thread > 0) return;
  const PackedLayer& layer = worker.layer(step.layer);
  const float* input = whole_rows(worker, layer.input).data;
  float* output = whole_rows(worker, step.layer).data;
  const Index columns = layer.out_blocks * kBlock;
  std::memset(output, 0, static_cast<std::size_t>(columns) * sizeof(float));
  worker.kernels.accumulate(layer.linear().in_channels, input, columns, layer.weights, output);
  for (Index block = 0; block < layer.out_blocks; ++block) {
    float* values = output + block * kBlock;
    worker.kernels.join_block(1, 1, values, 0, layer.bias + block * kBlock, layer.linear().lowest,
                              layer.linear().highest, nullptr, values);
  }
}

// Two outputs of one shape, number by number: maps and vectors alike, the zeros that fill their blocks included.
void run_add(const Worker& worker, const LayerStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const float* first = whole_rows(worker, layer.input).data;
  const float* second = whole_rows(worker, layer.added).data;
  const Rows<float> output = whole_rows(worker, step.layer);
  const Range own = share_of(output.map.numbers() / kBlock, worker.thread, worker.threads());
  const float lowest = layer.addition().lowest, highest = layer.addition().highest;
  for (Index i = own.first * kBlock; i < own.last * kBlock; ++i) {
    const float sum = first[i] + second[i];
    output.data[i] = sum < lowest ? lowest : sum > highest ? highest : sum;
  }
}

// Maps of one size behind each other along the channels. Blocks that begin where a block begins are copied whole.
void run_concatenate(const Worker& worker, const LayerStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const Rows<float> output = whole_rows(worker, step.layer);
  const Range own = share_of(output.map.slots * output.map.width, worker.thread, worker.threads());
  const Index pixels = own.count();
  if (pixels == 0) return;
  Index begin = 0;  // channels of the output that are written
  for (Index i = 0; i < layer.given.input_count; ++i) {
    const int number = worker.input_of(layer, i);
    const Rows<float> input = whole_rows(worker, number);
    const Index channels = worker.layer(number).channels;
    for (Index channel = 0; channel < channels;) {
      const Index place = begin + channel, source = channel % kBlock, target = place % kBlock;
      const Index count = smaller(smaller(kBlock - source, kBlock - target), channels - channel);
      const float* read = input.row(channel / kBlock, 0) + own.first * kBlock + source;
      float* write = output.row(place / kBlock, 0) + own.first * kBlock + target;
      for (Index pixel = 0; pixel < pixels; ++pixel) {
        std::memcpy(write + pixel * kBlock, read + pixel * kBlock, static_cast<std::size_t>(count) * sizeof(float));
      }
      channel += count;
    }
    begin += channels;
  }
  // What fills the last block is read with it.
  for (Index target = begin % kBlock; target > 0 && target < kBlock; ++target) {
    float* write = output.row(begin / kBlock, 0) + own.first * kBlock + target;
    for (Index pixel = 0; pixel < pixels; ++pixel) write[pixel * kBlock] = 0;
  }
}

// From blocks to the caller's order, channels side by side.
void run_output(const Worker& worker, const OutputStep& step) {
  const PackedLayer& layer = worker.layer(step.layer);
  const Rows<float> values = whole_rows(worker, step.layer);
  const Index channels = layer.channels, all = values.map.slots * values.map.width;
  const Range pixels = share_of(all, worker.thread, worker.threads());
  float* output = worker.outputs[step.output] + worker.picture * all * channels;
  for (Index block = 0; block < layer.out_blocks; ++block) {
    const Index count = smaller(kBlock, channels - block * kBlock);
    for (Index pixel = pixels.first; pixel < pixels.last; ++pixel) {
      std::memcpy(output + pixel * channels + block * kBlock, values.row(block, 0) + pixel * kBlock,
                  static_cast<std::size_t>(count) * sizeof(float));
    }
  }
}

void run_step(const Worker& worker, const Step& step) {
  switch (step.kind) {
    case StepKind::kChain:
      return Chain(worker, step).run();
    case StepKind::kGroups:
      return Groups(worker, step).run();
    case StepKind::kPointwise:
      return run_pointwise(worker, step.single);
    case StepKind::kDepthwise:
      return run_depthwise(worker, step.depthwise);
    case StepKind::kHead:
      return run_head(worker, step);
    case StepKind::kPool:
      return run_pool(worker, step.single);
    case StepKind::kLinear:
      return run_linear(worker, step.single);
    case StepKind::kAdd:
      return run_add(worker, step.single);
    case StepKind::kConcatenate:
      return run_concatenate(worker, step.single);
    case StepKind::kOutput:
      return run_output(worker, step.output);
  }
}

}  // namespace

void run_steps(linnet_session& session, int thread, const std::uint8_t* pixels, float* const* outputs, Index picture) {
  const Worker worker = {session, *session.network->kernels, thread, pixels, outputs, picture};
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
