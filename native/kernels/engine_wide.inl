// Tiles in registers of 512 bits: of products two blocks of channels side by side, of depthwise rows two pixels. What
// is written here is what engine_product.inl and engine_depthwise.inl do by halves, in the same order, so that results
// are equal to the bit.

#include "halves.inl"

typedef float WideVec __attribute__((vector_size(64)));
typedef float WideVecInMemory __attribute__((vector_size(64), aligned(4), may_alias));

static inline WideVec load_wide(const float* p) { return *reinterpret_cast<const WideVecInMemory*>(p); }
static inline void store_wide(float* p, WideVec v) { *reinterpret_cast<WideVecInMemory*>(p) = v; }
static inline WideVec splat_wide(float x) { return x - WideVec{}; }
static inline WideVec twice(const float* p) {
  // Without the mask gcc 12 warns of its own header.
  return reinterpret_cast<WideVec>(_mm512_maskz_broadcast_f32x8(0xFFFF, reinterpret_cast<__m256>(load(p))));
}
static inline WideVec high_and_low(WideVec a, WideVec b) {
  return __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23);
}
static inline WideVec add_product(WideVec sum, WideVec a, WideVec b) { return sum + a * b; }
static inline WideVec clamp(WideVec x, WideVec lowest, WideVec highest) {
  x = x < lowest ? lowest : x;
  return x > highest ? highest : x;
}

namespace {

// Registers of a tile, of the sums of a pixel and two blocks each; a half has one.
struct Wide {
  using Sums = WideVec;
  static constexpr int kSums = 2 * kBlock;

  static Index place(int v, Index step) { return 2 * v * step; }
  LINNET_INLINE Sums load(const float* p, Index step, bool half) {
    return join_halves(linnet::load(p), half ? Vec{} : linnet::load(p + step));
  }
  LINNET_INLINE void store(float* p, Index step, bool half, Sums sums) {
    linnet::store(p, low_half(sums));
    if (!half) linnet::store(p + step, high_half(sums));
  }
  LINNET_INLINE Sums weights(const float* p, bool half) {
    return half ? join_halves(linnet::load(p), Vec{}) : load_wide(p);
  }
  LINNET_INLINE Sums splat(float x) { return splat_wide(x); }
};

}  // namespace

// Two pixels that lie side by side; what `inside` has no bit for is outside of the row, and zero.
static inline WideVec load_pixels(const float* p, __mmask16 inside) {
  return reinterpret_cast<WideVec>(_mm512_maskz_loadu_ps(inside, p));
}

// Of two pixels those that are among the last `left` of a row.
static inline __mmask16 pixels_of(Index left) {
  // Without a branch: it would be guessed wrongly at the end of many rows.
  return static_cast<__mmask16>((left > 0 ? 0xFF : 0) | (left > 1 ? 0xFF00 : 0));
}

// A row of outputs of stride 1, two side by side; rows above and below the picture are none. All nine taps stay in
// registers. Of the three pairs of columns that two outputs read, those that begin at an odd place come from two that
// are read anyway: what crosses a cache line takes twice as long.
template <bool kAbove, bool kBelow>
static void depthwise_pairs(const DepthwiseRow& job) {
  constexpr int top = kAbove ? 0 : 1, bottom = kBelow ? 3 : 2;
  // Read once: the compiler cannot know that outputs are written elsewhere.
  const Index first = -job.pad_left, width = job.width, output_width = job.output_width;
  float* output = job.output;
  const __mmask16 before = first < 0 ? 0 : 0xFF00, begin = pixels_of(width - first - 1);
  const float* ahead[3];
  WideVec taps[3][3], outer[3], inner[3];
#pragma GCC unroll 3
  for (int row = top; row < bottom; ++row) {
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) taps[row][k] = twice(job.taps + (row * 3 + k) * kBlock);
    ahead[row] = job.rows[row] + (first + 3) * kBlock;
    inner[row] = load_pixels(ahead[row] - 2 * kBlock, begin);
    outer[row] = high_and_low(load_pixels(ahead[row] - 4 * kBlock, before), inner[row]);
  }
  const WideVec bias = twice(job.bias), lowest = splat_wide(job.lowest), highest = splat_wide(job.highest);
  const auto two_outputs = [&](auto read) {
    WideVec sum = bias;
#pragma GCC unroll 3
    for (int row = top; row < bottom; ++row) {
      sum = add_product(sum, outer[row], taps[row][0]);
      sum = add_product(sum, inner[row], taps[row][1]);
      const WideVec next = read(ahead[row]);
      outer[row] = high_and_low(inner[row], next);
      sum = add_product(sum, outer[row], taps[row][2]);
      inner[row] = next;
    }
    return clamp(sum, lowest, highest);
  };
  const Index inside = width - first - 4 < output_width - 1 ? width - first - 4 : output_width - 1;
  Index x = 0;
  for (; x < inside; x += 2) {
    store_wide(output + x * kBlock, two_outputs([x](const float* p) { return load_wide(p + x * kBlock); }));
  }
  for (; x < output_width; x += 2) {
    const __mmask16 mask = pixels_of(width - first - x - 3);
    const WideVec both = two_outputs([x, mask](const float* p) { return load_pixels(p + x * kBlock, mask); });
    _mm512_mask_storeu_ps(output + x * kBlock, pixels_of(output_width - x), reinterpret_cast<__m512>(both));
  }
}

