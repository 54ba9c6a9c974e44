// What the parts of the engine share: a network with packed weights, and the plan of a session.
#ifndef LINNET_ENGINE_H
#define LINNET_ENGINE_H

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "engine_kernels.h"
#include "linnet.h"
#include "memory.h"
#include "threads.h"

namespace linnet {

constexpr Index kMostLayers = 4096;
constexpr Index kMostChannels = 1 << 24;
constexpr Index kMostSide = 1 << 16;
constexpr Index kMostJoined = 64;              // outputs that one layer reads
constexpr Index kMostFloats = Index{1} << 38;  // of any one thing

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
    data_ = static_cast<Item*>(take_memory(static_cast<std::size_t>(count) * sizeof(Item)));
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

const EngineKernels* engine_kernels();

inline Index blocks_of(Index channels) { return (channels + kBlock - 1) / kBlock; }

// A layer and its packed weights. Products have panels of [in][blocks * kBlock], where the inputs of a convolution are
// ordered by tap and then by channel; depthwise layers have [block][9][kBlock], linear ones [in][out].
struct PackedLayer {
  linnet_layer given;
  const float* weights;
  const float* bias;  // [out_blocks * kBlock]
  Index in_blocks, out_blocks;
  Index inputs;      // rows of a panel
  int input, added;  // the layer that it reads, -1: the picture; and what is added to that, or to its output, -1: none
  // Whether it is one product over the pixels of another layer.
  bool pointwise() const {
    return given.kind == LINNET_CONVOLUTION && given.kernel == 1 && given.stride == 1 && input >= 0;
  }
};

struct Size {
  Index height, width;
};

}  // namespace linnet

// Shared by its sessions, and never changed once it is open.
struct linnet_network {
  std::atomic<linnet::Index> users{1};
  const linnet::EngineKernels* kernels = nullptr;
  linnet::Array<linnet::PackedLayer> layers;
  linnet::Array<std::int32_t> inputs;  // of all layers
  linnet::Array<float> weights;
};

namespace linnet {

// A tensor or a ring of rows: [block][slots][width][kBlock], row r in slot r % slots.
struct Map {
  Index offset = 0;  // floats from the beginning of the arena, or of a thread's scratch space
  Index blocks = 0, slots = 0, width = 0;
  Index block_step() const { return slots * width * kBlock; }
  Index floats() const { return blocks * block_step(); }
};

// Layers that run together: [expand] depthwise project, or one convolution. -1: there is none.
struct Unit {
  int expand = -1, depthwise = -1, project = -1;
  Size input, inner, output;  // before, between depthwise and project, after
  Index pad_top = 0, pad_left = 0;
  // In a thread's scratch space. `made` is the unit's output, unless it is the step's own.
  Map window, expanded, filtered, made;
  int first() const { return expand >= 0 ? expand : depthwise >= 0 ? depthwise : project; }
};

constexpr int kMostUnits = 32;  // of a chain

enum class StepKind { kChain, kGroups, kPointwise, kDepthwise, kHead, kPool, kLinear, kAdd, kConcatenate, kOutput };

// What runs between two barriers.
struct Step {
  StepKind kind = StepKind::kChain;
  int schedule = LINNET_AUTO;
  Unit* units = nullptr;  // of a chain; of groups, one
  int unit_count = 0;
  int layer = -1;              // of the kinds that are one layer
  int pool = -1, linear = -1;  // of a head
  Index group_blocks = 0;      // of expanded channels
  Index scratch_floats = 0;    // of a thread
  Index scratch_offset = 0;    // of all threads, in the arena
  int output = -1;             // of the session
  double seconds = 0, least_seconds = 0;
  int first_layer() const { return unit_count > 0 ? units[0].first() : layer; }
  int last_layer() const {
    return unit_count > 0 ? units[unit_count - 1].project : linear >= 0 ? linear : pool >= 0 ? pool : layer;
  }
};

// A layer's output as a session sees it.
struct Tensor {
  Size size = {0, 0};
  bool whole = false;  // stands in the arena
  Map map;
  int first_step = -1, last_step = -1;
};

}  // namespace linnet

struct linnet_session {
  linnet_network* network = nullptr;
  linnet::Size picture = {0, 0};
  linnet::Index picture_channels() const { return network->layers[0].given.in_channels; }
  int threads = 1;
  linnet::Array<float> table;
  linnet::Array<linnet::Tensor> tensors;
  linnet::Array<linnet::Unit> units;
  linnet::Array<linnet::Step> steps;
  linnet::Index step_count = 0;
  linnet::Array<int> outputs;
  linnet::Index output_count = 0;
  linnet::Array<float> arena;
  linnet::Team team;
  // Of threads that are apart: a session of one thread for each, and nothing above but the team.
  linnet::Array<linnet_session*> lanes;
};

namespace linnet {

// Fills steps, tensors and the size of the arena of a session whose network, picture and threads are set.
int make_plan(linnet_session& session, const linnet_options& options, Index* arena_floats, linnet_error* error);

// Runs one picture; called by all threads of the team at once.
void run_steps(linnet_session& session, int thread, const std::uint8_t* pixels, float* const* outputs, Index picture);

}  // namespace linnet

#endif
