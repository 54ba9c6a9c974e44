// Depthwise rows of bytes, one block of channels at a time. Neighbouring columns of a channel lie side by side in a
// 32-bit word, two of 16 bits or four of 8, so that one instruction multiplies and adds them.

typedef std::uint64_t Pixel __attribute__((aligned(1), may_alias));

// Two pixels as words of 16 bits: of each channel of a part the first and the second pixel.
#if defined(__AVX2__)
static inline Ints pair_of(__m256i both) {
  const __m256i order = _mm256_setr_epi8(0, -1, 8, -1, 1, -1, 9, -1, 2, -1, 10, -1, 3, -1, 11, -1,  //
                                         4, -1, 12, -1, 5, -1, 13, -1, 6, -1, 14, -1, 7, -1, 15, -1);
  return reinterpret_cast<Ints>(_mm256_shuffle_epi8(both, order));
}
#endif

#if defined(__wasm_simd128__)
static inline Ints pair_of(v128_t both, int part) {
  const v128_t none = wasm_i32x4_const_splat(0);
  return reinterpret_cast<Ints>(
      part == 0 ? wasm_i8x16_shuffle(both, none, 0, 16, 8, 16, 1, 16, 9, 16, 2, 16, 10, 16, 3, 16, 11, 16)
                : wasm_i8x16_shuffle(both, none, 4, 16, 12, 16, 5, 16, 13, 16, 6, 16, 14, 16, 7, 16, 15, 16));
}
#endif

#if LINNET_QUADS
// Four pixels [4][kBlock] as words of 8 bits.
static inline Ints quad_of(Ints all) {
  const Ints halves = __builtin_shufflevector(all, all, 0, 2, 4, 6, 1, 3, 5, 7);
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return reinterpret_cast<Ints>(_mm256_shuffle_epi8(reinterpret_cast<__m256i>(halves), order));
}
#endif

#if LINNET_WIDE
// Twice four pixels, of the first four in the lower half.
static inline WideInts wide_quads_of(WideInts all) {
  const WideInts halves = __builtin_shufflevector(all, all, 0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  const __m512i order = _mm512_set4_epi32(0x0F0B0703, 0x0E0A0602, 0x0D090501, 0x0C080400);
  return reinterpret_cast<WideInts>(_mm512_maskz_shuffle_epi8(~__mmask64{0}, reinterpret_cast<__m512i>(halves), order));
}
#endif

// The columns of a tile, of which the first is column `first` of a row. Inside a row they are read as they lie; at an
// edge pixel by pixel, and what lies outside is padding.
template <bool kInside>
struct Columns {
  const std::uint8_t* rows[3];
  Index first, width;
  std::uint64_t padding;

  const std::uint8_t* place(int row, Index column) const { return rows[row] + (first + column) * kBlock; }
  std::uint64_t pixel(int row, Index column) const {
    const bool outside = first + column < 0 || first + column >= width;
    return outside ? padding : *reinterpret_cast<const Pixel*>(place(row, column));
  }

  Ints pair(int row, Index column, int part) const {
#if defined(__AVX2__)
    static_cast<void>(part);
    if constexpr (kInside) {
      return pair_of(
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(place(row, column)))));
    } else {
      const __m128i both =
          _mm_set_epi64x(static_cast<long long>(pixel(row, column + 1)), static_cast<long long>(pixel(row, column)));
      return pair_of(_mm256_broadcastsi128_si256(both));
    }
#elif defined(__wasm_simd128__)
    if constexpr (kInside) {
      return pair_of(wasm_v128_load(place(row, column)), part);
    } else {
      return pair_of(wasm_i64x2_make(static_cast<std::int64_t>(pixel(row, column)),
                                     static_cast<std::int64_t>(pixel(row, column + 1))),
                     part);
    }
#else
    if constexpr (kInside) {
      const std::uint8_t* pixels = place(row, column) + part * kLanes;
      return load_bytes(pixels) | load_bytes(pixels + kBlock) << 16;
    } else {
      const std::uint64_t both[2] = {pixel(row, column), pixel(row, column + 1)};
      const auto* pixels = reinterpret_cast<const std::uint8_t*>(both) + part * kLanes;
      return load_bytes(pixels) | load_bytes(pixels + kBlock) << 16;
    }
#endif
  }

#if LINNET_QUADS
  Ints four(int row, Index column) const {
    if constexpr (kInside) {
      return load_ints(place(row, column));
    } else {
#if LINNET_WIDE
      const __m256i outside = _mm256_set1_epi64x(static_cast<long long>(padding));
      return reinterpret_cast<Ints>(
          _mm256_mask_loadu_epi64(outside, static_cast<__mmask8>(valid(column, 4)), place(row, column)));
#else
      return reinterpret_cast<Ints>(_mm256_set_epi64x(
          static_cast<long long>(pixel(row, column + 3)), static_cast<long long>(pixel(row, column + 2)),
          static_cast<long long>(pixel(row, column + 1)), static_cast<long long>(pixel(row, column))));
#endif
    }
  }
