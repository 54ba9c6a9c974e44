// The depthwise 3x3 convolution: rows of activations, or of gradients, are made once, with zeros around them, and kept
// in a ring of three while they are needed.

static const Index kEdge = 2;  // zeros on both sides of a row in a ring

static Index ring_floats(Index width, Index channels) { return (width + 2 * kEdge) * channels; }

static Index depthwise_scratch(const linnet_depthwise_shape& s) {
  const Index forward = ring_floats(s.width, s.channels), backward = ring_floats(s.output_width, s.channels);
  return 4 * larger(forward, backward) + 2 * s.channels + 4 * kLanes;
}

// One row of outputs: pixel x of `output` reads `rows[ky]` at pixel x * kStride + kx.
template <int kStride>
static void depthwise_ring_row(Index width, Index channels, const float* const rows[3], const float* taps, float* output) {
  for (Index c = 0; c < channels; c += kLanes) {
    const Index n = smaller(kLanes, channels - c);
    Vec weights[9];
    for (int tap = 0; tap < 9; ++tap) weights[tap] = load_part(taps + tap * channels + c, n);
    for (Index x = 0; x < width; ++x) {
      Vec sum = {};
      for (int ky = 0; ky < 3; ++ky) {
        const float* row = rows[ky] + x * kStride * channels + c;
        for (int kx = 0; kx < 3; ++kx) sum += weights[3 * ky + kx] * load_part(row + kx * channels, n);
      }
      store_part(output + x * channels + c, sum, n);
    }
  }
}

static void depthwise(const DepthwiseJob& job, Index first, Index last, float* scratch, Moments* moments) {
  const linnet_depthwise_shape& s = job.shape;
  const Index size = ring_floats(s.width, s.channels), group = rows_in_cache(s.output_width * s.channels / 8) / 8;
  const float* zeros = scratch + 3 * size;
  clear(scratch, 4 * size);
  for (Index picture = first; picture < last; ++picture) {
    const float* input = job.input + picture * s.height * s.width * s.channels;
    float* output = job.output + picture * s.output_height * s.output_width * s.channels;
    Index made = 0;  // rows of activations
    for (Index y = 0; y < s.output_height; ++y) {
      const float* rows[3];
      for (Index ky = 0; ky < 3; ++ky) {
        const Index from = y * s.stride - s.pad_top + ky;
        for (; made <= from && made < s.height; ++made) {
          transform_rows(s.width, s.channels, input + made * s.width * s.channels, job.transform,
                         scratch + made % 3 * size + kEdge * s.channels, s.channels);
        }
        const bool outside = from < 0 || from >= s.height;
        rows[ky] = (outside ? zeros : scratch + from % 3 * size) + (kEdge - s.pad_left) * s.channels;
      }
      float* row = output + y * s.output_width * s.channels;
      (s.stride == 1 ? depthwise_ring_row<1> : depthwise_ring_row<2>)(s.output_width, s.channels, rows, job.taps, row);
      const Index pending = y % group + 1;
      if (pending == group || y + 1 == s.output_height) {
        add_moments(s.channels, pending * s.output_width, row - (pending - 1) * s.output_width * s.channels, moments);
      }
    }
  }
}

// One row of input pixels in the backward pass, or every second one of them.
struct GatherRow {
  Index count, channels;
  Index step;               // floats from one of the pixels to the next
  const float* stored;      // u of the first pixel
  float* output;            // its gradient
  const float* sources[3];  // for each row of taps: the gradient that tap 0 of `columns` brings to the first pixel
  int rows[3], columns[3];  // the taps that reach these pixels
  Index offsets[3];         // floats from `sources` for each of `columns`
  const linnet_transform* transform;
  const float* taps;
  float* weight_gradient;
  float* sums;  // [2][channels]
};

