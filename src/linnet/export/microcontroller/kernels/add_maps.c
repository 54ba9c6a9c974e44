/* The sum of two tensors; the result may lie over one of them. */
static void linnet_add_maps(const linnet_map* first, const linnet_map* second, const linnet_map* output,
                            const linnet_sum* sum) {
  const int32_t count = first->height * first->width * first->channels;
  for (int32_t i = 0; i < count; ++i) {
    linnet_at(output->offset)[i] = linnet_add(linnet_at(first->offset)[i], linnet_at(second->offset)[i], sum);
  }
}
