/* Two int8 are added as the reference kernels of TensorFlow Lite do it. */
static inline int8_t linnet_add(int32_t first, int32_t second, const linnet_sum* sum) {
  const linnet_terms* terms = &sum->terms;
  const int32_t one = linnet_scale((first - sum->first_zero) * (1 << 20), terms->first);
  const int32_t other = linnet_scale((second - sum->second_zero) * (1 << 20), terms->second);
  const int32_t total = linnet_between(linnet_scale(one + other, terms->sum), -65536, 65536);
  return (int8_t)linnet_between(total + sum->zero, -128, 127);
}
