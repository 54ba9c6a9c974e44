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
  LINNET_INLINE Sums rectify(Sums sums, Factors multiplier) { return rectified(sums, multiplier); }
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

// Whether others are added to what sums become, and neither products nor results have bounds but those of a byte.
static inline bool only_adds(const Requantisation& rule) {
  return kNarrows && rule.adds && !rule.far && rule.sum_lowest == 0 && rule.sum_highest == 255;
}

// The same as `make_numbers` of rules that only add: narrowing adds the zero and keeps the bounds.
LINNET_ONCE static void add_others(const IntegerProduct& job, Index pixel, Index rows, Register::Sums* sums) {
  using Sums = Register::Sums;
  const Requantisation rule = job.rule;
  const Sums zero = rule.zero - Sums{}, lowest = rule.lowest - Sums{}, highest = rule.highest - Sums{};
  for (int v = 0; v * Register::kSums < job.blocks * kBlock; ++v) {
    const bool half = is_half(v, job.blocks);
    const auto multiplier = Register::multipliers(job.multipliers + v * Register::kSums, half);
    const std::uint8_t* added = job.added + Register::place(v, job.added_step) + pixel * kBlock;
    for (Index row = 0; row < rows; ++row, ++sums, added += kBlock) {
      Sums number = Register::scale(*sums, multiplier, rule) + zero;
      number = number < lowest ? lowest : number;
      number = number > highest ? highest : number;
      *sums = shifted_sum(number, Register::added(added, job.added_step, half), rule);
    }
  }
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

template <int kBlocks, int kRows>
using Tile = Register::Sums[kRegisters<kBlocks>][kRows];

// What the sums of a tile begin with.
template <int kBlocks, int kRows>
LINNET_INLINE void begin_tile(const IntegerProduct& job, Index pixel, Tile<kBlocks, kRows>& sums) {
  using Sums = Register::Sums;
  constexpr int count = kRegisters<kBlocks>, width = Register::kSums;
  const std::int32_t start = job.c == nullptr ? 0 : start_of(job.rule);
  if (job.bias != nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const Sums bias = Register::load(job.bias + v * width, kBlock, is_half(v, kBlocks)) + start;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[v][row] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const std::int32_t* block = job.sums + Register::place(v, job.sums_step) + pixel * kBlock;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        sums[v][row] = Register::load(block + row * kBlock, job.sums_step, is_half(v, kBlocks)) + start;
      }
    }
  }
}

// Adds what belongs to each pixel, and writes the sums, or the bytes that they become.
template <int kBlocks, int kRows>
LINNET_INLINE void end_tile(const IntegerProduct& job, Index pixel, Tile<kBlocks, kRows>& sums) {
  using Sums = Register::Sums;
  constexpr int count = kRegisters<kBlocks>, width = Register::kSums;
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
  if (rectifies(job.rule)) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const auto multiplier = Register::multipliers(job.multipliers + v * width, is_half(v, kBlocks));
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[v][row] = Register::rectify(sums[v][row], multiplier);
    }
  } else if (is_rare(job.rule)) {
    // In memory of their own: what is handed on by address would be kept in memory from its beginning.
    Sums own[count][kRows];
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) own[v][row] = sums[v][row];
    }
    only_adds(job.rule) ? add_others(job, pixel, kRows, own[0]) : make_numbers(job, pixel, kRows, own[0]);
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

#if LINNET_CROSSED
#include "integer_crossed.inl"
#else
static const Index kCrossedInputs = 0;
#endif

// Adds what the inputs make to the sums of a tile. kRun and kStep are the job's, known while compiling; 0: read from
// it.
template <int kBlocks, int kRows, int kRun, int kStep>
LINNET_INLINE void add_products(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines,
                                Tile<kBlocks, kRows>& sums) {
  using Sums = Register::Sums;
  constexpr int count = kRegisters<kBlocks>, width = Register::kSums;
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
}

namespace {

// What is known of a job while compiling: its run and step, or that it is crossed.
template <int kRun, int kStep>
struct Plain {
  template <int kBlocks>
  static constexpr int kMost = kRun != 0 || rows_of<kBlocks>() < 4 ? rows_of<kBlocks>() : 4;
  template <int kBlocks>
  LINNET_INLINE Index rows_for(Index) {
    return kMost<kBlocks>;
  }
  template <int kBlocks, int kRows>
  LINNET_INLINE void add(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines,
                         Tile<kBlocks, kRows>& sums) {
    add_products<kBlocks, kRows, kRun, kStep>(job, pixel, fetched, lines, sums);
  }
};

#if LINNET_CROSSED
struct Crossed {
  template <int kBlocks>
  static constexpr int kMost = kBlocks == 1 ? 8 : 5;
  // Rows of a tile: with two registers of sums each, the words of four inputs, and four that are worked with, four rows
  // fill the 16 registers; five are nearly as good, and better than four and a smaller tile.
  template <int kBlocks>
  LINNET_INLINE Index rows_for(Index pixels) {
    return kBlocks == 1 ? 8 : pixels % 4 == 0 ? 4 : 5;
  }
  template <int kBlocks, int kRows>
  LINNET_INLINE void add(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines,
                         Tile<kBlocks, kRows>& sums) {
    add_crossed<kBlocks, kRows>(job, pixel, fetched, lines, sums);
  }
};
#endif

}  // namespace

