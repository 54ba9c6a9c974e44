/* Sums of products of a row of weights with one pixel, and with each of four. */
static int32_t linnet_dot(const int8_t* pixel, const int8_t* weights, int32_t length) {
  int32_t sum = 0;
  for (int32_t i = 0; i < length; ++i) sum += (int32_t)pixel[i] * weights[i];
  return sum;
}

static void linnet_dots(const int8_t* pixels, int32_t step, const int8_t* weights, int32_t length, int32_t* sums) {
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

/* The same of up to four pixels, less what the weights' zero point makes of them. */
static void linnet_sums(const linnet_layer* layer, const int8_t* pixels, int32_t step, int32_t count, int32_t channel,
                        int32_t* sums) {
  const int8_t* weights = layer->weights + channel * layer->length;
  if (count == 4) {
    linnet_dots(pixels, step, weights, layer->length, sums);
  } else {
    for (int32_t i = 0; i < count; ++i) sums[i] = linnet_dot(pixels + i * step, weights, layer->length);
  }
  for (int32_t i = 0; i < count; ++i) sums[i] += layer->bias[channel];
#if LINNET_WEIGHT_ZEROS
  for (int32_t i = 0; i < count && layer->weight_zero != 0; ++i) {
    int32_t total = 0;
    for (int32_t k = 0; k < layer->length; ++k) total += pixels[i * step + k];
    sums[i] -= layer->weight_zero * total;
  }
#endif
}

static inline int8_t linnet_result(const linnet_layer* layer, int32_t sum, int32_t channel) {
#if LINNET_FIXED_POINT
  if (layer->once) return linnet_round_once(sum, layer->factors[channel], &layer->range);
#endif
  return linnet_round(sum, layer->factors[channel], &layer->range);
}
