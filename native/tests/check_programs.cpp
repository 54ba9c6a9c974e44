// Runs programs of a file (case.h) in every way that the engine has, with forbidden pages around all memory, and
// compares with what the numpy reference computed.
//
//     check_programs FILE [quick]

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "case.h"
#include "guarded.h"

using namespace linnet_tests;

namespace {

[[noreturn]] void fail(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(1);
}

struct Way {
  std::int32_t schedule, threads, group, joins_rows, apart;
};

float number_at(const std::uint8_t* numbers, std::size_t i) {
  float number;
  std::memcpy(&number, numbers + i * sizeof(number), sizeof(number));
  return number;
}

// Bytes are equal; floats are near.
void compare(const Case& given, std::size_t output, const std::uint8_t* ours, const std::string& place) {
  const std::vector<std::uint8_t>& expected = given.expected[output];
  if (given.layers[static_cast<std::size_t>(given.outputs[output])].precision == LINNET_UINT8) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (ours[i] == expected[i]) continue;
      fail(place + ": byte " + std::to_string(i) + " of output " + std::to_string(output) + " is " +
           std::to_string(ours[i]) + " and should be " + std::to_string(expected[i]));
    }
    return;
  }
  double largest = 1e-3, apart = 0;
  for (std::size_t i = 0; i < expected.size() / sizeof(float); ++i) {
    const double right = static_cast<double>(number_at(expected.data(), i));
    largest = std::fmax(largest, std::fabs(right));
    const double distance = std::fabs(static_cast<double>(number_at(ours, i)) - right);
    apart = distance <= apart ? apart : distance;  // also if it is not a number
  }
  if (!(apart <= given.tolerance * largest)) {
    fail(place + ": output " + std::to_string(output) + " differs by " + std::to_string(apart / largest));
  }
}

void run(const Case& given, linnet_network* network, const Way& way, const std::string& place) {
  const Guarded<std::uint8_t> table(static_cast<std::int64_t>(given.table.size()), given.table.data());
  linnet_options options = {};
  options.height = static_cast<std::int32_t>(given.height);
  options.width = static_cast<std::int32_t>(given.width);
  options.threads = way.threads;
  options.schedule = way.schedule;
  options.group = way.group;
  options.joins_rows = way.joins_rows;
  options.apart = way.apart;
  options.outputs = given.outputs.data();
  options.output_count = static_cast<std::int32_t>(given.outputs.size());
  options.table = table.data();
  linnet_error error = {};
  linnet_session* session = nullptr;
  if (linnet_session_open(network, &options, &session, &error) != LINNET_OK) fail(place + ": " + error.text);
  const Guarded<std::uint8_t> pixels(static_cast<std::int64_t>(given.pixels.size()), given.pixels.data());
  std::vector<Guarded<std::uint8_t>*> outputs;
  std::vector<void*> places;
  for (std::size_t i = 0; i < given.outputs.size(); ++i) {
    const std::int64_t bytes = output_bytes(given.layers, given.inputs, given.height, given.width, given.outputs[i]);
    if (static_cast<std::size_t>(bytes * given.pictures) != given.expected[i].size()) fail(place + ": other sizes");
    outputs.push_back(new Guarded<std::uint8_t>(bytes * given.pictures));
    places.push_back(outputs.back()->data());
  }
  if (linnet_session_run(session, pixels.data(), given.pictures, places.data(), &error) != LINNET_OK) {
    fail(place + ": " + error.text);
  }
  linnet_session_close(session);
  for (std::size_t i = 0; i < outputs.size(); ++i) compare(given, i, outputs[i]->data(), place);
  for (Guarded<std::uint8_t>* output : outputs) delete output;
}

std::vector<Way> ways(bool quick) {
  std::vector<Way> all;
  for (const std::int32_t schedule : {LINNET_AUTO, LINNET_LAYERWISE, LINNET_ROWS, LINNET_GROUPS}) {
    for (const std::int32_t threads : {1, 2, 5}) {
      if (quick && threads == 5) continue;
      all.push_back({schedule, threads, 0, -1, 0});
      if (schedule == LINNET_AUTO) all.push_back({schedule, threads, 0, -1, 1});
      if (schedule == LINNET_ROWS) all.push_back({schedule, threads, 0, 1, 0});
      if (schedule == LINNET_GROUPS) all.push_back({schedule, threads, 8, -1, 0});
    }
  }
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) fail("Which file?");
  const bool quick = count > 2;
  std::vector<std::uint8_t> bytes;
  if (!read_file(arguments[1], &bytes)) fail("The file cannot be read.");
  int cases = 0, runs = 0;
  for (Reader reader = {bytes.data(), bytes.size()}; reader.left > 0; ++cases) {
    Case given;
    if (!read_case(reader, &given)) fail("The file ends within a case.");
    for (const Guard guard : {Guard::kBehind, Guard::kBefore}) {
      set_guard(guard);
      linnet_error error = {};
      linnet_network* network = nullptr;
      const Guarded<std::uint8_t> data(static_cast<std::int64_t>(given.data.size()), given.data.data());
      if (linnet_network_open(given.layers.data(), static_cast<std::int64_t>(given.layers.size()), given.inputs.data(),
                              static_cast<std::int64_t>(given.inputs.size()), data.data(), data.size(), &network,
                              &error) != LINNET_OK) {
        fail(error.text);
      }
      for (const Way& way : ways(quick)) {
        run(given, network, way,
            "case " + std::to_string(cases) + ", schedule " + std::to_string(way.schedule) + ", " +
                std::to_string(way.threads) + " threads, group " + std::to_string(way.group));
        ++runs;
      }
      linnet_network_close(network);
    }
  }
  std::printf("%s: %d programs, %d runs\n", linnet_engine_instruction_set(), cases, runs);
  return cases > 0 ? 0 : 1;
}