// The same of stride 2, one output after another: three columns of each row, of which the last is the next one's first.
template <bool kAbove, bool kBelow>
static void depthwise_singles(const DepthwiseRow& job) {
  constexpr int top = kAbove ? 0 : 1, bottom = kBelow ? 3 : 2;
  const float* input[3];
  Vec taps[3][3], column[3];
#pragma GCC unroll 3
  for (int row = top; row < bottom; ++row) {
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) taps[row][k] = load(job.taps + (row * 3 + k) * kBlock);
    input[row] = job.rows[row] - job.pad_left * kBlock;
    column[row] = job.pad_left > 0 ? Vec{} : load(input[row]);
  }
  const Vec bias = load(job.bias), lowest = splat(job.lowest), highest = splat(job.highest);
  const auto one_output = [&](Index x, bool right) {
    Vec sum = bias;
#pragma GCC unroll 3
    for (int row = top; row < bottom; ++row) {
      const float* at = input[row] + 2 * x * kBlock;
      sum = add_product(sum, column[row], taps[row][0]);
      sum = add_product(sum, load(at + kBlock), taps[row][1]);
      column[row] = right ? Vec{} : load(at + 2 * kBlock);
      sum = add_product(sum, column[row], taps[row][2]);
    }
    store(job.output + x * kBlock, clamp(sum, lowest, highest));
  };
  const Index last = job.output_width - 1;
  for (Index x = 0; x < last; ++x) one_output(x, false);
  one_output(last, 2 * last - job.pad_left + 2 >= job.width);
}

template <bool kAbove, bool kBelow>
static void depthwise_of_stride(const DepthwiseRow& job) {
  job.stride == 1 ? depthwise_pairs<kAbove, kBelow>(job) : depthwise_singles<kAbove, kBelow>(job);
}

static void depthwise_wide_row(const DepthwiseRow& job) {
  if (job.rows[0] == nullptr) {
    job.rows[2] == nullptr ? depthwise_of_stride<false, false>(job) : depthwise_of_stride<false, true>(job);
  } else {
    job.rows[2] == nullptr ? depthwise_of_stride<true, false>(job) : depthwise_of_stride<true, true>(job);
  }
}

// `dilated_tile` of stride 1, two outputs a register, of which all taps lie inside.
template <int kPixels>
static void dilated_pairs(const DepthwiseRow& job, Index x) {
  constexpr int pairs = kPixels / 2;
  WideVec sums[pairs];
  const WideVec bias = twice(job.bias), lowest = splat_wide(job.lowest), highest = splat_wide(job.highest);
  for (int i = 0; i < pairs; ++i) sums[i] = bias;
  for (int tap = 0; tap < 9; ++tap) {
    const float* row = job.rows[tap / 3];
    if (row == nullptr) continue;
    const WideVec weight = twice(job.taps + tap * kBlock);
    const float* input = row + (x - job.pad_left + tap % 3 * job.dilation) * kBlock;
    for (int i = 0; i < pairs; ++i) sums[i] = add_product(sums[i], load_wide(input + 2 * i * kBlock), weight);
  }
  float* output = job.output + x * kBlock;
  for (int i = 0; i < pairs; ++i) store_wide(output + 2 * i * kBlock, clamp(sums[i], lowest, highest));
}
