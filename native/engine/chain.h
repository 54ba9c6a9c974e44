// Chains of units: the schedule by rows, and convolutions that are not pointwise.
#ifndef LINNET_CHAIN_H
#define LINNET_CHAIN_H

#include "arithmetic.h"

namespace linnet {

// The three input rows of each of some rows of outputs of one block, from row `first` on; `outer` stands for those
// outside of the map.
template <typename Job, typename Number>
void take_rows(Job* job, const Rows<Number>& input, const Number* outer, Index block, Index first, Index count,
               const Unit& unit) {
  job->output_rows = count;
  for (Index r = 0; r < count; ++r) {
    for (Index tap = 0; tap < 3; ++tap) {
      const Index y = (first + r) * job->stride - unit.pad_top + tap * job->dilation;
      job->rows[r][tap] = y < 0 || y >= unit.input.height ? outer : input.row(block, y);
    }
  }
}

// The same rows of the next block.
template <typename Job, typename Number>
void take_next_block(Job* job, const Number* outer, Index step) {
  for (Index r = 0; r < job->output_rows; ++r) {
    for (auto& row : job->rows[r]) {
      if (row != outer) row += step;
    }
  }
}

// A chain of units, each of which makes its rows when the next one asks for them.
template <typename Arithmetic>
class Chain {
  using Number = typename Arithmetic::Number;
  using Operand = typename Arithmetic::Operand;
  using Source = typename Arithmetic::Source;
  using Product = typename Arithmetic::Product;

 public:
  Chain(const Worker& worker, const Step& step)
      : worker_(worker), math_(worker), step_(step.chain), scratch_(worker.scratch(step)) {}

  void run() {
    const int last = step_.count - 1;
    const Range rows = share_of(step_.units[last].output.height, worker_.thread, worker_.threads());
    if (rows.count() == 0) return;
    Index first = rows.first;
    for (int i = last; i >= 0; --i) {
      const Unit& unit = step_.units[i];
      states_[i].next = first;
      states_[i].last = i == last ? rows.last : unit.output.height;
      first = larger(first * filter_of(unit).stride - unit.pad_top, 0);
      states_[i].entered = first;
      const bool stays = i == last && step_.output < 0;
      states_[i].output = stays ? whole_rows<Number>(worker_, unit.project) : rows_in<Number>(scratch_, unit.made);
      if (unit.resize >= 0) find_columns_of(unit);
      const int input = worker_.layer(unit.reader()).input;
      if (i == 0 && input >= 0) input_ = whole_rows<Number>(worker_, input);
      if (unit.depthwise >= 0) {
        states_[i].outer = math_.outer_row(worker_.layer(unit.depthwise), unit.padding, scratch_);
      }
    }
    while (states_[last].next < rows.last) {
      Index given = states_[last].next;
      make(last);
      for (; step_.output >= 0 && given < states_[last].next; ++given) give_row(states_[last], given);
    }
  }

 private:
  struct State {
    Index next;     // the row to be made next
    Index last;     // and behind the last one
    Index entered;  // the input row that is taken next: expanded, or read from the picture
    Rows<Number> output;
    const Number* outer;  // stands for a row above or below the filter's input
  };

  // What a unit's rows are made from: the pixels under its filter, or under its only convolution.
  const linnet_window& filter_of(const Unit& unit) const {
    return unit.depthwise >= 0 ? worker_.layer(unit.depthwise).depthwise().window
                               : worker_.layer(unit.project).convolution().window;
  }

  const Rows<Number>& input_of(int i) const { return i == 0 ? input_ : states_[i - 1].output; }

  // A row of the last unit's output to the caller.
  void give_row(const State& state, Index r) const {
    const int number = step_.units[step_.count - 1].project;
    const Index width = state.output.map.width;
    give_pixels(worker_, number, step_.output, state.output.row(0, r), state.output.block_step(),
                {r * width, (r + 1) * width});
  }

