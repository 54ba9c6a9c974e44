// What a thread knows of a run, and maps in memory: what the ways to run a step share.
#ifndef LINNET_WORKER_H
#define LINNET_WORKER_H

#include "engine.h"

namespace linnet {

struct Worker {
  linnet_session& session;
  int thread;
  const std::uint8_t* pixels;  // of this picture
  void* const* outputs;
  Index picture;

  const EngineKernels& kernels() const { return *session.network->kernels; }
  const IntegerKernels& integers() const { return *session.network->integers; }
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
template <typename Number>
Rows<Number> whole_rows(const Worker& worker, int number) {
  return rows_in<Number>(worker.arena(), worker.tensor(number).map);
}

// Some pixels of a layer's output, of which `values` begin at a block's first, to the session's output of that number:
// from blocks to the caller's order, channels side by side.
template <typename Number>
void give_pixels(const Worker& worker, int number, int output, const Number* values, Index block_step, Range pixels) {
  const PackedLayer& layer = worker.layer(number);
  const Size size = worker.tensor(number).size;
  const Index channels = layer.channels, all = size.height * size.width;
  Number* given = static_cast<Number*>(worker.outputs[output]) + (worker.picture * all + pixels.first) * channels;
  for (Index block = 0; block < layer.out_blocks; ++block, values += block_step, given += kBlock) {
    const Index count = smaller(kBlock, channels - block * kBlock);
    for (Index pixel = 0; count == kBlock && pixel < pixels.count(); ++pixel) {
      std::memcpy(given + pixel * channels, values + pixel * kBlock, kBlock * sizeof(Number));
    }
    for (Index pixel = 0; count < kBlock && pixel < pixels.count(); ++pixel) {
      for (Index k = 0; k < count; ++k) given[pixel * channels + k] = values[pixel * kBlock + k];
    }
  }
}

}  // namespace linnet

#endif
