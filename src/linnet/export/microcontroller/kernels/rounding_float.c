/* A sum becomes an int8: multiplied in float, rounded to the nearest, halves to even. */
typedef float linnet_factor;

typedef struct {
  int32_t low, high; /* of the result less its zero point */
  int32_t zero;
} linnet_range;

/* An addition has integers of 21 bits. */
typedef struct {
  int32_t first, second, shift;
} linnet_terms;

/* The nearest whole number of `value`, or of the bound that it is beyond; bounds are within 2^22. */
static inline int32_t linnet_nearest(float value, int32_t low, int32_t high) {
  union {
    float number;
    int32_t bits;
  } moved;
#if defined(__ARM_FP) && (__ARM_FP & 4) && defined(__GNUC__) && !defined(__aarch64__)
  /* What no int32_t holds becomes the nearest one that there is. */
  __asm__("vcvtr.s32.f32 %0, %1" : "=t"(moved.number) : "t"(value));
  return moved.bits < low ? low : moved.bits > high ? high : moved.bits;
#else
  value = value < (float)low ? (float)low : value;
  value = value > (float)high ? (float)high : value;
  /* Behind 1.5 * 2^23 there is no place for a fraction. */
  moved.number = value + 12582912.0f;
  return moved.bits - 0x4B400000;
#endif
}

static inline int8_t linnet_round(int32_t sum, linnet_factor factor, const linnet_range* range) {
  return (int8_t)(linnet_nearest((float)sum * factor, range->low, range->high) + range->zero);
}
