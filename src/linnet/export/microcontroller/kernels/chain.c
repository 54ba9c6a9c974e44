/* The pixels under a window, tap by tap. */
static void linnet_gather(const linnet_stage* stage, const int8_t* const* rows, int32_t x, int8_t* output) {
  const int32_t channels = stage->input.channels;
  for (int32_t i = 0; i < stage->kernel; ++i) {
    for (int32_t k = 0; k < stage->kernel; ++k) {
      const int8_t* pixel = linnet_pixel(stage, rows[i], x * stage->stride - stage->left + k * stage->dilation);
      for (int32_t channel = 0; channel < channels; ++channel) *output++ = pixel[channel];
    }
  }
}

static void linnet_make_row(const linnet_stage* stage, int32_t y) {
  const int32_t width = stage->output.width, channels = stage->output.channels;
  int8_t* output = linnet_row(&stage->output, y);
  const int8_t* rows[LINNET_MOST_KERNEL];
  const int8_t* added = stage->sum ? linnet_row(&stage->added, y) : (const int8_t*)0;
  if (stage->kernel == 0) {
    linnet_multiply(stage, linnet_row(&stage->input, y), stage->input.channels, width, output, added);
    return;
  }
  linnet_take_rows(stage, y, rows);
#if LINNET_FILTERS_ALONE
  if (!stage->product) {
    for (int32_t x = 0; x < width; ++x) linnet_filter(stage, rows, x, output + x * channels);
    return;
  }
#endif
  for (int32_t x = 0; x < width; x += stage->pixels) {
    const int32_t some = width - x < stage->pixels ? width - x : stage->pixels;
    const int32_t length = stage->product->length;
    int8_t* tile = linnet_at(stage->tile);
    for (int32_t i = 0; i < some; ++i) {
#if LINNET_FILTERS
      if (stage->filter) {
        linnet_filter(stage, rows, x + i, tile + i * length);
        continue;
      }
#endif
      linnet_gather(stage, rows, x + i, tile + i * length);
    }
    linnet_multiply(stage, tile, length, some, output + x * channels, added ? added + x * channels : added);
  }
}

/* Makes all rows that can be made of so many rows of the input: always one of the last stage that can, so that no ring
 * needs more rows than are planned. */
static void linnet_advance(const linnet_stage* stages, int32_t count, int32_t given) {
  for (;;) {
    int32_t i = count;
    while (i-- > 0) {
      const linnet_stage* stage = &stages[i];
      const int32_t y = linnet_state.made[i], height = stage->input.height;
      int32_t lowest = y;
      if (y == stage->output.height) continue;
      if (stage->kernel > 0) lowest = y * stage->stride - stage->top + (stage->kernel - 1) * stage->dilation;
      if (lowest >= height) lowest = height - 1;
      if (lowest < (i > 0 ? linnet_state.made[i - 1] : given)) break;
    }
    if (i < 0) return;
    linnet_make_row(&stages[i], linnet_state.made[i]++);
  }
}

static void linnet_start(int32_t count) {
  for (int32_t i = 0; i < count; ++i) linnet_state.made[i] = 0;
}

static void linnet_run_chain(const linnet_stage* stages, int32_t count) {
  linnet_start(count);
  linnet_advance(stages, count, stages[0].input.height);
}
