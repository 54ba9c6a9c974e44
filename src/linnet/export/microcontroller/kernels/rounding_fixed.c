/* A sum becomes an int8: multiplied by an integer, as the reference kernels of TensorFlow Lite do it. */
typedef struct {
  int32_t multiplier; /* of 31 bits */
  int32_t shift;      /* to the left; below zero to the right */
} linnet_factor;

typedef struct {
  int32_t low, high; /* of the result */
  int32_t zero;
} linnet_range;

/* Of both terms of an addition and of what they make. */
typedef struct {
  linnet_factor first, second, sum;
} linnet_terms;

static inline int32_t linnet_between(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : value > high ? high : value;
}

/* value * 2^shift, as far as 32 bits hold it: beyond, what becomes of it is cut off anyway. */
static inline int32_t linnet_grown(int32_t value, int32_t shift) {
  const int64_t grown = (int64_t)value * ((int64_t)1 << shift);
  return grown > INT32_MAX ? INT32_MAX : grown < INT32_MIN ? INT32_MIN : (int32_t)grown;
}

/* value * multiplier * 2^(shift - 31), rounded to 32 bits, halves up, and then by the shift, halves away from zero. >>
 * of a number below zero rounds down, as on every known compiler. */
static inline int32_t linnet_scale(int32_t value, linnet_factor factor) {
  const int32_t right = -factor.shift;
  int32_t high = right < 0 ? linnet_grown(value, factor.shift) : value;
  high = (int32_t)(((int64_t)high * factor.multiplier + (1 << 30)) >> 31);
  if (right <= 0) return high;
  if (right > 31) return 0;
  high -= high < 0;
  return (high >> right) + ((high >> (right - 1)) & 1);
}

static inline int8_t linnet_round(int32_t sum, linnet_factor factor, const linnet_range* range) {
  /* Of sums so far apart the zero point does not matter, and must not overflow. */
  const int32_t scaled = linnet_between(linnet_scale(sum, factor), -65536, 65536);
  return (int8_t)linnet_between(scaled + range->zero, range->low, range->high);
}

/* The same of a linear layer: rounded once. */
static inline int8_t linnet_round_once(int32_t sum, linnet_factor factor, const linnet_range* range) {
  const int32_t right = factor.shift < -31 ? 62 : 31 - factor.shift;
  const int64_t product = (int64_t)sum * factor.multiplier + ((int64_t)1 << (right - 1));
  const int64_t scaled = product >> right;
  const int32_t kept = scaled > 65536 ? 65536 : scaled < -65536 ? -65536 : (int32_t)scaled;
  return (int8_t)linnet_between(kept + range->zero, range->low, range->high);
}
