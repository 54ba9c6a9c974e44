/* Two int8 are added with multipliers of 21 bits; >> of a number below zero rounds down, as on every known compiler. */
static inline int8_t linnet_add(int32_t first, int32_t second, const linnet_sum* sum) {
  const linnet_terms* terms = &sum->terms;
  int32_t total = (int32_t)1 << (terms->shift - 1);
  total += terms->first * (first - sum->first_zero) + terms->second * (second - sum->second_zero);
  total = (total >> terms->shift) + sum->zero;
  return (int8_t)(total < -128 ? -128 : total > 127 ? 127 : total);
}
