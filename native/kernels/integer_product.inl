// The product of bytes: register tiles of some pixels times one panel of output channels, as in engine_product.inl. The
// including file defines kTileRegisters, kMostRows and kPanelBlocks; with LINNET_WIDE integer_wide.inl has `Wide`.

template <int kBlocks>
static constexpr int rows_of() {
  constexpr int rows = kTileRegisters / (kBlocks * kParts);
  return rows < kMostRows ? rows : kMostRows;
}

namespace {

// Registers of a tile, of kLanes sums of a pixel each.
struct Narrow {
  using Sums = Ints;
  using Factors = Floats;
  using Weights = linnet::Weights;
  static constexpr int kSums = kLanes;

  // Where the sums of register `v` begin, if blocks lie `step` apart.
  static Index place(int v, Index step) { return v / kParts * step + v % kParts * kLanes; }
  // Of registers of more than one block the second lies `step` further on, or is not there: a half. These have one.
  LINNET_INLINE Sums load(const std::int32_t* p, Index, bool) { return load_ints(p); }
  LINNET_INLINE void store(std::int32_t* p, Index, bool, Sums sums) { store_ints(p, sums); }
  LINNET_INLINE Sums added(const std::uint8_t* p, Index, bool) { return load_bytes(p); }
  LINNET_INLINE Factors multipliers(const float* p, bool) { return load_floats(p); }
  LINNET_INLINE Weights weights(const std::int8_t* p, bool) { return load_weights(p); }
  LINNET_INLINE Sums multiply(Sums sums, Sums values, Weights weights) { return dot(sums, values, weights); }
  LINNET_INLINE Sums scale(Sums sums, Factors multiplier, const Requantisation& rule) {
    return scaled(sums, multiplier, rule);
  }
  // As bytes to kRows pixels of blocks that lie `step` apart.
  template <int kBlocks, int kRows>
  LINNET_INLINE void pack(const Sums (&numbers)[kBlocks * kParts][kRows], std::uint8_t* c, Index step,
                          const Requantisation& rule) {
    const Narrowing to = narrowing_of(rule);
#pragma GCC unroll 16
    for (int v = 0; v < kBlocks * kParts; ++v) store_narrow<kRows, false>(c + place(v, step), numbers[v], to);
  }
};

#if LINNET_WIDE
using Register = Wide;
#else
using Register = Narrow;
#endif

template <int kBlocks>
constexpr int kRegisters = (kBlocks * kBlock + Register::kSums - 1) / Register::kSums;
// Whether the last of some registers has half of its sums.
constexpr bool is_half(int v, Index blocks) { return (v + 1) * Register::kSums > blocks * kBlock; }

}  // namespace

static inline bool is_rare(const Requantisation& rule) {
  return rule.adds || rule.far || rule.lowest > 0 || rule.highest < 255;
}

// Numbers [register][rows] of sums in a way that is rare: products may be large, results have bounds, or others are
// added to them. It is there once.
LINNET_ONCE static void make_numbers(const IntegerProduct& job, Index pixel, Index rows, Register::Sums* sums) {
  const Requantisation rule = job.rule;
  const std::int32_t less = narrowed_by(rule);
  for (int v = 0; v * Register::kSums < job.blocks * kBlock; ++v) {
    const bool half = is_half(v, job.blocks);
    const auto multiplier = Register::multipliers(job.multipliers + v * Register::kSums, half);
    for (Index row = 0; row < rows; ++row, ++sums) {
      Register::Sums number = requantise(*sums, multiplier, rule);
      if (rule.adds) {
        const std::uint8_t* added = job.added + Register::place(v, job.added_step) + (pixel + row) * kBlock;
        number = add_shortcut(number, Register::added(added, job.added_step, half), rule);
      }
      *sums = number - less;
    }
  }
}

// What is read after a product, some lines of it with each run.
struct Fetching {
  const std::uint8_t *next, *end;
  Index lines, step;  // step: bytes of a tile
};

// One tile, whose first pixel is `pixel`. kRun and kStep are the job's, known while compiling; 0: read from the job.
template <int kBlocks, int kRows, int kRun, int kStep>
LINNET_INLINE void product_tile(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines) {
  using Sums = Register::Sums;
  constexpr int count = kRegisters<kBlocks>, width = Register::kSums;
  Sums sums[count][kRows];
  if (job.bias != nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const Sums bias = Register::load(job.bias + v * width, kBlock, is_half(v, kBlocks));
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[v][row] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const std::int32_t* block = job.sums + Register::place(v, job.sums_step) + pixel * kBlock;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        sums[v][row] = Register::load(block + row * kBlock, job.sums_step, is_half(v, kBlocks));
      }
    }
  }
  const Index step = kStep != 0 ? kStep : job.a_pixel_step, run = kRun != 0 ? kRun : job.run;
  const Operand* a = static_cast<const Operand*>(job.a) + pixel * step;
  const std::int8_t* b = job.weights;
  for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
    for (Index line = 0; line < lines; ++line, fetched += kLine * 4) __builtin_prefetch(fetched, 0, 2);
