// The pointwise convolution and everything else that is a product of matrices: register tiles of some pixels times one
// panel of output channels. The including file defines kLanes, the floats of a register, kTileRegisters, the registers
// that may hold sums, kMostRows, kUnroll, the inputs that are taken together, and kPanelBlocks.

// Registers of one block of channels.
static const int kParts = kBlock / kLanes;

#if LINNET_WIDE
#include "engine_wide.inl"
using Register = Wide;
#else
namespace {

// Registers of a tile, of kLanes sums of a pixel each.
struct Narrow {
  using Sums = Vec;
  static constexpr int kSums = kLanes;

  // Where the sums of register `v` begin, if blocks lie `step` apart.
  static Index place(int v, Index step) { return v / kParts * step + v % kParts * kLanes; }
  // Of registers of more than one block the second lies `step` further on, or is not there: a half. These have one.
  LINNET_INLINE Sums load(const float* p, Index, bool) { return linnet::load(p); }
  LINNET_INLINE void store(float* p, Index, bool, Sums sums) { linnet::store(p, sums); }
  LINNET_INLINE Sums weights(const float* p, bool) { return linnet::load(p); }
  LINNET_INLINE Sums splat(float x) { return linnet::splat(x); }
};

}  // namespace
using Register = Narrow;
#endif

template <int kBlocks>
static constexpr int kRegisters = (kBlocks * kBlock + Register::kSums - 1) / Register::kSums;
// Whether the last of some registers has half of its sums.
static constexpr bool is_half(int v, Index blocks) { return (v + 1) * Register::kSums > blocks * kBlock; }

template <int kBlocks>
static constexpr int rows_of() {
  constexpr int rows = kTileRegisters / kRegisters<kBlocks>;
  return rows < kMostRows ? rows : kMostRows;
}

// kRun and kStep are the job's, known while compiling; 0: read from the job. The loops over a tile are unrolled by hand
// of the pragmas: else the compiler keeps the sums in memory before and after the loop over the inputs.
template <int kBlocks, int kRows, int kRun, int kStep>
static void product_tile(const Product& job, Index pixel, const float* fetched, Index lines) {
  using Sums = Register::Sums;
  constexpr int count = kRegisters<kBlocks>, width = Register::kSums;
  Sums sums[kRows][count];
  float* c = job.c + pixel * kBlock;
  if (job.bias != nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const Sums bias = Register::weights(job.bias + v * width, is_half(v, kBlocks));
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row][v] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const float* block = c + Register::place(v, job.c_step);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        sums[row][v] = Register::load(block + row * kBlock, job.c_step, is_half(v, kBlocks));
      }
    }
  }
  const Index step = kStep != 0 ? kStep : job.a_pixel_step, run = kRun != 0 ? kRun : job.run;
  const float *a = job.a + pixel * step, *b = job.weights;
  for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
    for (Index line = 0; line < lines; ++line, fetched += kLine) __builtin_prefetch(fetched, 0, 2);
    // A few inputs at a time: left alone gcc unrolls tiles of less than six rows whole, and keeps sums and weights in
    // memory.
#pragma GCC unroll kUnroll
    for (Index k = 0; k < run; ++k, b += kBlocks * kBlock) {
      Sums weights[count];
#pragma GCC unroll 16
      for (int v = 0; v < count; ++v) weights[v] = Register::weights(b + v * width, is_half(v, kBlocks));
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const Sums value = Register::splat(a[row * step + k]);
#pragma GCC unroll 16
        for (int v = 0; v < count; ++v) sums[row][v] = add_product(sums[row][v], value, weights[v]);
      }
    }
  }
  const Sums lowest = Register::splat(job.lowest), highest = Register::splat(job.highest);
#pragma GCC unroll 16
  for (int v = 0; v < count; ++v) {
    const bool half = is_half(v, kBlocks);
    float* block = c + Register::place(v, job.c_step);
    const float* added =
        job.added == nullptr ? nullptr : job.added + pixel * kBlock + Register::place(v, job.added_step);
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      Sums x = clamp(sums[row][v], lowest, highest);
      if (added != nullptr) x += Register::load(added + row * kBlock, job.added_step, half);
      Register::store(block + row * kBlock, job.c_step, half, x);
    }
  }
}

// The tile of `rows` rows; the template counts down to it.
template <int kBlocks, int kRows, int kRun, int kStep>
static inline void tile_of(Index rows, const Product& job, Index pixel, const float* fetched, Index lines) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      product_tile<kBlocks, kRows, kRun, kStep>(job, pixel, fetched, lines);
    } else {
      tile_of<kBlocks, kRows - 1, kRun, kStep>(rows, job, pixel, fetched, lines);
    }
  }
}

// Pixels are cut into tiles of nearly equal numbers of rows: a tile of one or two rows runs at a fraction of the speed.
// What comes next is fetched on the way, some lines with each run.
template <int kBlocks, int kRun, int kStep>
static void product_panel(const Product& job) {
  // What has no tile of its own is rare: fewer sizes of tiles make the library smaller.
  constexpr int most = kRun != 0 || rows_of<kBlocks>() < kRareRows ? rows_of<kBlocks>() : kRareRows;
  const Index tiles = (job.pixels + most - 1) / most;
  const Index lines = job.next == nullptr ? 0 : (job.next_floats / kLine + tiles * job.runs - 1) / (tiles * job.runs);
  const Index step = lines * job.runs * kLine;
  Index pixel = 0, fetched = 0;
  for (Index tile = 0; tile < tiles; ++tile, fetched += step) {
    const Index rows = job.pixels / tiles + (tile < job.pixels % tiles ? 1 : 0);
    const bool fetches = lines > 0 && fetched + step <= job.next_floats;
    tile_of<kBlocks, most, kRun, kStep>(rows, job, pixel, fetches ? job.next + fetched : nullptr, fetches ? lines : 0);
    pixel += rows;
  }
}

template <int kBlocks>
static void product_blocks(const Product& job) {
  if (job.run == kBlock && job.a_pixel_step == kBlock) {
    product_panel<kBlocks, kBlock, kBlock>(job);
  } else if (job.run == 9 && job.a_pixel_step == 6) {
    // The first convolution of a network: three taps of three colours, every second pixel.
    product_panel<kBlocks, 9, 6>(job);
  } else {
    product_panel<kBlocks, 0, 0>(job);
  }
}

// The widest panel that `panel_blocks` gives: wider tiles are not built.
static const Index kWidestPanel = kPanelBlocks == 2 ? 3 : kPanelBlocks;

template <int kBlocks>
static void product_up_to(const Product& job) {
  if constexpr (kBlocks > 1) {
    if (job.blocks < kBlocks) return product_up_to<kBlocks - 1>(job);
  }
  product_blocks<kBlocks>(job);
}

static void product(const Product& job) { product_up_to<kWidestPanel>(job); }

// Layers of so many blocks have the widest panels: their inputs are read fewer times. Below, panels are often long, and
// tiles of more pixels read those less often.
static const Index kManyBlocks = 40;

// Full panels as long as there are any. A single block at the end would waste registers: it takes some of its
// neighbour's, or becomes a part of it.
static Index panel_blocks(Index blocks, Index first) {
  const Index full = blocks < kManyBlocks ? kPanelBlocks : kWidestPanel, rest = blocks - first;
  if (rest == full + 1 && rest >= 3) return full == 2 ? 3 : rest - 2;
  return rest < full ? rest : full;
}
