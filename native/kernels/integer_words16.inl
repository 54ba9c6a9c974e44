// Words of two numbers of 16 bits, multiplied and added to sums of 32 bits. Two products of bytes are below 2^17:
// nothing saturates.

using Weights = Ints;

// Weights of kLanes channels and two inputs, of 8 bits each.
static inline Weights load_weights(const std::int8_t* p) {
#if defined(__AVX2__)
  return reinterpret_cast<Ints>(_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  typedef std::int8_t Eight __attribute__((vector_size(2 * kLanes)));
  typedef std::int16_t Sixteen __attribute__((vector_size(4 * kLanes)));
  Eight eight;
  __builtin_memcpy(&eight, p, sizeof(eight));
  return reinterpret_cast<Ints>(__builtin_convertvector(eight, Sixteen));
#endif
}

static inline Ints dot16(Ints sums, Ints values, Ints weights) {
#if defined(__AVX2__)
  return sums + reinterpret_cast<Ints>(
                    _mm256_madd_epi16(reinterpret_cast<__m256i>(values), reinterpret_cast<__m256i>(weights)));
#elif defined(__SSE2__)
  return sums +
         reinterpret_cast<Ints>(_mm_madd_epi16(reinterpret_cast<__m128i>(values), reinterpret_cast<__m128i>(weights)));
#elif defined(__wasm_simd128__)
  return sums + reinterpret_cast<Ints>(
                    wasm_i32x4_dot_i16x8(reinterpret_cast<v128_t>(values), reinterpret_cast<v128_t>(weights)));
#else
  // The low numbers of all words, then the high ones.
  return sums + (values << 16 >> 16) * (weights << 16 >> 16) + (values >> 16) * (weights >> 16);
#endif
}

// Compilers put the additions off until there are more products than registers; with an empty assembly instead of one
// that adds, gcc adds to another register and then copies it.
static inline Ints dot(Ints sums, Ints values, Weights weights) {
#if defined(__AVX2__)
  const __m256i products = _mm256_madd_epi16(reinterpret_cast<__m256i>(values), reinterpret_cast<__m256i>(weights));
  asm("vpaddd %1, %0, %0" : "+x"(sums) : "x"(products));
#else
  sums = dot16(sums, values, weights);
  LINNET_PIN(sums);
#endif
  return sums;
}
