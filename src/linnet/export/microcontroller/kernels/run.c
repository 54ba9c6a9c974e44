void linnet_model_begin(void) {
  linnet_state.given = 0;
  linnet_start(LINNET_FIRST_STAGES);
}

void linnet_model_row(const uint8_t* pixels) {
  int8_t* row = linnet_row(&linnet_picture, linnet_state.given);
  if (linnet_state.given == LINNET_MODEL_HEIGHT) return;
  for (int32_t x = 0; x < LINNET_MODEL_WIDTH; ++x) {
    for (int32_t channel = 0; channel < LINNET_MODEL_CHANNELS; ++channel) {
      *row++ = linnet_values[channel * LINNET_VALUE_TABLE][pixels[LINNET_FROM(channel)]];
    }
    pixels += LINNET_MODEL_CHANNELS;
  }
  linnet_advance(linnet_first_stages, LINNET_FIRST_STAGES, ++linnet_state.given);
}
