// Depthwise rows of bytes, one block of channels at a time. Neighbouring columns of a channel lie side by side in a
// 32-bit word, two of 16 bits or four of 8, so that one instruction multiplies and adds them.

// Two pixels [2][kBlock] as words of 16 bits: of each channel of a part the first and the second pixel.
static inline Ints pair_of(const std::uint8_t* pixels, int part) {
#if defined(__AVX2__)
  static_cast<void>(part);
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels)));
  const __m256i order = _mm256_setr_epi8(0, -1, 8, -1, 1, -1, 9, -1, 2, -1, 10, -1, 3, -1, 11, -1,  //
                                         4, -1, 12, -1, 5, -1, 13, -1, 6, -1, 14, -1, 7, -1, 15, -1);
  return reinterpret_cast<Ints>(_mm256_shuffle_epi8(both, order));
#else
  return load_bytes(pixels + part * kLanes) | load_bytes(pixels + kBlock + part * kLanes) << 16;
#endif
}

#if LINNET_QUADS
// Four pixels [4][kBlock] as words of 8 bits.
static inline Ints quad_of(const std::uint8_t* pixels) {
  const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pixels));
  const __m256i halves = _mm256_permutevar8x32_epi32(all, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return reinterpret_cast<Ints>(_mm256_shuffle_epi8(halves, order));
}
#endif

// Taps of a row and part in words: of a word's first column the taps 0 and 1, then 2 alone; one column later 0 alone,
// then 1 and 2.
struct PairTaps {
  Ints even[2], odd[2];
};

static inline PairTaps pair_taps(const IntegerDepthwise& job, int row, int part) {
  Ints first, second, third;
  if (job.wide) {
    const auto* taps = static_cast<const std::int16_t*>(job.taps) + (row * kBlock + part * kLanes) * 4;
    for (int lane = 0; lane < kLanes; ++lane, taps += 4) {
      first[lane] = taps[0];
      second[lane] = taps[1];
      third[lane] = taps[2];
    }
  } else {
    const Ints taps = load_ints(static_cast<const std::int8_t*>(job.taps) + (row * kBlock + part * kLanes) * 4);
    first = taps << 24 >> 24;
    second = taps << 16 >> 24;
    third = taps << 8 >> 24;
  }
  return {{(first & 0xFFFF) | second << 16, third & 0xFFFF}, {first << 16, (second & 0xFFFF) | third << 16}};
}

// Outputs of a tile; inputs that it reads, the one of tap 3 included, which is multiplied by 0.
static const int kTileOutputs = 4;
template <int kStride>
static constexpr Index columns_of() {
  return (kTileOutputs - 1) * kStride + 4;
}

static inline void store_outputs(const IntegerDepthwise& job, Index x, int part, Index count, const Ints* sums,
                                 Floats multiplier, const Rounding& rounding) {
  Ints bytes[kTileOutputs];
#pragma GCC unroll 4
  for (int i = 0; i < kTileOutputs; ++i) bytes[i] = requantise(sums[i], multiplier, rounding);
  const Index place = x * kBlock + part * kLanes;
  if (job.operands) {
    Operand* output = static_cast<Operand*>(job.output) + place;
    if (count == kTileOutputs) return store_operands_of_pixels<kTileOutputs>(output, bytes);
    for (Index i = 0; i < count; ++i) store_operands(output + i * kBlock, bytes[i]);
    return;
  }
  std::uint8_t* output = static_cast<std::uint8_t*>(job.output) + place;
  if (count == kTileOutputs) return store_pixels<kTileOutputs>(output, bytes);
  for (Index i = 0; i < count; ++i) store_bytes(output + i * kBlock, bytes[i]);
}

