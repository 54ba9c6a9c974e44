// Sessions: the functions of linnet.h that plan and run.

#include <cmath>

#include "engine.h"

using namespace linnet;

namespace {

struct Run {
  linnet_session* session;
  const std::uint8_t* pixels;
  Index pictures;
  void* const* outputs;
  std::atomic<Index> next;  // of threads that are apart: the picture that nobody has taken yet
};

void run_pictures(void* context, int thread) {
  Run& run = *static_cast<Run*>(context);
  linnet_session& session = *run.session;
  const Index bytes = session.picture.height * session.picture.width * session.picture_channels();
  if (session.apart.size() == 0) {
    for (Index i = 0; i < run.pictures; ++i) run_steps(session, thread, run.pixels + i * bytes, run.outputs, i);
    return;
  }
  for (Index i = run.next.fetch_add(1); i < run.pictures; i = run.next.fetch_add(1)) {
    run_steps(*session.apart[thread], 0, run.pixels + i * bytes, run.outputs, i);
  }
}

bool bad_choice(int32_t value) { return value < LINNET_AUTO || value > LINNET_GROUPS; }

// What is wrong with options, or null.
const char* fault_of(const linnet_network& network, const linnet_options& options) {
  const Index layers = network.layers.size();
  if (options.height < 1 || options.height > kMostSide || options.width < 1 || options.width > kMostSide) {
    return "a picture has from 1 to 65,536 pixels a side";
  }
  if (options.threads < 1 || options.threads > kMostThreads) return "from 1 to 256 threads can run";
  if (bad_choice(options.schedule)) return "the schedule is unknown";
  if (options.group < 0) return "a group has at least one channel";
  if (options.output_count < 1 || options.output_count > layers || options.outputs == nullptr) {
    return "at least one output must be asked for, and each once";
  }
  for (Index i = 0; i < options.output_count; ++i) {
    if (options.outputs[i] < 0 || options.outputs[i] >= layers) return "an output names no layer";
    for (Index other = 0; other < i; ++other) {
      if (options.outputs[other] == options.outputs[i]) return "at least one output must be asked for, and each once";
    }
  }
  for (Index i = 0; options.schedules != nullptr && i < layers; ++i) {
    if (bad_choice(options.schedules[i])) return "the schedule of a layer is unknown";
  }
  for (Index i = 0; options.groups != nullptr && i < layers; ++i) {
    if (options.groups[i] < 0) return "a group has at least one channel";
  }
  if (options.apart != 0 && options.apart != 1) return "threads are apart (1) or not (0)";
  if (options.table == nullptr) return "a table of the bytes' values is needed";
  const Index values = network.layers[0].integers ? 0 : network.layers[0].convolution().in_channels * 256;
  for (Index i = 0; i < values; ++i) {
    if (!std::isfinite(static_cast<const float*>(options.table)[i])) return "a value of the table is no finite number";
  }
  return nullptr;
}

int start_threads(linnet_session& session, linnet_error* error) {
  if (const int started = session.team.start(session.threads); started < session.threads) {
    return fail(error, LINNET_NO_THREADS, "The system gives no more than %d threads; %d were asked for.", started,
                session.threads);
  }
  return LINNET_OK;
}

int open_apart(linnet_session& session, const linnet_options& options, linnet_error* error) {
  session.picture = {options.height, options.width};
  session.threads = options.threads;
  session.output_count = options.output_count;
  if (!session.apart.allocate(options.threads)) {
    return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for a session.");
  }
  linnet_options alone = options;
  alone.threads = 1;
  alone.apart = 0;
  for (Index i = 0; i < session.apart.size(); ++i) {
    if (const int code = linnet_session_open(session.network, &alone, &session.apart[i], error)) return code;
  }
  return start_threads(session, error);
}

// The words of `linnet_session::words`, [channel][byte].
bool make_words(linnet_session& session) {
  constexpr Index kChannels = 3;
  if (!session.network->layers[0].integers || session.picture_channels() != kChannels) return true;
  if (!session.words.allocate(kChannels * 256)) return false;
  const IntegerKernels& kernels = *session.network->integers;
  const Index bits = 8 * kernels.operand_bytes;
  for (Index i = 0; i < session.words.size(); ++i) {
    const auto operand = static_cast<std::uint64_t>(session.table[i] - kernels.operand_zero);
    session.words[i] = (operand & ((std::uint64_t{1} << bits) - 1)) << i / 256 * bits;
  }
  return true;
}

int open_session(linnet_session& session, const linnet_options& options, linnet_error* error) {
  session.picture = {options.height, options.width};
  session.threads = options.threads;
  session.output_count = options.output_count;
  const Index table_bytes = session.table_bytes();
  if (!session.table.allocate(table_bytes) || !session.outputs.allocate(options.output_count)) {
    return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for a session.");
  }
  std::memcpy(session.table.data(), options.table, static_cast<std::size_t>(table_bytes));
  if (!make_words(session)) return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for a session.");
  for (Index i = 0; i < options.output_count; ++i) session.outputs[i] = options.outputs[i];
  Index bytes = 0;
  if (const int code = make_plan(session, options, &bytes, error)) return code;
  if (!session.arena.allocate(bytes)) {
    return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for %lld bytes of activations.",
                static_cast<long long>(bytes));
  }
  return start_threads(session, error);
}

