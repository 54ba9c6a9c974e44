// What the parts of the engine share: a network with packed weights, and the plan of a session.
#ifndef LINNET_ENGINE_H
#define LINNET_ENGINE_H

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine_kernels.h"
#include "integer_kernels.h"
#include "linnet.h"
#include "memory.h"
#include "threads.h"

namespace linnet {

constexpr Index kMostLayers = 4096;
constexpr Index kMostChannels = 1 << 24;
constexpr Index kMostSide = 1 << 16;
constexpr Index kMostJoined = 64;             // outputs that one layer reads
constexpr Index kMostBytes = Index{1} << 40;  // of any one thing
constexpr Index kFloat = sizeof(float);
constexpr Index kLineBytes = kLine * kFloat;  // of a cache line

// Zeros of its own, aligned to cache lines; `allocate` says whether there was memory.
template <typename Item>
class Array {
 public:
  Array() = default;
  ~Array() { give_memory(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  bool allocate(Index count) {
    give_memory(data_);
    // Where addresses have 32 bits, a size beyond them would come out small.
    const bool fits = count <= static_cast<Index>(PTRDIFF_MAX / sizeof(Item));
    data_ = fits ? static_cast<Item*>(take_memory(static_cast<std::size_t>(count) * sizeof(Item))) : nullptr;
    size_ = data_ == nullptr ? 0 : count;
    return data_ != nullptr;
  }
  Item& operator[](Index i) { return data_[i]; }
  const Item& operator[](Index i) const { return data_[i]; }
  Item* data() { return data_; }
  const Item* data() const { return data_; }
  Index size() const { return size_; }

 private:
  Item* data_ = nullptr;
  Index size_ = 0;
};

// A thing of its own in memory of its own, so that no C++ library is needed; null where there is no memory.
template <typename Thing>
Thing* make() {
  void* memory = take_memory(sizeof(Thing));
  return memory == nullptr ? nullptr : new (memory) Thing;
}
template <typename Thing>
void destroy(Thing* thing) {
  if (thing == nullptr) return;
  thing->~Thing();
  give_memory(thing);
}

// Writes a sentence into `error`, which may be null, and gives `code`.
int fail(linnet_error* error, int code, const char* format, ...) __attribute__((format(printf, 3, 4)));

// The instruction set that runs; -1 if LINNET_ISA names one that is unknown or not there.
int engine_set();

inline Index blocks_of(Index channels) { return (channels + kBlock - 1) / kBlock; }

// What a layer of bytes has packed. Products have panels of [inputs / group][blocks * kBlock][group]; depthwise layers
// have what `IntegerDepthwise` says, block by block.
struct PackedBytes {
  const std::int8_t* weights;
  const std::int32_t* bias;    // [out_blocks * kBlock], with what the zero of the inputs makes of all weights
  const float* multipliers;    // the same
  const std::uint8_t* tables;  // of a concatenation
  Requantisation rule;
  std::int32_t factor;  // of the sum of a pixel's inputs that belongs to all its sums
  bool crossed;         // whether its products are
  bool wide;            // whether depthwise taps have 16 bits

  // Whether there is something that belongs to all sums of a pixel.
  bool has_terms() const { return factor != 0 || crossed; }
};

// A layer and its packed weights. Products of floats have panels of [in][blocks * kBlock], where the inputs of a
// convolution are ordered by tap and then by channel; depthwise layers have [block][9][kBlock], linear ones [in][out].
struct PackedLayer {
  linnet_layer given;
  const float* weights;
  const float* bias;  // [out_blocks * kBlock]
  PackedBytes bytes;  // instead of these two
  Index channels;     // of its output
  Index element;      // bytes of one number of its output
  Index in_blocks, out_blocks;
  Index inputs;      // rows of a panel
  bool integers;     // whether it computes with bytes
  int input, added;  // the layer that it reads, -1: the picture; and what is added to that, or to its output, -1: none
  // What only layers of one kind have; of another kind these mean nothing.
  const linnet_convolution& convolution() const { return given.body.convolution; }
  const linnet_depthwise& depthwise() const { return given.body.depthwise; }
  const linnet_linear& linear() const { return given.body.linear; }
  const linnet_addition& addition() const { return given.body.addition; }
  const linnet_resizing& resizing() const { return given.body.resizing; }
  const linnet_conversion& conversion() const { return given.body.conversion; }
  // Whether it is one product over the pixels of another layer.
  bool pointwise() const {
    return given.kind == LINNET_CONVOLUTION && convolution().window.kernel == 1 && convolution().window.stride == 1 &&
           input >= 0;
  }
};

// Channels of a layer's first input and of its output; -1 for a kind that is unknown.
Index in_channels(const linnet_layer& layer);
Index out_channels(const linnet_layer& layer);
// Which pixels an output of a layer comes of; null of a kind that takes them one by one or all together.
const linnet_window* window_of(const linnet_layer& layer);

struct Size {
  Index height, width;
};

}  // namespace linnet

// Shared by its sessions, and never changed once it is open.
struct linnet_network {
  std::atomic<linnet::Index> users{1};
  const linnet::EngineKernels* kernels = nullptr;
  const linnet::IntegerKernels* integers = nullptr;
  linnet::Array<linnet::PackedLayer> layers;
  linnet::Array<std::int32_t> inputs;  // of all layers
  linnet::Array<std::uint8_t> weights;
};

namespace linnet {

// A tensor or a ring of rows: [block][slots][width][kBlock], row r in slot r % slots, of numbers of `element` bytes.
struct Map {
  Index offset = 0;  // bytes from the beginning of the arena, or of a thread's scratch space
  Index element = 0;
  Index blocks = 0, slots = 0, width = 0;
  Index block_step() const { return slots * width * kBlock; }  // numbers from one block to the next
  Index numbers() const { return blocks * block_step(); }
  Index bytes() const { return numbers() * element; }
};

// Layers that run together: [[resize] expand [join]] depthwise project, or one convolution. -1: there is none.
struct Unit {
  int resize = -1;  // what is added to the expansion, or joined with it, of which each row is made as it is needed
  int expand = -1, join = -1, depthwise = -1, project = -1;
  Size input, inner, output;  // before, between depthwise and project, after
  Index pad_top = 0, pad_left = 0;
  Index rows = 1;  // of outputs that a chain makes at once
  // In a thread's scratch space. `made` is the unit's output, unless it is the step's own, or sums of it.
  Map window, expanded, filtered, made;
  Map columns, grown;              // where the pixels of a resized row lie, and one such row unless it is joined
  Index grown_at = 0, own_at = 0;  // blocks of `expanded` where a joined row and the expansion begin
  // Of bytes: the input as operands, a row of the filter's padding, and a pixel's own part of its sums: of the
  // expansion and of the last product.
  Map widened, padding, expand_terms, terms;
  // The layer that reads the unit's input, and the one that comes first in the program.
  int reader() const { return expand >= 0 ? expand : depthwise >= 0 ? depthwise : project; }
  int first() const { return resize >= 0 ? resize : reader(); }
};

constexpr int kMostUnits = 32;  // of a chain

// Pixels whose operands are made at one time, where products do not read a map as it is.
constexpr Index kPixelsAtOnce = 48;

enum class StepKind {
  kChain,
  kGroups,
  kPointwise,
  kDepthwise,
  kHead,
  kPool,
  kLinear,
  kAdd,
  kConcatenate,
  kResize,
  kConvert,
  kOutput
};

// Units that follow each other, of which each makes its rows when the next one asks for them.
struct ChainStep {
  Unit* units;
  int count;
  int output;  // of the session's outputs the one whose rows go to the caller at once; -1: the last rows stay
};

// One unit, some blocks of expanded channels at a time.
struct GroupsStep {
  Unit* unit;
  Index group_blocks;
};

// A layer by itself: pointwise, pooling, linear, addition, concatenation, resizing, another kind of numbers.
struct LayerStep {
  int layer;
  Unit* sizes;  // of a pointwise or linear layer of bytes, without layers; else null
};

struct DepthwiseStep {
  int layer;
  Unit* sizes;  // without layers
};

// A pointwise layer, a pooling and perhaps a linear layer (else -1).
struct HeadStep {
  int layer, pool, linear;
  Unit* sizes;  // without layers; `made` is a panel of the map
};

// A layer's output in the caller's order, to the session's output of that number.
struct OutputStep {
  int layer, output;
};

// What runs between two barriers. The kind says which part of the union counts.
struct Step {
  StepKind kind = StepKind::kChain;
  int schedule = LINNET_AUTO;
  union {
    ChainStep chain = {nullptr, 0, -1};
    GroupsStep groups;
    LayerStep single;
    DepthwiseStep depthwise;
    HeadStep head;
    OutputStep output;
  };
  Index scratch_bytes = 0;   // of a thread
  Index scratch_offset = 0;  // of all threads, in the arena, in bytes
  double seconds = 0, least_seconds = 0;

