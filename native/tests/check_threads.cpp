// Sessions and training calls of several threads at once, over the same weights: what the thread sanitizer watches.
//
//     check_threads FILE ROUNDS [forks]   (of the file only the first program)
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
Case first;
std::vector<float> expected;
std::atomic<int> wrong{0};

// Runs both pictures of the case.
int run_session(linnet_session* session, std::vector<float>* output) {
  float* places[] = {output->data()};
  return linnet_session_run(session, first.pixels.data(), 2, places, nullptr);
}

linnet_session* open_session(int threads, bool apart) {
  linnet_options options = {};
  options.apart = apart ? 1 : 0;
  options.height = static_cast<std::int32_t>(first.height);
  options.width = static_cast<std::int32_t>(first.width);
  options.threads = threads;
  options.joins_rows = -1;
  options.outputs = first.outputs.data();
  options.output_count = 1;
  options.table = first.table.data();
  linnet_session* session = nullptr;
  linnet_error error = {};
  if (linnet_session_open(network, &options, &session, &error) != LINNET_OK) {
    std::fprintf(stderr, "%s\n", error.text);
    std::exit(1);
  }
  return session;
}

void check_output(const std::vector<float>& output) {
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (!(std::fabs(output[i] - expected[i]) <= 1e-3F * (1 + std::fabs(expected[i])))) ++wrong;
  }
}

// Opens, runs and closes sessions of its own, with 1 to 4 threads, and calls the training kernels in between.
void* work(void* context) {
  const int number = *static_cast<int*>(context);
  std::vector<float> output(expected.size());
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
  std::vector<float> output(expected.size());
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

bool read_first(const char* path) {
  std::vector<std::uint8_t> bytes;
  if (!read_file(path, &bytes)) return false;
  Reader reader = {bytes.data(), bytes.size()};
  return read_case(reader, &first);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3 || !read_first(arguments[1])) return 2;
  rounds = std::atoi(arguments[2]);
  linnet_error error = {};
  if (linnet_network_open(first.layers.data(), static_cast<std::int64_t>(first.layers.size()), first.inputs.data(),
                          static_cast<std::int64_t>(first.inputs.size()), first.weights.data(),
                          static_cast<std::int64_t>(first.weights.size()), &network, &error) != LINNET_OK) {
    std::fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  expected.resize(static_cast<std::size_t>(
      2 * output_floats(first.layers, first.inputs, first.height, first.width, first.outputs[0])));
  linnet_session* alone = open_session(1, false);
  run_session(alone, &expected);
  linnet_session_close(alone);
  pthread_t threads[kThreads];
  int numbers[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    numbers[i] = i;
    if (pthread_create(&threads[i], nullptr, work, &numbers[i]) != 0) return 1;
  }
  for (const pthread_t thread : threads) pthread_join(thread, nullptr);
  if (count > 3) check_fork();
  linnet_network_close(network);
  std::printf("%s: %d threads, %d wrong\n", linnet_engine_instruction_set(), kThreads, wrong.load());
  return wrong == 0 ? 0 : 1;
}
