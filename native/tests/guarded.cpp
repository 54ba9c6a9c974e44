#include "guarded.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "memory.h"

namespace linnet_tests {
namespace {

struct Mapping {
  void* given;
  char* start;
  std::size_t bytes;
};

constexpr int kMostMappings = 4096;
Mapping mappings[kMostMappings];
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
Guard guard_now = Guard::kBehind;

[[noreturn]] void give_up(const char* text) {
  std::fprintf(stderr, "%s\n", text);
  std::abort();
}

}  // namespace

void set_guard(Guard guard) { guard_now = guard; }

void* take_guarded(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t inner = (bytes + page - 1) / page * page, all = inner + 2 * page;
  void* start = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  char* first = static_cast<char*>(start) + page;
  if (inner > 0 && mprotect(first, inner, PROT_READ | PROT_WRITE) != 0) give_up("mprotect failed");
  void* given = guard_now == Guard::kBefore ? first : first + (inner - bytes);
  pthread_mutex_lock(&mutex);
  int place = 0;
  while (place < kMostMappings && mappings[place].start != nullptr) ++place;
  if (place == kMostMappings) give_up("too much guarded memory");
  mappings[place] = {given, static_cast<char*>(start), all};
  pthread_mutex_unlock(&mutex);
  return given;
}

void give_guarded(void* memory) {
  if (memory == nullptr) return;
  pthread_mutex_lock(&mutex);
  int place = 0;
  while (place < kMostMappings && (mappings[place].start == nullptr || mappings[place].given != memory)) ++place;
  if (place == kMostMappings) give_up("what was never taken is given back");
  munmap(mappings[place].start, mappings[place].bytes);
  mappings[place] = {};
  pthread_mutex_unlock(&mutex);
}

}  // namespace linnet_tests

namespace linnet {

// The structures that stand in it need their alignment, which the end of a page does not give by itself.
void* take_memory(std::size_t bytes) { return linnet_tests::take_guarded((bytes + 15) / 16 * 16); }

void give_memory(void* memory) { linnet_tests::give_guarded(memory); }

}  // namespace linnet
