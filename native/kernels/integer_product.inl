// The product of bytes: register tiles of some pixels times one panel of output channels, as in engine_product.inl. The
// including file defines kTileRegisters, kMostRows and kPanelBlocks.

template <int kBlocks>
static constexpr int rows_of() {
  constexpr int rows = kTileRegisters / (kBlocks * kParts);
  return rows < kMostRows ? rows : kMostRows;
}

template <int kBlocks, int kRows, bool kAdds>
LINNET_INLINE void finish_tile(const IntegerProduct& job, Index pixel, Ints (&sums)[kRows][kBlocks * kParts]) {
  const Rounding rounding = rounding_of(job.rule);
#pragma GCC unroll 16
  for (int v = 0; v < kBlocks * kParts; ++v) {
    const Floats multiplier = load_floats(job.multipliers + v * kLanes);
    const Index part = v % kParts * kLanes;
    Ints bytes[kRows];
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) bytes[row] = requantise(sums[row][v], multiplier, rounding);
    if constexpr (kAdds) {
      const std::uint8_t* added = job.added + v / kParts * job.added_step + pixel * kBlock + part;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        bytes[row] = add_shortcut(bytes[row], load_bytes(added + row * kBlock), job.rule);
      }
    }
    store_pixels<kRows>(job.c + v / kParts * job.c_step + pixel * kBlock + part, bytes);
  }
}

// Adds the products of a tile to its sums. kRun and kStep are the job's, known while compiling; 0: read from the job.
template <int kBlocks, int kRows, int kRun, int kStep>
LINNET_INLINE void add_products(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines,
                                Ints (&sums)[kRows][kBlocks * kParts]) {
  constexpr int vectors = kBlocks * kParts;
  const Index step = kStep != 0 ? kStep : job.a_pixel_step, run = kRun != 0 ? kRun : job.run;
  const Operand* a = static_cast<const Operand*>(job.a) + pixel * step;
  const std::int8_t* b = job.weights;
  for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
    for (Index line = 0; line < lines; ++line, fetched += kLine * 4) __builtin_prefetch(fetched, 0, 2);
#pragma GCC unroll 2
    for (Index k = 0; k < run; k += kGroup, b += kBlocks * kBlock * kGroup) {
      Weights weights[vectors];
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) weights[v] = load_weights(b + v * kLanes * kGroup);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const Ints value = splat_int(load_word(a + row * step + k));
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) sums[row][v] = dot(sums[row][v], value, weights[v]);
      }
    }
  }
}

template <int kBlocks, int kRows, int kRun, int kStep>
static void product_tile(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines) {
  constexpr int vectors = kBlocks * kParts;
  Ints sums[kRows][vectors];
  if (job.bias != nullptr) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const Ints bias = load_ints(job.bias + v * kLanes);
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row][v] = bias;
    }
  } else {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      const std::int32_t* block = job.sums + v / kParts * job.sums_step + pixel * kBlock + v % kParts * kLanes;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) sums[row][v] = load_ints(block + row * kBlock);
    }
  }
  add_products<kBlocks, kRows, kRun, kStep>(job, pixel, fetched, lines, sums);
  if (job.terms != nullptr) {
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const Ints term = splat_int(job.terms[pixel + row]);
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) sums[row][v] += term;
    }
  }
  if (job.c != nullptr) {
    return job.rule.adds ? finish_tile<kBlocks, kRows, true>(job, pixel, sums)
                         : finish_tile<kBlocks, kRows, false>(job, pixel, sums);
  }
#pragma GCC unroll 16
  for (int v = 0; v < vectors; ++v) {
    std::int32_t* block = job.sums + v / kParts * job.sums_step + pixel * kBlock + v % kParts * kLanes;
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) store_ints(block + row * kBlock, sums[row][v]);
  }
}

// The tile of `rows` rows; the template counts down to it.
template <int kBlocks, int kRows, int kRun, int kStep>
static inline void tile_of(Index rows, const IntegerProduct& job, Index pixel, const std::uint8_t* fetched,
                           Index lines) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
#if LINNET_WIDE
      if constexpr (kBlocks % 2 == 0) {
        wide_tile<kBlocks, kRows, kRun, kStep>(job, pixel, fetched, lines);
      } else {
        product_tile<kBlocks, kRows, kRun, kStep>(job, pixel, fetched, lines);
      }
#else
      product_tile<kBlocks, kRows, kRun, kStep>(job, pixel, fetched, lines);
#endif
    } else {
      tile_of<kBlocks, kRows - 1, kRun, kStep>(rows, job, pixel, fetched, lines);
    }
  }
}

// Tiles of nearly equal numbers of rows; what comes next is fetched on the way, some lines with each run.
template <int kBlocks, int kRun, int kStep>
static void product_panel(const IntegerProduct& job) {
  constexpr int most = kRun != 0 || rows_of<kBlocks>() < 4 ? rows_of<kBlocks>() : 4;
  constexpr Index line = kLine * 4;
  const Index tiles = (job.pixels + most - 1) / most;
  const Index lines = job.next == nullptr ? 0 : (job.next_bytes / line + tiles * job.runs - 1) / (tiles * job.runs);
  const Index step = lines * job.runs * line;
  const auto* next = static_cast<const std::uint8_t*>(job.next);
  Index pixel = 0, fetched = 0;
  for (Index tile = 0; tile < tiles; ++tile, fetched += step) {
    const Index rows = job.pixels / tiles + (tile < job.pixels % tiles ? 1 : 0);
    const bool fetches = lines > 0 && fetched + step <= job.next_bytes;
    tile_of<kBlocks, most, kRun, kStep>(rows, job, pixel, fetches ? next + fetched : nullptr, fetches ? lines : 0);
    pixel += rows;
  }
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
  const Rounding rounding = rounding_of(rule);
  for (int v = 0; v < kParts; ++v) {
    const Ints start = load_ints(bias + v * kLanes);
    const Floats multiplier = load_floats(multipliers + v * kLanes);
    for (Index pixel = 0; pixel < pixels; ++pixel) {
      const Index place = pixel * kBlock + v * kLanes;
      Ints sum = start;
      for (int i = 0; i < parts; ++i) sum += load_ints(part + i * part_step + place);
      Ints byte = requantise(sum, multiplier, rounding);
      if (rule.adds) byte = add_shortcut(byte, load_bytes(added + place), rule);
      store_bytes(c + place, byte);
    }
  }
}
