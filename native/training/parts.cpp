#include "parts.h"

#include <cstdlib>
#include <new>

namespace linnet {
namespace {

struct Scratch {
  void* memory = nullptr;
  std::int64_t bytes = 0;
};

struct Job {
  Part part;
  void* context;
};

pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;  // held by the call that runs
Scratch scratch[kMostThreads];

// Asked for by whoever holds the turn. Never ended: at the end of a process there may be no order in which to end
// things.
Team& team() {
  alignas(Team) static unsigned char memory[sizeof(Team)];
  static Team* made = nullptr;
  if (made == nullptr) made = new (memory) Team;
  return *made;
}

bool reserve(Scratch& own, std::int64_t bytes) {
  if (own.bytes >= bytes) return true;
  std::free(own.memory);
  own.bytes = 0;
  own.memory = std::aligned_alloc(64, static_cast<std::size_t>((bytes + 63) / 64 * 64));
  if (own.memory == nullptr) return false;
  own.bytes = bytes;
  return true;
}

void run_part(void* context, int thread) {
  const Job& job = *static_cast<const Job*>(context);
  job.part(job.context, thread, scratch[thread].memory);
}

void end_turn() { pthread_mutex_unlock(&turn); }

// The turn is taken around a fork, so that a child never starts with one that nobody will give back.
void take_turn() {
  static pthread_once_t tied = PTHREAD_ONCE_INIT;
  pthread_once(&tied, [] { pthread_atfork([] { pthread_mutex_lock(&turn); }, end_turn, end_turn); });
  pthread_mutex_lock(&turn);
}

}  // namespace

bool run_parts(int threads, std::int64_t scratch_bytes, Part part, void* context) {
  take_turn();
  bool ready = true;
  for (int number = 0; number < threads && ready; ++number) ready = reserve(scratch[number], scratch_bytes);
  if (ready) {
    Job job = {part, context};
    const int together = team().start(threads);
    team().run(together, run_part, &job);
    // Parts for which the system gave no thread.
    for (int number = together; number < threads; ++number) part(context, number, scratch[0].memory);
  }
  end_turn();
  return ready;
}

}  // namespace linnet
