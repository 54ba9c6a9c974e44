// The loader with a program as input: whatever the bytes say, a network either opens and runs or is refused with a
// sentence, and every schedule gives what running layer by layer gives: of floats nearly, of bytes to the last bit.
//
// The input: a header, as many records of layers as fit, and nothing else; tests/engine/cases.py writes seeds.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "case.h"
#include "memory.h"

using namespace linnet_tests;

namespace {

struct Header {
  std::uint16_t height, width;
  std::uint8_t threads, schedule, group, joins_rows;
  std::uint32_t part_bytes;  // of each part of the data; see `data_of`
  std::int32_t outputs[2];
  std::uint32_t bad_weight;  // the number of a float that is none, if there are so many
};

// A layer with room for what it reads; the numbers of all records are the program's inputs.
struct Record {
  linnet_layer layer;
  std::int32_t inputs[4];
};

// Limits that keep a program to a fraction of a millisecond: what is wrong in a large map is wrong in a small one.
constexpr std::size_t kMostOfOneThing = std::size_t{4} << 20;
constexpr std::uint32_t kMostPart = 1 << 17;
constexpr double kMostProducts = 1e6;     // of one run
constexpr std::size_t kMostValues = 256;  // channels of a picture

// One program in so many runs on more than one thread: most of their time threads wait for a core.
constexpr std::uint32_t kThreadsOneIn = 16;

[[noreturn]] void fail(const char* text) {
  std::fprintf(stderr, "%s\n", text);
  std::abort();
}

// What became of all programs; printed at the end, since refusals alone would test little.
struct Counts {
  long long programs = 0, opened = 0, planned = 0, compared = 0, with_threads = 0;

  ~Counts() {
    std::fprintf(stderr, "%lld programs, %lld opened, %lld planned, %lld compared, %lld on several threads\n", programs,
                 opened, planned, compared, with_threads);
  }
} counts;

// A number of multiplications that is at least what a run does.
double products(const std::vector<linnet_layer>& layers, const std::vector<std::int32_t>& inputs, std::int32_t height,
                std::int32_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const linnet_layer& layer = layers[i];
    const bool full = layer.kind == LINNET_CONVOLUTION || layer.kind == LINNET_LINEAR;
    // Of both the first number is that of the input's channels.
    const double depth = full ? layer.body.convolution.in_channels + 7.0 : 1.0;
    const linnet_window* window = linnet::window_of(layer);
    const double taps = window == nullptr ? 1.0 : static_cast<double>(window->kernel) * window->kernel;
    // Kernels compute whole blocks of channels.
    const double channels = linnet::out_channels(layer);
    const double numbers =
        static_cast<double>(output_numbers(layers, inputs, height, width, static_cast<std::int32_t>(i)));
    sum += depth * taps * numbers * (channels + 7.0) / channels;
  }
  return sum;
}

void check_error(int code, const linnet_error& error) {
  if (code != LINNET_OK && (error.text[0] == 0 || std::strlen(error.text) < 20)) fail("an error without a sentence");
}

// What layers may point to: floats as weights and biases; weights of 8 bits, which are also tables; biases of 32; and
// multipliers. Each part has so many bytes; they are made once for all programs, cut anew where the size changes, and
// end where they are said to, so that the sanitizer sees the first byte behind them.
std::vector<std::uint8_t>& data_of(std::size_t part) {
  static std::vector<float> floats, multipliers;
  static std::vector<std::int32_t> sums;
  static std::vector<std::uint8_t> bytes, data;
  if (data.size() == 4 * part) return data;
  for (int i = 0; floats.size() < kMostPart / 4; ++i) {
    floats.push_back(0.1F * static_cast<float>(i * 7919 % 17 - 8));
    sums.push_back(i % 61 == 60 ? (i % 2 == 0 ? 1 << 30 : -(1 << 30)) : i * 7919 % 40009 - 20004);
    const float ends[] = {0, 1e-40F, 3e38F};
    multipliers.push_back(i % 37 < 3 ? ends[i % 37] : 1.0F / static_cast<float>(1 << i % 14));
    for (int k = 0; k < 4; ++k) bytes.push_back(static_cast<std::uint8_t>((4 * i + k) * 2654435761U >> 13));
  }
  std::vector<std::uint8_t>(4 * part).swap(data);
  const void* parts[] = {floats.data(), bytes.data(), sums.data(), multipliers.data()};
  for (std::size_t i = 0; i < 4; ++i) std::memcpy(data.data() + i * part, parts[i], part);
  return data;
}

