// Registers of 512 bits: of products two blocks of channels side by side, of depthwise rows two pixels. What is written
// here is what engine_product.inl and engine_depthwise.inl do by single blocks and pixels.

typedef float WideVec __attribute__((vector_size(64)));
typedef float WideVecInMemory __attribute__((vector_size(64), aligned(4), may_alias));

static inline WideVec load_wide(const float* p) { return *reinterpret_cast<const WideVecInMemory*>(p); }
static inline void store_wide(float* p, WideVec v) { *reinterpret_cast<WideVecInMemory*>(p) = v; }
static inline WideVec splat_wide(float x) { return x - WideVec{}; }
static inline WideVec add_product(WideVec sum, WideVec a, WideVec b) { return sum + a * b; }
static inline WideVec join_halves(Vec low, Vec high) {
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
static inline Vec low_half(WideVec v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
static inline Vec high_half(WideVec v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }

static inline WideVec clamp_wide(WideVec x, WideVec lowest, WideVec highest) {
  x = x < lowest ? lowest : x;
  return x > highest ? highest : x;
}

// Registers of a panel of so many blocks. Of an odd number the last one has nothing in its upper half.
template <int kBlocks>
static constexpr int wide_vectors_of() {
  return (kBlocks + 1) / 2;
}

// One block and zeros.
static inline WideVec load_low(const float* p) { return reinterpret_cast<WideVec>(_mm512_maskz_loadu_ps(0x00FF, p)); }

// Register v of a row of kBlocks blocks side by side.
template <int kBlocks>
static inline WideVec load_pair(const float* p, int v) {
  return 2 * v + 1 < kBlocks ? load_wide(p + 2 * v * kBlock) : load_low(p + 2 * v * kBlock);
}

// The same of blocks that are `step` floats apart.
template <int kBlocks>
static inline WideVec join_pair(const float* p, int v, Index step) {
  const float* low = p + 2 * v * step;
  return 2 * v + 1 < kBlocks ? join_halves(load(low), load(low + step)) : load_low(low);
}

template <int kBlocks, int kRows, int kRun, int kStep>
static void wide_tile(const Product& job, Index pixel, const float* fetched, Index lines) {
  constexpr int vectors = wide_vectors_of<kBlocks>();
  WideVec sums[kRows][vectors];
  float* c = job.c + pixel * kBlock;
  if (job.bias != nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const WideVec bias = load_pair<kBlocks>(job.bias, v);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row][v] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row][v] = join_pair<kBlocks>(c + row * kBlock, v, job.c_step);
    }
  }
  const Index step = kStep != 0 ? kStep : job.a_pixel_step, run = kRun != 0 ? kRun : job.run;
  const float *a = job.a + pixel * step, *b = job.weights;
  for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
    for (Index line = 0; line < lines; ++line, fetched += kLine) __builtin_prefetch(fetched, 0, 2);
#pragma GCC unroll kUnroll
    for (Index k = 0; k < run; ++k, b += kBlocks * kBlock) {
      WideVec weights[vectors];
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) weights[v] = load_pair<kBlocks>(b, v);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const WideVec value = splat_wide(a[row * step + k]);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) sums[row][v] = add_product(sums[row][v], value, weights[v]);
      }
    }
  }
  const WideVec lowest = splat_wide(job.lowest), highest = splat_wide(job.highest);
#pragma GCC unroll 16
  for (int v = 0; v < vectors; ++v) {
    const bool both = 2 * v + 1 < kBlocks;
    float* block = c + 2 * v * job.c_step;
    const float* added = job.added == nullptr ? nullptr : job.added + pixel * kBlock + 2 * v * job.added_step;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const WideVec x = clamp_wide(sums[row][v], lowest, highest);
      Vec low = low_half(x), high = high_half(x);
      if (added != nullptr) {
        low += load(added + row * kBlock);
        if (both) high += load(added + job.added_step + row * kBlock);
      }
      store(block + row * kBlock, low);
      if (both) store(block + job.c_step + row * kBlock, high);
    }
  }
}

static inline WideVec both_halves(const float* p) { return join_halves(load(p), load(p)); }

// `depthwise_tile` of stride 1, two outputs a register: each load has the inputs of a tap for both. Of kPixels + 2
// columns those outside of the row are zeros, as is one behind them.
template <int kPixels, bool kLeft, bool kRight>
static void wide_filter_tile(const DepthwiseRow& job, Index x) {
  constexpr int pairs = (kPixels + 1) / 2, first = kLeft ? 1 : 0, last = kRight ? kPixels : kPixels + 1;
  WideVec sums[pairs];
  const WideVec bias = both_halves(job.bias);
  for (int i = 0; i < pairs; ++i) sums[i] = bias;
  for (int row = 0; row < 3; ++row) {
    if (job.rows[row] == nullptr) continue;
    const float* input = job.rows[row] + (x - job.pad_left) * kBlock;
    LINNET_PIN_ADDRESS(input);
    const float* taps = job.taps + row * 3 * kBlock;
    WideVec tap[3] = {both_halves(taps), both_halves(taps + kBlock), both_halves(taps + 2 * kBlock)};
    for (WideVec& each : tap) LINNET_PIN(each);
#pragma GCC unroll 32
    for (int i = 0; i <= (last < 2 * pairs ? last : 2 * pairs); ++i) {
      const float* place = input + i * kBlock;
      WideVec value = i < first   ? join_halves(Vec{}, load(place + kBlock))
                      : i < last  ? load_wide(place)
                      : i == last ? load_low(place)
                                  : WideVec{};
      LINNET_PIN(value);
#pragma GCC unroll 3
      for (int k = 0; k < 3; ++k) {
        if ((i - k) % 2 == 0 && i >= k && (i - k) / 2 < pairs) sums[(i - k) / 2] += value * tap[k];
      }
    }
  }
  float* output = job.output + x * kBlock;
  const WideVec lowest = splat_wide(job.lowest), highest = splat_wide(job.highest);
#pragma GCC unroll 16
  for (int i = 0; i < pairs; ++i) {
    const WideVec value = clamp_wide(sums[i], lowest, highest);
    if (2 * i + 1 < kPixels) {
      store_wide(output + 2 * i * kBlock, value);
    } else {
      store(output + 2 * i * kBlock, low_half(value));
    }
  }
}

// `dilated_tile` of stride 1, two outputs a register, of which all taps lie inside.
template <int kPixels>
static void wide_dilated_tile(const DepthwiseRow& job, Index x) {
  constexpr int pairs = kPixels / 2;
  WideVec sums[pairs];
  for (int i = 0; i < pairs; ++i) sums[i] = both_halves(job.bias);
  for (int tap = 0; tap < 9; ++tap) {
    const float* row = job.rows[tap / 3];
    if (row == nullptr) continue;
    const WideVec weight = both_halves(job.taps + tap * kBlock);
    const float* input = row + (x - job.pad_left + tap % 3 * job.dilation) * kBlock;
    for (int i = 0; i < pairs; ++i) sums[i] += load_wide(input + 2 * i * kBlock) * weight;
  }
  float* output = job.output + x * kBlock;
  for (int i = 0; i < pairs; ++i) {
    store_wide(output + 2 * i * kBlock, clamp_wide(sums[i], splat_wide(job.lowest), splat_wide(job.highest)));
  }
}
