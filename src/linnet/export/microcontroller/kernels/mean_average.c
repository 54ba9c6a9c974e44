/* The mean over a map of what `linnet_mean` is given the sum of: halves away from zero. */
typedef struct {
  int32_t pixels;
  int32_t raw; /* what an integer of the network is more than its int8 */
} linnet_mean_rule;

static int8_t linnet_mean(int32_t total, const linnet_mean_rule* rule) {
  const int32_t sum = total + rule->pixels * rule->raw, half = rule->pixels / 2;
  return (int8_t)((sum > 0 ? sum + half : sum - half) / rule->pixels - rule->raw);
}
