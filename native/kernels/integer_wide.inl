// Registers of 512 bits for vpdpbusd: of products two blocks of channels side by side, of depthwise rows two groups of
// four pixels.

#include "halves.inl"

typedef std::int32_t WideInts __attribute__((vector_size(64)));
typedef std::int32_t WideIntsInMemory __attribute__((vector_size(64), aligned(1), may_alias));
typedef float WideFloats __attribute__((vector_size(64)));
typedef float WideFloatsInMemory __attribute__((vector_size(64), aligned(4), may_alias));

static inline WideInts load_wide(const void* p) { return *static_cast<const WideIntsInMemory*>(p); }

static inline WideInts wide_dot(WideInts sums, WideInts values, WideInts weights) {
  return reinterpret_cast<WideInts>(_mm512_dpbusd_epi32(
      reinterpret_cast<__m512i>(sums), reinterpret_cast<__m512i>(values), reinterpret_cast<__m512i>(weights)));
}

struct WideNarrowing {
  __m512i zero, lowest, highest;
};

static inline WideNarrowing wide_narrowing_of(const Requantisation& rule) {
  const Ends ends = ends_of(rule);
  return {_mm512_set1_epi16(static_cast<short>(ends.zero)), _mm512_set1_epi8(static_cast<char>(ends.lowest)),
          _mm512_set1_epi8(static_cast<char>(ends.highest))};
}

static inline WideInts wide_scaled(WideInts sums, WideFloats multiplier) {
  const WideFloats x = __builtin_convertvector(sums, WideFloats) * multiplier;
  return reinterpret_cast<WideInts>(_mm512_maskz_cvtps_epi32(~__mmask16{0}, reinterpret_cast<__m512>(x)));
}

static inline WideInts wide_rectified(WideInts sums, WideFloats multiplier) {
  const auto factor = reinterpret_cast<__m512>(multiplier), less = reinterpret_cast<__m512>(multiplier * -kWholes);
  const __m512 x = _mm512_fmadd_ps(reinterpret_cast<__m512>(sums), factor, less);
  return reinterpret_cast<WideInts>(_mm512_maskz_cvtps_epi32(~__mmask16{0}, x));
}

// Bytes of four registers. In words of four bytes: word 4 i + k is word i of register k.
template <bool kBounds>
static inline __m512i wide_bytes_of(WideInts a, WideInts b, WideInts c, WideInts d, const WideNarrowing& to) {
  constexpr __mmask32 words = ~__mmask32{0};
  constexpr __mmask64 bytes = ~__mmask64{0};
  const auto words_of = [&](WideInts first, WideInts second) {
    const __m512i packed =
        _mm512_maskz_packs_epi32(words, reinterpret_cast<__m512i>(first), reinterpret_cast<__m512i>(second));
    return _mm512_maskz_adds_epi16(words, packed, to.zero);
  };
  const __m512i packed = _mm512_maskz_packus_epi16(bytes, words_of(a, b), words_of(c, d));
  if constexpr (!kBounds) return packed;
  return _mm512_maskz_min_epu8(bytes, _mm512_maskz_max_epu8(bytes, packed, to.lowest), to.highest);
}

template <int... kOrder>
static inline WideInts in_order(__m512i v) {
  const auto words = reinterpret_cast<WideInts>(v);
  return __builtin_shufflevector(words, words, kOrder...);
}

namespace {

// Registers of a tile, of the sums of a pixel and two blocks each.
struct Wide {
  using Sums = WideInts;
  using Factors = WideFloats;
  using Weights = WideInts;
  static constexpr int kSums = 16;
  static constexpr __mmask16 kHalf = 0x00FF;

