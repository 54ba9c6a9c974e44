// Depthwise rows of bytes, one block of channels at a time. Neighbouring columns of a channel lie side by side in a
// 32-bit word, two of 16 bits or four of 8, so that one instruction multiplies and adds them. A tile is some columns of
// all rows: of neighbouring rows of outputs two of three inputs are the same, and stay in registers.

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

namespace {

// Which columns of a tile may lie outside of their row: none, only those of its first and last pair, or any.
enum class Outside { kNone, kEnds, kAny };

// The columns of a tile, of which the first is column `first` of a row. Inside a row they are read as they lie; at an
// edge pixel by pixel, and what lies outside is padding.
template <Outside kOutside>
struct Columns {
  static constexpr bool kInside = kOutside == Outside::kNone;
  Index first, width;
  std::uint64_t padding;

  const std::uint8_t* place(const std::uint8_t* row, Index column) const { return row + (first + column) * kBlock; }
  std::uint64_t pixel(const std::uint8_t* row, Index column) const {
    const bool outside = first + column < 0 || first + column >= width;
    return outside ? padding : *reinterpret_cast<const Pixel*>(place(row, column));
  }

  Ints pair(const std::uint8_t* row, Index column, int part) const {
#if defined(__AVX2__)
    static_cast<void>(part);
    if constexpr (kInside) {
      return pair_of(
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(place(row, column)))));
    } else {
      // Of two columns a mask of those that lie inside; it is the same for all rows.
      const __m128i columns = _mm_set_epi64x(first + column + 1, first + column);
      const __m128i inside = _mm_andnot_si128(_mm_cmpgt_epi64(_mm_setzero_si128(), columns),
                                              _mm_cmpgt_epi64(_mm_set1_epi64x(width), columns));
      const __m128i read = _mm_maskload_epi64(reinterpret_cast<const long long*>(place(row, column)), inside);
      const __m128i outside = _mm_set1_epi64x(static_cast<long long>(padding));
      return pair_of(_mm256_broadcastsi128_si256(_mm_blendv_epi8(outside, read, inside)));
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
  Ints four(const std::uint8_t* row, Index column) const {
    if constexpr (kInside) {
      return load_ints(place(row, column));
    } else {
      const Index at = first + column;
      const __m256i columns = _mm256_set_epi64x(at + 3, at + 2, at + 1, at);
      const __m256i inside = _mm256_andnot_si256(_mm256_cmpgt_epi64(_mm256_setzero_si256(), columns),
                                                 _mm256_cmpgt_epi64(_mm256_set1_epi64x(width), columns));
      const __m256i read = _mm256_maskload_epi64(reinterpret_cast<const long long*>(place(row, column)), inside);
      const __m256i outside = _mm256_set1_epi64x(static_cast<long long>(padding));
      return reinterpret_cast<Ints>(_mm256_blendv_epi8(outside, read, inside));
    }
  }
#endif

#if LINNET_WIDE
  // A bit for each column that lies inside, from the first one on.
  unsigned inside() const {
    const auto low = static_cast<unsigned>(smaller(larger(-first, 0), 31)),
               high = static_cast<unsigned>(smaller(larger(width - first, 0), 31));
    return ((1u << high) - 1) & ~((1u << low) - 1);
  }
  WideInts eight(const std::uint8_t* row, Index column) const {
    if constexpr (kInside) {
      return load_wide(place(row, column));
    } else {
      const __m512i outside = _mm512_set1_epi64(static_cast<long long>(padding));
      return reinterpret_cast<WideInts>(
          _mm512_mask_loadu_epi64(outside, static_cast<__mmask8>(inside() >> column), place(row, column)));
    }
  }
#endif
};

}  // namespace

// With 16 registers of a whole block 7 outputs have room, and edges that only reach the ends of a tile a way of their
// own.
#if defined(__AVX2__) && !LINNET_QUADS
static const bool kTellsEnds = true;
static const int kWideTile = 7;
#else
static const bool kTellsEnds = false;
static const int kWideTile = 4;
#endif

