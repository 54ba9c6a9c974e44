/* The mean of each channel over products with all pixels of a map, which are never kept. */
static void linnet_multiply_and_pool(const linnet_stage* stage, const linnet_map* output,
                                     const linnet_mean_rule* rule) {
  const linnet_layer layer = *stage->product;
  const int32_t step = stage->input.channels;
  for (int32_t channel = 0; channel < layer.channels; ++channel) {
    const int8_t* pixel = linnet_at(stage->input.offset);
    int32_t left = stage->input.height * stage->input.width, total = 0;
    for (; left >= 4; left -= 4, pixel += 4 * step) {
      int8_t results[4];
      linnet_results(&layer, pixel, step, channel, results);
      total += results[0] + results[1] + results[2] + results[3];
    }
    for (; left > 0; --left, pixel += step) total += linnet_result_of(&layer, pixel, channel);
    linnet_at(output->offset)[channel] = linnet_mean(total, rule);
  }
}
