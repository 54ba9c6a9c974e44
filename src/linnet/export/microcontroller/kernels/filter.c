/* Each channel of a pixel, filtered over 3 x 3 pixels. */
static void linnet_filter(const linnet_stage* stage, const int8_t* const* rows, int32_t x, int8_t* restrict output) {
  const linnet_layer* layer = stage->filter;
  const int32_t channels = layer->channels;
  const int32_t* restrict bias = layer->bias;
  const linnet_factor* restrict factors = layer->factors;
  const linnet_range range = layer->range;
  const int8_t* weights[9];
  const int8_t* taps[9];
#if LINNET_WEIGHT_ZEROS
  const int32_t zero = layer->weight_zero;
#else
  const int32_t zero = 0;
#endif
  for (int32_t i = 0; i < 3; ++i) {
    const int32_t column = x * stage->stride - stage->left + i * stage->dilation;
    taps[i] = linnet_pixel(stage, rows[0], column);
    taps[3 + i] = linnet_pixel(stage, rows[1], column);
    taps[6 + i] = linnet_pixel(stage, rows[2], column);
  }
  for (int32_t tap = 0; tap < 9; ++tap) weights[tap] = layer->weights + tap * channels;
  for (int32_t i = 0; i < channels; ++i) {
    int32_t sum = bias[i];
    sum += taps[0][i] * (weights[0][i] - zero) + taps[1][i] * (weights[1][i] - zero);
    sum += taps[2][i] * (weights[2][i] - zero) + taps[3][i] * (weights[3][i] - zero);
    sum += taps[4][i] * (weights[4][i] - zero) + taps[5][i] * (weights[5][i] - zero);
    sum += taps[6][i] * (weights[6][i] - zero) + taps[7][i] * (weights[7][i] - zero);
    sum += taps[8][i] * (weights[8][i] - zero);
    output[i] = linnet_round(sum, factors[i], &range);
  }
}
