// A team of threads that is kept between calls.
#ifndef LINNET_THREADS_H
#define LINNET_THREADS_H

#if LINNET_THREADS
#include <pthread.h>
#endif

#include <atomic>

namespace linnet {

constexpr int kMostThreads = 256;

// What every thread of a team does: its number, from 0 (the caller).
using Task = void (*)(void* context, int thread);

#if LINNET_THREADS

// One thread calls at a time. Whoever waits spins for some microseconds, since what it waits for often comes at once,
// and then sleeps: a thread that the system has taken off its core must not cost the others theirs.
class Team {
 public:
  Team() = default;
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  // Sees that there are so many threads, the caller included, also in a child process, which inherits none; how many
  // there are now, which may be fewer if the system gives no more.
  int start(int threads);

  // Runs `task` once for every number below `threads`, which `start` gave, and waits for all.
  void run(int threads, Task task, void* context);

  // Within a `task` that runs on all threads of the team: waits until they all are here.
  void barrier();

 private:
  struct Member {
    Team* team;
    int number;
    unsigned seen;  // jobs that were begun before it came
    pthread_t thread;
  };
  static void* loop(void* argument);
  void forget_other_process();
  void pass(std::atomic<unsigned>& gate, unsigned old);
  void open(std::atomic<unsigned>& gate);

  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed_ = PTHREAD_COND_INITIALIZER;
  std::atomic<int> sleepers_{0};
  // Gates: whoever waits at one waits until its number changes.
  std::atomic<unsigned> job_{0}, phase_{0};
  std::atomic<int> arrived_{0};
  std::atomic<bool> ends_{false};
  int taking_part_ = 1;  // threads that the present job runs on
  Task task_ = nullptr;
  void* context_ = nullptr;
  int size_ = 1;
  int process_ = 0;
  Member members_[kMostThreads] = {};
};

#else

// The caller alone.
class Team {
 public:
  int start(int) { return 1; }
  void run(int, Task task, void* context) { task(context, 0); }
  void barrier() {}
};

#endif

}  // namespace linnet

#endif