#endif

#if LINNET_WIDE
  // A bit for each of some columns that lies inside.
  unsigned valid(Index column, Index count) const {
    const Index low = smaller(larger(-(first + column), 0), count), high = larger(width - (first + column), 0);
    return ((1u << smaller(high, count)) - 1) & ~((1u << low) - 1);
  }
  WideInts eight(int row, Index column) const {
    if constexpr (kInside) {
      return load_wide(place(row, column));
    } else {
      const __m512i outside = _mm512_set1_epi64(static_cast<long long>(padding));
      return reinterpret_cast<WideInts>(
          _mm512_mask_loadu_epi64(outside, static_cast<__mmask8>(valid(column, 8)), place(row, column)));
    }
  }
#endif
};

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
template <int kStride, int kOutputs>
static constexpr Index columns_of() {
  return kStride == 1 ? kOutputs + 2 : (kOutputs - 1) * kStride + 4;
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

template <int kStride, typename Input>
static inline void pair_tile(const Input& input, const PairTaps* taps, int part, Ints* sums) {
#pragma GCC unroll 3
  for (int row = 0; row < 3; ++row) {
    const PairTaps& tap = taps[row];
    if constexpr (kStride == 1) {
      const Ints first = input.pair(row, 0, part), second = input.pair(row, 2, part), third = input.pair(row, 4, part);
      sums[0] = dot16(dot16(sums[0], first, tap.even[0]), second, tap.even[1]);
      sums[1] = dot16(dot16(sums[1], first, tap.odd[0]), second, tap.odd[1]);
      sums[2] = dot16(dot16(sums[2], second, tap.even[0]), third, tap.even[1]);
      sums[3] = dot16(dot16(sums[3], second, tap.odd[0]), third, tap.odd[1]);
    } else {
      Ints value = input.pair(row, 0, part);
#pragma GCC unroll 4
      for (int i = 0; i < kTileOutputs; ++i) {
        const Ints next = input.pair(row, 2 * i + 2, part);
        sums[i] = dot16(dot16(sums[i], value, tap.even[0]), next, tap.even[1]);
        value = next;
      }
    }
  }
}

#if LINNET_QUADS && !LINNET_WIDE
template <int kStride, typename Input>
static inline void quad_tile(const Input& input, const Ints* taps, Ints* sums) {
#pragma GCC unroll 3
  for (int row = 0; row < 3; ++row) {
    if constexpr (kStride == 1) {
      const Ints first = quad_of(input.four(row, 0)), second = quad_of(input.four(row, 2)), later = taps[row] << 8;
      sums[0] = dot(sums[0], first, taps[row]);
      sums[1] = dot(sums[1], first, later);
      sums[2] = dot(sums[2], second, taps[row]);
      sums[3] = dot(sums[3], second, later);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < kTileOutputs; ++i) sums[i] = dot(sums[i], quad_of(input.four(row, 2 * i)), taps[row]);
    }
  }
}
#endif

// Calls `tile` with the first output, the number of outputs and the columns of each tile of a row.
template <int kStride, int kOutputs, typename Tile>
static inline void over_tiles(const IntegerDepthwise& job, const Tile& tile) {
  const std::uint64_t padding = job.padding * std::uint64_t{0x0101010101010101};
  for (Index x = 0; x < job.output_width; x += kOutputs) {
    const Index first = x * kStride - job.pad_left, count = smaller(kOutputs, job.output_width - x);
    if (first >= 0 && first + columns_of<kStride, kOutputs>() <= job.width) {
      tile(x, count, Columns<true>{{job.rows[0], job.rows[1], job.rows[2]}, first, job.width, padding});
    } else {
      tile(x, count, Columns<false>{{job.rows[0], job.rows[1], job.rows[2]}, first, job.width, padding});
    }
  }
}

template <int kStride>
static void depthwise_pairs(const IntegerDepthwise& job) {
  const Rounding rounding = rounding_of(job.rule);
  for (int part = 0; part < kParts; ++part) {
    const PairTaps taps[3] = {pair_taps(job, 0, part), pair_taps(job, 1, part), pair_taps(job, 2, part)};
    const Ints bias = load_ints(job.bias + part * kLanes);
    const Floats multiplier = load_floats(job.multipliers + part * kLanes);
    over_tiles<kStride, kTileOutputs>(job, [&](Index x, Index count, const auto& input) {
      Ints sums[kTileOutputs] = {bias, bias, bias, bias};
      pair_tile<kStride>(input, taps, part, sums);
      store_outputs(job, x, part, count, sums, multiplier, rounding);
    });
  }
}

