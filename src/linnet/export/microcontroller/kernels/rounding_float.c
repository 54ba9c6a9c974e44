/* A sum becomes an int8: multiplied in float, rounded to the nearest, halves to even. */
typedef float linnet_factor;

typedef struct {
  float low, high; /* of the result less its zero point */
  int32_t zero;
} linnet_range;

/* The nearest whole number of a float of at most 2^22: behind 1.5 * 2^23 there is no place for a fraction. */
static inline int32_t linnet_nearest(float value) {
  union {
    float number;
    int32_t bits;
  } moved;
  moved.number = value + 12582912.0f;
  return moved.bits - 0x4B400000;
}

static inline int8_t linnet_round(int32_t sum, linnet_factor factor, const linnet_range* range) {
  float scaled = (float)sum * factor;
  scaled = scaled < range->low ? range->low : scaled;
  scaled = scaled > range->high ? range->high : scaled;
  return (int8_t)(linnet_nearest(scaled) + range->zero);
}

/* An addition has integers of 21 bits. */
typedef struct {
  int32_t first, second, shift;
} linnet_terms;