  int first_layer() const {
    switch (kind) {
      case StepKind::kChain:
        return chain.units[0].first();
      case StepKind::kGroups:
        return groups.unit->first();
      case StepKind::kDepthwise:
        return depthwise.layer;
      case StepKind::kHead:
        return head.layer;
      case StepKind::kOutput:
        return output.layer;
      default:
        return single.layer;
    }
  }
  int last_layer() const {
    switch (kind) {
      case StepKind::kChain:
        return chain.units[chain.count - 1].project;
      case StepKind::kGroups:
        return groups.unit->project;
      case StepKind::kHead:
        return head.linear >= 0 ? head.linear : head.pool;
      default:
        return first_layer();
    }
  }
};

// A layer's output as a session sees it.
struct Tensor {
  Size size = {0, 0};
  bool whole = false;  // stands in the arena
  Map map;
  int first_step = -1, last_step = -1;
  int within = -1;      // the concatenation in whose output it is written at once, else -1
  Index within_at = 0;  // the block where it begins there
};

}  // namespace linnet

struct linnet_session {
  linnet_network* network = nullptr;
  linnet::Size picture = {0, 0};
  // The first layer reads the picture: nothing else is there yet.
  linnet::Index picture_channels() const { return network->layers[0].convolution().in_channels; }
  linnet::Index table_bytes() const { return picture_channels() * 256 * (network->layers[0].integers ? 1 : 4); }
  int threads = 1;
  linnet::Array<std::uint8_t> table;
  // Of bytes and three channels: what a channel's byte gives a word of the operands of a pixel, of which there are
  // four.
  linnet::Array<std::uint64_t> words;
  linnet::Array<linnet::Tensor> tensors;
  linnet::Array<linnet::Unit> units;
  linnet::Array<linnet::Step> steps;
  linnet::Index step_count = 0;
  linnet::Array<int> outputs;
  linnet::Index output_count = 0;
  linnet::Array<std::uint8_t> arena;
  linnet::Team team;
  // Of threads that are apart: a session of one thread for each, and nothing above but the team.
  linnet::Array<linnet_session*> apart;
};

namespace linnet {

// Fills steps, tensors and the size of the arena of a session whose network, picture and threads are set.
int make_plan(linnet_session& session, const linnet_options& options, Index* arena_bytes, linnet_error* error);

// Runs one picture; called by all threads of the team at once.
void run_steps(linnet_session& session, int thread, const std::uint8_t* pixels, void* const* outputs, Index picture);

}  // namespace linnet

#endif