// Whose plan a session has: its own, or that of the first of its threads that are apart.
const linnet_session& planned(const linnet_session& session) {
  return session.apart.size() == 0 ? session : *session.apart[0];
}

}  // namespace

extern "C" int linnet_session_open(linnet_network* network, const linnet_options* options, linnet_session** session,
                                   linnet_error* error) {
  if (network == nullptr || options == nullptr || session == nullptr) {
    return fail(error, LINNET_BAD_ARGUMENT, "A session needs a network, options and a place for its address.");
  }
  if (const char* fault = fault_of(*network, *options)) {
    return fail(error, LINNET_BAD_ARGUMENT, "The session cannot be opened: %s.", fault);
  }
  auto* made = make<linnet_session>();
  if (made == nullptr) return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for a session.");
  network->users.fetch_add(1);
  made->network = network;
  const bool apart = options->apart == 1 && options->threads > 1;
  if (const int code = apart ? open_apart(*made, *options, error) : open_session(*made, *options, error)) {
    linnet_session_close(made);
    return code;
  }
  *session = made;
  return LINNET_OK;
}

extern "C" void linnet_session_close(linnet_session* session) {
  if (session == nullptr) return;
  linnet_network* network = session->network;
  for (Index i = 0; i < session->apart.size(); ++i) linnet_session_close(session->apart[i]);
  destroy(session);
  linnet_network_close(network);
}

extern "C" int linnet_session_run(linnet_session* session, const uint8_t* pixels, int64_t pictures,
                                  void* const* outputs, linnet_error* error) {
  if (session == nullptr || pictures < 0 || (pictures > 0 && (pixels == nullptr || outputs == nullptr))) {
    return fail(error, LINNET_BAD_ARGUMENT, "A run needs a session, pixels and places for the outputs.");
  }
  for (Index i = 0; pictures > 0 && i < session->output_count; ++i) {
    if (outputs[i] == nullptr) return fail(error, LINNET_BAD_ARGUMENT, "A run needs a place for each output.");
  }
  // A child process of the one that opened the session has none of its threads yet.
  if (session->team.start(session->threads) < session->threads) {
    return fail(error, LINNET_NO_THREADS, "The system does not give this process %d threads.", session->threads);
  }
  Run run = {session, pixels, pictures, outputs, {0}};
  session->team.run(session->threads, run_pictures, &run);
  return LINNET_OK;
}

extern "C" void linnet_session_memory(const linnet_session* session, linnet_memory* memory) {
  if (memory == nullptr) return;
  *memory = {0, 0};
  if (session == nullptr) return;
  memory->weights = session->network->weights.size();
  const Index arenas = larger(session->apart.size(), 1);
  memory->arena = planned(*session).arena.size() * arenas;
}

extern "C" int64_t linnet_session_steps(const linnet_session* session) {
  return session == nullptr ? 0 : planned(*session).step_count;
}

extern "C" int linnet_session_step(const linnet_session* session, int64_t number, linnet_step* step) {
  if (session == nullptr || step == nullptr || number < 0 || number >= linnet_session_steps(session)) {
    return LINNET_BAD_ARGUMENT;
  }
  const linnet_session& plan = planned(*session);
  const Step& own = plan.steps[number];
  step->first = own.first_layer();
  step->last = own.last_layer();
  step->schedule = own.schedule;
  const Index blocks = own.kind == StepKind::kGroups ? own.groups.group_blocks : 0;
  step->group = static_cast<int32_t>(blocks * kBlock);
  const Map& left = plan.tensors[step->last].map;
  step->element_bytes = static_cast<int32_t>(left.element);
  step->output_bytes = own.kind == StepKind::kOutput || !plan.tensors[step->last].whole ? 0 : left.bytes();
  step->scratch_bytes = own.scratch_bytes * session->threads;
  step->seconds = own.seconds;
  step->least_seconds = own.least_seconds;
  return LINNET_OK;
}
