/* The mean over a map of what `linnet_mean` is given the sum of. */
typedef struct {
  int32_t zero; /* what all pixels sum up to where they are 0 */
  linnet_factor factor;
  linnet_range range;
} linnet_mean_rule;

static int8_t linnet_mean(int32_t total, const linnet_mean_rule* rule) {
  return linnet_round(total - rule->zero, rule->factor, &rule->range);
}
