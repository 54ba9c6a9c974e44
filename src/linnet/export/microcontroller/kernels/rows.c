/* Writes a result, or its sum with what is `added` to it: null is nothing, and it may stand where the sum goes. */
static inline void linnet_put(const linnet_stage* stage, int8_t result, int8_t* output, const int8_t* added) {
#if LINNET_SUMS
  *output = added ? linnet_add(result, *added, stage->sum) : result;
#else
  (void)stage;
  (void)added;
  *output = result;
#endif
}

/* Products with some pixels that lie `step` bytes apart, of all channels. Each row of weights is read once. */
static void linnet_multiply(const linnet_stage* stage, const int8_t* pixels, int32_t step, int32_t count,
                            int8_t* output, const int8_t* added) {
  /* A copy: what is written through a pointer to bytes could change all that is no local variable. */
  const linnet_layer layer = *stage->product;
  const int32_t channels = layer.channels;
  for (int32_t channel = 0; channel < channels; ++channel) {
    const int8_t* pixel = pixels;
    int32_t place = channel, left = count;
    for (; left >= 4; left -= 4, pixel += 4 * step) {
      int8_t results[4];
      linnet_results(&layer, pixel, step, channel, results);
      for (int32_t i = 0; i < 4; ++i, place += channels) {
        linnet_put(stage, results[i], output + place, added ? added + place : added);
      }
    }
    for (; left > 0; --left, pixel += step, place += channels) {
      const int8_t result = linnet_result_of(&layer, pixel, channel);
      linnet_put(stage, result, output + place, added ? added + place : added);
    }
  }
}

/* The rows of the input under the window of output row `y`; null stands for those outside. */
static void linnet_take_rows(const linnet_stage* stage, int32_t y, const int8_t** rows) {
  for (int32_t i = 0; i < stage->kernel; ++i) {
    const int32_t row = y * stage->stride - stage->top + i * stage->dilation;
    rows[i] = row >= 0 && row < stage->input.height ? linnet_row(&stage->input, row) : (const int8_t*)0;
  }
}

/* The pixel of a row in a column, or the one that stands outside. */
static inline const int8_t* linnet_pixel(const linnet_stage* stage, const int8_t* row, int32_t column) {
  if (!row || column < 0 || column >= stage->input.width) return stage->outside;
  return row + column * stage->input.channels;
}
