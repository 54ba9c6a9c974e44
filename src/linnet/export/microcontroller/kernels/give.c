/* Gives a tensor to the caller; `table` says what becomes of each number, null: nothing. */
static void linnet_give(const linnet_map* map, const int8_t* table, int8_t* output) {
  const int8_t* numbers = linnet_at(map->offset);
  const int32_t count = map->height * map->width * map->channels;
  for (int32_t i = 0; i < count; ++i) output[i] = table ? table[numbers[i] + 128] : numbers[i];
}
