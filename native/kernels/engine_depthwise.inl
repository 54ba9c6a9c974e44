// Depthwise rows and the small kernels around them, one block of channels at a time.

#if !LINNET_WIDE
// kPixels outputs from column `x` on. kLeft: the first tap of the first one lies outside; kRight: the last tap of the
// last one does. Each input is loaded once and goes to all outputs that it reaches.
template <int kPixels, int kStride, bool kLeft, bool kRight>
static void depthwise_tile(const DepthwiseRow& job, Index x) {
  const Index first = x * kStride - job.pad_left;
  for (int part = 0; part < kParts; ++part) {
    Vec sums[kPixels];
    const Vec bias = load(job.bias + part * kLanes);
    for (int i = 0; i < kPixels; ++i) sums[i] = bias;
    for (int row = 0; row < 3; ++row) {
      if (job.rows[row] == nullptr) continue;
      const float* input = job.rows[row] + first * kBlock + part * kLanes;
      LINNET_PIN_ADDRESS(input);
      const float* taps = job.taps + row * 3 * kBlock + part * kLanes;
      Vec tap[3] = {load(taps), load(taps + kBlock), load(taps + 2 * kBlock)};
      for (Vec& each : tap) LINNET_PIN(each);
      constexpr int inputs = (kPixels - 1) * kStride + 3;
#pragma GCC unroll 32
      for (int i = kLeft ? 1 : 0; i < (kRight ? inputs - 1 : inputs); ++i) {
        Vec value = load(input + i * kBlock);
        LINNET_PIN(value);
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) {
          if ((i - k) % kStride == 0 && i >= k && (i - k) / kStride < kPixels) {
            Vec& sum = sums[(i - k) / kStride];
            sum = add_product(sum, value, tap[k]);
          }
        }
      }
    }
    float* output = job.output + x * kBlock + part * kLanes;
    const Vec lowest = splat(job.lowest), highest = splat(job.highest);
    for (int i = 0; i < kPixels; ++i) store(output + i * kBlock, clamp(sums[i], lowest, highest));
  }
}

template <int kPixels, int kStride>
static void depthwise_edges(const DepthwiseRow& job, Index x, bool left, bool right) {
  if (left) {
    right ? depthwise_tile<kPixels, kStride, true, true>(job, x)
          : depthwise_tile<kPixels, kStride, true, false>(job, x);
  } else {
    right ? depthwise_tile<kPixels, kStride, false, true>(job, x)
          : depthwise_tile<kPixels, kStride, false, false>(job, x);
  }
}

template <int kPixels, int kStride>
static void depthwise_count(Index pixels, const DepthwiseRow& job, Index x, bool left, bool right) {
  if constexpr (kPixels > 0) {
    if (pixels == kPixels) {
      depthwise_edges<kPixels, kStride>(job, x, left, right);
    } else {
      depthwise_count<kPixels - 1, kStride>(pixels, job, x, left, right);
    }
  }
}

// Tiles of nearly equal width, as in `product_panel`.
template <int kStride>
static void depthwise_tiles(const DepthwiseRow& job) {
  const Index width = job.output_width, tiles = (width + kDepthwisePixels - 1) / kDepthwisePixels;
  const bool left = job.pad_left > 0, right = (width - 1) * kStride - job.pad_left + 2 >= job.width;
  for (Index tile = 0, x = 0; tile < tiles; ++tile) {
    const Index pixels = width / tiles + (tile < width % tiles ? 1 : 0);
    depthwise_count<kDepthwisePixels, kStride>(pixels, job, x, left && tile == 0, right && tile == tiles - 1);
    x += pixels;
  }
}

#endif

// Any dilation: kPixels outputs from column `x` on, of which all taps lie inside, or one, whose taps may lie outside.
template <int kPixels>
static void dilated_tile(const DepthwiseRow& job, Index x) {
#if LINNET_WIDE
  if constexpr (kPixels % 2 == 0) {
    if (job.stride == 1) return dilated_pairs<kPixels>(job, x);
  }
#endif
  const Index first = x * job.stride - job.pad_left;
  for (int part = 0; part < kParts; ++part) {
    Vec sums[kPixels];
    for (int i = 0; i < kPixels; ++i) sums[i] = load(job.bias + part * kLanes);
    for (int tap = 0; tap < 9; ++tap) {
      const Index column = first + tap % 3 * job.dilation;
      const float* row = job.rows[tap / 3];
      if (row == nullptr || (kPixels == 1 && (column < 0 || column >= job.width))) continue;
      const Vec weight = load(job.taps + tap * kBlock + part * kLanes);
      const float* input = row + column * kBlock + part * kLanes;
      for (int i = 0; i < kPixels; ++i) sums[i] = add_product(sums[i], load(input + i * job.stride * kBlock), weight);
    }
    float* output = job.output + x * kBlock + part * kLanes;
    for (int i = 0; i < kPixels; ++i) store(output + i * kBlock, clamp(sums[i], splat(job.lowest), splat(job.highest)));
  }
}

