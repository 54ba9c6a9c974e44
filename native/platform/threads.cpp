#include "threads.h"

#if LINNET_THREADS

#include <unistd.h>

namespace linnet {
namespace {

constexpr int kSpins = 2000;  // some tens of microseconds

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Team::~Team() {
  if (size_ == 1 || process_ != getpid()) return;
  ends_ = true;
  open(job_);
  for (int i = 1; i < size_; ++i) pthread_join(members_[i].thread, nullptr);
}

// A child process has the team's memory and none of its threads, and whatever state its lock was in.
void Team::forget_other_process() {
  if (process_ == getpid()) return;
  pthread_mutex_init(&mutex_, nullptr);
  pthread_cond_init(&changed_, nullptr);
  sleepers_ = 0;
  arrived_ = 0;
  size_ = 1;
  process_ = getpid();
}

int Team::start(int threads) {
  forget_other_process();
  while (size_ < threads) {
    Member& member = members_[size_];
    member.team = this;
    member.number = size_;
    member.seen = job_;
    if (pthread_create(&member.thread, nullptr, loop, &member) != 0) break;
    ++size_;
  }
  return size_ < threads ? size_ : threads;
}

void Team::run(int threads, Task task, void* context) {
  taking_part_ = threads;
  task_ = task;
  context_ = context;
  if (threads > 1) open(job_);
  task(context, 0);
  if (threads > 1) barrier();
}

void Team::barrier() {
  const unsigned phase = phase_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1) + 1 == size_) {
    arrived_.store(0);
    open(phase_);
  } else {
    pass(phase_, phase);
  }
}

// Waits until a gate no longer has its old number.
void Team::pass(std::atomic<unsigned>& gate, unsigned old) {
  for (int i = 0; i < kSpins; ++i) {
    if (gate.load(std::memory_order_acquire) != old) return;
    pause();
  }
  pthread_mutex_lock(&mutex_);
  sleepers_.fetch_add(1);
  while (gate.load() == old) pthread_cond_wait(&changed_, &mutex_);
  sleepers_.fetch_sub(1);
  pthread_mutex_unlock(&mutex_);
}

void Team::open(std::atomic<unsigned>& gate) {
  gate.fetch_add(1);
  // A sleeper counts itself before it looks at the gate for the last time, so one of the two sees the other.
  if (sleepers_.load() == 0) return;
  pthread_mutex_lock(&mutex_);
  pthread_cond_broadcast(&changed_);
  pthread_mutex_unlock(&mutex_);
}

void* Team::loop(void* argument) {
  const Member& self = *static_cast<const Member*>(argument);
  Team& team = *self.team;
  for (unsigned seen = self.seen;; ++seen) {
    team.pass(team.job_, seen);
    if (team.ends_) return nullptr;
    if (self.number < team.taking_part_) team.task_(team.context_, self.number);
    team.barrier();
  }
}

}  // namespace linnet

#endif