// Outputs of a tile; inputs that it reads in whole pairs, of which those behind the last tap are multiplied by 0.
static const int kTileOutputs = 4;
template <int kStride, int kOutputs>
static constexpr int columns_of() {
  return kStride == 1 ? (kOutputs + 3) / 2 * 2 : (kOutputs - 1) * kStride + 4;
}

// Calls `tile` with the first output, the number of outputs and the columns of each tile, which reads `wide` of them.
template <int kStride, int kOutputs, typename Tile>
static inline void over_tiles(const IntegerDepthwise& job, Index wide, const Tile& tile) {
  const std::uint64_t padding = job.padding * std::uint64_t{0x0101010101010101};
  for (Index x = 0; x < job.output_width; x += kOutputs) {
    const Index first = x * kStride - job.pad_left, count = smaller(kOutputs, job.output_width - x);
    const Index behind = first + wide;
    if (first >= 0 && behind <= job.width) {
      tile(x, count, Columns<Outside::kNone>{first, job.width, padding});
    } else if (kTellsEnds && first >= -2 && behind <= job.width + 2) {
      tile(x, count, Columns<Outside::kEnds>{first, job.width, padding});
    } else {
      tile(x, count, Columns<Outside::kAny>{first, job.width, padding});
    }
  }
}

// Calls `filter` with each row of outputs and what `load` makes of the three rows under it, of which one is `kNew`.
template <int kNew, typename Load, typename Filter>
LINNET_INLINE void down_rows(const IntegerDepthwise& job, const Load& load, const Filter& filter) {
  if constexpr (kNew == 1) {
    auto first = load(job.rows[0][0]), second = load(job.rows[0][1]);
    for (Index r = 0; r < job.output_rows; ++r) {
      const auto third = load(job.rows[r][2]);
      filter(r, first, second, third);
      first = second;
      second = third;
    }
  } else {
    for (Index r = 0; r < job.output_rows; ++r) {
      filter(r, load(job.rows[r][0]), load(job.rows[r][1]), load(job.rows[r][2]));
    }
  }
}

// Writes `count` outputs of row `r` from column `x` on.
template <int kCount = kTileOutputs>
static inline void store_outputs(const IntegerDepthwise& job, Index r, Index x, int part, Index count,
                                 const Ints* numbers, const Narrowing& to) {
  if constexpr (kCount > 1) {
    if (count < kCount) return store_outputs<kCount - 1>(job, r, x, part, count, numbers, to);
  }
  const Index place = (r * job.output_width + x) * kBlock + part * kLanes;
  if (job.operands) {
    store_narrow_operands<kCount>(static_cast<Operand*>(job.output) + place, numbers, to);
  } else {
    store_narrow<kCount, true>(static_cast<std::uint8_t*>(job.output) + place, numbers, to);
  }
}

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

// `dot16` whose addition is not put off, as `dot` of words of 16 bits.
static inline Ints dot16_now(Ints sums, Ints values, Ints weights) {
#if defined(__AVX2__)
  const __m256i products = _mm256_madd_epi16(reinterpret_cast<__m256i>(values), reinterpret_cast<__m256i>(weights));
  asm("vpaddd %1, %0, %0" : "+x"(sums) : "x"(products));
#else
  sums = dot16(sums, values, weights);
  LINNET_PIN(sums);
#endif
  return sums;
}

