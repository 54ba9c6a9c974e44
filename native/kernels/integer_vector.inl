// Vectors of kLanes 32-bit numbers, and how sums become bytes. The including file defines kLanes, Operand and kGroup,
// and `dot`.

typedef std::int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef std::int32_t IntsInMemory __attribute__((vector_size(4 * kLanes), aligned(1), may_alias));
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef float FloatsInMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef std::int32_t Word __attribute__((aligned(1), may_alias));

static inline Ints load_ints(const void* p) { return *static_cast<const IntsInMemory*>(p); }
static inline Word load_word(const Operand* p) { return *reinterpret_cast<const Word*>(p); }
static inline void store_ints(void* p, Ints v) { *static_cast<IntsInMemory*>(p) = v; }
static inline Floats load_floats(const float* p) { return *reinterpret_cast<const FloatsInMemory*>(p); }
static inline Ints splat_int(std::int32_t x) { return x - Ints{}; }
static inline Floats splat_float(float x) { return x - Floats{}; }

// Registers of one block of channels.
static const int kParts = kBlock / kLanes;

// Of numbers within 2^22, 1.5 * 2^23 leaves the bits of the nearest whole number, ties to even, in the low bits of a
// sum: no instruction set needs another way to round.
static const float kRounder = 12582912.0f;
static const std::int32_t kRounderBits = 0x4B400000;

// clamp(rint(float(sums) * multiplier) + zero) of registers of any width: whole bounds may be kept before the rounding.
template <typename Sums, typename Factors>
static inline Sums requantise(Sums sums, Factors multiplier, const Requantisation& rule) {
  const Factors lowest = static_cast<float>(rule.lowest - rule.zero) - Factors{},
                highest = static_cast<float>(rule.highest - rule.zero) - Factors{};
  Factors x = __builtin_convertvector(sums, Factors) * multiplier;
  x = x < lowest ? lowest : x;
  x = x > highest ? highest : x;
  x += kRounder - Factors{};
  return reinterpret_cast<Sums>(x) + (rule.zero - kRounderBits);
}

// Two numbers added, before there is a zero and a bound.
template <typename Sums>
static inline Sums shifted_sum(Sums a, Sums b, const Requantisation& rule) {
  const std::int32_t start = (1 << (rule.shift - 1)) - rule.first * rule.first_zero - rule.second * rule.second_zero;
  return (a * rule.first + b * rule.second + start) >> rule.shift;
}

template <typename Sums>
static inline Sums add_shortcut(Sums a, Sums b, const Requantisation& rule) {
  Sums sum = shifted_sum(a, b, rule) + rule.sum_zero;
  const Sums lowest = rule.sum_lowest - Sums{}, highest = rule.sum_highest - Sums{};
  sum = sum < lowest ? lowest : sum;
  return sum > highest ? highest : sum;
}

typedef std::uint8_t Bytes __attribute__((vector_size(kLanes)));

// gcc 12 converts vectors of bytes one by one.
static inline Ints load_bytes(const std::uint8_t* p) {
#if defined(__AVX2__)
  return reinterpret_cast<Ints>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#elif defined(__SSE2__)
  std::int32_t word;
  __builtin_memcpy(&word, p, 4);
  const __m128i none = _mm_setzero_si128();
  return reinterpret_cast<Ints>(_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(word), none), none));
#else
  Bytes bytes;
  __builtin_memcpy(&bytes, p, kLanes);
  return __builtin_convertvector(bytes, Ints);
#endif
}

// The low bytes of numbers from 0 to 255.
static inline void store_bytes(std::uint8_t* p, Ints v) {
#if defined(__AVX2__)
  const __m256i all = reinterpret_cast<__m256i>(v);
  const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(half, half));
#elif defined(__SSE2__)
  const __m128i all = reinterpret_cast<__m128i>(v), half = _mm_packs_epi32(all, all);
  const std::int32_t word = _mm_cvtsi128_si32(_mm_packus_epi16(half, half));
  __builtin_memcpy(p, &word, 4);
#elif defined(__wasm_simd128__)
  const v128_t all = reinterpret_cast<v128_t>(v), half = wasm_i16x8_narrow_i32x4(all, all);
  wasm_v128_store32_lane(p, wasm_u8x16_narrow_i16x8(half, half), 0);
#else
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  __builtin_memcpy(p, &bytes, kLanes);
#endif
}

// The same as operands.
static inline void store_operands(Operand* p, Ints v) {
  if constexpr (sizeof(Operand) == 1) {
    store_bytes(reinterpret_cast<std::uint8_t*>(p), kOperandZero == 0 ? v : v ^ 128);
  } else {
#if defined(__AVX2__)
    const __m256i all = reinterpret_cast<__m256i>(v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
#elif defined(__SSE2__)
    const __m128i all = reinterpret_cast<__m128i>(v);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(all, all));
#elif defined(__wasm_simd128__)
    const v128_t all = reinterpret_cast<v128_t>(v);
    wasm_v128_store64_lane(p, wasm_i16x8_narrow_i32x4(all, all), 0);
#else
    typedef std::int16_t Shorts __attribute__((vector_size(2 * kLanes)));
    const Shorts shorts = __builtin_convertvector(v, Shorts);
    __builtin_memcpy(p, &shorts, sizeof(shorts));
#endif
  }
}