template <int kStride>
static inline void pair_tile(const std::uint8_t* const* rows, const PairTaps* taps, int part, Ints* sums) {
#pragma GCC unroll 3
  for (int row = 0; row < 3; ++row) {
    const std::uint8_t* input = rows[row];
    const PairTaps& tap = taps[row];
    if constexpr (kStride == 1) {
      const Ints first = pair_of(input, part), second = pair_of(input + 2 * kBlock, part),
                 third = pair_of(input + 4 * kBlock, part);
      sums[0] = dot16(dot16(sums[0], first, tap.even[0]), second, tap.even[1]);
      sums[1] = dot16(dot16(sums[1], first, tap.odd[0]), second, tap.odd[1]);
      sums[2] = dot16(dot16(sums[2], second, tap.even[0]), third, tap.even[1]);
      sums[3] = dot16(dot16(sums[3], second, tap.odd[0]), third, tap.odd[1]);
    } else {
      Ints value = pair_of(input, part);
#pragma GCC unroll 4
      for (int i = 0; i < kTileOutputs; ++i) {
        const Ints next = pair_of(input + (2 * i + 2) * kBlock, part);
        sums[i] = dot16(dot16(sums[i], value, tap.even[0]), next, tap.even[1]);
        value = next;
      }
    }
  }
}

#if LINNET_QUADS
template <int kStride>
static inline void quad_tile(const std::uint8_t* const* rows, const Ints* taps, Ints* sums) {
#pragma GCC unroll 3
  for (int row = 0; row < 3; ++row) {
    const std::uint8_t* input = rows[row];
    if constexpr (kStride == 1) {
      const Ints first = quad_of(input), second = quad_of(input + 2 * kBlock), later = taps[row] << 8;
      sums[0] = dot(sums[0], first, taps[row]);
      sums[1] = dot(sums[1], first, later);
      sums[2] = dot(sums[2], second, taps[row]);
      sums[3] = dot(sums[3], second, later);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < kTileOutputs; ++i) sums[i] = dot(sums[i], quad_of(input + 2 * i * kBlock), taps[row]);
    }
  }
}
#endif

// Columns from `first` on, those outside the row being padding.
static inline void copy_columns(const IntegerDepthwise& job, const std::uint8_t* row, Index first, Index count,
                                std::uint8_t* columns) {
  typedef std::uint64_t Pixel __attribute__((aligned(1), may_alias));
  const std::uint64_t padding = job.padding * std::uint64_t{0x0101010101010101};
  auto* to = reinterpret_cast<Pixel*>(columns);
  const auto* from = reinterpret_cast<const Pixel*>(row);
  const Index begin = larger(first, 0), end = smaller(first + count, job.width);
  Index x = first;
  for (; x < begin; ++x) *to++ = padding;
  for (; x < end; ++x) *to++ = from[x];
  for (; x < first + count; ++x) *to++ = padding;
}

// Rows up to this width are copied whole between their padding: most of their tiles would be at an edge.
static const Index kNarrow = 32;

template <int kStride, typename Tile>
static inline void over_tiles(const IntegerDepthwise& job, const Tile& tile) {
  constexpr Index columns = columns_of<kStride>();
  const Index width = job.output_width;
  if (width <= kNarrow) {
    constexpr Index most = (kNarrow - 1) * kStride + columns;
    std::uint8_t copies[3][most * kBlock];
    const Index last = (width - 1) / kTileOutputs * kTileOutputs;
    for (int row = 0; row < 3; ++row) {
      copy_columns(job, job.rows[row], -job.pad_left, last * kStride + columns, copies[row]);
    }
    for (Index x = 0; x < width; x += kTileOutputs) {
      const Index shift = x * kStride * kBlock;
      const std::uint8_t* const rows[3] = {copies[0] + shift, copies[1] + shift, copies[2] + shift};
      tile(x, smaller(kTileOutputs, width - x), rows);
    }
    return;
  }
  for (Index x = 0; x < width; x += kTileOutputs) {
    const Index first = x * kStride - job.pad_left, count = smaller(kTileOutputs, width - x);
    if (first >= 0 && first + columns <= job.width) {
      const Index shift = first * kBlock;
      const std::uint8_t* const rows[3] = {job.rows[0] + shift, job.rows[1] + shift, job.rows[2] + shift};
      tile(x, count, rows);
      continue;
    }
    std::uint8_t copies[3][columns * kBlock];
    for (int row = 0; row < 3; ++row) copy_columns(job, job.rows[row], first, columns, copies[row]);
    const std::uint8_t* const rows[3] = {copies[0], copies[1], copies[2]};
    tile(x, count, rows);
  }
}

