/* Products with some pixels that lie `step` bytes apart, of all channels; `added` may be null, and is `output` where
 * the sum is written over it. Each row of weights is read once for all the pixels. */
static void linnet_multiply(const linnet_stage* stage, const int8_t* pixels, int32_t step, int32_t count,
                            int8_t* output, const int8_t* added) {
  /* A copy: what is written through a pointer to bytes could change all that is no local variable. */
  const linnet_layer layer = *stage->product;
  for (int32_t channel = 0; channel < layer.channels; ++channel) {
    for (int32_t first = 0; first < count; first += 4) {
      const int32_t some = count - first < 4 ? count - first : 4;
      int8_t results[4];
      linnet_results(&layer, pixels + first * step, step, some, channel, results);
      for (int32_t i = 0; i < some; ++i) {
        const int32_t place = (first + i) * layer.channels + channel;
#if LINNET_SUMS
        output[place] = added ? linnet_add(results[i], added[place], stage->sum) : results[i];
#else
        (void)added;
        output[place] = results[i];
#endif
      }
    }
  }
}

/* The pixel of the input under a tap of the window of output pixel (y, x), or the one that stands outside. */
static const int8_t* linnet_tap(const linnet_stage* stage, int32_t y, int32_t x, int32_t tap) {
  const int32_t row = y * stage->stride - stage->top + tap / stage->kernel * stage->dilation;
  const int32_t column = x * stage->stride - stage->left + tap % stage->kernel * stage->dilation;
  if (row < 0 || row >= stage->input.height || column < 0 || column >= stage->input.width) return stage->outside;
  return linnet_row(&stage->input, row) + column * stage->input.channels;
}