// Adds what a row makes to the outputs of a tile: each pair of columns is read once and goes to all outputs that it
// reaches. The additions are not put off: there are no registers for so many products.
template <int kStride, int kOutputs, Outside kOutside>
LINNET_INLINE void add_pairs(const Columns<kOutside>& columns, const std::uint8_t* row, int part, const PairTaps& taps,
                             Ints (&sums)[kOutputs]) {
  constexpr int pairs = columns_of<kStride, kOutputs>() / 2;
  const auto add = [&](int i, Ints pair, Ints tap) {
    if (i < 0 || i >= kOutputs) return;
    sums[i] = dot16_now(sums[i], pair, tap);
  };
#pragma GCC unroll 8
  for (int j = 0; j < pairs; ++j) {
    const bool end = j == 0 || j == pairs - 1;
    const Ints pair = kOutside == Outside::kEnds && !end
                          ? Columns<Outside::kNone>{columns.first, columns.width, 0}.pair(row, 2 * j, part)
                          : columns.pair(row, 2 * j, part);
    if constexpr (kStride == 1) {
      add(2 * j - 2, pair, taps.even[1]);
      add(2 * j - 1, pair, taps.odd[1]);
      add(2 * j, pair, taps.even[0]);
      add(2 * j + 1, pair, taps.odd[0]);
    } else {
      add(j - 1, pair, taps.even[1]);
      add(j, pair, taps.even[0]);
    }
  }
}

template <int kStride, int kOutputs>
static void depthwise_pairs(const IntegerDepthwise& job) {
  const Requantisation rule = job.rule;
  const Narrowing to = narrowing_of(rule);
  for (int part = 0; part < kParts; ++part) {
    const PairTaps taps[3] = {pair_taps(job, 0, part), pair_taps(job, 1, part), pair_taps(job, 2, part)};
    const Ints bias = load_ints(job.bias + part * kLanes) + start_of(rule);
    const Floats multiplier = load_floats(job.multipliers + part * kLanes);
    over_tiles<kStride, kOutputs>(job, columns_of<kStride, kOutputs>(), [&](Index x, Index count, const auto& columns) {
      // More than a row's words do not find registers: each row is read anew.
      for (Index r = 0; r < job.output_rows; ++r) {
        Ints sums[kOutputs];
#pragma GCC unroll 8
        for (Ints& sum : sums) sum = bias;
#pragma GCC unroll 3
        for (int row = 0; row < 3; ++row) add_pairs<kStride>(columns, job.rows[r][row], part, taps[row], sums);
        if (rectifies(rule)) {
#pragma GCC unroll 8
          for (Ints& sum : sums) sum = rectified(sum, multiplier);
        } else {
#pragma GCC unroll 8
          for (Ints& sum : sums) sum = scaled(sum, multiplier, rule);
        }
        store_outputs<kOutputs>(job, r, x, part, count, sums, to);
      }
    });
  }
}

// By the tile that leaves fewer outputs over: maps of 224 pixels and their halves are multiples of 7.
template <int kStride>
static void depthwise_pairs_of(const IntegerDepthwise& job) {
  constexpr int wide = kWideTile;
  if constexpr (wide > kTileOutputs) {
    const auto rounded = [&](Index tile) { return (job.output_width + tile - 1) / tile * tile; };
    if (rounded(wide) <= rounded(kTileOutputs)) return depthwise_pairs<kStride, wide>(job);
  }
  depthwise_pairs<kStride, kTileOutputs>(job);
}

#if LINNET_QUADS