  void make(int i) {
    const Unit& unit = step_.units[i];
    State& state = states_[i];
    const linnet_window& filter = filter_of(unit);
    const Index r = state.next, count = rows_at_once(unit, state);
    state.next += count;
    const Index reach = Index{filter.kernel - 1} * filter.dilation;
    const Index lowest_row = smaller((state.next - 1) * filter.stride - unit.pad_top + reach, unit.input.height - 1);
    if (i > 0) {
      while (states_[i - 1].next <= lowest_row) make(i - 1);
    }
    if (unit.depthwise < 0) {
      convolve(i, unit, state, r);
    } else {
      filter_rows(i, unit, state, r, count, lowest_row);
      const PackedLayer& project = worker_.layer(unit.project);
      const Rows<Operand> filtered = rows_in<Operand>(scratch_, unit.filtered);
      const Index pixels = count * filtered.map.width;
      const Source source =
          math_.filtered(project, filtered, project.in_blocks, pixels, true, true, unit.terms, scratch_);
      write(project, state, r, math_.product_of(project, pixels, source));
    }
  }

  // How many rows a unit makes now: those that lie side by side in its output and in what is added to it.
  Index rows_at_once(const Unit& unit, const State& state) const {
    if (unit.rows == 1) return 1;
    Index count = smaller(smaller(unit.rows, state.last - state.next), together(state.output.map, state.next));
    const int added = worker_.layer(unit.project).added;
    if (added >= 0) count = smaller(count, together(added_rows(added).map, state.next));
    return count;
  }
  // Rows from `row` on that lie side by side.
  static Index together(const Map& map, Index row) { return map.slots - row % map.slots; }

  // Expands what the rows need and is not there yet, and filters them: panel by panel, so that it is read from the
  // fastest cache.
  void filter_rows(int i, const Unit& unit, State& state, Index r, Index count, Index lowest_row) {
    const Rows<Number>& input = input_of(i);
    const Rows<Operand> filtered = rows_in<Operand>(scratch_, unit.filtered);
    const PackedLayer& filter = worker_.layer(unit.depthwise);
    auto job = math_.depthwise_of(filter, unit, true);
    const auto filter_block = [&](const Rows<Number>& rows, Index block) {
      if (block == 0) take_rows(&job, rows, state.outer, block, r, count, unit);
      if (block > 0) take_next_block(&job, state.outer, rows.block_step());
      math_.take_block(filter, block, &job);
      job.output = filtered.row(block, 0);
      math_.filter(job);
    };
    if (unit.expand < 0) {
      for (Index block = 0; block < filter.in_blocks; ++block) filter_block(input, block);
      return;
    }
    const PackedLayer& expand = worker_.layer(unit.expand);
    const Rows<Number> expanded = rows_in<Number>(scratch_, unit.expanded), own = part_of(expanded, unit.own_at);
    const Rows<Number> grown = unit.resize < 0 ? Rows<Number>()
                               : unit.join < 0 ? rows_in<Number>(scratch_, unit.grown)
                                               : part_of(expanded, unit.grown_at);
    const auto expand_panel = [&](Index row, Index rows, Index first) {
      Product product =
          math_.product_of(expand, rows * unit.input.width,
                           math_.source_of(expand, input, row, unit.widened, unit.expand_terms, scratch_));
      const Index blocks = math_.take_panel(expand, first, &product);
      product.c = own.row(first, row);
      product.c_step = own.block_step();
      if (unit.resize >= 0 && unit.join < 0) {
        product.added = grown.row(first, 0);
        product.added_step = grown.block_step();
      }
      math_.multiply(product);
      return blocks;
    };
    const bool prepares = math_.prepares(expand) || unit.resize >= 0;
    if (prepares) {
      // There is room for what one row needs: all panels take it before the next.
      for (Index row = state.entered; row <= lowest_row; ++row) {
        if (unit.resize >= 0) grow(unit, row, grown);
        math_.enter(expand, input, row, unit.input.width, unit.widened, unit.expand_terms, scratch_);
        for (Index first = 0; first < expand.out_blocks;) first += expand_panel(row, 1, first);
        if (unit.join >= 0) recode_joined(unit, row, grown, own);
      }
      for (Index block = 0; block < filter.in_blocks; ++block) filter_block(expanded, block);
    }
    for (Index first = 0, blocks; !prepares && first < expand.out_blocks; first += blocks) {
      blocks = math_.panel_blocks(expand, first);
      for (Index row = state.entered, rows; row <= lowest_row; row += rows) {
        rows = smaller(lowest_row + 1 - row, smaller(together(input.map, row), together(expanded.map, row)));
        expand_panel(row, rows, first);
      }
      for (Index block = first; block < first + blocks; ++block) filter_block(expanded, block);
    }
    state.entered = larger(state.entered, lowest_row + 1);
  }

