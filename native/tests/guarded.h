// Memory between pages that nobody may touch: a read or write outside ends the process.
#ifndef LINNET_TESTS_GUARDED_H
#define LINNET_TESTS_GUARDED_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace linnet_tests {

// Which end of the memory touches a forbidden page.
enum class Guard { kBefore, kBehind };

// Also of what the engine itself takes (memory.h).
void set_guard(Guard guard);

// Zeros, aligned to a page or, before a forbidden page, to 16 bytes if `bytes` are a multiple of that.
void* take_guarded(std::size_t bytes);
void give_guarded(void* memory);

// So many items between forbidden pages.
template <typename Item>
class Guarded {
 public:
  explicit Guarded(std::int64_t count)
      : data_(static_cast<Item*>(take_guarded(static_cast<std::size_t>(count) * sizeof(Item)))), count_(count) {}
  Guarded(std::int64_t count, const Item* values) : Guarded(count) {
    if (count > 0) std::memcpy(data_, values, static_cast<std::size_t>(count) * sizeof(Item));
  }
  ~Guarded() { give_guarded(data_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  Item* data() { return data_; }
  const Item* data() const { return data_; }
  Item& operator[](std::int64_t i) { return data_[i]; }
  std::int64_t size() const { return count_; }

 private:
  Item* data_;
  std::int64_t count_;
};

}  // namespace linnet_tests

#endif