namespace {

// A register has the words of four neighbouring columns from every second one on, of half a block each: a lane of 128
// bits has four channels. Stride 2 moves from lane to lane, and what lies between, at stride 1, has taps that are
// shifted. So columns become words by a shuffle and an interleaving within lanes, and results are in order.
struct Quads {
  using Sums = Ints;
  using Factors = Floats;
  using Bounds = Narrowing;
  static const int kLanesOf128 = 2;
  static Sums each(const void* half) {
    return reinterpret_cast<Sums>(_mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(half))));
  }
  static Bounds bounds_of(const Requantisation& rule) { return narrowing_of(rule); }
  static Sums add(Sums sums, Sums values, Sums taps) { return dot(sums, values, taps); }
  template <typename Input>
  static Sums load(const Input& columns, const std::uint8_t* row, int column) {
    return columns.four(row, column);
  }
  // Of each lane's two columns the channels side by side, and then with those of two columns further on.
  static Sums pairs(Sums columns) {
    const __m256i order =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    return reinterpret_cast<Sums>(_mm256_shuffle_epi8(reinterpret_cast<__m256i>(columns), order));
  }
  static Sums words(Sums first, Sums second, int half) {
    const auto a = reinterpret_cast<__m256i>(first), b = reinterpret_cast<__m256i>(second);
    return reinterpret_cast<Sums>(half == 0 ? _mm256_unpacklo_epi16(a, b) : _mm256_unpackhi_epi16(a, b));
  }
  // Bytes of one of each lane's two columns beside those of the other register.
  static Sums mixed(Sums first, Sums second, int odd) {
    const auto a = reinterpret_cast<__m256i>(first), b = reinterpret_cast<__m256i>(second);
    return reinterpret_cast<Sums>(odd == 0 ? _mm256_unpacklo_epi8(a, b) : _mm256_unpackhi_epi8(a, b));
  }
  static Sums rectify(Sums sums, Factors multiplier) { return rectified(sums, multiplier); }
  static Sums scale(Sums sums, Factors multiplier, const Requantisation& rule) {
    return scaled(sums, multiplier, rule);
  }
  template <bool kBounds>
  static Sums bytes(Sums a, Sums b, Sums c, Sums d, const Bounds& to) {
    const __m256i packed = _mm256_packus_epi16(words_of(a, b, to), words_of(c, d, to));
    if constexpr (!kBounds) return reinterpret_cast<Sums>(packed);
    return reinterpret_cast<Sums>(_mm256_min_epu8(_mm256_max_epu8(packed, to.lowest), to.highest));
  }
  // From lanes of one output of each half of a tile.
  static Sums in_turn(Sums bytes) {
    return reinterpret_cast<Sums>(_mm256_permute4x64_epi64(reinterpret_cast<__m256i>(bytes), 0xD8));
  }
  static void store(std::uint8_t* output, Sums bytes, Index count) {
    if (count == 2 * kLanesOf128) return store_ints(output, bytes);
    const __m256i there = _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
    _mm256_maskstore_epi64(reinterpret_cast<long long*>(output), there, reinterpret_cast<__m256i>(bytes));
  }
};

#if LINNET_WIDE
struct WideQuads {
  using Sums = WideInts;
  using Factors = WideFloats;
  using Bounds = WideNarrowing;
  static const int kLanesOf128 = 4;
  static Sums each(const void* half) {
    const Ints both = Quads::each(half);
    return join_halves(both, both);
  }
  static Bounds bounds_of(const Requantisation& rule) { return wide_narrowing_of(rule); }
  static Sums add(Sums sums, Sums values, Sums taps) { return wide_dot(sums, values, taps); }
  template <typename Input>
  static Sums load(const Input& columns, const std::uint8_t* row, int column) {
    return columns.eight(row, column);
  }
  static Sums pairs(Sums columns) {
    const __m512i order = _mm512_set4_epi32(0x0F070E06, 0x0D050C04, 0x0B030A02, 0x09010800);
    return reinterpret_cast<Sums>(_mm512_maskz_shuffle_epi8(~__mmask64{0}, reinterpret_cast<__m512i>(columns), order));
  }
  static Sums words(Sums first, Sums second, int half) {
    const auto a = reinterpret_cast<__m512i>(first), b = reinterpret_cast<__m512i>(second);
    constexpr __mmask32 all = ~__mmask32{0};
    return reinterpret_cast<Sums>(half == 0 ? _mm512_maskz_unpacklo_epi16(all, a, b)
                                            : _mm512_maskz_unpackhi_epi16(all, a, b));
  }
  static Sums mixed(Sums first, Sums second, int odd) {
    const auto a = reinterpret_cast<__m512i>(first), b = reinterpret_cast<__m512i>(second);
    constexpr __mmask64 all = ~__mmask64{0};
    return reinterpret_cast<Sums>(odd == 0 ? _mm512_maskz_unpacklo_epi8(all, a, b)
                                           : _mm512_maskz_unpackhi_epi8(all, a, b));
  }
  static Sums rectify(Sums sums, Factors multiplier) { return wide_rectified(sums, multiplier); }
  static Sums scale(Sums sums, Factors multiplier, const Requantisation&) { return wide_scaled(sums, multiplier); }
  template <bool kBounds>
  static Sums bytes(Sums a, Sums b, Sums c, Sums d, const Bounds& to) {
    return reinterpret_cast<Sums>(wide_bytes_of<kBounds>(a, b, c, d, to));
  }
  static Sums in_turn(Sums bytes) {
    return __builtin_shufflevector(bytes, bytes, 0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  }
  static void store(std::uint8_t* output, Sums bytes, Index count) {
    _mm512_mask_storeu_epi64(output, static_cast<__mmask8>((1u << count) - 1), reinterpret_cast<__m512i>(bytes));
  }
};
using WidestQuads = WideQuads;
#else
using WidestQuads = Quads;
#endif

// What a tile reads of a row: words [of which outputs][half]. At stride 1 odd outputs have those of even ones.
template <typename Kind, int kStride, bool kDilated>
struct QuadRow {
  static const int kGroups = kDilated ? 2 : kStride;
  typename Kind::Sums words[kGroups][2];

