// How sums become bytes where registers narrow with saturation: products are rounded, saturate to 16 bits, get their
// zero and saturate to 8 bits, several registers at a time; with kBounds they are kept within others there. Elsewhere
// each is made a byte by itself (`requantise`) and then packed. No product may be beyond 2^31: see
// `Requantisation::far`.

// Whether sums of rules that rectify begin with the bits of 2^23: a float's last bit counts whole numbers there, so
// that they are floats without being converted. One instruction multiplies what they are more than that, and rounds
// once. Sums below 0 become other floats below 2^23, and bytes of 0 all the same.
#if defined(__AVX2__)
static const bool kRectifies = true;
#else
static const bool kRectifies = false;
#endif
static const std::int32_t kWholeBits = 0x4B000000;

static inline bool rectifies(const Requantisation& rule) { return kRectifies && rule.rectifies; }
// What sums begin with, beside the rest.
static inline std::int32_t start_of(const Requantisation& rule) { return rectifies(rule) ? kWholeBits : 0; }

// What is added to numbers while they are narrowed, and their bounds.
struct Ends {
  std::int32_t zero, lowest, highest;
};
static inline Ends ends_of(const Requantisation& rule) {
  if (rule.adds) return {rule.sum_zero, rule.sum_lowest, rule.sum_highest};
  return {rule.zero, rule.lowest, rule.highest};
}

#if defined(__AVX2__)

struct Narrowing {
  __m256i zero, lowest, highest, lowest_word, highest_word;
};

static inline Narrowing narrowing_of(const Requantisation& rule) {
  const Ends ends = ends_of(rule);
  return {_mm256_set1_epi16(static_cast<short>(ends.zero)), _mm256_set1_epi8(static_cast<char>(ends.lowest)),
          _mm256_set1_epi8(static_cast<char>(ends.highest)), _mm256_set1_epi16(static_cast<short>(ends.lowest)),
          _mm256_set1_epi16(static_cast<short>(ends.highest))};
}

static inline Ints scaled(Ints sums, Floats multiplier, const Requantisation&) {
  return reinterpret_cast<Ints>(_mm256_cvtps_epi32(__builtin_convertvector(sums, Floats) * multiplier));
}

static const float kWholes = 8388608.0f;

static inline Ints rectified(Ints sums, Floats multiplier) {
  const auto factor = reinterpret_cast<__m256>(multiplier), less = reinterpret_cast<__m256>(multiplier * -kWholes);
  return reinterpret_cast<Ints>(_mm256_cvtps_epi32(_mm256_fmadd_ps(reinterpret_cast<__m256>(sums), factor, less)));
}

// Numbers of 16 bits of two registers, of either the lower half first.
static inline __m256i words_of(Ints a, Ints b, const Narrowing& to) {
  const __m256i words = _mm256_packs_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
  return _mm256_adds_epi16(words, to.zero);
}

// `kCount` pixels side by side, of which a register holds a block.
template <int kCount, bool kBounds>
static inline void store_narrow(std::uint8_t* p, const Ints* v, const Narrowing& to) {
  if constexpr (kCount > 0) {
    const __m256i low = words_of(v[0], v[kCount > 1 ? 1 : 0], to),
                  high = kCount > 2 ? words_of(v[2], v[kCount > 3 ? 3 : 2], to) : low;
    __m256i packed = _mm256_packus_epi16(low, high);
    if constexpr (kBounds) packed = _mm256_min_epu8(_mm256_max_epu8(packed, to.lowest), to.highest);
    const __m256i bytes = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m128i half = _mm256_castsi256_si128(bytes);
    if constexpr (kCount > 3) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bytes);
      return store_narrow<kCount - 4, kBounds>(p + 4 * kBlock, v + 4, to);
    }
    if constexpr (kCount > 1) _mm_storeu_si128(reinterpret_cast<__m128i*>(p), half);
    if constexpr (kCount == 1) _mm_storel_epi64(reinterpret_cast<__m128i*>(p), half);
    if constexpr (kCount == 3) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p + 2 * kBlock), _mm256_extracti128_si256(bytes, 1));
    }
  }
}

template <int kCount>
static inline void store_narrow_operands(Operand* p, const Ints* v, const Narrowing& to) {
  if constexpr (sizeof(Operand) == 1) {
    store_narrow<kCount, true>(reinterpret_cast<std::uint8_t*>(p), v, to);
  } else if constexpr (kCount > 0) {
    const __m256i words = words_of(v[0], v[kCount > 1 ? 1 : 0], to);
    const __m256i both =
        _mm256_permute4x64_epi64(_mm256_min_epi16(_mm256_max_epi16(words, to.lowest_word), to.highest_word), 0xD8);
    if constexpr (kCount > 1) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), both);
      return store_narrow_operands<kCount - 2>(p + 2 * kBlock, v + 2, to);
    }
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(both));
  }
}

#elif defined(__SSE2__) || defined(__aarch64__)

// The same in registers of 128 bits, which hold half a block of a pixel.
#if defined(__SSE2__)
typedef __m128i Words;
typedef __m128i Packed;
#else
typedef int16x8_t Words;
typedef uint8x16_t Packed;
#endif

struct Narrowing {
  Words zero, lowest_word, highest_word;
  Packed lowest, highest;
};

