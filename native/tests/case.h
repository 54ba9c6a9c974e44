// A program with its weights, options and pictures, as tests/engine/cases.py writes it.
#ifndef LINNET_TESTS_CASE_H
#define LINNET_TESTS_CASE_H

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "engine.h"
#include "linnet.h"

namespace linnet_tests {

struct Case {
  std::int64_t height = 0, width = 0, pictures = 0, channels = 0;
  double tolerance = 0;  // of floats, relative to the largest expected value
  std::vector<linnet_layer> layers;
  std::vector<std::int32_t> inputs;
  std::vector<std::uint8_t> data, table;
  std::vector<std::int32_t> outputs;
  std::vector<std::uint8_t> pixels;
  std::vector<std::vector<std::uint8_t>> expected;  // one for each output, floats or bytes
};

// Bytes of one number of a precision.
inline std::int64_t number_bytes(std::int32_t precision) { return precision == LINNET_UINT8 ? 1 : 4; }

// Of the table of what a picture's bytes stand for.
inline std::int64_t table_bytes(const std::vector<linnet_layer>& layers) {
  return layers[0].body.convolution.in_channels * std::int64_t{256} * number_bytes(layers[0].precision);
}

// Numbers that a layer gives for one picture, by the rule that linnet.h states.
inline std::int64_t output_numbers(const std::vector<linnet_layer>& layers, const std::vector<std::int32_t>& inputs,
                                   std::int64_t height, std::int64_t width, std::int32_t number) {
  const std::int64_t channels = linnet::out_channels(layers[static_cast<std::size_t>(number)]);
  while (number >= 0) {
    const linnet_layer& layer = layers[static_cast<std::size_t>(number)];
    if (layer.kind == LINNET_POOLING || layer.kind == LINNET_LINEAR) return channels;
    std::int64_t stride = linnet::window_of(layer) == nullptr ? 1 : linnet::window_of(layer)->stride;
    // Strides of strides are rounded up as their product is, so the order does not matter.
    if (layer.kind == LINNET_RESIZE) {
      stride = layer.body.resizing.stride;
      height = (height + stride - 1) / stride;
      width = (width + stride - 1) / stride;
      break;
    }
    height = (height + stride - 1) / stride;
    width = (width + stride - 1) / stride;
    number = inputs[static_cast<std::size_t>(layer.first_input)];
  }
  return height * width * channels;
}

// The same in bytes.
inline std::int64_t output_bytes(const std::vector<linnet_layer>& layers, const std::vector<std::int32_t>& inputs,
                                 std::int64_t height, std::int64_t width, std::int32_t number) {
  const linnet_layer& layer = layers[static_cast<std::size_t>(number)];
  return output_numbers(layers, inputs, height, width, number) * number_bytes(layer.precision);
}

// Reads bytes from a place on; `good` is false once there were too few.
struct Reader {
  const std::uint8_t* data;
  std::size_t left;
  bool good = true;

  template <typename Item>
  Item number() {
    Item item = {};
    copy(&item, sizeof(item));
    return item;
  }
  template <typename Item>
  void array(std::vector<Item>* items, std::int64_t count) {
    if (count < 0 || static_cast<std::size_t>(count) > left / sizeof(Item)) {
      good = false;
      return;
    }
    items->resize(static_cast<std::size_t>(count));
    copy(items->data(), items->size() * sizeof(Item));
  }

 private:
  void copy(void* to, std::size_t bytes) {
    good = good && bytes <= left;
    if (!good || bytes == 0) return;
    std::memcpy(to, data, bytes);
    data += bytes;
    left -= bytes;
  }
};

inline bool read_file(const char* path, std::vector<std::uint8_t>* bytes) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return false;
  std::uint8_t buffer[65536];
  for (std::size_t got; (got = std::fread(buffer, 1, sizeof(buffer), file)) > 0;) {
    bytes->insert(bytes->end(), buffer, buffer + got);
  }
  std::fclose(file);
  return true;
}

inline bool read_case(Reader& reader, Case* found) {
  found->height = reader.number<std::int64_t>();
  found->width = reader.number<std::int64_t>();
  found->pictures = reader.number<std::int64_t>();
  found->channels = reader.number<std::int64_t>();
  const auto layers = reader.number<std::int64_t>(), inputs = reader.number<std::int64_t>(),
             data = reader.number<std::int64_t>(), outputs = reader.number<std::int64_t>();
  found->tolerance = reader.number<double>();
  reader.array(&found->layers, layers);
  reader.array(&found->inputs, inputs);
  reader.array(&found->data, data);
  if (found->layers.empty()) return false;
  reader.array(&found->table, table_bytes(found->layers));
  reader.array(&found->outputs, outputs);
  reader.array(&found->pixels, found->pictures * found->height * found->width * found->channels);
  for (std::int64_t i = 0; i < outputs && reader.good; ++i) {
    found->expected.emplace_back();
    reader.array(&found->expected.back(), reader.number<std::int64_t>());
  }
  return reader.good;
}

}  // namespace linnet_tests

#endif