  template <typename Input>
  LINNET_INLINE QuadRow of(const Input& columns, const std::uint8_t* row, Index dilation) {
    using Sums = typename Kind::Sums;
    QuadRow found;
    if constexpr (kDilated) {
      // Columns that are apart are read apart, all outputs at once: even columns of three of them, then odd ones.
      Input second = columns, third = columns;
      second.first += dilation;
      third.first += 2 * dilation;
      const Sums a = Kind::load(columns, row, 0), b = Kind::load(second, row, 0), c = Kind::load(third, row, 0);
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        const Sums both = Kind::mixed(a, b, odd), last = Kind::mixed(c, Sums{}, odd);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) found.words[odd][half] = Kind::words(both, last, half);
      }
    } else {
#pragma GCC unroll 2
      for (int group = 0; group < kStride; ++group) {
        const int column = group * 2 * Kind::kLanesOf128;
        const Sums first = Kind::pairs(Kind::load(columns, row, column)),
                   second = Kind::pairs(Kind::load(columns, row, column + 2));
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) found.words[group][half] = Kind::words(first, second, half);
      }
    }
    return found;
  }
};

}  // namespace

template <typename Kind, int kStride, bool kDilated>
static void depthwise_quads(const IntegerDepthwise& job) {
  using Sums = typename Kind::Sums;
  using Row = QuadRow<Kind, kStride, kDilated>;
  constexpr int outputs = 2 * Kind::kLanesOf128;
  const auto to = Kind::bounds_of(job.rule);
  const auto* given = static_cast<const std::int8_t*>(job.taps);
  Sums taps[3][2], bias[2];
  typename Kind::Factors multiplier[2];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    constexpr int step = kBlock / 2;
#pragma GCC unroll 3
    for (int row = 0; row < 3; ++row) taps[row][half] = Kind::each(given + (2 * row + half) * 4 * step);
    bias[half] = Kind::each(job.bias + half * step) + start_of(job.rule);
    multiplier[half] = reinterpret_cast<typename Kind::Factors>(Kind::each(job.multipliers + half * step));
  }
  const Index wide = kDilated ? outputs + 2 * job.dilation : columns_of<kStride, outputs>();
  over_tiles<kStride, outputs>(job, wide, [&](Index x, Index count, const auto& columns) {
    const auto load = [&](const std::uint8_t* row) { return Row::of(columns, row, job.dilation); };
    // Sums [of which outputs][half]: at stride 1 those of even and of odd columns.
    const auto add = [](const Row& row, const Sums(&tap)[2], Sums(&sums)[2][2]) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        sums[0][half] = Kind::add(sums[0][half], row.words[0][half], tap[half]);
        sums[1][half] =
            Kind::add(sums[1][half], row.words[Row::kGroups - 1][half], Row::kGroups == 1 ? tap[half] << 8 : tap[half]);
      }
    };
    down_rows<Row::kGroups>(job, load, [&](Index r, const auto& first, const auto& second, const auto& third) {
      Sums sums[2][2] = {{bias[0], bias[1]}, {bias[0], bias[1]}};
      add(first, taps[0], sums);
      add(second, taps[1], sums);
      add(third, taps[2], sums);
      Sums bytes;
      if (rectifies(job.rule)) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sums[i / 2][i % 2] = Kind::rectify(sums[i / 2][i % 2], multiplier[i % 2]);
        bytes = Kind::template bytes<false>(sums[0][0], sums[0][1], sums[1][0], sums[1][1], to);
      } else {
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sums[i / 2][i % 2] = Kind::scale(sums[i / 2][i % 2], multiplier[i % 2], job.rule);
        bytes = Kind::template bytes<true>(sums[0][0], sums[0][1], sums[1][0], sums[1][1], to);
      }
      auto* output = static_cast<std::uint8_t*>(job.output) + (r * job.output_width + x) * kBlock;
      Kind::store(output, kStride == 1 ? bytes : Kind::in_turn(bytes), count);
    });
  });
}
#endif

