// The schedule by groups: the split of the paper's section 5.1.
#ifndef LINNET_GROUPS_H
#define LINNET_GROUPS_H

#include "arithmetic.h"
#include "chain.h"

namespace linnet {

// The paper's split: some expanded channels at a time go through expansion and filter over all rows and are added to
// the projection's sums. Each thread takes its own channels, and all join their sums.
template <typename Arithmetic>
class Groups {
  using Number = typename Arithmetic::Number;
  using Operand = typename Arithmetic::Operand;
  using Sum = typename Arithmetic::Sum;
  using Product = typename Arithmetic::Product;

 public:
  Groups(const Worker& worker, const Step& step)
      : worker_(worker), math_(worker), step_(step), unit_(*step.groups.unit), scratch_(worker.scratch(step)) {}

  void run() {
    const PackedLayer& filter = worker_.layer(unit_.depthwise);
    const Range own = own_blocks(filter.in_blocks);
    const bool alone = worker_.threads() == 1;
    output_ = whole_rows<Number>(worker_, unit_.project);
    sums_ = sums_of(alone);
    outer_ = math_.outer_row(filter, unit_.padding, scratch_);
    enter_input();
    for (Index first = own.first; first < own.last;) {
      Index group = 0;
      while (first + group < own.last) {
        const Index panel = panel_at(first + group);
        if (group > 0 && group + panel > step_.groups.group_blocks) break;
        filter_panel(first + group, panel, group, own);
        group += panel;
      }
      project(first, group, own);
      first += group;
    }
    if (alone) return;
    if (own.count() == 0) std::memset(sums_.data, 0, static_cast<std::size_t>(sums_.map.bytes()));
    worker_.session.team.barrier();
    join();
  }

 private:
  // Sums stand in the output itself if it holds such numbers and nobody else has sums of it; of a single group of bytes
  // there are none.
  Rows<Sum> sums_of(bool alone) const {
    if constexpr (sizeof(Sum) == sizeof(Number)) {
      if (alone) return output_;
    }
    if (unit_.made.blocks == 0) return {};
    return rows_in<Sum>(scratch_, unit_.made);
  }

  void enter_input() const {
    if (unit_.expand < 0) return;
    math_.enter(worker_.layer(unit_.expand), whole_rows_of_input(), 0, unit_.input.height * unit_.input.width,
                unit_.widened, unit_.expand_terms, scratch_);
  }

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
    return math_.panel_blocks(worker_.layer(unit_.expand), first);
  }

  // Expands and filters a panel of so many blocks, to place `place` of the group.
  void filter_panel(Index first, Index blocks, Index place, const Range& own) {
    const PackedLayer& filter = worker_.layer(unit_.depthwise);
    Rows<Number> input = whole_rows_of_input();
    Index shift = first;
    if (unit_.expand >= 0) {
      const PackedLayer& expand = worker_.layer(unit_.expand);
      const Rows<Number> expanded = rows_in<Number>(scratch_, unit_.expanded);
      const Index pixels = unit_.input.height * unit_.input.width;
      Product product = math_.product_of(
          expand, pixels, math_.source_of(expand, input, 0, unit_.widened, unit_.expand_terms, scratch_));
      math_.take_panel(expand, first, &product);
      product.c = expanded.data;
      product.c_step = expanded.block_step();
      if (first + blocks < own.last) {
        math_.fetch_next(&product, product.weights + blocks * kBlock * expand.inputs, expand.inputs,
                         smaller(blocks, own.last - first - blocks));
      }
      math_.multiply(product);
      input = expanded;
      shift = 0;
    }
    auto job = math_.depthwise_of(filter, unit_, true);
    for (Index block = 0; block < blocks; ++block) {
      math_.take_block(filter, first + block, &job);
      for (Index r = 0; r < unit_.inner.height; r += kFilterRows) {
        const Index rows = smaller(kFilterRows, unit_.inner.height - r);
        take_rows(&job, input, outer_, shift + block, r, rows, unit_);
        job.output = filtered().row(place + block, r);
        math_.filter(job);
      }
    }
  }

  Rows<Operand> filtered() const { return rows_in<Operand>(scratch_, unit_.filtered); }

  Rows<Number> whole_rows_of_input() const { return whole_rows<Number>(worker_, worker_.layer(unit_.first()).input); }

  // Adds a group's part to the sums; what comes after the sums is done with the last one.
  void project(Index first, Index group, const Range& own) {
    const PackedLayer& layer = worker_.layer(unit_.project);
    const bool begins = first == own.first, last = first + group == own.last, ends = last && worker_.threads() == 1;
    const Index pixels = unit_.inner.height * unit_.inner.width;
    Product product = math_.product_of(
        layer, pixels, math_.filtered(layer, filtered(), group, pixels, begins, last, unit_.terms, scratch_));
    product.runs = group;
    Rows<Number> added;
    if (ends && layer.added >= 0) {
      added = whole_rows<Number>(worker_, layer.added);
      product.added_step = added.block_step();
    }
    for (Index panel = 0, blocks; panel < layer.out_blocks; panel += blocks) {
      blocks = math_.take_panel(layer, panel, &product);
      product.weights += first * kBlock * blocks * kBlock;
      // Of several threads none adds the bias: it comes when their sums are joined.
      if (!begins) product.bias = nullptr;
      if (begins && worker_.threads() > 1) product.bias = zeros_;
      Sum* sums = sums_.data == nullptr ? nullptr : sums_.row(panel, 0);
      math_.gather(&product, sums, sums_.block_step(), output_.row(panel, 0), output_.block_step(), ends);
      if (added.data != nullptr) product.added = added.row(panel, 0);
      // The same rows of the next panel.
      const bool more = panel + blocks < layer.out_blocks;
      math_.fetch_next(&product, more ? product.weights + blocks * kBlock * layer.inputs : nullptr, group * kBlock,
                       blocks);
      math_.multiply(product);
    }
  }

  void join() const {
    const PackedLayer& layer = worker_.layer(unit_.project);
    const Range blocks = share_of(layer.out_blocks, worker_.thread, worker_.threads());
    // The sums of the first thread; those of the next one lie behind its scratch space.
    const Sum* all = rows_in<Sum>(worker_.arena() + step_.scratch_offset, unit_.made).data;
    Rows<Number> added;
    if (layer.added >= 0) added = whole_rows<Number>(worker_, layer.added);
    for (Index block = blocks.first; block < blocks.last; ++block) {
      math_.join(layer, block, unit_.output.height * unit_.output.width, all + block * sums_.block_step(),
                 step_.scratch_bytes / static_cast<Index>(sizeof(Sum)),
                 added.data == nullptr ? nullptr : added.row(block, 0), output_.row(block, 0));
    }
  }

  const Worker& worker_;
  const Arithmetic math_;
  const Step& step_;
  const Unit& unit_;
  std::uint8_t* scratch_;
  Rows<Number> output_;
  Rows<Sum> sums_;
  const Number* outer_ = nullptr;  // stands for a row above or below the filter's input
  alignas(64) Sum zeros_[kMostPanelBlocks * kBlock] = {};
};

}  // namespace linnet

#endif
