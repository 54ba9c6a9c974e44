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

// A rule as registers need it.
struct Rounding {
  Floats lowest, highest;
  Ints zero;
};

// Of numbers within 2^22, 1.5 * 2^23 leaves the bits of the nearest whole number, ties to even, in the low bits of a
// sum: no instruction set needs another way to round.
static const float kRounder = 12582912.0f;
static const std::int32_t kRounderBits = 0x4B400000;

static inline Rounding rounding_of(const Requantisation& rule) {
  return {splat_float(static_cast<float>(rule.lowest - rule.zero)),
          splat_float(static_cast<float>(rule.highest - rule.zero)), splat_int(rule.zero - kRounderBits)};
}

// clamp(rint(float(sums) * multiplier) + zero): whole bounds may be kept before the rounding.
static inline Ints requantise(Ints sums, Floats multiplier, const Rounding& rounding) {
  Floats x = __builtin_convertvector(sums, Floats) * multiplier;
  x = x < rounding.lowest ? rounding.lowest : x;
  x = x > rounding.highest ? rounding.highest : x;
  x += splat_float(kRounder);
  Ints bits;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  return bits + rounding.zero;
}

static inline Ints add_shortcut(Ints a, Ints b, const Requantisation& rule) {
  Ints sum = splat_int((1 << (rule.shift - 1)) - rule.first * rule.first_zero - rule.second * rule.second_zero);
  sum += a * rule.first + b * rule.second;
  sum = (sum >> rule.shift) + rule.sum_zero;
  sum = sum < rule.sum_lowest ? splat_int(rule.sum_lowest) : sum;
  return sum > rule.sum_highest ? splat_int(rule.sum_highest) : sum;
}

typedef std::uint8_t Bytes __attribute__((vector_size(kLanes)));

static inline Ints load_bytes(const std::uint8_t* p) {
  Bytes bytes;
  __builtin_memcpy(&bytes, p, kLanes);
  return __builtin_convertvector(bytes, Ints);
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

// `kCount` pixels side by side, of which a register holds a block.
template <int kCount>
static inline void store_pixels(std::uint8_t* p, const Ints* v) {
#if defined(__AVX2__)
  if constexpr (kCount >= 4) {
    const auto* all = reinterpret_cast<const __m256i*>(v);
    const __m256i low = _mm256_packs_epi32(all[0], all[1]), high = _mm256_packs_epi32(all[2], all[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order));
    return store_pixels<kCount - 4>(p + 4 * kBlock, v + 4);
  } else if constexpr (kCount >= 2) {
    const auto* all = reinterpret_cast<const __m256i*>(v);
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(all[0], all[1]), 0xD8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    return store_pixels<kCount - 2>(p + 2 * kBlock, v + 2);
  }
#endif
  if constexpr (kCount > 0) {
    store_bytes(p, *v);
    store_pixels<kCount - 1>(p + kBlock, v + 1);
  }
}

template <int kCount>
static inline void store_operands_of_pixels(Operand* p, const Ints* v) {
#if defined(__AVX2__)
  if constexpr (sizeof(Operand) == 1) return store_pixels<kCount>(reinterpret_cast<std::uint8_t*>(p), v);
  if constexpr (sizeof(Operand) == 2 && kCount >= 2) {
    const auto* all = reinterpret_cast<const __m256i*>(v);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm256_permute4x64_epi64(_mm256_packs_epi32(all[0], all[1]), 0xD8));
    return store_operands_of_pixels<kCount - 2>(p + 2 * kBlock, v + 2);
  }
#endif
  if constexpr (kCount > 0) {
    store_operands(p, *v);
    store_operands_of_pixels<kCount - 1>(p + kBlock, v + 1);
  }
}
