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

/* value * multiplier * 2^(shift - 31), rounded to 32 bits and then by the shift, halves away from zero. */
static inline int32_t linnet_scale(int32_t value, linnet_factor factor) {
  int64_t grown = value;
  int64_t product;
  int32_t high, right = 0;
  if (factor.shift > 0) {
    grown = grown * ((int64_t)1 << factor.shift);
    grown = grown > INT32_MAX ? INT32_MAX : grown < INT32_MIN ? INT32_MIN : grown;
  } else {
    right = -factor.shift;
  }
  product = grown * factor.multiplier;
  product += product >= 0 ? 1 << 30 : 1 - (1 << 30);
  high = (int32_t)(product / ((int64_t)1 << 31));
  if (right > 31) return 0;
  if (right > 0) {
    const int64_t half = (int64_t)1 << (right - 1);
    high = high < 0 ? -(int32_t)((-(int64_t)high + half) >> right) : (int32_t)((high + half) >> right);
  }
  return high;
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
