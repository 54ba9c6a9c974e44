#include "training_threads.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace linnet {
namespace {

struct Worker {
  void* scratch = nullptr;
  std::int64_t scratch_bytes = 0;
  bool started = false;
  unsigned long done = 0;  // number of the last job it has finished
};

struct Pool {
  pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;  // held by the call that runs
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t work = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
  pid_t process = 0;
  unsigned long job = 0;
  int wanted = 0;  // workers that the current job needs, the caller (number 0) included
  int running = 0;
  Part part = nullptr;
  void* context = nullptr;
  Worker workers[kMostThreads];
};

Pool pool;

void* worker_loop(void* argument) {
  const int number = static_cast<int>(reinterpret_cast<std::intptr_t>(argument));
  Worker& self = pool.workers[number];
  pthread_mutex_lock(&pool.mutex);
  for (;;) {
    while (self.done == pool.job || number >= pool.wanted) pthread_cond_wait(&pool.work, &pool.mutex);
    self.done = pool.job;
    pthread_mutex_unlock(&pool.mutex);
    pool.part(pool.context, number, self.scratch);
    pthread_mutex_lock(&pool.mutex);
    if (--pool.running == 0) pthread_cond_signal(&pool.finished);
  }
  return nullptr;
}

bool start(int number) {
  Worker& worker = pool.workers[number];
  if (worker.started) return true;
  worker.done = pool.job;
  pthread_t thread;
  if (pthread_create(&thread, nullptr, worker_loop, reinterpret_cast<void*>(static_cast<std::intptr_t>(number))) != 0) {
    return false;
  }
  pthread_detach(thread);
  worker.started = true;
  return true;
}

bool reserve(Worker& worker, std::int64_t bytes) {
  if (worker.scratch_bytes >= bytes) return true;
  std::free(worker.scratch);
  worker.scratch_bytes = 0;
  worker.scratch = std::aligned_alloc(64, static_cast<std::size_t>((bytes + 63) / 64 * 64));
  if (worker.scratch == nullptr) return false;
  worker.scratch_bytes = bytes;
  return true;
}

// A child process has the pool's memory and none of its threads, and whatever state its locks were in.
void forget_other_process() {
  if (pool.process == getpid()) return;
  for (Worker& worker : pool.workers) worker.started = false;
  pthread_mutex_init(&pool.mutex, nullptr);
  pthread_cond_init(&pool.work, nullptr);
  pthread_cond_init(&pool.finished, nullptr);
  pool.running = 0;
  pool.process = getpid();
}

void run_job(int threads, Part part, void* context) {
  int together = 1;
  pthread_mutex_lock(&pool.mutex);
  while (together < threads && start(together)) ++together;
  pool.part = part;
  pool.context = context;
  pool.wanted = together;
  pool.running = together - 1;
  ++pool.job;
  if (together > 1) pthread_cond_broadcast(&pool.work);
  pthread_mutex_unlock(&pool.mutex);
  part(context, 0, pool.workers[0].scratch);
  // Parts for which the system gave no thread.
  for (int number = together; number < threads; ++number) part(context, number, pool.workers[0].scratch);
  pthread_mutex_lock(&pool.mutex);
  while (pool.running > 0) pthread_cond_wait(&pool.finished, &pool.mutex);
  pool.wanted = 0;
  pthread_mutex_unlock(&pool.mutex);
}

struct ForkHandlers {
  // The lock is taken around a fork, so that a child never starts with one that nobody will give back.
  ForkHandlers() { pthread_atfork(lock, unlock, unlock); }
  static void lock() { pthread_mutex_lock(&pool.turn); }
  static void unlock() { pthread_mutex_unlock(&pool.turn); }
};

const ForkHandlers fork_handlers;

}  // namespace

bool run_parts(int threads, std::int64_t scratch_bytes, Part part, void* context) {
  pthread_mutex_lock(&pool.turn);
  forget_other_process();
  bool ready = true;
  for (int number = 0; number < threads && ready; ++number) ready = reserve(pool.workers[number], scratch_bytes);
  if (ready) run_job(threads, part, context);
  pthread_mutex_unlock(&pool.turn);
  return ready;
}

}  // namespace linnet
