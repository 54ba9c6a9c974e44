// A row of a resized map of bytes, one block of channels at a time: as ByteMix of engine/resizing.h, to the bit.

// Two pixels as words of 16 bits: of each channel the left and the right one.
static inline Ints pair_at(const std::uint8_t* left, const std::uint8_t* right) {
#if defined(__AVX2__)
  const __m128i low = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(left)),
                high = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(right));
  return reinterpret_cast<Ints>(_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(low, high)));
#else
  return load_bytes(left) | load_bytes(right) << 16;
#endif
}

static void resize_row(const ResizedBytes& job) {
  constexpr std::int32_t bits = 11;
  for (Index x = 0; x < job.width; ++x) {
    const Neighbours& column = job.columns[x];
    const Index left = column.low * kBlock, right = column.high * kBlock;
    // Both shares in one word: no product of them and two bytes is beyond 2^20.
    const Ints across = splat_int(((1 << bits) - column.steps) | column.steps << 16);
    for (Index part = 0; part < kBlock; part += kLanes) {
      const std::uint8_t *top = job.top + part, *bottom = job.bottom + part;
      const Ints upper = dot16(Ints{}, pair_at(top + left, top + right), across),
                 lower = dot16(Ints{}, pair_at(bottom + left, bottom + right), across);
      const Ints sum = (upper << bits) + (lower - upper) * job.steps;
      store_bytes(job.output + x * kBlock + part, (sum + (1 << (2 * bits - 1))) >> (2 * bits));
    }
  }
}
