// A session's plan: which layers run as one, in which way, and where everything lies.

#include "engine.h"
#include "resizing.h"

namespace linnet {
namespace {

// A block runs by groups once its maps are at most this many pixels: then a slice of some channels over all of them
// fits into the fastest cache, and every weight is read once. Above, rows do.
constexpr Index kMostGroupPixels = 1024;
// Of a network of bytes, whose weights are a quarter as many bytes to read again, and whose arena stays small by it.
constexpr Index kMostByteGroupPixels = 256;
// Bytes of a group's filtered channels, which the projection reads for each of its panels; of a network of bytes, whose
// weights are read again at little cost, fewer, so that the arena stays small. There a single group needs no sums,
// which are larger than what comes of them.
constexpr Index kGroupBytes = 208 * 1024, kByteGroupBytes = 16 * 1024, kSingleByteGroupBytes = 120 * 1024;
// With several threads each computes the rows at its borders itself, so a chain ends at maps that are small enough.
constexpr Index kKeptBytes = 512 * 1024;
// The same for one thread and a network of bytes: the rows of a long chain need more room than a small map.
constexpr Index kKeptByBytes = 32 * 1024;

// Bytes of rows before and behind a filter that a unit of a chain may hold beyond the first one, to filter them at
// once.
constexpr Index kRowsAtOnceBytes = 40 * 1024;

struct Pads {
  Index before, output;
};

Pads pad_axis(Index length, const linnet_window& window) {
  const Index reach = Index{window.kernel - 1} * window.dilation;
  const Index output = (length + window.stride - 1) / window.stride;
  if (window.padding == LINNET_SYMMETRIC) return {reach / 2, output};
  const Index total = larger((output - 1) * window.stride + reach + 1 - length, 0);
  return {total / 2, output};
}

Size resized(const Size& picture, Index stride) {
  return {(picture.height + stride - 1) / stride, (picture.width + stride - 1) / stride};
}

class Planner {
 public:
  Planner(linnet_session& session, const linnet_options& options, linnet_error* error)
      : session_(session), options_(options), error_(error), layers_(session.network->layers) {}

  int plan(Index* arena_bytes);

 private:
  const PackedLayer& layer(Index number) const { return layers_[number]; }
  Tensor& tensor(Index number) { return session_.tensors[number]; }
  Size input_size(Index number) {
    const int input = layer(number).input;
    return input < 0 ? session_.picture : tensor(input).size;
  }
  int input_of(Index number, Index i) const { return session_.network->inputs[layer(number).given.first_input + i]; }
  // Whether a layer's output is one of the session's.
  bool asked_for(Index number) const {
    for (Index i = 0; i < session_.output_count; ++i) {
      if (session_.outputs[i] == number) return true;
    }
    return false;
  }
  // The only layer that reads an output, if there is just one and nobody else asks for it; else -1. That it is also
  // added by `except` does not count.
  int only_reader(Index number, int except = -1) const;

  // How often layers read an output.
  Index readers_of(Index number) const;
  // Whether one layer reads an output, once, and nobody asks for it.
  bool is_read_once(Index number) const { return !asked_for(number) && readers_of(number) == 1; }

  int find_sizes();
  void find_steps();
  bool is_resized_and_added(Index number) const;
  bool is_resized_and_joined(Index number) const;
  bool starts_unit(Index number, Unit* unit, int* schedule);
  void join(Unit* unit, Index number);
  bool finish_unit(Unit* unit);
  int schedule_of(const Unit& unit) const;
  Step* last_chain();
  bool goes_on(const Step& step, int reader, int added) const;
  bool extends(const Step& step, const Unit& unit) const;
  bool is_large(Index number) const;
  bool joins_chain(Index number, Unit* unit);
  bool is_given_by_rows(int output);
  Index head_of(Index number, HeadStep* head);
  Step& add_step(StepKind kind);
  void add_depthwise(Index number);
  void add_unit(const Unit& unit, int schedule);
  void add_single(Index number);
  // What products of bytes need beside their maps.
  Index operand_bytes(const PackedLayer& read) const {
    return read.integers ? session_.network->integers->operand_bytes : kFloat;
  }
  bool converts() const { return widens(*session_.network->integers); }
  void take_operands(Step& step, const PackedLayer& read, Map& widened, Map& terms, Index rows, Index width);