  void find_columns_of(const Unit& unit) const {
    const PackedLayer& layer = worker_.layer(unit.resize);
    find_columns(worker_.tensor(layer.input).size.width, unit.input.width, layer.resizing().grid,
                 rows_in<Neighbours>(scratch_, unit.columns).data);
  }

  // The blocks of a map from block `first` on.
  static Rows<Number> part_of(Rows<Number> rows, Index first) {
    rows.data += first * rows.block_step();
    return rows;
  }

  // Gives one row of the two maps that a unit joins the encoding of what they become.
  void recode_joined(const Unit& unit, Index row, const Rows<Number>& grown, const Rows<Number>& own) const {
    const PackedLayer& join = worker_.layer(unit.join);
    for (Index i = 0; i < 2; ++i) {
      if (Arithmetic::stays(join, i)) continue;
      const int number = worker_.input_of(join, i);
      const Rows<Number>& rows = number == unit.resize ? grown : own;
      for (Index block = 0; block < worker_.layer(number).out_blocks; ++block) {
        Number* values = rows.row(block, row);
        Arithmetic::copy_joined(join, i, values, unit.input.width * kBlock, values);
      }
    }
  }

  // Makes row `y` of the map that is added to a unit's expansion, or joined with it.
  void grow(const Unit& unit, Index y, const Rows<Number>& grown) const {
    const PackedLayer& layer = worker_.layer(unit.resize);
    const Rows<Number> coarse = whole_rows<Number>(worker_, layer.input);
    const Neighbours row =
        neighbours_of(y, worker_.tensor(layer.input).size.height, unit.input.height, layer.resizing().grid);
    const Neighbours* columns = rows_in<Neighbours>(scratch_, unit.columns).data;
    for (Index block = 0; block < layer.out_blocks; ++block) {
      math_.resize(coarse.row(block, row.low), coarse.row(block, row.high), row, columns, unit.input.width,
                   grown.row(block, y));
    }
  }

  // The last product of a unit, into row `r` of its output.
  void write(const PackedLayer& layer, const State& state, Index r, Product product) {
    const Rows<Number>& output = state.output;
    product.c_step = output.block_step();
    Rows<Number> added;
    if (layer.added >= 0) {
      added = added_rows(layer.added);
      product.added_step = added.block_step();
    }
    for (Index first = 0, blocks; first < layer.out_blocks; first += blocks) {
      blocks = math_.take_panel(layer, first, &product);
      product.c = output.row(first, r);
      if (layer.added >= 0) product.added = added.row(first, r);
      math_.multiply(product);
    }
  }

  Rows<Number> added_rows(int number) const {
    for (int i = 0; i + 1 < step_.count; ++i) {
      if (step_.units[i].project == number) return states_[i].output;
    }
    return whole_rows<Number>(worker_, number);
  }

  // Row `r` of a convolution that is a unit of its own.
  void convolve(int i, const Unit& unit, State& state, Index r) {
    const PackedLayer& layer = worker_.layer(unit.project);
    if (layer.input < 0) return convolve_picture(unit, state, r);
    if (!layer.pointwise()) return convolve_window(unit, state, r);
    const Rows<Number>& input = input_of(i);
    const Index width = unit.input.width;
    math_.enter(layer, input, r, width, unit.widened, unit.terms, scratch_);
    write(layer, state, r,
          math_.product_of(layer, width, math_.source_of(layer, input, r, unit.widened, unit.terms, scratch_)));
  }