static inline Narrowing narrowing_of(const Requantisation& rule) {
  const Ends ends = ends_of(rule);
  const auto zero = static_cast<std::int16_t>(ends.zero), lowest = static_cast<std::int16_t>(ends.lowest),
             highest = static_cast<std::int16_t>(ends.highest);
#if defined(__SSE2__)
  return {_mm_set1_epi16(zero), _mm_set1_epi16(lowest), _mm_set1_epi16(highest),
          _mm_set1_epi8(static_cast<char>(lowest)), _mm_set1_epi8(static_cast<char>(highest))};
#else
  return {vdupq_n_s16(zero), vdupq_n_s16(lowest), vdupq_n_s16(highest), vdupq_n_u8(static_cast<std::uint8_t>(lowest)),
          vdupq_n_u8(static_cast<std::uint8_t>(highest))};
#endif
}

static inline Ints scaled(Ints sums, Floats multiplier, const Requantisation&) {
  const Floats x = __builtin_convertvector(sums, Floats) * multiplier;
#if defined(__SSE2__)
  return reinterpret_cast<Ints>(_mm_cvtps_epi32(reinterpret_cast<__m128>(x)));
#else
  return reinterpret_cast<Ints>(vcvtnq_s32_f32(reinterpret_cast<float32x4_t>(x)));
#endif
}

static inline Words words_of(Ints a, Ints b, const Narrowing& to) {
#if defined(__SSE2__)
  return _mm_adds_epi16(_mm_packs_epi32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)), to.zero);
#else
  const int16x4_t low = vqmovn_s32(reinterpret_cast<int32x4_t>(a));
  return vqaddq_s16(vqmovn_high_s32(low, reinterpret_cast<int32x4_t>(b)), to.zero);
#endif
}

template <bool kBounds>
static inline Ints bytes_of(Words low, Words high, const Narrowing& to) {
#if defined(__SSE2__)
  __m128i bytes = _mm_packus_epi16(low, high);
  if constexpr (kBounds) bytes = _mm_min_epu8(_mm_max_epu8(bytes, to.lowest), to.highest);
#else
  uint8x16_t bytes = vqmovun_high_s16(vqmovun_s16(low), high);
  if constexpr (kBounds) bytes = vminq_u8(vmaxq_u8(bytes, to.lowest), to.highest);
#endif
  return reinterpret_cast<Ints>(bytes);
}

// Bytes of a register for each of `kCount` pixels, kBlock bytes apart.
template <int kCount, bool kBounds>
static inline void store_narrow(std::uint8_t* p, const Ints* v, const Narrowing& to, Ints flip = Ints{}) {
  if constexpr (kCount > 0) {
    constexpr int last = kCount < 4 ? kCount : 4;
    const Words low = words_of(v[0], v[last > 1 ? 1 : 0], to), high = last > 2 ? words_of(v[2], v[last - 1], to) : low;
    const Ints bytes = bytes_of<kBounds>(low, high, to) ^ flip;
#pragma GCC unroll 4
    for (int i = 0; i < last; ++i) {
      const std::int32_t word = bytes[i];
      __builtin_memcpy(p + i * kBlock, &word, 4);
    }
    store_narrow<kCount - last, kBounds>(p + last * kBlock, v + last, to, flip);
  }
}

template <int kCount>
static inline void store_narrow_operands(Operand* p, const Ints* v, const Narrowing& to) {
  if constexpr (sizeof(Operand) == 1) {
    constexpr std::uint32_t zeros = kOperandZero * 0x01010101u;
    store_narrow<kCount, true>(reinterpret_cast<std::uint8_t*>(p), v, to, splat_int(static_cast<std::int32_t>(zeros)));
  } else if constexpr (kCount > 0) {
    Words words = words_of(v[0], v[kCount > 1 ? 1 : 0], to);
#if defined(__SSE2__)
    words = _mm_min_epi16(_mm_max_epi16(words, to.lowest_word), to.highest_word);
#else
    words = vminq_s16(vmaxq_s16(words, to.lowest_word), to.highest_word);
#endif
    constexpr int last = kCount < 2 ? kCount : 2;
#pragma GCC unroll 2
    for (int i = 0; i < last; ++i) {
      __builtin_memcpy(p + i * kBlock, reinterpret_cast<const char*>(&words) + 8 * i, 8);
    }
    store_narrow_operands<kCount - last>(p + last * kBlock, v + last, to);
  }
}

#else

using Narrowing = Requantisation;
static inline Narrowing narrowing_of(const Requantisation& rule) { return rule; }
static inline Ints scaled(Ints sums, Floats multiplier, const Requantisation& rule) {
  return requantise(sums, multiplier, rule);
}

template <int kCount, bool kBounds>
static inline void store_narrow(std::uint8_t* p, const Ints* v, const Narrowing&) {
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) store_bytes(p + i * kBlock, v[i]);
}

template <int kCount>
static inline void store_narrow_operands(Operand* p, const Ints* v, const Narrowing&) {
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) store_operands(p + i * kBlock, v[i]);
}

#endif

#if !defined(__AVX2__)
static inline Ints rectified(Ints sums, Floats) { return sums; }
#endif

// Whether zeros are added and bounds kept while numbers are narrowed.
#if defined(__SSE2__) || defined(__aarch64__)
static const bool kNarrows = true;
#else
static const bool kNarrows = false;
#endif

// What a byte is less than its number, before it is narrowed.
static inline std::int32_t narrowed_by(const Requantisation& rule) { return kNarrows ? ends_of(rule).zero : 0; }