// A float that is none in place of one number, as long as this lives.
class BadWeight {
 public:
  BadWeight(std::vector<std::uint8_t>& data, std::size_t number) : place_(nullptr) {
    if (number >= data.size() / sizeof(float)) return;
    const float bad = NAN;
    place_ = data.data() + number * sizeof(bad);
    std::memcpy(good_, place_, sizeof(bad));
    std::memcpy(place_, &bad, sizeof(bad));
  }
  ~BadWeight() {
    if (place_ != nullptr) std::memcpy(place_, good_, sizeof(good_));
  }
  BadWeight(const BadWeight&) = delete;
  BadWeight& operator=(const BadWeight&) = delete;

 private:
  std::uint8_t* place_;
  std::uint8_t good_[sizeof(float)];
};

// Of the whole input, so that which programs have threads does not depend on what the corpus favours.
std::uint32_t hash_of(const std::uint8_t* data, std::size_t size) {
  std::uint32_t hash = 2166136261U;
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 16777619U;
  return hash >> 8;
}

using Outputs = std::vector<std::vector<std::uint8_t>>;

// False if the session is refused.
bool run(linnet_network* network, const std::vector<linnet_layer>& layers, const std::vector<std::int32_t>& inputs,
         const linnet_options& options, Outputs* outputs) {
  linnet_session* session = nullptr;
  linnet_error error = {};
  const int opened = linnet_session_open(network, &options, &session, &error);
  check_error(opened, error);
  if (opened != LINNET_OK) return false;
  ++counts.planned;
  const std::size_t channels = static_cast<std::size_t>(layers[0].body.convolution.in_channels);
  const bool runs = products(layers, inputs, options.height, options.width) < kMostProducts;
  if (runs) {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(options.height) * options.width * channels);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 11);
    std::vector<void*> places;
    for (int i = 0; i < options.output_count; ++i) {
      const auto bytes = output_bytes(layers, inputs, options.height, options.width, options.outputs[i]);
      outputs->emplace_back(static_cast<std::size_t>(bytes));
    }
    for (auto& output : *outputs) places.push_back(output.data());
    if (linnet_session_run(session, pixels.data(), 1, places.data(), &error) != LINNET_OK) fail("a run failed");
  }
  for (std::int64_t i = 0; i < linnet_session_steps(session); ++i) {
    linnet_step step;
    if (linnet_session_step(session, i, &step) != LINNET_OK) fail("a step is not there");
  }
  linnet_session_close(session);
  return runs;
}

// Which layers depend on floats: their order of adding changes last bits, and with them whole bytes behind them.
std::vector<bool> depend_on_floats(const std::vector<linnet_layer>& layers, const std::vector<std::int32_t>& inputs) {
  std::vector<bool> depend;
  for (const linnet_layer& layer : layers) {
    bool own = layer.precision == LINNET_FLOAT32;
    for (std::int32_t i = 0; i < layer.input_count; ++i) {
      const std::int32_t read = inputs[static_cast<std::size_t>(layer.first_input + i)];
      own = own || (read >= 0 && depend[static_cast<std::size_t>(read)]);
    }
    depend.push_back(own);
  }
  return depend;
}

void compare_floats(const std::vector<std::uint8_t>& ours, const std::vector<std::uint8_t>& expected) {
  float largest = 1e-3F, apart = 0;
  for (std::size_t i = 0; i < ours.size(); i += sizeof(float)) {
    float value, right;
    std::memcpy(&value, ours.data() + i, sizeof(value));
    std::memcpy(&right, expected.data() + i, sizeof(right));
    if (!std::isfinite(right) || std::fabs(right) > 1e6F) return;
    largest = std::fmax(largest, std::fabs(right));
    apart = std::fmax(apart, std::fabs(value - right));
  }
  if (!(apart <= 0.05F * largest)) fail("a schedule gives other numbers than running layer by layer");
}

