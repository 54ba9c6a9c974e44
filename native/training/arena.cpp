// Memory for the tensors of training steps: an arena cut into blocks, first fit, neighbours joined when released.
//
// The large tensors of a step are freed and asked for again in every step. The C library gives such blocks back to the
// system at once, and taking them anew costs a page fault for every 4 KiB.

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#include "linnet_training.h"

namespace linnet {
namespace {

constexpr std::int64_t kAlignment = 4096;
constexpr std::int64_t kStep = std::int64_t{64} << 20;  // the arena grows by this
constexpr std::int64_t kMostReserved = std::int64_t{1} << 37, kLeastReserved = std::int64_t{1} << 30;

struct Block {
  char* start;
  std::int64_t bytes;
  bool used;
  bool touched;  // may hold pages
  Block* next;
};

// One range of addresses, of which the system is asked for more and more: blocks of any age are neighbours then.
struct Arena {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  char* start = nullptr;
  std::int64_t reserved = 0, opened = 0;
  Block* first = nullptr;  // by address; they cover what is opened
};

Arena arena;

Block* new_block(char* start, std::int64_t bytes, bool touched, Block* next) {
  Block* block = static_cast<Block*>(std::malloc(sizeof(Block)));
  if (block != nullptr) *block = {start, bytes, false, touched, next};
  return block;
}

bool reserve() {
  for (std::int64_t bytes = kMostReserved; arena.start == nullptr && bytes >= kLeastReserved; bytes /= 2) {
    void* start = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) continue;
    arena.start = static_cast<char*>(start);
    arena.reserved = bytes;
  }
  return arena.start != nullptr;
}

// Opens at least `bytes` more, in a block of their own.
Block* grow(Block* last, std::int64_t bytes) {
  bytes = (bytes + kStep - 1) / kStep * kStep;
  if (!reserve() || bytes > arena.reserved - arena.opened) return nullptr;
  char* start = arena.start + arena.opened;
  if (mprotect(start, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  madvise(start, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);
#endif
  Block* block = new_block(start, bytes, false, nullptr);
  if (block == nullptr) return nullptr;
  arena.opened += bytes;
  (last == nullptr ? arena.first : last->next) = block;
  return block;
}

void join_with_next(Block* block) {
  Block* next = block->next;
  if (next == nullptr || next->used) return;
  block->bytes += next->bytes;
  block->touched = block->touched || next->touched;
  block->next = next->next;
  std::free(next);
}

void* allocate(std::int64_t bytes) {
  Block* last = nullptr;
  Block* block = arena.first;
  for (; block != nullptr && (block->used || block->bytes < bytes); block = block->next) last = block;
  if (block == nullptr) {
    const std::int64_t there = last == nullptr || last->used ? 0 : last->bytes;
    block = grow(last, bytes - there);
    if (block == nullptr) return nullptr;
    if (there > 0) {
      join_with_next(last);
      block = last;
    }
  }
  if (block->bytes > bytes) {
    Block* rest = new_block(block->start + bytes, block->bytes - bytes, block->touched, block->next);
    if (rest == nullptr) return nullptr;
    block->next = rest;
    block->bytes = bytes;
  }
  block->used = true;
  block->touched = true;
  return block->start;
}

void release(void* memory) {
  Block* before = nullptr;
  Block* block = arena.first;
  while (block != nullptr && block->start != memory) {
    before = block;
    block = block->next;
  }
  if (block == nullptr || !block->used) return;
  block->used = false;
  join_with_next(block);
  if (before != nullptr && !before->used) join_with_next(before);
}

std::int64_t trim() {
  std::int64_t given = 0;
  for (Block* block = arena.first; block != nullptr; block = block->next) {
    if (block->used || !block->touched) continue;
    if (madvise(block->start, static_cast<std::size_t>(block->bytes), MADV_DONTNEED) != 0) continue;
    block->touched = false;
    given += block->bytes;
  }
  return given;
}

void unlock() { pthread_mutex_unlock(&arena.mutex); }

// A child must not start with a lock that nobody will give back: at the first call the lock is tied to forks.
void lock() {
  static pthread_once_t tied = PTHREAD_ONCE_INIT;
  pthread_once(&tied, [] { pthread_atfork([] { pthread_mutex_lock(&arena.mutex); }, unlock, unlock); });
  pthread_mutex_lock(&arena.mutex);
}

}  // namespace
}  // namespace linnet

extern "C" void* linnet_train_allocate(int64_t bytes) {
  if (bytes <= 0 || bytes > (int64_t{1} << 46)) return nullptr;
  linnet::lock();
  void* memory = linnet::allocate((bytes + linnet::kAlignment - 1) / linnet::kAlignment * linnet::kAlignment);
  linnet::unlock();
  return memory;
}

extern "C" void linnet_train_release(void* memory) {
  if (memory == nullptr) return;
  linnet::lock();
  linnet::release(memory);
  linnet::unlock();
}

extern "C" int64_t linnet_train_trim(void) {
  linnet::lock();
  const int64_t given = linnet::trim();
  linnet::unlock();
  return given;
}