template <typename Kind, int kBlocks, int kRows>
static void product_tiles(const IntegerProduct& job, Index pixel, Index tiles, Fetching fetching) {
  for (Index tile = 0; tile < tiles; ++tile, pixel += kRows, fetching.next += fetching.step) {
    const Index lines = fetching.next + fetching.step <= fetching.end ? fetching.lines : 0;
    Tile<kBlocks, kRows> sums;
    begin_tile<kBlocks, kRows>(job, pixel, sums);
    Kind::template add<kBlocks, kRows>(job, pixel, fetching.next, lines, sums);
    end_tile<kBlocks, kRows>(job, pixel, sums);
  }
}

// Tiles of `rows` rows; the template counts down to them.
template <typename Kind, int kBlocks, int kRows>
static inline void tiles_of(Index rows, const IntegerProduct& job, Index pixel, Index tiles, const Fetching& fetching) {
  if constexpr (kRows > 0) {
    if (rows == kRows) return product_tiles<Kind, kBlocks, kRows>(job, pixel, tiles, fetching);
    tiles_of<Kind, kBlocks, kRows - 1>(rows, job, pixel, tiles, fetching);
  }
}

// Tiles of nearly equal numbers of rows: some of one more, then the others.
template <typename Kind, int kBlocks>
static void product_panel(const IntegerProduct& job) {
  constexpr int most = Kind::template kMost<kBlocks>;
  constexpr Index line = kLine * 4;
  const Index wanted = Kind::template rows_for<kBlocks>(job.pixels);
  const Index tiles = (job.pixels + wanted - 1) / wanted, rows = job.pixels / tiles, larger_tiles = job.pixels % tiles;
  const Index lines = job.next == nullptr ? 0 : (job.next_bytes / line + tiles * job.runs - 1) / (tiles * job.runs);
  const auto* next = static_cast<const std::uint8_t*>(job.next);
  Fetching fetching = {next, next + (lines > 0 ? job.next_bytes : 0), lines, lines * job.runs * line};
  if (larger_tiles > 0) tiles_of<Kind, kBlocks, most>(rows + 1, job, 0, larger_tiles, fetching);
  fetching.next += larger_tiles * fetching.step;
  tiles_of<Kind, kBlocks, most>(rows, job, larger_tiles * (rows + 1), tiles - larger_tiles, fetching);
}

#if LINNET_CROSSED
// With a panel's weights as words.
template <int kBlocks>
static void crossed_panel(const IntegerProduct& job) {
  alignas(kLine * 4) CrossedWords words;
  widen_crossed<kBlocks>(job, words);
  IntegerProduct own = job;
  own.weights = reinterpret_cast<const std::int8_t*>(words);
  product_panel<Crossed, kBlocks>(own);
}
#endif

template <int kBlocks>
static void product_up_to(const IntegerProduct& job) {
  if constexpr (kBlocks > 1) {
    if (job.blocks < kBlocks) return product_up_to<kBlocks - 1>(job);
  }
#if LINNET_CROSSED
  if (job.crossed) return crossed_panel<kBlocks>(job);
#endif
  if (job.run == kBlock && job.a_pixel_step == kBlock) {
    product_panel<Plain<kBlock, kBlock>, kBlocks>(job);
  } else if (kBlocks == kPanelBlocks && job.run == 12 && job.a_pixel_step == 6) {
    // The first convolution of a network: three taps of three colours, in whole words, every second pixel.
    product_panel<Plain<12, 6>, kBlocks == kPanelBlocks ? kBlocks : 1>(job);
  } else {
    product_panel<Plain<0, 0>, kBlocks>(job);
  }
}

static void product(const IntegerProduct& job) { product_up_to<kPanelBlocks>(job); }

static void widen(Index count, const std::uint8_t* bytes, void* operands) {
  Operand* out = static_cast<Operand*>(operands);
  for (Index i = 0; i < count; ++i) out[i] = static_cast<Operand>(bytes[i] - kOperandZero);
}

static void sum_pixels(const IntegerProduct& job, std::int32_t factor, std::int32_t* sums) {
  for (Index pixel = 0; factor != 0 && pixel < job.pixels; ++pixel) {
    const Operand* a = static_cast<const Operand*>(job.a) + pixel * job.a_pixel_step;
    // Only together with the product's own sums need this stay within 32 bits: on the way it may go round.
    std::uint32_t sum = 0;
    for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
      for (Index k = 0; k < job.run; ++k) sum += static_cast<std::uint32_t>(a[k]);
    }
    const auto before = static_cast<std::uint32_t>(sums[pixel]);
    sums[pixel] = static_cast<std::int32_t>(before + static_cast<std::uint32_t>(factor) * sum);
  }
#if LINNET_CROSSED
  if (job.crossed) less_crossed(job, sums);
#endif
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