// Any dilation and any products: the three pixels of a row of the filter, of which the first two lie side by side in
// words.
static inline Ints any_row(const IntegerDepthwise& job, Ints sum, const PairTaps& taps, const std::uint8_t* row,
                           Index column, int part) {
  const auto pixel = [&](Index at) {
    const bool inside = at >= 0 && at < job.width;
    return inside ? load_bytes(row + at * kBlock + part * kLanes) : splat_int(job.padding);
  };
  const Ints both = pixel(column) | pixel(column + job.dilation) << 16;
  return dot16(dot16(sum, both, taps.even[0]), pixel(column + 2 * job.dilation), taps.even[1]);
}

static void depthwise_any(const IntegerDepthwise& job) {
  const Requantisation rule = job.rule;
  const Narrowing to = narrowing_of(rule);
  for (int part = 0; part < kParts; ++part) {
    const PairTaps taps[3] = {pair_taps(job, 0, part), pair_taps(job, 1, part), pair_taps(job, 2, part)};
    const Ints bias = load_ints(job.bias + part * kLanes);
    const Floats multiplier = load_floats(job.multipliers + part * kLanes);
    for (Index r = 0; r < job.output_rows; ++r) {
      for (Index x = 0; x < job.output_width; x += kTileOutputs) {
        const Index count = smaller(kTileOutputs, job.output_width - x);
        Ints sums[kTileOutputs] = {bias, bias, bias, bias};
        for (int row = 0; row < 3; ++row) {
          for (Index i = 0; i < count; ++i) {
            sums[i] = any_row(job, sums[i], taps[row], job.rows[r][row], (x + i) * job.stride - job.pad_left, part);
          }
        }
        for (Ints& sum : sums) {
          sum = rule.far ? requantise(sum, multiplier, rule) - narrowed_by(rule) : scaled(sum, multiplier, rule);
        }
        store_outputs(job, r, x, part, count, sums, to);
      }
    }
  }
}

static void depthwise_rows(const IntegerDepthwise& job) {
#if LINNET_QUADS
  if (!job.wide && !job.rule.far) {
    if (job.stride == 1 && job.dilation == 1) return depthwise_quads<WidestQuads, 1, false>(job);
    if (job.stride == 1) return depthwise_quads<WidestQuads, 1, true>(job);
    if (job.dilation == 1) return depthwise_quads<WidestQuads, 2, false>(job);
  }
#endif
  if (job.dilation != 1 || job.rule.far) return depthwise_any(job);
  job.stride == 1 ? depthwise_pairs_of<1>(job) : depthwise_pairs_of<2>(job);
}