#if LINNET_QUADS && !LINNET_WIDE
template <int kStride>
static void depthwise_quads(const IntegerDepthwise& job) {
  const Rounding rounding = rounding_of(job.rule);
  const auto* given = static_cast<const std::int8_t*>(job.taps);
  const Ints taps[3] = {load_ints(given), load_ints(given + 4 * kBlock), load_ints(given + 8 * kBlock)};
  const Ints bias = load_ints(job.bias);
  const Floats multiplier = load_floats(job.multipliers);
  over_tiles<kStride, kTileOutputs>(job, [&](Index x, Index count, const auto& input) {
    Ints sums[kTileOutputs] = {bias, bias, bias, bias};
    quad_tile<kStride>(input, taps, sums);
    store_outputs(job, x, 0, count, sums, multiplier, rounding);
  });
}
#endif

#if LINNET_WIDE
// Eight outputs: each register has sums of one of the first four, and of the one four further on.
template <int kStride, typename Input>
static inline void wide_outputs(const Input& input, const WideInts* taps, WideInts* sums) {
#pragma GCC unroll 3
  for (int row = 0; row < 3; ++row) {
    if constexpr (kStride == 1) {
      const WideInts first = wide_quads_of(input.eight(row, 0)), second = wide_quads_of(input.eight(row, 2)),
                     later = taps[row] << 8;
      sums[0] = wide_dot(sums[0], first, taps[row]);
      sums[1] = wide_dot(sums[1], first, later);
      sums[2] = wide_dot(sums[2], second, taps[row]);
      sums[3] = wide_dot(sums[3], second, later);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const WideInts both = join_halves(input.four(row, 2 * i), input.four(row, 2 * i + 8));
        sums[i] = wide_dot(sums[i], wide_quads_of(both), taps[row]);
      }
    }
  }
}

template <int kStride>
static void depthwise_wide(const IntegerDepthwise& job) {
  const WideRounding rounding = wide_rounding_of(job.rule);
  const auto* given = static_cast<const std::int8_t*>(job.taps);
  WideInts taps[3];
  for (int row = 0; row < 3; ++row) {
    const Ints own = load_ints(given + row * 4 * kBlock);
    taps[row] = join_halves(own, own);
  }
  const Ints own = load_ints(job.bias);
  const WideInts bias = join_halves(own, own);
  const Floats each = load_floats(job.multipliers);
  const WideFloats multiplier = __builtin_shufflevector(each, each, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
  over_tiles<kStride, 8>(job, [&](Index x, Index count, const auto& input) {
    WideInts sums[4] = {bias, bias, bias, bias};
    wide_outputs<kStride>(input, taps, sums);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sums[i] = wide_requantise(sums[i], multiplier, rounding);
    auto* output = static_cast<std::uint8_t*>(job.output) + x * kBlock;
    if (count == 8) return pack_four(sums, output, output + 4 * kBlock);
    std::uint8_t all[8 * kBlock];
    pack_four(sums, all, all + 4 * kBlock);
    for (Index i = 0; i < count; ++i) __builtin_memcpy(output + i * kBlock, all + i * kBlock, kBlock);
  });
}
#endif

// Any dilation: the three pixels of a row of the filter, of which the first two lie side by side in words.
static inline Ints dilated_row(const IntegerDepthwise& job, Ints sum, const PairTaps& taps, int row, Index column,
                               int part) {
  const auto pixel = [&](Index at) {
    const bool inside = at >= 0 && at < job.width;
    return inside ? load_bytes(job.rows[row] + at * kBlock + part * kLanes) : splat_int(job.padding);
  };
  const Ints both = pixel(column) | pixel(column + job.dilation) << 16;
  return dot16(dot16(sum, both, taps.even[0]), pixel(column + 2 * job.dilation), taps.even[1]);
}

static void depthwise_dilated(const IntegerDepthwise& job) {
  const Rounding rounding = rounding_of(job.rule);
  for (int part = 0; part < kParts; ++part) {
    const PairTaps taps[3] = {pair_taps(job, 0, part), pair_taps(job, 1, part), pair_taps(job, 2, part)};
    const Ints bias = load_ints(job.bias + part * kLanes);
    const Floats multiplier = load_floats(job.multipliers + part * kLanes);
    for (Index x = 0; x < job.output_width; x += kTileOutputs) {
      const Index count = smaller(kTileOutputs, job.output_width - x);
      Ints sums[kTileOutputs] = {bias, bias, bias, bias};
      for (int row = 0; row < 3; ++row) {
        for (Index i = 0; i < count; ++i) {
          sums[i] = dilated_row(job, sums[i], taps[row], row, (x + i) * job.stride - job.pad_left, part);
        }
      }
      store_outputs(job, x, part, count, sums, multiplier, rounding);
    }
  }
}

static void depthwise_row(const IntegerDepthwise& job) {
  if (job.dilation != 1) return depthwise_dilated(job);
#if LINNET_WIDE
  if (!job.wide) return job.stride == 1 ? depthwise_wide<1>(job) : depthwise_wide<2>(job);
#elif LINNET_QUADS
  if (!job.wide) return job.stride == 1 ? depthwise_quads<1>(job) : depthwise_quads<2>(job);
#endif
  job.stride == 1 ? depthwise_pairs<1>(job) : depthwise_pairs<2>(job);
}
