// What batch norm and the activation need, row by row: moments, activations, gradients and their sums.

// Joins the moments of `rows` more rows, whose sums are taken around `around`.
static void join_moments(Index channels, Index rows, const float* around, const float* sums, const float* squares,
                         Moments* moments) {
  const double count = static_cast<double>(rows), all = moments->rows + count;
  for (Index c = 0; c < channels; ++c) {
    const double shifted = sums[c] / count, distance = around[c] + shifted - moments->mean[c];
    moments->mean[c] += distance * count / all;
    moments->squares[c] += squares[c] - shifted * sums[c] + distance * distance * moments->rows * count / all;
  }
}

// Rows that stay in the nearest cache. Their float sums are taken around the mean so far, or around their own first
// row, which keeps them small and so accurate.
template <int kVectors>
static void add_block_moments(Index width, Index channels, Index rows, const float* values, Moments moments) {
  float around[kVectors * kLanes] = {}, sums[kVectors * kLanes], squares[kVectors * kLanes];
  for (Index c = 0; c < width; ++c) around[c] = moments.rows > 0 ? static_cast<float>(moments.mean[c]) : values[c];
  Vec centre[kVectors], sum[kVectors] = {}, square[kVectors] = {};
  for (int v = 0; v < kVectors; ++v) centre[v] = load(around + v * kLanes);
  for (Index row = 0; row < rows; ++row) {
    for (int v = 0; v < kVectors; ++v) {
      const Vec x = load_part(values + row * channels + v * kLanes, width - v * kLanes) - centre[v];
      sum[v] += x;
      square[v] += x * x;
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    store(sums + v * kLanes, sum[v]);
    store(squares + v * kLanes, square[v]);
  }
  join_moments(width, rows, around, sums, squares, &moments);
}

static void add_moments(Index channels, Index rows, const float* values, Moments* moments) {
  Index c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) {
    add_block_moments<4>(4 * kLanes, channels, rows, values + c,
                         {moments->rows, moments->mean + c, moments->squares + c});
  }
  for (; c < channels; c += kLanes) {
    add_block_moments<1>(smaller(kLanes, channels - c), channels, rows, values + c,
                         {moments->rows, moments->mean + c, moments->squares + c});
  }
  moments->rows += static_cast<double>(rows);
}

static inline Index rows_in_cache(Index floats) { return larger(smaller(65536 / larger(floats, 1), 256) / 8 * 8, 16); }

static void moments_of(Index channels, const float* values, Index first, Index last, Moments* moments) {
  const Index step = rows_in_cache(channels);
  for (Index row = first; row < last; row += step) {
    add_moments(channels, smaller(step, last - row), values + row * channels, moments);
  }
}

// Activations of `rows` rows, into rows that are `step` floats apart; without a transform a copy.
static void transform_rows(Index rows, Index channels, const float* values, const linnet_transform* transform,
                           float* output, Index step) {
  for (Index row = 0; row < rows; ++row, values += channels, output += step) {
    if (transform == nullptr) {
      for (Index c = 0; c < channels; ++c) output[c] = values[c];
      continue;
    }
    const Vec lowest = splat(transform->lowest), highest = splat(transform->highest);
    for (Index c = 0; c < channels; c += kLanes) {
      const Index n = channels - c;
      const Vec x = load_part(values + c, n) * load_part(transform->scale + c, n) + load_part(transform->shift + c, n);
      store_part(output + c, clamp(x, lowest, highest), n);
    }
  }
}

static void activate(Index channels, const float* values, const linnet_transform* transform, const float* added,
                     float* output, Index first, Index last) {
  for (Index row = first; row < last; ++row) {
    const Index place = row * channels;
    transform_rows(1, channels, values + place, transform, output + place, channels);
    if (added == nullptr) continue;
    for (Index c = 0; c < channels; ++c) output[place + c] += added[place + c];
  }
}

// Gradients of the stored tensor in rows [first, first + rows), into rows that are `step` floats apart.
static void gradient_rows(Index channels, const linnet_gradient& gradient, Index first, Index rows, float* output,
                          Index step) {
  const linnet_transform& t = gradient.transform;
  const Vec lowest = splat(t.lowest), highest = splat(t.highest);
  for (Index row = first; row < first + rows; ++row, output += step) {
    const float* values = gradient.values + row * channels;
    const float* stored = gradient.stored + row * channels;
    for (Index c = 0; c < channels; c += kLanes) {
      const Index n = channels - c;
      const Vec u = load_part(stored + c, n), scale = load_part(t.scale + c, n);
      const Vec m = inside(u * scale + load_part(t.shift + c, n), lowest, highest, load_part(values + c, n));
      const Vec centred = u - load_part(t.mean + c, n);
      store_part(output + c,
                 m * scale + (centred * load_part(gradient.slope + c, n) + load_part(gradient.offset + c, n)), n);
    }
  }
}

static void gradient(Index channels, const linnet_gradient& gradient, float* output, Index first, Index last) {
  gradient_rows(channels, gradient, first, last - first, output + first * channels, channels);
}

// Masks the gradients of activations in place, or into `output`, and adds up what batch norm's backward pass needs.
static void mask_rows(Index rows, Index channels, const float* values, Index step, const float* stored,
                      const linnet_transform& t, float* output, double* sums) {
  const Vec lowest = splat(t.lowest), highest = splat(t.highest);
  for (Index c = 0; c < channels; c += kLanes) {
    const Index n = smaller(kLanes, channels - c);
    const Vec scale = load_part(t.scale + c, n), shift = load_part(t.shift + c, n), mean = load_part(t.mean + c, n);
    Vec sum = {}, moment = {};
    for (Index row = 0; row < rows; ++row) {
      const Vec u = load_part(stored + row * channels + c, n);
      const Vec m = inside(u * scale + shift, lowest, highest, load_part(values + row * step + c, n));
      if (output != nullptr) store_part(output + row * channels + c, m, n);
      sum += m;
      moment += m * (u - mean);
    }
    float lanes[2][kLanes];
    store(lanes[0], sum);
    store(lanes[1], moment);
    for (Index i = 0; i < n; ++i) {
      sums[c + i] += lanes[0][i];
      sums[channels + c + i] += lanes[1][i];
    }
  }
}

static void sums_of(Index channels, const linnet_gradient& gradient, Index first, Index last, double* sums) {
  const Index step = rows_in_cache(2 * channels);
  for (Index row = first; row < last; row += step) {
    mask_rows(smaller(step, last - row), channels, gradient.values + row * channels, channels,
              gradient.stored + row * channels, gradient.transform, nullptr, sums);
  }
}