template <int kRows, int kColumns>
static void gather_row(const GatherRow& g) {
  const linnet_transform* t = g.transform;
  const Vec lowest = splat(t == nullptr ? 0 : t->lowest), highest = splat(t == nullptr ? 0 : t->highest);
  for (Index c = 0; c < g.channels; c += kLanes) {
    const Index n = smaller(kLanes, g.channels - c);
    Vec weights[kRows][kColumns], gradients[kRows][kColumns] = {};
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kColumns; ++j) {
        weights[i][j] = load_part(g.taps + (3 * g.rows[i] + g.columns[j]) * g.channels + c, n);
      }
    }
    Vec scale = {}, shift = {}, mean = {}, sum = {}, moment = {};
    if (t != nullptr) {
      scale = load_part(t->scale + c, n);
      shift = load_part(t->shift + c, n);
      mean = load_part(t->mean + c, n);
    }
    for (Index x = 0; x < g.count; ++x) {
      const Vec u = load_part(g.stored + x * g.step + c, n), normalised = u * scale + shift;
      const Vec activation = t == nullptr ? u : clamp(normalised, lowest, highest);
      Vec total = {};
      for (int i = 0; i < kRows; ++i) {
        for (int j = 0; j < kColumns; ++j) {
          const Vec d = load_part(g.sources[i] + g.offsets[j] + x * g.channels + c, n);
          total += weights[i][j] * d;
          gradients[i][j] += activation * d;
        }
      }
      if (t != nullptr) total = inside(normalised, lowest, highest, total);
      store_part(g.output + x * g.step + c, total, n);
      sum += total;
      moment += total * (u - mean);
    }
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kColumns; ++j) {
        float* place = g.weight_gradient + (3 * g.rows[i] + g.columns[j]) * g.channels + c;
        store_part(place, load_part(place, n) + gradients[i][j], n);
      }
    }
    store_part(g.sums + c, load_part(g.sums + c, n) + sum, n);
    store_part(g.sums + g.channels + c, load_part(g.sums + g.channels + c, n) + moment, n);
  }
}

static void gather(int rows, int columns, const GatherRow& g) {
  if (rows == 3) return gather_row<3, 3>(g);
  if (rows == 2) return columns == 2 ? gather_row<2, 2>(g) : gather_row<2, 1>(g);
  return columns == 2 ? gather_row<1, 2>(g) : gather_row<1, 1>(g);
}

// All pixels of one input row; `ring` holds the rows of gradients, `zeros` one for those outside.
static void backward_row(const DepthwiseJob& job, Index y, const float* ring, const float* zeros, const float* stored,
                         float* output, GatherRow g) {
  const linnet_depthwise_shape& s = job.shape;
  int rows = 0;
  for (int ky = 0; ky < 3; ++ky) {
    if ((y + s.pad_top - ky) % s.stride != 0) continue;
    const Index from = (y + s.pad_top - ky) / s.stride;
    const bool outside = y + s.pad_top < ky || from >= s.output_height;
    g.sources[rows] = outside ? zeros : ring + from % 3 * ring_floats(s.output_width, s.channels);
    g.rows[rows++] = ky;
  }
  g.step = s.stride * s.channels;
  for (Index x = 0; x < s.stride; ++x) {
    int columns = 0;
    for (int kx = 0; kx < 3; ++kx) {
      if ((x + s.pad_left - kx) % s.stride != 0) continue;
      // Exact, so that it rounds as it should below zero.
      g.offsets[columns] = (kEdge + (x + s.pad_left - kx) / s.stride) * s.channels;
      g.columns[columns++] = kx;
    }
    g.count = (s.width - x + s.stride - 1) / s.stride;
    g.stored = stored + x * s.channels;
    g.output = output + x * s.channels;
    gather(rows, columns, g);
  }
}

static void depthwise_backward(const DepthwiseJob& job, Index first, Index last, float* scratch, float* weight_gradient,
                               double* sums) {
  const linnet_depthwise_shape& s = job.shape;
  const Index size = ring_floats(s.output_width, s.channels);
  float* picture_sums = scratch + 4 * size;
  clear(scratch, 4 * size);
  GatherRow g = {};
  g.channels = s.channels;
  g.transform = job.transform;
  g.taps = job.taps;
  g.weight_gradient = weight_gradient;
  g.sums = picture_sums;
  for (Index picture = first; picture < last; ++picture) {
    clear(picture_sums, 2 * s.channels);
    Index made = 0;  // rows of gradients
    for (Index y = 0; y < s.height; ++y) {
      const Index reach = (y + s.pad_top) / s.stride;
      for (; made <= reach && made < s.output_height; ++made) {
        gradient_rows(s.channels, *job.gradient, (picture * s.output_height + made) * s.output_width, s.output_width,
                      scratch + made % 3 * size + kEdge * s.channels, s.channels);
      }
      const Index place = (picture * s.height + y) * s.width * s.channels;
      backward_row(job, y, scratch, scratch + 3 * size, job.input + place, job.output + place, g);
    }
    if (sums == nullptr) continue;
    for (Index c = 0; c < 2 * s.channels; ++c) sums[c] += picture_sums[c];
  }
}
