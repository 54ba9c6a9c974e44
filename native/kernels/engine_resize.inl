// A row of a resized map, one block of channels at a time.

static void resize_row(const ResizedRow& job) {
  const Vec down = splat(job.share);
  for (Index x = 0; x < job.width; ++x) {
    const Neighbours& column = job.columns[x];
    const Vec across = splat(column.share);
    const Index left = column.low * kBlock, right = column.high * kBlock;
    for (int part = 0; part < kParts; ++part) {
      const float *top = job.top + part * kLanes, *bottom = job.bottom + part * kLanes;
      const Vec first = load(top + left), second = load(bottom + left);
      const Vec upper = add_product(first, load(top + right) - first, across);
      const Vec lower = add_product(second, load(bottom + right) - second, across);
      store(job.output + x * kBlock + part * kLanes, add_product(upper, lower - upper, down));
    }
  }
}
