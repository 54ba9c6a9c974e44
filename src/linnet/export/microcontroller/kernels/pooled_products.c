/* The mean of each channel over products with all pixels of a map, which are never kept. */
static void linnet_multiply_and_pool(const linnet_stage* stage, const linnet_map* output, const linnet_mean_rule* rule) {
  const linnet_layer layer = *stage->product;
  const int32_t pixels = stage->input.height * stage->input.width, step = stage->input.channels;
  for (int32_t channel = 0; channel < layer.channels; ++channel) {
    int32_t total = 0;
    for (int32_t first = 0; first < pixels; first += 4) {
      const int32_t some = pixels - first < 4 ? pixels - first : 4;
      int8_t results[4];
      linnet_results(&layer, linnet_at(stage->input.offset) + first * step, step, some, channel, results);
      for (int32_t i = 0; i < some; ++i) total += results[i];
    }
    linnet_at(output->offset)[channel] = linnet_mean(total, rule);
  }
}