template <int kStride>
static void depthwise_pairs(const IntegerDepthwise& job) {
  const Rounding rounding = rounding_of(job.rule);
  for (int part = 0; part < kParts; ++part) {
    const PairTaps taps[3] = {pair_taps(job, 0, part), pair_taps(job, 1, part), pair_taps(job, 2, part)};
    const Ints bias = load_ints(job.bias + part * kLanes);
    const Floats multiplier = load_floats(job.multipliers + part * kLanes);
    over_tiles<kStride>(job, [&](Index x, Index count, const std::uint8_t* const* rows) {
      Ints sums[kTileOutputs] = {bias, bias, bias, bias};
      pair_tile<kStride>(rows, taps, part, sums);
      store_outputs(job, x, part, count, sums, multiplier, rounding);
    });
  }
}

#if LINNET_QUADS
template <int kStride>
static void depthwise_quads(const IntegerDepthwise& job) {
  const Rounding rounding = rounding_of(job.rule);
  const auto* given = static_cast<const std::int8_t*>(job.taps);
  const Ints taps[3] = {load_ints(given), load_ints(given + 4 * kBlock), load_ints(given + 8 * kBlock)};
  const Ints bias = load_ints(job.bias);
  const Floats multiplier = load_floats(job.multipliers);
  over_tiles<kStride>(job, [&](Index x, Index count, const std::uint8_t* const* rows) {
    Ints sums[kTileOutputs] = {bias, bias, bias, bias};
    quad_tile<kStride>(rows, taps, sums);
    store_outputs(job, x, 0, count, sums, multiplier, rounding);
  });
}
#endif

// Any dilation, one output at a time.
static void depthwise_dilated(const IntegerDepthwise& job) {
  const Rounding rounding = rounding_of(job.rule);
  for (int part = 0; part < kParts; ++part) {
    const Floats multiplier = load_floats(job.multipliers + part * kLanes);
    Ints taps[9];
    for (int tap = 0; tap < 9; ++tap) {
      for (int lane = 0; lane < kLanes; ++lane) {
        const Index place = (tap / 3 * kBlock + part * kLanes + lane) * 4 + tap % 3;
        taps[tap][lane] = job.wide ? static_cast<const std::int16_t*>(job.taps)[place]
                                   : static_cast<const std::int8_t*>(job.taps)[place];
      }
    }
    for (Index x = 0; x < job.output_width; ++x) {
      Ints sums[kTileOutputs] = {load_ints(job.bias + part * kLanes)};
      for (int tap = 0; tap < 9; ++tap) {
        const Index column = x * job.stride - job.pad_left + tap % 3 * job.dilation;
        const bool inside = column >= 0 && column < job.width;
        const Ints value = inside ? load_bytes(job.rows[tap / 3] + column * kBlock + part * kLanes)
                                  : splat_int(job.padding);
        sums[0] += value * taps[tap];
      }
      store_outputs(job, x, part, 1, sums, multiplier, rounding);
    }
  }
}

static void depthwise_row(const IntegerDepthwise& job) {
  if (job.dilation != 1) return depthwise_dilated(job);
#if LINNET_QUADS
  if (!job.wide) return job.stride == 1 ? depthwise_quads<1>(job) : depthwise_quads<2>(job);
#endif
  job.stride == 1 ? depthwise_pairs<1>(job) : depthwise_pairs<2>(job);
}