  void plan_window(Step& step, Unit& unit);
  Index rows_at_once(const ChainStep& chain, const Unit& unit) const;
  Index filtered_rows(const Unit& unit) const;
  Index kept_rows(const ChainStep& chain, int i) const;
  void plan_chain(Step& step);
  void plan_row(Step& step, Unit& unit);
  void plan_groups(Step& step);
  void plan_head(Step& step);
  void plan_scratch(Step& step);
  void find_lives();
  void read_by(Index number, int step);
  void join_in_place(Index number);
  Index place_all();

  linnet_session& session_;
  const linnet_options& options_;
  linnet_error* error_;
  const Array<PackedLayer>& layers_;
  Index unit_count_ = 0;
};

int Planner::only_reader(Index number, int except) const {
  if (asked_for(number)) return -1;
  int reader = -1;
  for (Index other = number + 1; other < layers_.size(); ++other) {
    const PackedLayer& read = layer(other);
    if (read.added == number && other != except) return -1;
    for (Index i = 1; read.added < 0 && i < read.given.input_count; ++i) {
      if (input_of(other, i) == number) return -1;
    }
    if (read.input != number) continue;
    if (reader >= 0) return -1;
    reader = static_cast<int>(other);
  }
  return reader;
}

Index Planner::readers_of(Index number) const {
  Index readers = 0;
  for (Index other = number + 1; other < layers_.size(); ++other) {
    for (Index i = 0; i < layer(other).given.input_count; ++i) readers += input_of(other, i) == number ? 1 : 0;
  }
  return readers;
}

int Planner::find_sizes() {
  for (Index number = 0; number < layers_.size(); ++number) {
    const linnet_layer& given = layer(number).given;
    Tensor& own = tensor(number);
    const Size input = input_size(number);
    const bool vector = given.kind == LINNET_POOLING || given.kind == LINNET_LINEAR;
    const linnet_window* window = window_of(given);
    own.size = vector              ? Size{1, 1}
               : window != nullptr ? Size{pad_axis(input.height, *window).output, pad_axis(input.width, *window).output}
               : given.kind == LINNET_RESIZE ? resized(session_.picture, given.body.resizing.stride)
                                             : input;
    own.within = -1;
    own.map.element = layer(number).element;
    own.map.blocks = layer(number).out_blocks;
    own.map.slots = own.size.height;
    own.map.width = own.size.width;
    // Sides are at most 2^16 and blocks 2^21, so this does not overflow.
    if (own.map.bytes() > kMostBytes) {
      return fail(error_, LINNET_OUT_OF_MEMORY, "The output of layer %lld is larger than any memory.",
                  static_cast<long long>(number));
    }
    // What a convolution adds has its output's size; what else is read beside the first input has that one's.
    for (Index i = 1; i < given.input_count; ++i) {
      const Size other = tensor(input_of(number, i)).size;
      if (other.height != own.size.height || other.width != own.size.width) {
        return fail(error_, LINNET_BAD_ARGUMENT, "Layer %lld gives %lld x %lld pixels and %s an output of %lld x %lld.",
                    static_cast<long long>(number), static_cast<long long>(own.size.height),
                    static_cast<long long>(own.size.width), given.kind == LINNET_CONCATENATE ? "joins" : "adds",
                    static_cast<long long>(other.height), static_cast<long long>(other.width));
      }
    }
  }
  return LINNET_OK;
}

// The rest of a block whose depthwise layer is known; false if what follows is no projection of its own.
bool Planner::finish_unit(Unit* unit) {
  const int project = only_reader(unit->depthwise);
  if (project < 0 || !layer(project).pointwise()) return false;
  // Layers run in the order of the program: nothing between them may be passed over.
  if (project != unit->depthwise + 1) return false;
  if (layer(project).added >= unit->first()) return false;
  unit->project = project;
  return true;
}

int Planner::schedule_of(const Unit& unit) const {
  if (options_.schedules != nullptr && options_.schedules[unit.depthwise] != LINNET_AUTO) {
    return options_.schedules[unit.depthwise];
  }
  if (options_.schedule != LINNET_AUTO) return options_.schedule;
  if (unit.resize >= 0) return LINNET_ROWS;
  const Index most = layer(unit.depthwise).integers ? kMostByteGroupPixels : kMostGroupPixels;
  return unit.input.height * unit.input.width <= most ? LINNET_GROUPS : LINNET_ROWS;
}

// The zeros above and beside a unit's input.
void pad(Unit* unit, const linnet_window& window) {
  unit->pad_top = pad_axis(unit->input.height, window).before;
  unit->pad_left = pad_axis(unit->input.width, window).before;
}

// Whether a map is resized for nothing but the layer behind it, which adds it to what it makes of another map.
bool Planner::is_resized_and_added(Index number) const {
  const Index next = number + 1;
  return layer(number).given.kind == LINNET_RESIZE && is_read_once(number) && layer(next).pointwise() &&
         layer(next).added == number;
}

// Whether a map is resized for nothing but to stand beside what the layer behind it makes of another map, and a filter
// reads both. The second of them begins where a block does, so that each is written into the filter's rows at once.
bool Planner::is_resized_and_joined(Index number) const {
  const Index own = number + 1, join = number + 2;
  if (join + 1 >= layers_.size() || layer(number).given.kind != LINNET_RESIZE || !is_read_once(number)) return false;
  if (!layer(own).pointwise() || layer(own).added >= 0 || !is_read_once(own)) return false;
  if (layer(join).given.kind != LINNET_CONCATENATE || layer(join).given.input_count != 2) return false;
  const int first = input_of(join, 0), second = input_of(join, 1);
  if (smaller(first, second) != number || larger(first, second) != own) return false;
  return layer(first).channels % kBlock == 0;
}

// Whether a unit begins at this layer: a block, or the convolution of the picture.
bool Planner::starts_unit(Index number, Unit* unit, int* schedule) {
  *unit = Unit();
  *schedule = LINNET_AUTO;
  const bool joins = is_resized_and_joined(number);
  if (joins || is_resized_and_added(number)) unit->resize = static_cast<int>(number++);
  const linnet_layer& given = layer(number).given;
  unit->input = input_size(number);
  if (layer(number).pointwise() && (joins || layer(number).added == unit->resize)) {
    unit->expand = static_cast<int>(number);
    if (joins) join(unit, ++number);
    const int next = only_reader(number);
    if (next != number + 1 || layer(next).given.kind != LINNET_DEPTHWISE) return false;
    unit->depthwise = next;
  } else if (given.kind == LINNET_DEPTHWISE) {
    unit->depthwise = static_cast<int>(number);
  } else if (given.kind == LINNET_CONVOLUTION && !layer(number).pointwise()) {
    unit->project = static_cast<int>(number);
    unit->inner = unit->input;
    unit->output = tensor(number).size;
    pad(unit, *window_of(given));
    return true;
  } else {
    return false;
  }
  if (!finish_unit(unit)) return false;
  pad(unit, layer(unit->depthwise).depthwise().window);
  unit->inner = unit->output = tensor(unit->depthwise).size;
  *schedule = schedule_of(*unit);
  return *schedule == LINNET_ROWS || (*schedule == LINNET_GROUPS && unit->resize < 0);
}

// Makes a concatenation a part of the unit whose two maps it joins.
void Planner::join(Unit* unit, Index number) {
  unit->join = static_cast<int>(number);
  const bool grown_first = input_of(number, 0) == unit->resize;
  unit->grown_at = grown_first ? 0 : layer(unit->expand).out_blocks;
  unit->own_at = grown_first ? layer(unit->resize).out_blocks : 0;
}

// The last step, if it is a chain.
Step* Planner::last_chain() {
  Step* last = session_.step_count > 0 ? &session_.steps[session_.step_count - 1] : nullptr;
  return last != nullptr && last->kind == StepKind::kChain ? last : nullptr;
}

// Whether `reader`, and what `added` adds, is all that reads a chain's output, and the chain may be longer. Then the
// tensor between them need not exist whole.
bool Planner::goes_on(const Step& step, int reader, int added) const {
  const int last = step.last_layer();
  return step.chain.count < kMostUnits && options_.joins_rows != 0 && layer(reader).input == last &&
         only_reader(last, added) == reader;
}

// Whether a tensor is so large that it should not be there whole, whatever has to be computed twice.
bool Planner::is_large(Index number) const {
  // Of maps with as many numbers.
  const Map& map = session_.tensors[number].map;
  return map.bytes() > kKeptBytes / kFloat * map.element;
}

// Whether a unit goes on where a chain ends.
bool Planner::extends(const Step& step, const Unit& unit) const {
  if (unit.depthwise < 0 || !goes_on(step, unit.reader(), unit.project)) return false;
  // Of a dilated filter the rows that threads would compute twice, and those that are kept, are many.
  if (options_.joins_rows < 0 && layer(unit.depthwise).depthwise().window.dilation > 1) return false;
  const int last = step.last_layer(), added = layer(unit.project).added;
  if (added >= 0 && added != last) return false;
  if (options_.joins_rows == 1 || is_large(last)) return true;
  return session_.threads == 1 &&
         (!layer(unit.depthwise).integers || session_.tensors[last].map.bytes() > kKeptByBytes);
}

// Whether a pointwise layer goes on where a chain ends: as a unit of its own, row by row.
bool Planner::joins_chain(Index number, Unit* unit) {
  const Step* chain = last_chain();
  if (chain == nullptr || !layer(number).pointwise() || layer(number).added >= 0) return false;
  if (!goes_on(*chain, static_cast<int>(number), -1)) return false;
  if (options_.joins_rows < 0 && !is_large(layer(number).input)) return false;
  *unit = Unit();
  unit->project = static_cast<int>(number);
  unit->input = unit->inner = unit->output = tensor(number).size;
  return true;
}

// A pointwise layer, a pooling and perhaps a linear layer that run as one; gives the last of them.
Index Planner::head_of(Index number, HeadStep* head) {
  if (!layer(number).pointwise() || layer(number).added >= 0 || layer(number).input < 0) return -1;
  const int pool = only_reader(number);
  if (pool != number + 1 || layer(pool).given.kind != LINNET_POOLING) return -1;
  const int linear = only_reader(pool);
  // A linear layer of bytes is a product like others.
  const bool ends = linear == pool + 1 && layer(linear).given.kind == LINNET_LINEAR && !layer(number).integers;
  *head = {static_cast<int>(number), pool, ends ? linear : -1, nullptr};
  return ends ? linear : pool;
}

Step& Planner::add_step(StepKind kind) {
  Step& step = session_.steps[session_.step_count++];
  step = Step();
  step.kind = kind;
  return step;
}

// A depthwise layer of its own is half a unit, for its sizes.
void Planner::add_depthwise(Index number) {
  Unit& unit = session_.units[unit_count_++];
  unit = Unit();
  unit.input = input_size(number);
  unit.inner = tensor(number).size;
  pad(&unit, layer(number).depthwise().window);
  Step& step = add_step(StepKind::kDepthwise);
  step.depthwise = {static_cast<int>(number), &unit};
  step.schedule = LINNET_LAYERWISE;
}

// Units of a chain follow each other, as they are found.
void Planner::add_unit(const Unit& unit, int schedule) {
  Unit* own = &session_.units[unit_count_++];
  *own = unit;
  if (schedule == LINNET_GROUPS) {
    Step& step = add_step(StepKind::kGroups);
    step.schedule = schedule;
    step.groups = {own, 0};
    return;
  }
  Step* previous = last_chain();
  const bool joins = previous != nullptr && extends(*previous, unit);
  Step& step = joins ? *previous : add_step(StepKind::kChain);
  if (!joins) step.chain = {own, 0, -1};
  ++step.chain.count;
  if (schedule != LINNET_AUTO) step.schedule = schedule;
}

// What runs a layer by itself.
StepKind single_step(int kind) {
  switch (kind) {
    case LINNET_POOLING:
      return StepKind::kPool;
    case LINNET_LINEAR:
      return StepKind::kLinear;
    case LINNET_ADD:
      return StepKind::kAdd;
    case LINNET_CONCATENATE:
      return StepKind::kConcatenate;
    case LINNET_RESIZE:
      return StepKind::kResize;
    case LINNET_QUANTIZE:
    case LINNET_DEQUANTIZE:
      return StepKind::kConvert;
    default:
      return StepKind::kPointwise;
  }
}

// Whether an output is what the last chain ends with, and nothing else reads it: then its rows go to the caller at
// once.
bool Planner::is_given_by_rows(int output) {
  Step* chain = last_chain();
  const int number = session_.outputs[output];
  if (chain == nullptr || chain->last_layer() != number || readers_of(number) > 0) return false;
  chain->chain.output = output;
  return true;
}

// A layer by itself; a product of bytes is half a unit, for what it needs.
void Planner::add_single(Index number) {
  const StepKind kind = single_step(layer(number).given.kind);
  const bool product = layer(number).integers && (kind == StepKind::kPointwise || kind == StepKind::kLinear);
  const bool needs = product && (converts() || layer(number).bytes.has_terms());
  Unit* sizes = nullptr;
  if (needs || (product && kind == StepKind::kLinear)) {
    sizes = &session_.units[unit_count_++];
    *sizes = Unit();
  }
  add_step(kind).single = {static_cast<int>(number), sizes};
}

void Planner::find_steps() {
  for (Index number = 0; number < layers_.size(); ++number) {
    const Index begun = number;
    Unit unit;
    HeadStep head;
    int schedule = LINNET_AUTO;
    if (starts_unit(number, &unit, &schedule)) {
      add_unit(unit, schedule);
      number = unit.project;
    } else if (const Index last = head_of(number, &head); last >= 0) {
      head.sizes = &session_.units[unit_count_++];
      *head.sizes = Unit();
      add_step(StepKind::kHead).head = head;
      number = last;
    } else if (layer(number).given.kind == LINNET_DEPTHWISE) {
      add_depthwise(number);
    } else if (joins_chain(number, &unit)) {
      session_.units[unit_count_++] = unit;
      ++last_chain()->chain.count;
    } else {
      add_single(number);
    }
    for (Index i = 0; i < session_.output_count; ++i) {
      if (session_.outputs[i] < begun || session_.outputs[i] > number || is_given_by_rows(static_cast<int>(i)))
        continue;
      add_step(StepKind::kOutput).output = {session_.outputs[i], static_cast<int>(i)};
    }
  }
}

// Gives a map a place in a thread's scratch space.
void take(Step& step, Map& map, Index element, Index blocks, Index slots, Index width) {
  map.element = element;
  map.blocks = blocks;
  map.slots = slots;
  map.width = width;
  map.offset = step.scratch_bytes;
  step.scratch_bytes += round_up(map.bytes(), kLineBytes);
}

// Words of 32 bits, one for each pixel of some rows.
void take_words(Step& step, Map& map, Index rows, Index width) {
  take(step, map, kFloat, 1, rows, (width + kBlock - 1) / kBlock);
}

// Operands of the input that `read` reads by a product, and what its zero adds to each pixel's sums.
void Planner::take_operands(Step& step, const PackedLayer& read, Map& widened, Map& terms, Index rows, Index width) {
  if (!read.integers) return;
  if (converts()) take(step, widened, operand_bytes(read), read.in_blocks, rows, width);
  if (read.bytes.has_terms()) take_words(step, terms, rows, width);
}

// Rows that a filter spans.
Index reach_of(const linnet_window& window) { return Index{window.kernel - 1} * window.dilation + 1; }

// Rows of outputs that a unit of a chain makes at once: of bytes, where kernels keep what rows share. In a long chain
// the unit before makes more of them too.
Index Planner::rows_at_once(const ChainStep& chain, const Unit& unit) const {
  const PackedLayer& filter = layer(unit.depthwise);
  const linnet_window& window = filter.depthwise().window;
  if (!filter.integers || operand_bytes(filter) > 1 || window.stride > 1 || window.dilation > 1) return 1;
  const Index row = filter.in_blocks * kBlock * (unit.input.width + unit.inner.width);
  return smaller(chain.count == 1 ? 4 : 2, 1 + kRowsAtOnceBytes / row);
}

// Rows that such a unit filters at once.
Index Planner::filtered_rows(const Unit& unit) const {
  return reach_of(layer(unit.depthwise).depthwise().window) + unit.rows - 1;
}

// Rows of a unit's output that have to be there for the next unit, or for the caller.
Index Planner::kept_rows(const ChainStep& chain, int i) const {
  const Unit* next = i + 1 < chain.count ? &chain.units[i + 1] : nullptr;
  const Index read = next == nullptr || next->depthwise < 0 ? 1 : filtered_rows(*next);
  return read + chain.units[i].rows - 1;
}

void Planner::plan_window(Step& step, Unit& unit) {
  const linnet_convolution& own = layer(unit.project).convolution();
  const Index kernel = own.window.kernel, element = operand_bytes(layer(unit.project));
  if (layer(unit.project).integers && layer(unit.project).bytes.has_terms()) {
    take_words(step, unit.terms, 1, unit.output.width);
  }
  if (layer(unit.project).input >= 0) {
    // The pixels under the kernel, for one row of outputs.
    take(step, unit.window, element, kernel * kernel * layer(unit.project).in_blocks, 1, unit.output.width);
    return;
  }
  // Rows of the picture as operands, with the zeros around them; its channels lie side by side, in no blocks.
  unit.window.element = element;
  unit.window.offset = step.scratch_bytes;
  unit.window.width = (unit.output.width - 1) * own.window.stride + kernel;
  unit.window.width = larger(unit.window.width, unit.pad_left + unit.input.width) * own.in_channels;
  // Bytes are read in words: the last one may begin before the end of the last row.
  step.scratch_bytes += round_up((kernel * unit.window.width + kBlock) * element, kLineBytes);
}

void Planner::plan_chain(Step& step) {
  for (int i = 0; i < step.chain.count; ++i) {
    Unit& unit = step.chain.units[i];
    if (unit.depthwise >= 0) unit.rows = rows_at_once(step.chain, unit);
  }
  for (int i = 0; i < step.chain.count; ++i) {
    Unit& unit = step.chain.units[i];
    if (unit.depthwise >= 0) {
      const PackedLayer& filter = layer(unit.depthwise);
      const Index rows = smaller(filtered_rows(unit), unit.input.height);
      if (unit.expand >= 0) {
        take(step, unit.expanded, layer(unit.expand).element, filter.in_blocks, rows, unit.input.width);
      }
      if (filter.integers) take(step, unit.padding, 1, 1, 1, unit.input.width);
      if (unit.resize >= 0) take(step, unit.columns, sizeof(Neighbours), 1, 1, blocks_of(unit.input.width));
    } else if (!layer(unit.project).pointwise()) {
      plan_window(step, unit);
    }
    if (i + 1 < step.chain.count || step.chain.output >= 0) {
      const PackedLayer& project = layer(unit.project);
      const Index rows = smaller(kept_rows(step.chain, i), unit.output.height);
      take(step, unit.made, project.element, project.out_blocks, rows, unit.output.width);
    }
  }
  // What is needed for a unit's rows alone has the same room for all: those before it have made their rows by then.
  const Index begin = step.scratch_bytes;
  Index end = begin;
  for (int i = 0; i < step.chain.count; ++i) {
    step.scratch_bytes = begin;
    plan_row(step, step.chain.units[i]);
    end = larger(end, step.scratch_bytes);
  }
  step.scratch_bytes = end;
}

// What a unit of a chain needs while it makes the rows that it makes at once.
void Planner::plan_row(Step& step, Unit& unit) {
  const PackedLayer& project = layer(unit.project);
  if (unit.depthwise < 0) {
    if (project.pointwise()) take_operands(step, project, unit.widened, unit.terms, 1, unit.input.width);
    return;
  }
  if (unit.resize >= 0 && unit.join < 0) {
    const PackedLayer& resize = layer(unit.resize);
    take(step, unit.grown, resize.element, resize.out_blocks, 1, unit.input.width);
  }
  if (unit.expand >= 0) {
    take_operands(step, layer(unit.expand), unit.widened, unit.expand_terms, 1, unit.input.width);
  }
  const PackedLayer& filter = layer(unit.depthwise);
  take(step, unit.filtered, operand_bytes(filter), filter.in_blocks, unit.rows, unit.inner.width);
  if (project.integers && project.bytes.has_terms()) take_words(step, unit.terms, 1, unit.rows * unit.inner.width);
}

void Planner::plan_groups(Step& step) {
  Unit& unit = *step.groups.unit;
  const PackedLayer& filter = layer(unit.depthwise);
  const Index blocks = filter.in_blocks;
  const Index own = (blocks + session_.threads - 1) / session_.threads;
  const Index pixels = unit.inner.height * unit.inner.width;
  const bool own_group = options_.groups != nullptr && options_.groups[unit.depthwise] > 0;
  const Index asked = own_group ? options_.groups[unit.depthwise] : options_.group;
  const Index block_bytes = pixels * kBlock * operand_bytes(filter);
  const bool single = own * block_bytes <= kSingleByteGroupBytes;
  const Index bytes = !filter.integers ? kGroupBytes : single ? kSingleByteGroupBytes : kByteGroupBytes;
  const Index group = asked > 0 ? blocks_of(asked) : bytes / block_bytes;
  // Panels are not cut: a group is a whole number of them, at least one, and at most what a thread has to do.
  const linnet_network& network = *session_.network;
  const Index widest =
      filter.integers ? network.integers->panel_blocks : network.kernels->panel_blocks(kMostChannels, 0);
  const Index panel = unit.expand >= 0 ? widest : 1;
  const Index most = unit.expand >= 0 ? panel + 1 : 1;
  step.groups.group_blocks = smaller(larger(group / panel * panel, most), larger(own, most));
  if (unit.expand >= 0) {
    const Index panels = filter.integers ? widest : kMostPanelBlocks;
    take(step, unit.expanded, layer(unit.expand).element, smaller(panels, blocks), unit.input.height, unit.input.width);
    take_operands(step, layer(unit.expand), unit.widened, unit.expand_terms, 1, unit.input.height * unit.input.width);
  }
  take(step, unit.filtered, operand_bytes(filter), smaller(step.groups.group_blocks, blocks), unit.inner.height,
       unit.inner.width);
  if (filter.integers) take(step, unit.padding, 1, 1, 1, unit.input.width);
  if (layer(unit.project).integers && layer(unit.project).bytes.has_terms()) {
    take_words(step, unit.terms, 1, unit.inner.height * unit.inner.width);
  }
  // Each thread's sum over its own groups; sums of bytes are wider than what comes of them, and there are none of one
  // group.
  if (session_.threads > 1 || (filter.integers && step.groups.group_blocks < blocks)) {
    take(step, unit.made, kFloat, layer(unit.project).out_blocks, unit.output.height, unit.output.width);
  }
}

void Planner::plan_head(Step& step) {
  const Size size = input_size(step.head.layer);
  take(step, step.head.sizes->made, layer(step.head.layer).element, kMostPanelBlocks, size.height, size.width);
  take_operands(step, layer(step.head.layer), step.head.sizes->widened, step.head.sizes->terms, 1,
                size.height * size.width);
  if (step.head.linear < 0) return;
  // The averages of a panel, then each thread's own part of the linear layer's sums.
  step.scratch_bytes += (kMostPanelBlocks + layer(step.head.linear).out_blocks) * kBlock * kFloat;
}

void Planner::plan_scratch(Step& step) {
  if (step.kind == StepKind::kChain) plan_chain(step);
  if (step.kind == StepKind::kGroups) plan_groups(step);
  if (step.kind == StepKind::kHead) plan_head(step);
  if (step.kind == StepKind::kResize) {
    step.scratch_bytes += tensor(step.single.layer).size.width * static_cast<Index>(sizeof(Neighbours));
  }
  if (step.kind == StepKind::kDepthwise && layer(step.depthwise.layer).integers) {
    take(step, step.depthwise.sizes->padding, 1, 1, 1, step.depthwise.sizes->input.width);
  }
  const bool product = step.kind == StepKind::kPointwise || step.kind == StepKind::kLinear;
  if (product && step.single.sizes != nullptr) {
    const Index pixels = step.kind == StepKind::kLinear ? 1 : kPixelsAtOnce;
    take_operands(step, layer(step.single.layer), step.single.sizes->widened, step.single.sizes->terms, 1, pixels);
  }
}

void Planner::read_by(Index number, int step) {
  if (number < 0) return;
  tensor(number).last_step = step;
}

void Planner::find_lives() {
  for (Index i = 0; i < session_.step_count; ++i) {
    Step& step = session_.steps[i];
    const int now = static_cast<int>(i);
    if (step.kind == StepKind::kOutput) {
      read_by(step.output.layer, now);
      continue;
    }
    const int first = step.first_layer(), last = step.last_layer();
    for (int number = first; number <= last; ++number) {
      for (Index i = 0; i < layer(number).given.input_count; ++i) {
        if (input_of(number, i) < first) read_by(input_of(number, i), now);
      }
    }
    Tensor& own = tensor(last);
    own.whole = step.kind != StepKind::kChain || step.chain.output < 0;
    own.first_step = own.last_step = now;
    if (step.kind == StepKind::kConcatenate) join_in_place(last);
  }
}

// What a concatenation reads, and nothing else does, is written where it belongs at once, if it begins with a block: a
// map of whole blocks is a part of any map of its size. Then nothing is copied, and nothing is there twice.
void Planner::join_in_place(Index number) {
  const PackedLayer& own = layer(number);
  Index begin = 0;
  for (Index i = 0; i < own.given.input_count; begin += layer(input_of(number, i)).channels, ++i) {
    Tensor& read = tensor(input_of(number, i));
    const bool fills = layer(input_of(number, i)).channels % kBlock == 0 || i + 1 == own.given.input_count;
    if (begin % kBlock != 0 || !fills || !read.whole || read.within >= 0) continue;
    if (!is_read_once(input_of(number, i))) continue;
    read.within = static_cast<int>(number);
    read.within_at = begin / kBlock;
    tensor(number).first_step = smaller(tensor(number).first_step, read.first_step);
  }
}

// Gives tensors and scratch spaces places in the arena: the largest first, each as low as those that live at the same
// time let it. Returns the bytes of the arena.
Index Planner::place_all() {
  struct Live {
    Index bytes, offset;
    int first, last;
    Index* place;
  };
  Array<Live> lives;
  if (!lives.allocate(session_.step_count + layers_.size())) return -1;
  Index count = 0;
  const auto add = [&](Index bytes, int first, int last, Index* place) {
    if (bytes > 0) lives[count++] = {round_up(bytes, kLineBytes), -1, first, last, place};
  };
  for (Index i = 0; i < session_.step_count; ++i) {
    Step& step = session_.steps[i];
    add(step.scratch_bytes * session_.threads, static_cast<int>(i), static_cast<int>(i), &step.scratch_offset);
  }
  for (Index number = 0; number < layers_.size(); ++number) {
    Tensor& own = tensor(number);
    if (own.whole && own.within < 0) add(own.map.bytes(), own.first_step, own.last_step, &own.map.offset);
  }
  Index arena = 0;
  for (Index done = 0; done < count; ++done) {
    Live* next = nullptr;
    for (Index i = 0; i < count; ++i) {
      if (lives[i].offset < 0 && (next == nullptr || lives[i].bytes > next->bytes)) next = &lives[i];
    }
    // The lowest place that is free: tried after each that is in the way, from the bottom up.
    Index offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (Index i = 0; i < count; ++i) {
        const Live& other = lives[i];
        const bool meets = other.offset >= 0 && other.first <= next->last && next->first <= other.last;
        if (meets && other.offset < offset + next->bytes && offset < other.offset + other.bytes) {
          offset = other.offset + other.bytes;
          moved = true;
        }
      }
    }
    next->offset = offset;
    *next->place = offset;
    arena = larger(arena, offset + next->bytes);
  }
  // From the last to the first: what is joined may be joined again.
  for (Index number = layers_.size() - 1; number >= 0; --number) {
    Tensor& own = tensor(number);
    if (own.within < 0) continue;
    const Map& whole = tensor(own.within).map;
    own.map.offset = whole.offset + own.within_at * whole.block_step() * whole.element;
  }
  return arena;
}

int Planner::plan(Index* arena_bytes) {
  // Every layer begins at most one step, every output one more.
  if (!session_.tensors.allocate(layers_.size()) || !session_.units.allocate(layers_.size()) ||
      !session_.steps.allocate(layers_.size() + session_.output_count)) {
    return fail(error_, LINNET_OUT_OF_MEMORY, "There is no memory for a plan.");
  }
  if (const int code = find_sizes()) return code;
  find_steps();
  for (Index i = 0; i < session_.step_count; ++i) {
    plan_scratch(session_.steps[i]);
    // Scratch space of all threads side by side, each on lines of its own.
    Index& bytes = session_.steps[i].scratch_bytes;
    bytes = round_up(bytes, kLineBytes);
    if (bytes > kMostBytes / session_.threads) {
      return fail(error_, LINNET_OUT_OF_MEMORY, "A step needs more scratch space than any memory holds.");
    }
  }
  find_lives();
  *arena_bytes = place_all();
  if (*arena_bytes < 0) return fail(error_, LINNET_OUT_OF_MEMORY, "There is no memory for a plan.");
  return LINNET_OK;
}

}  // namespace

int make_plan(linnet_session& session, const linnet_options& options, Index* arena_bytes, linnet_error* error) {
  return Planner(session, options, error).plan(arena_bytes);
}

}  // namespace linnet