#pragma GCC unroll 2
    for (Index k = 0; k < run; k += kGroup, b += kBlocks * kBlock * kGroup) {
      Register::Weights weights[count];
#pragma GCC unroll 16
      for (int v = 0; v < count; ++v) weights[v] = Register::weights(b + v * width * kGroup, is_half(v, kBlocks));
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const Sums value = load_word(a + row * step + k) - Sums{};
#pragma GCC unroll 16
        for (int v = 0; v < count; ++v) sums[v][row] = Register::multiply(sums[v][row], value, weights[v]);
      }
    }
  }
  if (job.terms != nullptr) {
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const Sums term = job.terms[pixel + row] - Sums{};
#pragma GCC unroll 16
      for (int v = 0; v < count; ++v) sums[v][row] += term;
    }
  }
  if (job.c == nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      std::int32_t* block = job.sums + Register::place(v, job.sums_step) + pixel * kBlock;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        Register::store(block + row * kBlock, job.sums_step, is_half(v, kBlocks), sums[v][row]);
      }
    }
    return;
  }
  if (is_rare(job.rule)) {
    // In memory of their own: what is handed on by address would be kept in memory from its beginning.
    Sums own[count][kRows];
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) own[v][row] = sums[v][row];
    }
    make_numbers(job, pixel, kRows, own[0]);
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[v][row] = own[v][row];
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const auto multiplier = Register::multipliers(job.multipliers + v * width, is_half(v, kBlocks));
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[v][row] = Register::scale(sums[v][row], multiplier, job.rule);
    }
  }
  Register::pack<kBlocks, kRows>(sums, job.c + pixel * kBlock, job.c_step, job.rule);
}

template <int kBlocks, int kRows, int kRun, int kStep>
static void product_tiles(const IntegerProduct& job, Index pixel, Index tiles, Fetching fetching) {
  for (Index tile = 0; tile < tiles; ++tile, pixel += kRows, fetching.next += fetching.step) {
    const Index lines = fetching.next + fetching.step <= fetching.end ? fetching.lines : 0;
    product_tile<kBlocks, kRows, kRun, kStep>(job, pixel, fetching.next, lines);
  }
}

// Tiles of `rows` rows; the template counts down to them.
template <int kBlocks, int kRows, int kRun, int kStep>
static inline void tiles_of(Index rows, const IntegerProduct& job, Index pixel, Index tiles, const Fetching& fetching) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return product_tiles<kBlocks, kRows, kRun, kStep>(job, pixel, tiles, fetching);
    tiles_of<kBlocks, kRows - 1, kRun, kStep>(rows, job, pixel, tiles, fetching);
  }
}

// Tiles of nearly equal numbers of rows: some of one more, then the others.
template <int kBlocks, int kRun, int kStep>
static void product_panel(const IntegerProduct& job) {
  constexpr int most = kRun != 0 || rows_of<kBlocks>() < 4 ? rows_of<kBlocks>() : 4;
  constexpr Index line = kLine * 4;
  const Index tiles = (job.pixels + most - 1) / most, rows = job.pixels / tiles, larger_tiles = job.pixels % tiles;
  const Index lines = job.next == nullptr ? 0 : (job.next_bytes / line + tiles * job.runs - 1) / (tiles * job.runs);
  const auto* next = static_cast<const std::uint8_t*>(job.next);
  Fetching fetching = {next, next + (lines > 0 ? job.next_bytes : 0), lines, lines * job.runs * line};
  if (larger_tiles > 0) tiles_of<kBlocks, most, kRun, kStep>(rows + 1, job, 0, larger_tiles, fetching);
  fetching.next += larger_tiles * fetching.step;
  tiles_of<kBlocks, most, kRun, kStep>(rows, job, larger_tiles * (rows + 1), tiles - larger_tiles, fetching);
}

template <int kBlocks>
static void product_up_to(const IntegerProduct& job) {
  if constexpr (kBlocks > 1) {
    if (job.blocks < kBlocks) return product_up_to<kBlocks - 1>(job);
  }
  if (job.run == kBlock && job.a_pixel_step == kBlock) {
    product_panel<kBlocks, kBlock, kBlock>(job);
  } else if (kBlocks == kPanelBlocks && job.run == 12 && job.a_pixel_step == 6) {
    // The first convolution of a network: three taps of three colours, in whole words, every second pixel.
    product_panel<kBlocks == kPanelBlocks ? kBlocks : 1, 12, 6>(job);
  } else {
    product_panel<kBlocks, 0, 0>(job);
  }
}

static void product(const IntegerProduct& job) { product_up_to<kPanelBlocks>(job); }

static void widen(Index count, const std::uint8_t* bytes, void* operands) {
  Operand* out = static_cast<Operand*>(operands);
  for (Index i = 0; i < count; ++i) out[i] = static_cast<Operand>(bytes[i] - kOperandZero);
}

static void sum_pixels(const IntegerProduct& job, std::int32_t factor, std::int32_t* sums) {
  for (Index pixel = 0; pixel < job.pixels; ++pixel) {
    const Operand* a = static_cast<const Operand*>(job.a) + pixel * job.a_pixel_step;
    // Only together with the product's own sums need this stay within 32 bits: on the way it may go round.
    std::uint32_t sum = 0;
    for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
      for (Index k = 0; k < job.run; ++k) sum += static_cast<std::uint32_t>(a[k]);
    }
    sums[pixel] = static_cast<std::int32_t>(static_cast<std::uint32_t>(factor) * sum);
  }
}

static void join_block(Index pixels, int parts, const std::int32_t* part, Index part_step, const std::int32_t* bias,
                       const float* multipliers, const Requantisation& rule, const std::uint8_t* added,
                       std::uint8_t* c) {
  for (int v = 0; v < kParts; ++v) {
    const Ints start = load_ints(bias + v * kLanes);
    const Floats multiplier = load_floats(multipliers + v * kLanes);
    for (Index pixel = 0; pixel < pixels; ++pixel) {
      const Index place = pixel * kBlock + v * kLanes;
      Ints sum = start;
      for (int i = 0; i < parts; ++i) sum += load_ints(part + i * part_step + place);
      Ints byte = requantise(sum, multiplier, rule);
      if (rule.adds) byte = add_shortcut(byte, load_bytes(added + place), rule);
      store_bytes(c + place, byte);
    }
  }
}
