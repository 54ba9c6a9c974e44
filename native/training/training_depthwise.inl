// The depthwise 3x3 convolution: rows of activations, or of gradients, are made once, with zeros around them, and kept
// in a ring of three while they are needed. A dilated filter reads every so manieth row only: it goes through a picture
// once for each of these, so that it needs no larger ring.

// Zeros on both sides of a row in a ring.
static Index edge_of(const linnet_depthwise_shape& s) { return larger(2, s.dilation); }

static Index ring_floats(const linnet_depthwise_shape& s, Index width) { return (width + 2 * edge_of(s)) * s.channels; }

static Index depthwise_scratch(const linnet_depthwise_shape& s) {
  return 4 * ring_floats(s, larger(s.width, s.output_width)) + 2 * s.channels + 4 * kLanes;
}

// Of `length` rows those that one pass over a picture meets: `pass`, `pass` + dilation and so on.
static Index rows_of_pass(Index length, Index dilation, Index pass) {
  return (length - pass + dilation - 1) / dilation;
}

// One row of outputs: pixel x of `output` reads `rows[ky]` at pixel x * kStride + kx * dilation.
template <int kStride>
static void depthwise_ring_row(const linnet_depthwise_shape& s, const float* const rows[3], const float* taps,
                               float* output) {
  const Index width = s.output_width, channels = s.channels, step = s.dilation * channels;
  for (Index c = 0; c < channels; c += kLanes) {
    const Index n = smaller(kLanes, channels - c);
    Vec weights[9];
    for (int tap = 0; tap < 9; ++tap) weights[tap] = load_part(taps + tap * channels + c, n);
    for (Index x = 0; x < width; ++x) {
      Vec sum = {};
      for (int ky = 0; ky < 3; ++ky) {
        const float* row = rows[ky] + x * kStride * channels + c;
        for (int kx = 0; kx < 3; ++kx) sum += weights[3 * ky + kx] * load_part(row + kx * step, n);
      }
      store_part(output + x * channels + c, sum, n);
    }
  }
}

// The rows of outputs that one pass over a picture gives.
static void depthwise_pass(const DepthwiseJob& job, Index pass, const float* input, float* output, float* ring,
                           Moments* moments) {
  const linnet_depthwise_shape& s = job.shape;
  const Index size = ring_floats(s, s.width), edge = edge_of(s);
  const Index height = rows_of_pass(s.height, s.dilation, pass), top = s.pad_top / s.dilation;
  const Index outputs = rows_of_pass(s.output_height, s.dilation, pass), pixels = s.output_width * s.channels;
  // Rows whose moments are added at once lie side by side.
  const Index group = s.dilation > 1 ? 1 : rows_in_cache(pixels / 8) / 8;
  const float* zeros = ring + 3 * size;
  Index made = 0;  // rows of activations
  for (Index y = 0; y < outputs; ++y) {
    const float* rows[3];
    for (Index ky = 0; ky < 3; ++ky) {
      const Index from = y * s.stride - top + ky;
      for (; made <= from && made < height; ++made) {
        transform_rows(s.width, s.channels, input + (pass + made * s.dilation) * s.width * s.channels, job.transform,
                       ring + made % 3 * size + edge * s.channels, s.channels);
      }
      const bool outside = from < 0 || from >= height;
      rows[ky] = (outside ? zeros : ring + from % 3 * size) + (edge - s.pad_left) * s.channels;
    }
    float* row = output + (pass + y * s.dilation) * pixels;
    (s.stride == 1 ? depthwise_ring_row<1> : depthwise_ring_row<2>)(s, rows, job.taps, row);
    const Index pending = y % group + 1;
    if (pending == group || y + 1 == outputs) {
      add_moments(s.channels, pending * s.output_width, row - (pending - 1) * pixels, moments);
    }
  }
}

static void depthwise(const DepthwiseJob& job, Index first, Index last, float* scratch, Moments* moments) {
  const linnet_depthwise_shape& s = job.shape;
  clear(scratch, 4 * ring_floats(s, s.width));
  for (Index picture = first; picture < last; ++picture) {
    const float* input = job.input + picture * s.height * s.width * s.channels;
    float* output = job.output + picture * s.output_height * s.output_width * s.channels;
    for (Index pass = 0; pass < smaller(s.dilation, s.output_height); ++pass) {
      depthwise_pass(job, pass, input, output, scratch, moments);
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

// All pixels of one input row, the one of number `y` of a pass; `ring` holds the rows of gradients and one of zeros for
// those outside.
static void backward_row(const DepthwiseJob& job, Index y, Index outputs, const float* ring, const float* stored,
                         float* output, GatherRow g) {
  const linnet_depthwise_shape& s = job.shape;
  const Index size = ring_floats(s, s.output_width), top = s.pad_top / s.dilation;
  int rows = 0;
  for (int ky = 0; ky < 3; ++ky) {
    if ((y + top - ky) % s.stride != 0) continue;
    const Index from = (y + top - ky) / s.stride;
    const bool outside = y + top < ky || from >= outputs;
    g.sources[rows] = ring + (outside ? 3 : from % 3) * size;
    g.rows[rows++] = ky;
  }
  g.step = s.stride * s.channels;
  for (Index x = 0; x < s.stride; ++x) {
    int columns = 0;
    for (int kx = 0; kx < 3; ++kx) {
      const Index reach = x + s.pad_left - kx * s.dilation;
      if (reach % s.stride != 0) continue;
      // Exact, so that it rounds as it should below zero.
      g.offsets[columns] = (edge_of(s) + reach / s.stride) * s.channels;
      g.columns[columns++] = kx;
    }
    g.count = (s.width - x + s.stride - 1) / s.stride;
    g.stored = stored + x * s.channels;
    g.output = output + x * s.channels;
    gather(rows, columns, g);
  }
}

// The rows of the input whose gradients one pass over a picture gives.
static void backward_pass(const DepthwiseJob& job, Index picture, Index pass, float* ring, const GatherRow& g) {
  const linnet_depthwise_shape& s = job.shape;
  const Index size = ring_floats(s, s.output_width), top = s.pad_top / s.dilation;
  const Index outputs = rows_of_pass(s.output_height, s.dilation, pass);
  Index made = 0;  // rows of gradients
  for (Index y = 0; y < rows_of_pass(s.height, s.dilation, pass); ++y) {
    const Index reach = (y + top) / s.stride;
    for (; made <= reach && made < outputs; ++made) {
      const Index row = picture * s.output_height + pass + made * s.dilation;
      gradient_rows(s.channels, *job.gradient, row * s.output_width, s.output_width,
                    ring + made % 3 * size + edge_of(s) * s.channels, s.channels);
    }
    const Index place = (picture * s.height + pass + y * s.dilation) * s.width * s.channels;
    backward_row(job, y, outputs, ring, job.input + place, job.output + place, g);
  }
}

static void depthwise_backward(const DepthwiseJob& job, Index first, Index last, float* scratch, float* weight_gradient,
                               double* sums) {
  const linnet_depthwise_shape& s = job.shape;
  const Index size = ring_floats(s, s.output_width);
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
    for (Index pass = 0; pass < smaller(s.dilation, s.height); ++pass) backward_pass(job, picture, pass, scratch, g);
    if (sums == nullptr) continue;
    for (Index c = 0; c < 2 * s.channels; ++c) sums[c] += picture_sums[c];
  }
}
