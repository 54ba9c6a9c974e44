/* Each channel of a pixel, filtered over 3 x 3 pixels. */
static void linnet_filter(const linnet_stage* stage, int32_t y, int32_t x, int8_t* output) {
  const linnet_layer* layer = stage->filter;
  const int32_t channels = layer->channels;
  const int8_t* weights = layer->weights;
  const int8_t* taps[9];
  for (int32_t tap = 0; tap < 9; ++tap) taps[tap] = linnet_tap(stage, y, x, tap);
  for (int32_t channel = 0; channel < channels; ++channel) {
    int32_t sum = layer->bias[channel];
    for (int32_t tap = 0; tap < 9; ++tap) {
      int32_t weight = weights[tap * channels + channel];
#if LINNET_WEIGHT_ZEROS
      weight -= layer->weight_zero;
#endif
      sum += taps[tap][channel] * weight;
    }
    output[channel] = linnet_round(sum, layer->factors[channel], &layer->range);
  }
}
