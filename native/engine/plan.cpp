// A session's plan: which layers run as one, in which way, and where everything lies.

#include "engine.h"

namespace linnet {
namespace {

// A block runs by groups once its maps are at most this many pixels: then a slice of some channels over all of them
// fits into the fastest cache, and every weight is read once. Above, rows do.
constexpr Index kMostGroupPixels = 1024;
// Bytes of a group's filtered channels, which the projection reads for each of its panels.
constexpr Index kGroupBytes = 208 * 1024;
// With several threads each computes the rows at its borders itself, so a chain ends at maps that are small enough.
constexpr Index kKeptBytes = 512 * 1024;

struct Pads {
  Index before, output;
};

Pads pad_axis(Index length, const linnet_layer& layer) {
  const Index reach = Index{layer.kernel - 1} * layer.dilation, output = (length + layer.stride - 1) / layer.stride;
  if (layer.padding == LINNET_SYMMETRIC) return {reach / 2, output};
  const Index total = larger((output - 1) * layer.stride + reach + 1 - length, 0);
  return {total / 2, output};
}

class Planner {
 public:
  Planner(linnet_session& session, const linnet_options& options, linnet_error* error)
      : session_(session), options_(options), error_(error), layers_(session.network->layers) {}

  int plan(Index* arena_floats);

 private:
  const PackedLayer& layer(Index number) const { return layers_[number]; }
  Tensor& tensor(Index number) { return session_.tensors[number]; }
  Size input_size(Index number) {
    const int input = layer(number).input;
    return input < 0 ? session_.picture : tensor(input).size;
  }
  int input_of(Index number, Index i) const { return session_.network->inputs[layer(number).given.first_input + i]; }
  bool wanted(Index number) const {
    for (Index i = 0; i < session_.output_count; ++i) {
      if (session_.outputs[i] == number) return true;
    }
    return false;
  }
  // The only layer that reads an output, if there is just one and nobody else wants it; else -1. That it is also added
  // by `except` does not count.
  int only_reader(Index number, int except = -1) const;

  int find_sizes();
  void find_steps();
  bool starts_unit(Index number, Unit* unit, int* schedule);
  bool finish_unit(Unit* unit);
  int schedule_of(const Unit& unit) const;
  bool extends(const Step& step, const Unit& unit) const;
  Index head_of(Index number, Step* step);
  Step& add_step(StepKind kind);
  void keep_filter(Step& step);

  void plan_chain(Step& step);
  void plan_groups(Step& step);
  void plan_scratch(Step& step);
  void find_lives();
  void read_by(Index number, int step);
  Index place_all();

