/* Sums of the products of a row of weights with a pixel, and with each of four, which are read together: with vectors
 * (Helium), with products of two pairs of 16 bits (Cortex-M4 and up), or in plain C. */
#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>

static inline int32_t linnet_dot(const int8_t* pixel, const int8_t* weights, int32_t length) {
  int32_t sum = 0;
  for (int32_t i = 0; i < length; i += 16) {
    /* Bytes behind the last one are read as zeros. */
    const mve_pred16_t left = vctp8q((uint32_t)(length - i));
    sum = vmladavaq_s8(sum, vldrbq_z_s8(pixel + i, left), vldrbq_z_s8(weights + i, left));
  }
  return sum;
}

static inline void linnet_dots(const int8_t* pixels, int32_t step, const int8_t* weights, int32_t length,
                               int32_t* sums) {
  const int8_t *a = pixels, *b = a + step, *c = b + step, *d = c + step;
  int32_t p = 0, q = 0, r = 0, s = 0;
  for (int32_t i = 0; i < length; i += 16) {
    const mve_pred16_t left = vctp8q((uint32_t)(length - i));
    const int8x16_t weight = vldrbq_z_s8(weights + i, left);
    p = vmladavaq_s8(p, vldrbq_z_s8(a + i, left), weight);
    q = vmladavaq_s8(q, vldrbq_z_s8(b + i, left), weight);
    r = vmladavaq_s8(r, vldrbq_z_s8(c + i, left), weight);
    s = vmladavaq_s8(s, vldrbq_z_s8(d + i, left), weight);
  }
  sums[0] = p;
  sums[1] = q;
  sums[2] = r;
  sums[3] = s;
}

#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__GNUC__)
/* Four bytes, wherever they lie. */
static inline uint32_t linnet_word(const int8_t* bytes) {
  uint32_t word;
  __builtin_memcpy(&word, bytes, 4);
  return word;
}

/* Bytes 0 and 2 of a word, and bytes 1 and 3, as two numbers of 16 bits. */
static inline uint32_t linnet_even(uint32_t word) {
  uint32_t pair;
  __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
  return pair;
}

static inline uint32_t linnet_odd(uint32_t word) {
  uint32_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}

static inline int32_t linnet_pairs(uint32_t one, uint32_t other, int32_t sum) {
  int32_t total;
  __asm__("smlad %0, %1, %2, %3" : "=r"(total) : "r"(one), "r"(other), "r"(sum));
  return total;
}

static inline int32_t linnet_four(const int8_t* bytes, uint32_t even, uint32_t odd, int32_t sum) {
  const uint32_t word = linnet_word(bytes);
  return linnet_pairs(linnet_odd(word), odd, linnet_pairs(linnet_even(word), even, sum));
}

static inline int32_t linnet_dot(const int8_t* pixel, const int8_t* weights, int32_t length) {
  int32_t sum = 0, i = 0;
  for (; i + 4 <= length; i += 4) {
    const uint32_t word = linnet_word(weights + i);
    sum = linnet_four(pixel + i, linnet_even(word), linnet_odd(word), sum);
  }
  for (; i < length; ++i) sum += pixel[i] * weights[i];
  return sum;
}

static inline void linnet_dots(const int8_t* pixels, int32_t step, const int8_t* weights, int32_t length,
                               int32_t* sums) {
  const int8_t *a = pixels, *b = a + step, *c = b + step, *d = c + step;
  int32_t p = 0, q = 0, r = 0, s = 0, i = 0;
  for (; i + 4 <= length; i += 4) {
    const uint32_t word = linnet_word(weights + i);
    const uint32_t even = linnet_even(word), odd = linnet_odd(word);
    p = linnet_four(a + i, even, odd, p);
    q = linnet_four(b + i, even, odd, q);
    r = linnet_four(c + i, even, odd, r);
    s = linnet_four(d + i, even, odd, s);
  }
  for (; i < length; ++i) {
    p += a[i] * weights[i];
    q += b[i] * weights[i];
    r += c[i] * weights[i];
    s += d[i] * weights[i];
  }
  sums[0] = p;
  sums[1] = q;
  sums[2] = r;
  sums[3] = s;
}

#else
static inline int32_t linnet_dot(const int8_t* pixel, const int8_t* weights, int32_t length) {
  int32_t sum = 0;
  for (int32_t i = 0; i < length; ++i) sum += pixel[i] * weights[i];
  return sum;
}

static inline void linnet_dots(const int8_t* pixels, int32_t step, const int8_t* weights, int32_t length,
                               int32_t* sums) {
  const int8_t *a = pixels, *b = a + step, *c = b + step, *d = c + step;
  int32_t p = 0, q = 0, r = 0, s = 0;
  for (int32_t i = 0; i < length; ++i) {
    const int32_t weight = weights[i];
    p += a[i] * weight;
    q += b[i] * weight;
    r += c[i] * weight;
    s += d[i] * weight;
  }
  sums[0] = p;
  sums[1] = q;
  sums[2] = r;
  sums[3] = s;
}
#endif

/* What the zero point of the weights makes of a pixel. */
static inline int32_t linnet_surplus(const linnet_layer* layer, const int8_t* pixel) {
  int32_t total = 0;
#if LINNET_WEIGHT_ZEROS
  for (int32_t i = 0; i < layer->length && layer->weight_zero != 0; ++i) total += pixel[i];
  total *= layer->weight_zero;
#else
  (void)layer;
  (void)pixel;
#endif
  return total;
}

static inline int8_t linnet_result(const linnet_layer* layer, int32_t sum, linnet_factor factor) {
#if LINNET_FIXED_POINT
  if (layer->once) return linnet_round_once(sum, factor, &layer->range);
#endif
  return linnet_round(sum, factor, &layer->range);
}

/* One channel of a pixel. */
static inline int8_t linnet_result_of(const linnet_layer* layer, const int8_t* pixel, int32_t channel) {
  const int32_t sum = linnet_dot(pixel, layer->weights + channel * layer->length, layer->length);
  return linnet_result(layer, sum + layer->bias[channel] - linnet_surplus(layer, pixel), layer->factors[channel]);
}

/* One channel of four pixels. */
static inline void linnet_results(const linnet_layer* layer, const int8_t* pixels, int32_t step, int32_t channel,
                                  int8_t* results) {
  const int32_t bias = layer->bias[channel];
  const linnet_factor factor = layer->factors[channel];
  int32_t sums[4];
  linnet_dots(pixels, step, layer->weights + channel * layer->length, layer->length, sums);
  results[0] = linnet_result(layer, sums[0] + bias - linnet_surplus(layer, pixels), factor);
  results[1] = linnet_result(layer, sums[1] + bias - linnet_surplus(layer, pixels + step), factor);
  results[2] = linnet_result(layer, sums[2] + bias - linnet_surplus(layer, pixels + 2 * step), factor);
  results[3] = linnet_result(layer, sums[3] + bias - linnet_surplus(layer, pixels + 3 * step), factor);
}