static void depthwise_dilated(const DepthwiseRow& job) {
  // The outputs of which all taps lie inside. The last tile of them may compute some a second time.
  const Index last = job.width - 1 + job.pad_left - 2 * job.dilation;
  const Index begin = smaller((job.pad_left + job.stride - 1) / job.stride, job.output_width);
  const Index end = last < 0 ? begin : larger(smaller(last / job.stride + 1, job.output_width), begin);
  const bool tiles = end - begin >= kDepthwisePixels;
  for (Index x = 0; x < (tiles ? begin : job.output_width); ++x) dilated_tile<1>(job, x);
  if (!tiles) return;
  for (Index x = begin; x < end; x += kDepthwisePixels) {
    dilated_tile<kDepthwisePixels>(job, smaller(x, end - kDepthwisePixels));
  }
  for (Index x = end; x < job.output_width; ++x) dilated_tile<1>(job, x);
}

static void depthwise_row(const DepthwiseRow& job) {
  if (job.dilation != 1) return depthwise_dilated(job);
#if LINNET_WIDE
  depthwise_wide_row(job);
#else
  job.stride == 1 ? depthwise_tiles<1>(job) : depthwise_tiles<2>(job);
#endif
}

static void depthwise_rows(const DepthwiseRows& job) {
  for (Index r = 0; r < job.output_rows; ++r) {
    depthwise_row({{job.rows[r][0], job.rows[r][1], job.rows[r][2]},
                   job.width,
                   job.output_width,
                   job.stride,
                   job.dilation,
                   job.pad_left,
                   job.taps,
                   job.bias,
                   job.lowest,
                   job.highest,
                   job.output + r * job.output_width * kBlock});
  }
}

static void pool_block(Index pixels, const float* values, float scale, float* sums) {
  for (int part = 0; part < kParts; ++part) {
    // Several sums side by side: one would wait for itself.
    Vec four[4] = {};
    const float* value = values + part * kLanes;
    Index pixel = 0;
    for (; pixel + 4 <= pixels; pixel += 4) {
      for (int i = 0; i < 4; ++i) four[i] += load(value + (pixel + i) * kBlock);
    }
    for (; pixel < pixels; ++pixel) four[0] += load(value + pixel * kBlock);
    store(sums + part * kLanes, (four[0] + four[1] + (four[2] + four[3])) * splat(scale));
  }
}

// kInputs rows of weights side by side, each read from its beginning to its end: what fetches memory ahead follows
// that.
template <int kInputs>
static void accumulate_rows(const float* values, Index columns, const float* weights, float* outputs) {
  Vec value[kInputs];
#pragma GCC unroll 8
  for (int k = 0; k < kInputs; ++k) value[k] = splat(values[k]);
  for (Index column = 0; column < columns; column += kLanes) {
    Vec sum = load(outputs + column);
#pragma GCC unroll 8
    for (int k = 0; k < kInputs; ++k) sum = add_product(sum, value[k], load(weights + k * columns + column));
    store(outputs + column, sum);
  }
}

static void accumulate(Index inputs, const float* values, Index columns, const float* weights, float* outputs) {
  Index k = 0;
  for (; k + 8 <= inputs; k += 8) accumulate_rows<8>(values + k, columns, weights + k * columns, outputs);
  for (; k < inputs; ++k) accumulate_rows<1>(values + k, columns, weights + k * columns, outputs);
}

static void join_block(Index pixels, int parts, const float* part, Index part_step, const float* bias, float lowest,
                       float highest, const float* added, float* c) {
  for (int vector = 0; vector < kParts; ++vector) {
    const Vec start = load(bias + vector * kLanes);
    for (Index pixel = 0; pixel < pixels; ++pixel) {
      const Index place = pixel * kBlock + vector * kLanes;
      Vec sum = start;
      for (int i = 0; i < parts; ++i) sum += load(part + i * part_step + place);
      sum = clamp(sum, splat(lowest), splat(highest));
      if (added != nullptr) sum += load(added + place);
      store(c + place, sum);
    }
  }
}

#if LINNET_WIDE
typedef WideVec Widest;
#else
typedef Vec Widest;
#endif

// The most that this instruction set can do: enough sums side by side that none waits for itself, and no memory. The
// values stay finite, and the compiler cannot know them.
static Index multiply_add(Index rounds, float* sink) {
  constexpr int count = 12;
  const Widest value = sink[0] - Widest{};
  Widest sums[count], factor = 0.5f - Widest{};
#pragma GCC unroll 12
  for (int i = 0; i < count; ++i) sums[i] = value;
  for (Index round = 0; round < rounds; ++round) {
    // Else one product would do for all rounds.
    LINNET_PIN(factor);
#pragma GCC unroll 12
    for (int i = 0; i < count; ++i) sums[i] = add_product(sums[i], value, factor);
#pragma GCC unroll 12
    for (int i = 0; i < count; ++i) LINNET_PIN(sums[i]);
  }
#pragma GCC unroll 12
  for (int i = 1; i < count; ++i) sums[0] += sums[i];
  sink[0] = sums[0][0] * 1e-6f;
  return count * static_cast<Index>(sizeof(Widest) / sizeof(float));
}
