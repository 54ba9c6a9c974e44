// Products of small matrices: register tiles of kTileRows rows and up to kTileVectors vectors of columns.

// Columns are cut into panels of nearly equal numbers of vectors.
static inline Index vectors_of(Index columns) { return (columns + kLanes - 1) / kLanes; }
static inline Index panels_of(Index columns) { return (vectors_of(columns) + kTileVectors - 1) / kTileVectors; }
static inline Index panel_start(Index columns, Index panel) { return vectors_of(columns) * panel / panels_of(columns); }

static Index packed_size(Index rows, Index columns) { return rows * vectors_of(columns) * kLanes; }

static void pack(Index rows, Index columns, const float* weights, Index row_step, Index column_step, float* packed) {
  for (Index panel = 0; panel < panels_of(columns); ++panel) {
    const Index first = panel_start(columns, panel) * kLanes, last = panel_start(columns, panel + 1) * kLanes;
    for (Index row = 0; row < rows; ++row) {
      for (Index column = first; column < last; ++column) {
        *packed++ = column < columns ? weights[row * row_step + column * column_step] : 0;
      }
    }
  }
}

template <int kRows, int kVectors>
static inline void store_tile(Vec (&tile)[kRows][kVectors], float* c, Index step, Index columns, bool add) {
  for (int row = 0; row < kRows; ++row) {
    for (int v = 0; v < kVectors; ++v) {
      float* place = c + row * step + v * kLanes;
      const Index count = columns - v * kLanes;
      store_part(place, add ? tile[row][v] + load_part(place, count) : tile[row][v], count);
    }
  }
}

// c[row][column] = sum over k of a[row][k] * panel[k][column].
template <int kRows, int kVectors>
static void matrix_tile(Index depth, const float* a, Index a_step, const float* panel, float* c, Index c_step,
                         Index columns) {
  Vec tile[kRows][kVectors] = {};
  for (Index k = 0; k < depth; ++k) {
    Vec b[kVectors];
    for (int v = 0; v < kVectors; ++v) b[v] = load(panel + (k * kVectors + v) * kLanes);
    for (int row = 0; row < kRows; ++row) {
      const Vec value = splat(a[row * a_step + k]);
      for (int v = 0; v < kVectors; ++v) tile[row][v] += value * b[v];
    }
  }
  store_tile(tile, c, c_step, columns, false);
}

// c[row][column] += sum over k of a[k][row] * b[k][column]; reads whole vectors of b.
template <int kRows, int kVectors>
static void outer_tile(Index depth, const float* a, Index a_step, const float* b, Index b_step, float* c, Index c_step,
                       Index columns) {
  Vec tile[kRows][kVectors] = {};
  for (Index k = 0; k < depth; ++k) {
    Vec values[kVectors];
    for (int v = 0; v < kVectors; ++v) values[v] = load(b + k * b_step + v * kLanes);
    for (int row = 0; row < kRows; ++row) {
      const Vec value = splat(a[k * a_step + row]);
      for (int v = 0; v < kVectors; ++v) tile[row][v] += value * values[v];
    }
  }
  store_tile(tile, c, c_step, columns, true);
}

template <int kVectors>
static void matrix_panel(Index rows, Index depth, const float* a, Index a_step, const float* panel, float* c,
                          Index c_step, Index columns) {
  Index row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    matrix_tile<kTileRows, kVectors>(depth, a + row * a_step, a_step, panel, c + row * c_step, c_step, columns);
  }
  for (; row < rows; ++row) {
    matrix_tile<1, kVectors>(depth, a + row * a_step, a_step, panel, c + row * c_step, c_step, columns);
  }
}

template <int kVectors>
static void outer_panel(Index rows, Index depth, const float* a, Index a_step, const float* b, Index b_step, float* c,
                        Index c_step, Index columns) {
  Index row = 0;
  for (; row + kTileRows <= rows; row += kTileRows) {
    outer_tile<kTileRows, kVectors>(depth, a + row, a_step, b, b_step, c + row * c_step, c_step, columns);
  }
  for (; row < rows; ++row) {
    outer_tile<1, kVectors>(depth, a + row, a_step, b, b_step, c + row * c_step, c_step, columns);
  }
}

// c [rows][columns] = a [rows][depth] * packed [depth][columns].
static void multiply(Index rows, Index depth, Index columns, const float* a, Index a_step, const float* packed, float* c,
                    Index c_step) {
  for (Index panel = 0; panel < panels_of(columns); ++panel) {
    const Index first = panel_start(columns, panel) * kLanes;
    const Index vectors = panel_start(columns, panel + 1) - panel_start(columns, panel);
    const float* b = packed + first * depth;
    switch (vectors) {
      case 1:
        matrix_panel<1>(rows, depth, a, a_step, b, c + first, c_step, columns - first);
        break;
      case 2:
        matrix_panel<2>(rows, depth, a, a_step, b, c + first, c_step, columns - first);
        break;
      default:
        matrix_panel<3>(rows, depth, a, a_step, b, c + first, c_step, columns - first);
        break;
    }
  }
}

// c [rows][columns] += transposed a [depth][rows] * b [depth][columns]; rows of b are b_step apart, a whole number of
// vectors.
static void outer(Index rows, Index depth, Index columns, const float* a, Index a_step, const float* b, Index b_step,
                  float* c) {
  for (Index panel = 0; panel < panels_of(columns); ++panel) {
    const Index first = panel_start(columns, panel) * kLanes;
    const Index vectors = panel_start(columns, panel + 1) - panel_start(columns, panel);
    switch (vectors) {
      case 1:
        outer_panel<1>(rows, depth, a, a_step, b + first, b_step, c + first, columns, columns - first);
        break;
      case 2:
        outer_panel<2>(rows, depth, a, a_step, b + first, b_step, c + first, columns, columns - first);
        break;
      default:
        outer_panel<3>(rows, depth, a, a_step, b + first, b_step, c + first, columns, columns - first);
        break;
    }
  }
}
