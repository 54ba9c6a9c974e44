// Registers of 512 bits as two of 256, whatever their numbers are.

template <typename Half>
static inline auto join_halves(Half low, Half high) {
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
template <typename Whole>
static inline auto low_half(Whole v) {
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
}
template <typename Whole>
static inline auto high_half(Whole v) {
  return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
}
