// Sessions and training calls of several threads at once, over the same weights: what the thread sanitizer watches.
//
//     check_threads FILE ROUNDS [forks]   (of each program of the file)
//
// With "forks" also from child processes, which the thread sanitizer does not allow.

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "case.h"
#include "linnet_training.h"

using namespace linnet_tests;

namespace {

constexpr int kThreads = 4;

int rounds = 20;
linnet_network* network = nullptr;
Case given;
std::vector<std::uint8_t> expected;  // of the first output of both pictures
std::atomic<int> wrong{0};

// Runs both pictures of the case.
int run_session(linnet_session* session, std::vector<std::uint8_t>* output) {
  void* places[] = {output->data()};
  return linnet_session_run(session, given.pixels.data(), 2, places, nullptr);
}

linnet_session* open_session(int threads, bool apart) {
  linnet_options options = {};
  options.apart = apart ? 1 : 0;
  options.height = static_cast<std::int32_t>(given.height);
  options.width = static_cast<std::int32_t>(given.width);
  options.threads = threads;
  options.joins_rows = -1;
  options.outputs = given.outputs.data();
  options.output_count = 1;
  options.table = given.table.data();
  linnet_session* session = nullptr;
  linnet_error error = {};
  if (linnet_session_open(network, &options, &session, &error) != LINNET_OK) {
    std::fprintf(stderr, "%s\n", error.text);
    std::exit(1);
  }
  return session;
}

void check_output(const std::vector<std::uint8_t>& output) {
  if (given.layers[static_cast<std::size_t>(given.outputs[0])].precision == LINNET_UINT8) {
    if (output != expected) ++wrong;
    return;
  }
  for (std::size_t i = 0; i < output.size(); i += sizeof(float)) {
    float ours, right;
    std::memcpy(&ours, output.data() + i, sizeof(ours));
    std::memcpy(&right, expected.data() + i, sizeof(right));
    if (!(std::fabs(ours - right) <= 1e-3F * (1 + std::fabs(right)))) ++wrong;
  }
}

// Opens, runs and closes sessions of its own, with 1 to 4 threads, and calls the training kernels in between.
void* work(void* context) {
  const int number = *static_cast<int*>(context);
  std::vector<std::uint8_t> output(expected.size());
  std::vector<float> input(64 * 24), weight(16 * 24), product(64 * 16);
  std::vector<double> moments(32);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 13);
  for (int round = 0; round < rounds; ++round) {
    const bool apart = round % 3 == 2;
    linnet_session* session = open_session(1 + (number + round) % 4, apart);
    for (int repeat = 0; repeat < 3; ++repeat) {
      if (run_session(session, &output) != LINNET_OK) ++wrong;
      check_output(output);
    }
    void* memory = linnet_train_allocate(100000);
    if (linnet_train_pointwise(1 + (number + round) % 3, 64, 24, 16, input.data(), nullptr, weight.data(),
                               product.data(), moments.data()) != LINNET_OK) {
      ++wrong;
    }
    linnet_train_release(memory);
    linnet_session_close(session);
  }
  return nullptr;
}

// A child of a process whose session has run on several threads runs it too.
void check_fork() {
  linnet_session* session = open_session(3, false);
  std::vector<std::uint8_t> output(expected.size());
  run_session(session, &output);
  for (int i = 0; i < 5; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const int code = run_session(session, &output);
      check_output(output);
      _exit(code == LINNET_OK && wrong == 0 ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    if (status != 0) ++wrong;
  }
  linnet_session_close(session);
}

// One program, by all threads at once.
bool check_case(bool forks) {
  linnet_error error = {};
  if (linnet_network_open(given.layers.data(), static_cast<std::int64_t>(given.layers.size()), given.inputs.data(),
                          static_cast<std::int64_t>(given.inputs.size()), given.data.data(),
                          static_cast<std::int64_t>(given.data.size()), &network, &error) != LINNET_OK) {
    std::fprintf(stderr, "%s\n", error.text);
    return false;
  }
  expected.resize(static_cast<std::size_t>(
      2 * output_bytes(given.layers, given.inputs, given.height, given.width, given.outputs[0])));
  linnet_session* alone = open_session(1, false);
  run_session(alone, &expected);
  linnet_session_close(alone);
  pthread_t threads[kThreads];
  int numbers[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    numbers[i] = i;
    if (pthread_create(&threads[i], nullptr, work, &numbers[i]) != 0) return false;
  }
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  if (forks) check_fork();
  linnet_network_close(network);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::uint8_t> bytes;
  if (count < 3 || !read_file(arguments[1], &bytes)) return 2;
  rounds = std::atoi(arguments[2]);
  int programs = 0;
  for (Reader reader = {bytes.data(), bytes.size()}; reader.left > 0; ++programs) {
    given = Case();
    if (!read_case(reader, &given)) return 2;
    if (!check_case(count > 3)) return 1;
  }
  std::printf("%s: %d programs, %d threads, %d wrong\n", linnet_engine_instruction_set(), programs, kThreads,
              wrong.load());
  return wrong == 0 ? 0 : 1;
}