  // A window of rows of the picture, as operands and with zeros around them, moves down.
  void convolve_picture(const Unit& unit, State& state, Index r) {
    const PackedLayer& layer = worker_.layer(unit.project);
    const linnet_convolution& own = layer.convolution();
    const Index kernel = own.window.kernel, stride = own.window.stride, channels = own.in_channels;
    const Index width = unit.window.width, top = r * stride - unit.pad_top;
    Operand* window = rows_in<Operand>(scratch_, unit.window).data;
    // Rows that the window had before move up; the others are read.
    const Index kept = state.entered > larger(top, 0) ? state.entered - top : 0;
    if (kept > 0) {
      std::memmove(window, window + (kernel - kept) * width, static_cast<std::size_t>(kept * width) * sizeof(Operand));
    }
    for (Index tap = kept; tap < kernel; ++tap) read_row(window + tap * width, top + tap, unit, layer);
    state.entered = top + kernel;
    Product product = math_.product_of(layer, unit.output.width, {window, width, nullptr});
    product.runs = kernel;
    product.run = math_.run_of(kernel * channels);
    product.a_pixel_step = stride * channels;
    math_.add_terms(layer, unit.terms, scratch_, &product);
    write(layer, state, r, product);
  }

  void read_row(Operand* row, Index y, const Unit& unit, const PackedLayer& layer) {
    const Index width = unit.window.width, channels = layer.convolution().in_channels;
    const Operand outside = math_.outside(layer);
    const auto fill = [&](Index first, Index last) {
      for (Index i = first; i < last; ++i) row[i] = outside;
    };
    if (y < 0 || y >= unit.input.height) return fill(0, width);
    const Index first = unit.pad_left * channels, count = unit.input.width * channels;
    // Rows are read from the top down, and the last one has room behind it: more than the pixels may be written.
    math_.read_pixels(worker_.pixels + y * count, unit.input.width, channels, row + first);
    fill(0, first);
    fill(first + count, width);
  }

  // The pixels under the kernel are gathered for a row of outputs; then it is one product.
  void convolve_window(const Unit& unit, State& state, Index r) {
    const PackedLayer& layer = worker_.layer(unit.project);
    const linnet_window& own = layer.convolution().window;
    const Index kernel = own.kernel, stride = own.stride, dilation = own.dilation;
    const Index blocks = layer.in_blocks, width = unit.output.width;
    const Operand outside = math_.outside(layer);
    Operand* const runs = rows_in<Operand>(scratch_, unit.window).data;
    Operand* run = runs;
    for (Index tap = 0; tap < kernel * kernel; ++tap) {
      const Index y = r * stride - unit.pad_top + tap / kernel * dilation;
      const bool inside = y >= 0 && y < unit.input.height;
      for (Index block = 0; block < blocks; ++block, run += width * kBlock) {
        const Number* row = inside ? input_.row(block, y) : nullptr;
        for (Index x = 0; x < width; ++x) {
          const Index column = x * stride - unit.pad_left + tap % kernel * dilation;
          Operand* pixel = run + x * kBlock;
          if (row != nullptr && column >= 0 && column < unit.input.width) {
            math_.copy_pixel(row + column * kBlock, pixel);
          } else {
            for (Index i = 0; i < kBlock; ++i) pixel[i] = outside;
          }
        }
      }
    }
    Product product = math_.product_of(layer, width, {runs, width * kBlock, nullptr});
    product.runs = kernel * kernel * blocks;
    math_.add_terms(layer, unit.terms, scratch_, &product);
    write(layer, state, r, product);
  }

  const Worker& worker_;
  const Arithmetic math_;
  const ChainStep& step_;
  std::uint8_t* scratch_;
  Rows<Number> input_;
  State states_[kMostUnits];
};

}  // namespace linnet

#endif
