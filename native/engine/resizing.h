// Where the pixels of a map lie on another one, as `neighbours` of src/linnet/quantisation/rule.py has it: in float32,
// operation by operation. To be included only where nothing is contracted.
#ifndef LINNET_RESIZING_H
#define LINNET_RESIZING_H

#include <cstdint>

#include "engine_kernels.h"
#include "linnet.h"

namespace linnet {

// Shares of bytes are whole numbers of 2^-11.
constexpr std::int32_t kShareBits = 11;

// The nearest, halves to even: below 2^22 a sum with 1.5 * 2^23 has no room for parts.
inline std::int32_t steps_of(float share) {
  const float moved = share * static_cast<float>(1 << kShareBits) + 12582912.0F;
  return static_cast<std::int32_t>(moved - 12582912.0F);
}

inline Neighbours neighbours_of(Index place, Index before, Index after, std::int32_t grid) {
  const float last = static_cast<float>(before - 1);
  const bool aligned = grid == LINNET_ALIGN_CORNERS && after > 1;
  const float ratio =
      aligned ? last / static_cast<float>(after - 1) : static_cast<float>(before) / static_cast<float>(after);
  float at = static_cast<float>(place) * ratio;
  if (grid == LINNET_HALF_PIXEL) {
    const float half = 0.5F * ratio;
    at = at + (half - 0.5F);
  }
  at = at < 0 ? 0 : at > last ? last : at;
  const auto low = static_cast<std::int32_t>(at);
  const float share = at - static_cast<float>(low);
  return {low, low + 1 < before ? low + 1 : low, share, steps_of(share)};
}

// Of all pixels of a row.
inline void find_columns(Index before, Index after, std::int32_t grid, Neighbours* columns) {
  for (Index x = 0; x < after; ++x) columns[x] = neighbours_of(x, before, after, grid);
}

// What lies between four pixels: first along the row, then down.
struct FloatMix {
  using Number = float;
  float across, down;
  FloatMix(const Neighbours& row, const Neighbours& column) : across(column.share), down(row.share) {}
  float operator()(float top_left, float top_right, float bottom_left, float bottom_right) const {
    const float top = top_left + (top_right - top_left) * across;
    const float bottom = bottom_left + (bottom_right - bottom_left) * across;
    return top + (bottom - top) * down;
  }
};

struct ByteMix {
  using Number = std::uint8_t;
  std::int32_t across, down;
  ByteMix(const Neighbours& row, const Neighbours& column) : across(column.steps), down(row.steps) {}
  std::uint8_t operator()(std::int32_t top_left, std::int32_t top_right, std::int32_t bottom_left,
                          std::int32_t bottom_right) const {
    const std::int32_t top = (top_left << kShareBits) + (top_right - top_left) * across;
    const std::int32_t bottom = (bottom_left << kShareBits) + (bottom_right - bottom_left) * across;
    const std::int32_t sum = (top << kShareBits) + (bottom - top) * down;
    return static_cast<std::uint8_t>((sum + (1 << (2 * kShareBits - 1))) >> (2 * kShareBits));
  }
};

template <typename Number>
struct MixOf;
template <>
struct MixOf<float> {
  using Type = FloatMix;
};
template <>
struct MixOf<std::uint8_t> {
  using Type = ByteMix;
};

}  // namespace linnet

#endif
