/* Sums of the products of a row of weights with a pixel, or with each of four, which are read together. */
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

/* One channel of up to four pixels. */
static inline void linnet_results(const linnet_layer* layer, const int8_t* pixels, int32_t step, int32_t count,
                                  int32_t channel, int8_t* results) {
  const int8_t* weights = layer->weights + channel * layer->length;
  const int32_t bias = layer->bias[channel];
  const linnet_factor factor = layer->factors[channel];
  int32_t sums[4];
  if (count == 4) {
    linnet_dots(pixels, step, weights, layer->length, sums);
  } else {
    for (int32_t i = 0; i < count; ++i) sums[i] = linnet_dot(pixels + i * step, weights, layer->length);
  }
  for (int32_t i = 0; i < count; ++i) {
    results[i] = linnet_result(layer, sums[i] + bias - linnet_surplus(layer, pixels + i * step), factor);
  }
}
