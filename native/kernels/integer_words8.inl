// Words of four numbers of 8 bits, bytes by weights with a sign, multiplied and added to sums of 32 bits: vpdpbusd,
// which does not saturate. Depthwise taps of more than 8 bits take words of 16.

using Weights = Ints;

static inline Weights load_weights(const std::int8_t* p) { return load_ints(p); }

static inline Ints dot(Ints sums, Ints values, Weights weights) {
  const auto a = reinterpret_cast<__m256i>(sums), b = reinterpret_cast<__m256i>(values),
             c = reinterpret_cast<__m256i>(weights);
#if defined(__AVX512VNNI__)
  return reinterpret_cast<Ints>(_mm256_dpbusd_epi32(a, b, c));
#else
  return reinterpret_cast<Ints>(_mm256_dpbusd_avx_epi32(a, b, c));
#endif
}

static inline Ints dot16(Ints sums, Ints values, Ints weights) {
  return sums + reinterpret_cast<Ints>(
                    _mm256_madd_epi16(reinterpret_cast<__m256i>(values), reinterpret_cast<__m256i>(weights)));
}