  linnet_session& session_;
  const linnet_options& options_;
  linnet_error* error_;
  const Array<PackedLayer>& layers_;
  Index unit_count_ = 0;
};

int Planner::only_reader(Index number, int except) const {
  if (wanted(number)) return -1;
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

int Planner::find_sizes() {
  for (Index number = 0; number < layers_.size(); ++number) {
    const linnet_layer& given = layer(number).given;
    Tensor& own = tensor(number);
    const Size input = input_size(number);
    const bool vector = given.kind == LINNET_POOLING || given.kind == LINNET_LINEAR;
    const bool convolves = given.kind == LINNET_CONVOLUTION || given.kind == LINNET_DEPTHWISE;
    own.size = vector      ? Size{1, 1}
               : convolves ? Size{pad_axis(input.height, given).output, pad_axis(input.width, given).output}
                           : input;
    own.map.blocks = layer(number).out_blocks;
    own.map.slots = own.size.height;
    own.map.width = own.size.width;
    // Sides are at most 2^16 and blocks 2^21, so this does not overflow.
    if (own.map.floats() > kMostFloats) {
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
  return unit.input.height * unit.input.width <= kMostGroupPixels ? LINNET_GROUPS : LINNET_ROWS;
}

// Whether a unit begins at this layer: a block, or the convolution of the picture.
bool Planner::starts_unit(Index number, Unit* unit, int* schedule) {
  const linnet_layer& given = layer(number).given;
  *unit = Unit();
  *schedule = LINNET_AUTO;
  unit->input = input_size(number);
  if (layer(number).pointwise() && layer(number).input >= 0 && layer(number).added < 0) {
    const int next = only_reader(number);
    if (next != number + 1 || layer(next).given.kind != LINNET_DEPTHWISE) return false;
    unit->expand = static_cast<int>(number);
    unit->depthwise = next;
  } else if (given.kind == LINNET_DEPTHWISE) {
    unit->depthwise = static_cast<int>(number);
  } else if (given.kind == LINNET_CONVOLUTION && !layer(number).pointwise()) {
    unit->project = static_cast<int>(number);
    unit->inner = unit->input;
    unit->output = tensor(number).size;
    unit->pad_top = pad_axis(unit->input.height, given).before;
    unit->pad_left = pad_axis(unit->input.width, given).before;
    return true;
  } else {
    return false;
  }
  if (!finish_unit(unit)) return false;
  const linnet_layer& filter = layer(unit->depthwise).given;
  unit->pad_top = pad_axis(unit->input.height, filter).before;
  unit->pad_left = pad_axis(unit->input.width, filter).before;
  unit->inner = unit->output = tensor(unit->depthwise).size;
  *schedule = schedule_of(*unit);
  return *schedule != LINNET_LAYERWISE;
}

// Whether a unit may go on where a chain ends, so that the tensor between them never exists whole.
bool Planner::extends(const Step& step, const Unit& unit) const {
  if (step.unit_count == kMostUnits || options_.joins_rows == 0) return false;
  const int last = step.last_layer();
  if (unit.depthwise < 0 || layer(unit.first()).input != last) return false;
  const int added = layer(unit.project).added;
  if (added >= 0 && added != last) return false;
  if (only_reader(last, unit.project) != unit.first()) return false;
  const Map& between = session_.tensors[last].map;
  return options_.joins_rows == 1 || session_.threads == 1 ||
         between.floats() * static_cast<Index>(sizeof(float)) > kKeptBytes;
}

// A pointwise layer, a pooling and perhaps a linear layer that run as one; gives the last of them.
Index Planner::head_of(Index number, Step* step) {
  if (!layer(number).pointwise() || layer(number).added >= 0 || layer(number).input < 0) return -1;
  const int pool = only_reader(number);
  if (pool != number + 1 || layer(pool).given.kind != LINNET_POOLING) return -1;
  step->pool = pool;
  const int linear = only_reader(pool);
  if (linear == pool + 1 && layer(linear).given.kind == LINNET_LINEAR) step->linear = linear;
  return step->linear >= 0 ? step->linear : pool;
}

Step& Planner::add_step(StepKind kind) {
  Step& step = session_.steps[session_.step_count++];
  step = Step();
  step.kind = kind;
  return step;
}

// A depthwise layer of its own is half a unit, for its sizes.
void Planner::keep_filter(Step& step) {
  const linnet_layer& filter = layer(step.layer).given;
  Unit& unit = session_.units[unit_count_++];
  unit = Unit();
  unit.input = input_size(step.layer);
  unit.inner = tensor(step.layer).size;
  unit.pad_top = pad_axis(unit.input.height, filter).before;
  unit.pad_left = pad_axis(unit.input.width, filter).before;
  step.units = &unit;
  step.schedule = LINNET_LAYERWISE;
}

void Planner::find_steps() {
  for (Index number = 0; number < layers_.size(); ++number) {
    const Index begun = number;
    Unit unit;
    int schedule = LINNET_AUTO;
    Step head;
    if (starts_unit(number, &unit, &schedule)) {
      number = unit.project;
      Step* previous = session_.step_count > 0 ? &session_.steps[session_.step_count - 1] : nullptr;
      const bool joins = schedule != LINNET_GROUPS && previous != nullptr && previous->kind == StepKind::kChain &&
                         extends(*previous, unit);
      Step& step = joins ? *previous : add_step(schedule == LINNET_GROUPS ? StepKind::kGroups : StepKind::kChain);
      if (schedule != LINNET_AUTO) step.schedule = schedule;
      // The units of a chain follow each other, as they are found.
      Unit* own = &session_.units[unit_count_++];
      *own = unit;
      if (step.unit_count++ == 0) step.units = own;
    } else if (const Index last = head_of(number, &head); last >= 0) {
      Step& step = add_step(StepKind::kHead);
      step.layer = static_cast<int>(number);
      step.pool = head.pool;
      step.linear = head.linear;
      number = last;
    } else {
      const linnet_layer& given = layer(number).given;
      const StepKind kind = given.kind == LINNET_POOLING       ? StepKind::kPool
                            : given.kind == LINNET_LINEAR      ? StepKind::kLinear
                            : given.kind == LINNET_ADD         ? StepKind::kAdd
                            : given.kind == LINNET_CONCATENATE ? StepKind::kConcatenate
                            : given.kind == LINNET_DEPTHWISE   ? StepKind::kDepthwise
                                                               : StepKind::kPointwise;
      Step& step = add_step(kind);
      step.layer = static_cast<int>(number);
      if (kind == StepKind::kDepthwise) keep_filter(step);
    }
    for (Index i = 0; i < session_.output_count; ++i) {
      if (session_.outputs[i] < begun || session_.outputs[i] > number) continue;
      Step& step = add_step(StepKind::kOutput);
      step.layer = session_.outputs[i];
      step.output = static_cast<int>(i);
    }
  }
}

// Gives a map a place in a thread's scratch space.
void take(Step& step, Map& map, Index blocks, Index slots, Index width) {
  map.blocks = blocks;
  map.slots = slots;
  map.width = width;
  map.offset = step.scratch_floats;
  step.scratch_floats += (map.floats() + kLine - 1) / kLine * kLine;
}

void Planner::plan_chain(Step& step) {
  for (int i = 0; i < step.unit_count; ++i) {
    Unit& unit = step.units[i];
    const linnet_layer& project = layer(unit.project).given;
    if (unit.depthwise >= 0) {
      const linnet_layer& filter = layer(unit.depthwise).given;
      const Index reach = 2 * Index{filter.dilation} + 1;
      const Index blocks = layer(unit.depthwise).in_blocks;
      if (unit.expand >= 0) take(step, unit.expanded, blocks, smaller(reach, unit.input.height), unit.input.width);
      take(step, unit.filtered, blocks, 1, unit.inner.width);
    } else if (layer(unit.project).input < 0) {
      // Rows of the picture as floats, with the zeros around them.
      unit.window.offset = step.scratch_floats;
      unit.window.width = (unit.output.width - 1) * project.stride + project.kernel;
      unit.window.width = larger(unit.window.width, unit.pad_left + unit.input.width) * project.in_channels;
      step.scratch_floats += (project.kernel * unit.window.width + kLine - 1) / kLine * kLine;
    } else {
      // The pixels under the kernel, for one row of outputs.
      take(step, unit.window, Index{project.kernel} * project.kernel * layer(unit.project).in_blocks, 1,
           unit.output.width);
    }
    if (i + 1 < step.unit_count) {
      const Unit& next = step.units[i + 1];
      const Index reach = 2 * Index{layer(next.depthwise).given.dilation} + 1;
      take(step, unit.made, layer(unit.project).out_blocks, smaller(reach, unit.output.height), unit.output.width);
    }
  }
}

void Planner::plan_groups(Step& step) {
  Unit& unit = step.units[0];
  const Index blocks = layer(unit.depthwise).in_blocks;
  const Index own = (blocks + session_.threads - 1) / session_.threads;
  const Index pixels = unit.inner.height * unit.inner.width;
  const bool own_group = options_.groups != nullptr && options_.groups[unit.depthwise] > 0;
  const Index wanted = own_group ? options_.groups[unit.depthwise] : options_.group;
  const Index group =
      wanted > 0 ? blocks_of(wanted) : kGroupBytes / (pixels * kBlock * static_cast<Index>(sizeof(float)));
  // Panels are not cut: a group is a whole number of them, at least one, and at most what a thread has to do.
  const Index panel = unit.expand >= 0 ? session_.network->kernels->panel_blocks(kMostChannels, 0) : 1;
  const Index most = unit.expand >= 0 ? panel + 1 : 1;
  step.group_blocks = smaller(larger(group / panel * panel, most), larger(own, most));
  if (unit.expand >= 0) {
    take(step, unit.expanded, smaller(kMostPanelBlocks, blocks), unit.input.height, unit.input.width);
  }
  take(step, unit.filtered, smaller(step.group_blocks, blocks), unit.inner.height, unit.inner.width);
  // Each thread's sum over its own groups.
  if (session_.threads > 1) {
    take(step, unit.made, layer(unit.project).out_blocks, unit.output.height, unit.output.width);
  }
}

void Planner::plan_scratch(Step& step) {
  const auto& layers = layers_;
  if (step.kind == StepKind::kChain) plan_chain(step);
  if (step.kind == StepKind::kGroups) plan_groups(step);
  if (step.kind == StepKind::kHead) {
    const Size size = input_size(step.layer);
    Map panel;
    take(step, panel, kMostPanelBlocks, size.height, size.width);
    // The averages of a panel, then each thread's own part of the linear layer's sums.
    if (step.linear >= 0) step.scratch_floats += kMostPanelBlocks * kBlock + layers[step.linear].out_blocks * kBlock;
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
      read_by(step.layer, now);
      continue;
    }
    const int first = step.first_layer(), last = step.last_layer();
    for (int number = first; number <= last; ++number) {
      for (Index i = 0; i < layer(number).given.input_count; ++i) {
        if (input_of(number, i) < first) read_by(input_of(number, i), now);
      }
    }
    Tensor& own = tensor(last);
    own.whole = true;
    own.first_step = own.last_step = now;
  }
}

// Gives tensors and scratch spaces places in the arena: the largest first, each as low as those that live at the same
// time let it. Returns the floats of the arena.
Index Planner::place_all() {
  struct Live {
    Index floats, offset;
    int first, last;
    Index* place;
  };
  Array<Live> lives;
  if (!lives.allocate(session_.step_count + layers_.size())) return -1;
  Index count = 0;
  const auto add = [&](Index floats, int first, int last, Index* place) {
    if (floats > 0) lives[count++] = {(floats + kLine - 1) / kLine * kLine, -1, first, last, place};
  };
  for (Index i = 0; i < session_.step_count; ++i) {
    Step& step = session_.steps[i];
    add(step.scratch_floats * session_.threads, static_cast<int>(i), static_cast<int>(i), &step.scratch_offset);
  }
  for (Index number = 0; number < layers_.size(); ++number) {
    Tensor& own = tensor(number);
    if (own.whole) add(own.map.floats(), own.first_step, own.last_step, &own.map.offset);
  }
  Index arena = 0;
  for (Index done = 0; done < count; ++done) {
    Live* next = nullptr;
    for (Index i = 0; i < count; ++i) {
      if (lives[i].offset < 0 && (next == nullptr || lives[i].floats > next->floats)) next = &lives[i];
    }
    // The lowest place that is free: tried after each that is in the way, from the bottom up.
    Index offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (Index i = 0; i < count; ++i) {
        const Live& other = lives[i];
        const bool meets = other.offset >= 0 && other.first <= next->last && next->first <= other.last;
        if (meets && other.offset < offset + next->floats && offset < other.offset + other.floats) {
          offset = other.offset + other.floats;
          moved = true;
        }
      }
    }
    next->offset = offset;
    *next->place = offset;
    arena = larger(arena, offset + next->floats);
  }
  return arena;
}

int Planner::plan(Index* arena_floats) {
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
    Index& floats = session_.steps[i].scratch_floats;
    floats = (floats + kLine - 1) / kLine * kLine;
    if (floats > kMostFloats / session_.threads) {
      return fail(error_, LINNET_OUT_OF_MEMORY, "A step needs more scratch space than any memory holds.");
    }
  }
  find_lives();
  *arena_floats = place_all();
  if (*arena_floats < 0) return fail(error_, LINNET_OUT_OF_MEMORY, "There is no memory for a plan.");
  return LINNET_OK;
}

}  // namespace

int make_plan(linnet_session& session, const linnet_options& options, Index* arena_floats, linnet_error* error) {
  return Planner(session, options, error).plan(arena_floats);
}

}  // namespace linnet