  static Index place(int v, Index step) { return 2 * v * step; }
  LINNET_INLINE Sums load(const std::int32_t* p, Index step, bool half) {
    return join_halves(load_ints(p), half ? Ints{} : load_ints(p + step));
  }
  LINNET_INLINE void store(std::int32_t* p, Index step, bool half, Sums sums) {
    store_ints(p, low_half(sums));
    if (!half) store_ints(p + step, high_half(sums));
  }
  LINNET_INLINE Sums added(const std::uint8_t* p, Index step, bool half) {
    const __m128i first = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    if (half) return reinterpret_cast<Sums>(_mm512_maskz_cvtepu8_epi32(~__mmask16{0}, first));
    const __m128d both = _mm_loadh_pd(_mm_castsi128_pd(first), reinterpret_cast<const double*>(p + step));
    return reinterpret_cast<Sums>(_mm512_maskz_cvtepu8_epi32(~__mmask16{0}, _mm_castpd_si128(both)));
  }
  LINNET_INLINE Factors multipliers(const float* p, bool half) {
    if (half) return reinterpret_cast<Factors>(_mm512_maskz_loadu_ps(kHalf, p));
    return *reinterpret_cast<const WideFloatsInMemory*>(p);
  }
  LINNET_INLINE Weights weights(const std::int8_t* p, bool half) {
    return half ? reinterpret_cast<Weights>(_mm512_maskz_loadu_epi32(kHalf, p)) : load_wide(p);
  }
  LINNET_INLINE Sums multiply(Sums sums, Sums values, Weights weights) { return wide_dot(sums, values, weights); }
  LINNET_INLINE Sums scale(Sums sums, Factors multiplier, const Requantisation&) {
    return wide_scaled(sums, multiplier);
  }
  LINNET_INLINE Sums rectify(Sums sums, Factors multiplier) { return wide_rectified(sums, multiplier); }

  // Four pixels of a register, then two and one of all registers.
  template <int kBlocks, int kRows>
  LINNET_INLINE void pack(const Sums (&numbers)[(kBlocks + 1) / 2][kRows], std::uint8_t* c, Index step,
                          const Requantisation& rule) {
    static_assert(kBlocks <= 4, "a pixel has at most two registers");
    constexpr int fours = kRows / 4 * 4, twos = kRows / 2 * 2, last = (kBlocks - 1) / 2;
    const WideNarrowing to = wide_narrowing_of(rule);
#pragma GCC unroll 2
    for (int v = 0; v <= last; ++v) {
#pragma GCC unroll 4
      for (int row = 0; row < fours; row += 4) {
        const WideInts* four = numbers[v] + row;
        const WideInts bytes = in_order<0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15>(
            wide_bytes_of<false>(four[0], four[1], four[2], four[3], to));
        std::uint8_t* p = c + place(v, step) + row * kBlock;
        store_ints(p, low_half(bytes));
        if (2 * v + 1 < kBlocks) store_ints(p + step, high_half(bytes));
      }
    }
    if constexpr (twos > fours) {
      const WideInts *low = numbers[0] + fours, *high = numbers[last] + fours;
      const WideInts bytes = in_order<0, 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15>(
          wide_bytes_of<false>(low[0], low[1], high[0], high[1], to));
      std::uint8_t* p = c + fours * kBlock;
      const auto store = [&](int block, Ints both) {
        const auto pixels = reinterpret_cast<__m256i>(both);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p + block * step), _mm256_castsi256_si128(pixels));
        if (block + 1 == kBlocks) return;
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p + (block + 1) * step), _mm256_extracti128_si256(pixels, 1));
      };
      store(0, low_half(bytes));
      if constexpr (kBlocks > 2) store(2, high_half(bytes));
    }
    if constexpr (kRows > twos) {
      const WideInts one = numbers[0][twos], other = numbers[last][twos];
      const Ints bytes = low_half(in_order<0, 4, 8, 12, 1, 5, 9, 13, 0, 4, 8, 12, 1, 5, 9, 13>(
          wide_bytes_of<false>(one, other, one, other, to)));
      const auto half = _mm256_castsi256_si128(reinterpret_cast<__m256i>(bytes)),
                 rest = _mm256_extracti128_si256(reinterpret_cast<__m256i>(bytes), 1);
      std::uint8_t* p = c + twos * kBlock;
      const auto store = [&](int block, __m128i pixels, bool high) {
        if (block >= kBlocks) return;
        if (high) {
          _mm_storeh_pd(reinterpret_cast<double*>(p + block * step), _mm_castsi128_pd(pixels));
        } else {
          _mm_storel_epi64(reinterpret_cast<__m128i*>(p + block * step), pixels);
        }
      };
      store(0, half, false);
      store(1, half, true);
      store(2, rest, false);
      store(3, rest, true);
    }
  }
};

}  // namespace
