// The pointwise convolution: rows are taken in chunks that stay in the second-level cache while everything that
// concerns them is done.

static Index chunk_rows(Index in, Index out) { return rows_in_cache((2 * in + out) / 2); }

static Index pointwise_scratch(Index in, Index out) {
  const Index wide = round_up(in, kLanes);
  return chunk_rows(in, out) * (2 * wide + out) + 4 * kLanes;
}

static void pointwise(const PointwiseJob& job, Index first, Index last, float* scratch, Moments* moments) {
  const Index step = chunk_rows(job.in, job.out);
  for (Index row = first; row < last; row += step) {
    const Index rows = smaller(step, last - row);
    const float* input = job.input + row * job.in;
    if (job.transform != nullptr) {
      transform_rows(rows, job.in, input, job.transform, scratch, job.in);
      input = scratch;
    }
    float* output = job.output + row * job.out;
    multiply(rows, job.in, job.out, input, job.in, job.packed, output, job.out);
    add_moments(job.out, rows, output, moments);
  }
}

static void pointwise_backward(const PointwiseJob& job, Index first, Index last, float* scratch, float* weight_gradient,
                               double* sums) {
  const Index step = chunk_rows(job.in, job.out), wide = round_up(job.in, kLanes);
  float* activations = scratch;
  float* products = activations + step * wide;
  float* gradients = products + step * wide;
  clear(activations, step * wide);
  for (Index row = first; row < last; row += step) {
    const Index rows = smaller(step, last - row);
    const float* input = job.input + row * job.in;
    gradient_rows(job.out, *job.gradient, row, rows, gradients, job.out);
    transform_rows(rows, job.in, input, job.transform, activations, wide);
    outer(job.out, rows, job.in, gradients, job.out, activations, wide, weight_gradient);
    if (job.output == nullptr) continue;
    float* output = job.output + row * job.in;
    if (job.transform == nullptr) {
      multiply(rows, job.out, job.in, gradients, job.out, job.packed, output, job.in);
    } else {
      multiply(rows, job.out, job.in, gradients, job.out, job.packed, products, wide);
      mask_rows(rows, job.in, products, wide, input, *job.transform, output, sums);
    }
  }
}