void compare(const std::vector<linnet_layer>& layers, const std::vector<std::int32_t>& inputs,
             const linnet_options& options, const Outputs& ours, const Outputs& expected) {
  const std::vector<bool> inexact = depend_on_floats(layers, inputs);
  bool bytes_before = false;  // bytes that are made of floats may be one apart, and their floats far
  for (const linnet_layer& layer : layers) bytes_before = bytes_before || layer.precision == LINNET_UINT8;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (!inexact[static_cast<std::size_t>(options.outputs[i])]) {
      if (ours[i] != expected[i]) fail("a schedule gives other bytes than running layer by layer");
    } else if (!bytes_before) {
      compare_floats(ours[i], expected[i]);
    }
  }
}

}  // namespace

namespace linnet {

// Exactly what is asked for, so that the sanitizer sees the first byte behind it.
void* take_memory(std::size_t bytes) {
  void* memory = nullptr;
  if (bytes > kMostOfOneThing || posix_memalign(&memory, 64, bytes > 0 ? bytes : 1) != 0) return nullptr;
  std::memset(memory, 0, bytes);
  return memory;
}

void give_memory(void* memory) { std::free(memory); }

}  // namespace linnet

// What was freed is watched for a while, not for 256 MiB of it, which would all be new pages.
extern "C" const char* __asan_default_options() { return "quarantine_size_mb=16:malloc_context_size=8"; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader reader = {data, size};
  const Header header = reader.number<Header>();
  std::vector<Record> records;
  reader.array(&records, static_cast<std::int64_t>(reader.left / sizeof(Record)));
  if (!reader.good || records.empty()) return 0;
  std::vector<linnet_layer> layers;
  std::vector<std::int32_t> inputs;
  for (const Record& record : records) {
    layers.push_back(record.layer);
    inputs.insert(inputs.end(), record.inputs, record.inputs + 4);
  }
  ++counts.programs;
  std::vector<std::uint8_t>& numbers = data_of((header.part_bytes % kMostPart + 4) / 4 * 4);
  const BadWeight bad_weight(numbers, header.bad_weight);
  linnet_network* network = nullptr;
  linnet_error error = {};
  const int opened = linnet_network_open(layers.data(), static_cast<std::int64_t>(layers.size()), inputs.data(),
                                         static_cast<std::int64_t>(inputs.size()), numbers.data(),
                                         static_cast<std::int64_t>(numbers.size()), &network, &error);
  check_error(opened, error);
  if (opened != LINNET_OK) return 0;
  ++counts.opened;
  const auto channels = static_cast<std::size_t>(layers[0].body.convolution.in_channels);
  if (channels > kMostValues) {
    linnet_network_close(network);
    return 0;
  }
  const std::size_t values = channels * 256;
  std::vector<float> table(layers[0].precision == LINNET_UINT8 ? 0 : values);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 256) / 128 - 1;
  std::vector<std::uint8_t> byte_table(values - table.size());
  for (std::size_t i = 0; i < byte_table.size(); ++i) byte_table[i] = static_cast<std::uint8_t>(i * 5 + i / 256);
  linnet_options options = {};
  options.height = header.height;
  options.width = header.width;
  const bool alone = hash_of(data, size) % kThreadsOneIn != 0 && header.threads % 5 > 1;
  options.threads = alone ? 1 : header.threads % 5;
  options.schedule = header.schedule % 5;
  options.group = header.group;
  options.joins_rows = header.joins_rows % 3 - 1;
  options.apart = header.joins_rows % 4 == 3;
  options.outputs = header.outputs;
  options.output_count = header.outputs[1] == header.outputs[0] ? 1 : 2;
  options.table = byte_table.empty() ? static_cast<const void*>(table.data()) : byte_table.data();
  // What of the size of a part is not needed decides whether layers have a schedule and groups of their own.
  const std::uint32_t own = header.part_bytes / kMostPart;
  std::vector<std::int32_t> schedules(layers.size()), groups(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    schedules[i] = static_cast<std::int32_t>((own >> i % 11) % 4);
    groups[i] = static_cast<std::int32_t>(own * (i + 1) % 131) - (own % 16 == 15 ? 1 : 0);
  }
  if (own % 2 == 1) options.schedules = schedules.data();
  if (own % 4 >= 2) options.groups = groups.data();
  Outputs ours, expected;
  if (run(network, layers, inputs, options, &ours)) {
    counts.with_threads += options.threads > 1;
    ++counts.compared;
    options.threads = 1;
    options.schedule = LINNET_LAYERWISE;
    options.schedules = nullptr;
    options.apart = 0;
    if (!run(network, layers, inputs, options, &expected)) fail("layer by layer is refused");
    compare(layers, inputs, options, ours, expected);
  }
  linnet_network_close(network);
  return 0;
}

