/* The mean over a map of what `linnet_mean` is given the sum of. */
typedef struct {
  int32_t pixels;
  int32_t raw; /* what an integer of the network is more than its int8 */
  float factor, offset;
  int32_t low, high;
} linnet_mean_rule;

static int8_t linnet_mean(int32_t total, const linnet_mean_rule* rule) {
  /* Kept apart, so that no compiler makes one operation of both, which would round once. */
  const volatile float product = (float)(total + rule->pixels * rule->raw) * rule->factor;
  return (int8_t)(linnet_nearest(product + rule->offset, rule->low, rule->high) - rule->raw);
}
