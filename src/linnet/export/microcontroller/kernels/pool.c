/* The mean of each channel over a map. */
static void linnet_pool(const linnet_map* input, const linnet_map* output, const linnet_mean_rule* rule) {
  const int8_t* pixels = linnet_at(input->offset);
  for (int32_t channel = 0; channel < input->channels; ++channel) {
    int32_t total = 0;
    for (int32_t i = 0; i < input->height * input->width; ++i) total += pixels[i * input->channels + channel];
    linnet_at(output->offset)[channel] = linnet_mean(total, rule);
  }
}