namespace {

// Another small picture, or another way to run the same layers.
void change_header(std::uint8_t* data, std::minstd_rand& random) {
  Header header;
  std::memcpy(&header, data, sizeof(header));
  switch (random() % 4) {
    case 0:
      header.height = static_cast<std::uint16_t>(1 + random() % 24);
      header.width = static_cast<std::uint16_t>(1 + random() % 24);
      break;
    case 1:
      header.threads = static_cast<std::uint8_t>(random());
      header.schedule = static_cast<std::uint8_t>(random());
      break;
    case 2:
      header.group = static_cast<std::uint8_t>(random());
      header.joins_rows = static_cast<std::uint8_t>(random());
      break;
    default:
      header.part_bytes = static_cast<std::uint32_t>(header.part_bytes % kMostPart + random() % 8192 * kMostPart);
  }
  std::memcpy(data, &header, sizeof(header));
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

// Most changes set one number of one layer to a value at some limit, or to another layer's; blind changes of bytes
// seldom leave a program that opens.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
  std::minstd_rand random(seed);
  const std::size_t count = size < sizeof(Header) ? 0 : (size - sizeof(Header)) / sizeof(Record);
  if (count == 0 || random() % 5 == 0) return LLVMFuzzerMutate(data, size, most);
  static const std::int32_t values[] = {
      -2147483647 - 1, -2, -1, 0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 1023, 1024, 4096, 65535, 65536, 1 << 24,
      2147483647,
      // Of bytes, of their shifts and factors; and the bits of floats: 1, infinity, none, the smallest and the largest.
      -129, -128, 12, 13, 30, 127, 128, 254, 255, 256, 1 << 20, 1 << 21, 0x3F800000, 0x7F800000, 0x7FC00000,
      0x7F7FFFFF};
  if (random() % 8 == 0) {
    change_header(data, random);
    return size;
  }
  std::uint8_t* place = data + sizeof(Header) + random() % count * sizeof(Record);
  Record record, other;
  std::memcpy(&record, place, sizeof(record));
  std::memcpy(&other, data + sizeof(Header) + random() % count * sizeof(Record), sizeof(other));
  const std::size_t field = random() % (sizeof(linnet_layer) / 4);
  std::int32_t value = values[random() % (sizeof(values) / sizeof(values[0]))];
  if (random() % 2 == 0) std::memcpy(&value, reinterpret_cast<char*>(&other) + field * 4, 4);
  const auto reads = static_cast<std::int32_t>(random() % (count + 1)) - 1;
  switch (random() % 8) {
    case 0: {
      const std::int64_t far = static_cast<std::int64_t>(value) * (std::int64_t{1} << (random() % 32));
      std::int64_t* const places[] = {&record.layer.body.convolution.weights, &record.layer.body.convolution.bias,
                                      &record.layer.integers.multipliers, &record.layer.integers.tables};
      *places[random() % 4] = random() % 2 == 0 ? far : 4 * (value & 0xFFFF);
      break;
    }
    case 1:
      record.layer = other.layer;
      break;
    case 2: {
      // A layer goes in at the end, reading any.
      if (size + sizeof(record) > most) break;
      record.layer.first_input = static_cast<std::int32_t>(4 * count);
      record.inputs[random() % 2] = reads;
      std::memcpy(data + sizeof(Header) + count * sizeof(record), &record, sizeof(record));
      return sizeof(Header) + (count + 1) * sizeof(record);
    }
    case 3:
    case 4:
      record.inputs[random() % 4] = reads;
      if (random() % 2 == 0) record.layer.input_count = static_cast<std::int32_t>(random() % 5);
      break;
    default:
      std::memcpy(reinterpret_cast<char*>(&record.layer) + field * 4, &value, 4);
      break;
  }
  std::memcpy(place, &record, sizeof(record));
  return size;
}
