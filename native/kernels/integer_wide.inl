// Tiles in registers of 512 bits for vpdpbusd: of products two blocks of channels side by side, of depthwise rows two
// groups of four pixels. What is written here is what integer_product.inl and integer_depthwise.inl do by halves.

typedef std::int32_t WideInts __attribute__((vector_size(64)));
typedef std::int32_t WideIntsInMemory __attribute__((vector_size(64), aligned(1), may_alias));
typedef float WideFloats __attribute__((vector_size(64)));
typedef float WideFloatsInMemory __attribute__((vector_size(64), aligned(4), may_alias));

static inline WideInts load_wide(const void* p) { return *static_cast<const WideIntsInMemory*>(p); }
static inline WideInts splat_wide(std::int32_t x) { return x - WideInts{}; }
static inline WideInts join_halves(Ints low, Ints high) {
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
static inline Ints low_half(WideInts v) { return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
static inline Ints high_half(WideInts v) { return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }

static inline WideInts wide_dot(WideInts sums, WideInts values, WideInts weights) {
  return reinterpret_cast<WideInts>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sums),
                                                        reinterpret_cast<__m512i>(values),
                                                        reinterpret_cast<__m512i>(weights)));
}

struct WideRounding {
  WideFloats lowest, highest;
  WideInts zero;
};

static inline WideRounding wide_rounding_of(const Requantisation& rule) {
  return {static_cast<float>(rule.lowest - rule.zero) - WideFloats{},
          static_cast<float>(rule.highest - rule.zero) - WideFloats{}, splat_wide(rule.zero - kRounderBits)};
}

static inline WideInts wide_requantise(WideInts sums, WideFloats multiplier, const WideRounding& rounding) {
  WideFloats x = __builtin_convertvector(sums, WideFloats) * multiplier;
  x = x < rounding.lowest ? rounding.lowest : x;
  x = x > rounding.highest ? rounding.highest : x;
  x += kRounder - WideFloats{};
  return reinterpret_cast<WideInts>(x) + rounding.zero;
}

// Bytes of four registers whose halves hold a block each: of the first halves four pixels, then of the second ones.
static inline void pack_four(const WideInts* v, std::uint8_t* low, std::uint8_t* high) {
  const auto* all = reinterpret_cast<const __m512i*>(v);
  // Saturation leaves numbers from 0 to 255 as they are.
  const __m512i first = _mm512_maskz_packs_epi32(~__mmask32{0}, all[0], all[1]),
                second = _mm512_maskz_packs_epi32(~__mmask32{0}, all[2], all[3]);
  const auto bytes = reinterpret_cast<WideInts>(_mm512_maskz_packus_epi16(~__mmask64{0}, first, second));
  store_ints(low, __builtin_shufflevector(bytes, bytes, 0, 4, 1, 5, 2, 6, 3, 7));
  store_ints(high, __builtin_shufflevector(bytes, bytes, 8, 12, 9, 13, 10, 14, 11, 15));
}

template <int kBlocks, int kRows, bool kAdds>
static inline void finish_wide_tile(const IntegerProduct& job, Index pixel, const WideInts (&sums)[kRows][kBlocks / 2]) {
  const WideRounding rounding = wide_rounding_of(job.rule);
#pragma GCC unroll 16
  for (int v = 0; v < kBlocks / 2; ++v) {
    const WideFloats multiplier = *reinterpret_cast<const WideFloatsInMemory*>(job.multipliers + v * 16);
    std::uint8_t* c = job.c + 2 * v * job.c_step + pixel * kBlock;
    if constexpr (kAdds) {
      const std::uint8_t* added = job.added + 2 * v * job.added_step + pixel * kBlock;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const WideInts own = wide_requantise(sums[row][v], multiplier, rounding);
        const Index place = row * kBlock;
        store_bytes(c + place, add_shortcut(low_half(own), load_bytes(added + place), job.rule));
        store_bytes(c + job.c_step + place,
                    add_shortcut(high_half(own), load_bytes(added + job.added_step + place), job.rule));
      }
    } else {
      constexpr int fours = kRows / 4 * 4;
#pragma GCC unroll 4
      for (int row = 0; row < fours; row += 4) {
        WideInts bytes[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) bytes[i] = wide_requantise(sums[row + i][v], multiplier, rounding);
        pack_four(bytes, c + row * kBlock, c + job.c_step + row * kBlock);
      }
#pragma GCC unroll 4
      for (int row = fours; row < kRows; ++row) {
        const WideInts bytes = wide_requantise(sums[row][v], multiplier, rounding);
        store_bytes(c + row * kBlock, low_half(bytes));
        store_bytes(c + job.c_step + row * kBlock, high_half(bytes));
      }
    }
  }
}

template <int kBlocks, int kRows, int kRun, int kStep>
static void wide_tile(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines) {
  constexpr int vectors = kBlocks / 2;
  WideInts sums[kRows][vectors];
  if (job.bias != nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const WideInts bias = load_wide(job.bias + v * 16);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row][v] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const std::int32_t* block = job.sums + 2 * v * job.sums_step + pixel * kBlock;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        sums[row][v] = join_halves(load_ints(block + row * kBlock), load_ints(block + job.sums_step + row * kBlock));
      }
    }
  }
  const Index step = kStep != 0 ? kStep : job.a_pixel_step, run = kRun != 0 ? kRun : job.run;
  const Operand* a = static_cast<const Operand*>(job.a) + pixel * step;
  const std::int8_t* b = job.weights;
  for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
    for (Index line = 0; line < lines; ++line, fetched += kLine * 4) __builtin_prefetch(fetched, 0, 2);
#pragma GCC unroll 2
    for (Index k = 0; k < run; k += kGroup, b += kBlocks * kBlock * kGroup) {
      WideInts weights[vectors];
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) weights[v] = load_wide(b + v * 64);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const WideInts value = splat_wide(load_word(a + row * step + k));
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) sums[row][v] = wide_dot(sums[row][v], value, weights[v]);
      }
    }
  }
  if (job.terms != nullptr) {
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) sums[row][v] += job.terms[pixel + row];
    }
  }
  if (job.c != nullptr) {
    return job.rule.adds ? finish_wide_tile<kBlocks, kRows, true>(job, pixel, sums)
                         : finish_wide_tile<kBlocks, kRows, false>(job, pixel, sums);
  }
#pragma GCC unroll 16
  for (int v = 0; v < vectors; ++v) {
    std::int32_t* block = job.sums + 2 * v * job.sums_step + pixel * kBlock;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      store_ints(block + row * kBlock, low_half(sums[row][v]));
      store_ints(block + job.sums_step + row * kBlock, high_half(sums[row][v]));
    }
  }
}
