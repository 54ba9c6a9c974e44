// Pixels of a picture as operands.

#if LINNET_WIDE
// 32 pixels of three colours by tables [3][256] in registers, which hold a word of two neighbouring bytes each: an
// instruction looks 32 bytes up in 64 words.
static inline void look_up_colours(const std::uint8_t* pixels, const __m512i (&tables)[3][4], std::uint8_t* values) {
  constexpr __mmask32 all = ~__mmask32{0};
#pragma GCC unroll 3
  for (int third = 0; third < 3; ++third, pixels += 32, values += 32) {
    const __m512i bytes = _mm512_maskz_cvtepu8_epi16(all, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pixels)));
    const __m512i places = _mm512_maskz_srli_epi16(all, bytes, 1);
    __m512i low = {}, high = {};
#pragma GCC unroll 3
    for (int colour = 0; colour < 3; ++colour) {
      // Of 32 bytes those of the colour: every third one.
      const auto own = static_cast<__mmask32>(std::uint64_t{0x1249249249} >> (third * 32 + 3 - colour) % 3);
      low = _mm512_mask_blend_epi16(own, low, _mm512_permutex2var_epi16(tables[colour][0], places, tables[colour][1]));
      high =
          _mm512_mask_blend_epi16(own, high, _mm512_permutex2var_epi16(tables[colour][2], places, tables[colour][3]));
    }
    const __mmask32 odd = _mm512_test_epi16_mask(bytes, _mm512_set1_epi16(1)),
                    far = _mm512_test_epi16_mask(bytes, _mm512_set1_epi16(128));
    const __m512i both = _mm512_mask_blend_epi16(far, low, high);
    const __m512i found = _mm512_mask_srli_epi16(both, odd, both, 8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(values), _mm512_maskz_cvtepi16_epi8(all, found));
  }
}
#endif

// `count` pixels of three colours by a table [3][256] of bytes; `words` has the same as operands at their places in a
// word of four, of which the next pixel overwrites the last: one more than the pixels have is written.
static void read_colours(const std::uint8_t* pixels, Index count, const std::uint8_t* table, const std::uint64_t* words,
                         void* operands) {
  auto* value = static_cast<Operand*>(operands);
#if LINNET_WIDE
  __m512i tables[3][4];
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) tables[i / 4][i % 4] = _mm512_loadu_si512(table + 64 * i);
  for (; count >= 32; count -= 32, pixels += 96, value += 96) look_up_colours(pixels, tables, value);
#else
  static_cast<void>(table);
#endif
  for (Index x = 0; x < count; ++x, pixels += 3, value += 3) {
    const auto word = words[pixels[0]] | words[256 + pixels[1]] | words[512 + pixels[2]];
    __builtin_memcpy(value, &word, 4 * sizeof(Operand));
  }
}
