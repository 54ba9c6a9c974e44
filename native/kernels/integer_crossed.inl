// Products that are crossed: of four inputs a, b, c, d of a pixel and their weights p, q, r, s the words (a + r, b + s)
// and (c + p, d + q) are multiplied and added at once, which is a p + b q + c r + d s and, beside that, a c + b d,
// which belongs to the pixel (`less_crossed`), and p r + q s, which belongs to the channel and is taken from its bias.
// One instruction in four multiplies instead of two: processors have fewer units for that than for additions.

// A panel's weights as words, [inputs / 2][columns][2], of at most 32 KB on the stack: they would be widened again for
// each tile.
static const Index kCrossedInputs = 1024;
typedef std::int16_t CrossedWords[kCrossedInputs * kPanelBlocks * kBlock];

static inline Ints load_words(const std::int16_t* p) { return load_ints(p); }
static inline Ints add_words(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm256_add_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
// Sums may go round on the way.
static inline Ints subtract(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm256_sub_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}

template <int kBlocks>
static void widen_crossed(const IntegerProduct& job, std::int16_t* words) {
  constexpr Index step = kBlocks * kBlock * kGroup;
  const std::int8_t* weights = job.weights;
  for (Index i = 0; i < job.runs * kBlock; i += kGroup, weights += step, words += step) {
#pragma GCC unroll 4
    for (int v = 0; v < kBlocks; ++v) {
      store_ints(words + v * kLanes * kGroup, load_weights(weights + v * kLanes * kGroup));
    }
  }
}

// Adds what the inputs make to the sums of a tile. job.weights are the words.
template <int kBlocks, int kRows>
LINNET_INLINE void add_crossed(const IntegerProduct& job, Index pixel, const std::uint8_t* fetched, Index lines,
                               Ints (&sums)[kBlocks][kRows]) {
  constexpr Index columns = kBlocks * kBlock;
  const Operand* a = static_cast<const Operand*>(job.a) + pixel * kBlock;
  const auto* b = reinterpret_cast<const std::int16_t*>(job.weights);
  for (Index i = 0; i < job.runs; ++i, a += job.a_run_step) {
    for (Index line = 0; line < lines; ++line, fetched += kLine * 4) __builtin_prefetch(fetched, 0, 3);
#pragma GCC unroll 2
    for (int k = 0; k < kBlock; k += 4, b += columns * 4) {
      Ints first[kBlocks], second[kBlocks];
#pragma GCC unroll 4
      for (int v = 0; v < kBlocks; ++v) {
        first[v] = load_words(b + v * kLanes * kGroup);
        second[v] = load_words(b + columns * kGroup + v * kLanes * kGroup);
      }
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        const Ints low = load_word(a + row * kBlock + k) - Ints{}, high = load_word(a + row * kBlock + k + 2) - Ints{};
#pragma GCC unroll 4
        for (int v = 0; v < kBlocks; ++v) {
          sums[v][row] = dot(sums[v][row], add_words(low, second[v]), add_words(high, first[v]));
        }
      }
    }
  }
}

// Adds a c + b d of two pixels, to two sums of each that stand in two lanes each.
static inline Ints add_crossed_pixels(Ints sums, const Operand* a) {
  const Ints words = load_ints(a);
  return dot16(sums, words, __builtin_shufflevector(words, words, 1, 0, 3, 2, 5, 4, 7, 6));
}

// Takes from `sums` what belongs to each pixel beside them.
static void less_crossed(const IntegerProduct& job, std::int32_t* sums) {
  const auto* a = static_cast<const Operand*>(job.a);
  const auto whole = [](Ints both) { return both + __builtin_shufflevector(both, both, 2, 3, 0, 1, 6, 7, 4, 5); };
  Index pixel = 0;
  for (; pixel + 8 <= job.pixels; pixel += 8) {
    Ints all[4] = {};
    const Operand* run = a + pixel * kBlock;
    for (Index i = 0; i < job.runs; ++i, run += job.a_run_step) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) all[k] = add_crossed_pixels(all[k], run + 2 * k * kBlock);
    }
#pragma GCC unroll 4
    for (Ints& each : all) each = whole(each);
    const Ints low = __builtin_shufflevector(all[0], all[1], 0, 4, 8, 12, 0, 4, 8, 12),
               high = __builtin_shufflevector(all[2], all[3], 0, 4, 8, 12, 0, 4, 8, 12);
    const Ints products = __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11);
    store_ints(sums + pixel, subtract(load_ints(sums + pixel), products));
  }
  for (; pixel + 2 <= job.pixels; pixel += 2) {
    Ints both = {};
    const Operand* run = a + pixel * kBlock;
    for (Index i = 0; i < job.runs; ++i, run += job.a_run_step) both = add_crossed_pixels(both, run);
    both = whole(both);
    sums[pixel] =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[pixel]) - static_cast<std::uint32_t>(both[0]));
    sums[pixel + 1] =
        static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[pixel + 1]) - static_cast<std::uint32_t>(both[4]));
  }
  for (; pixel < job.pixels; ++pixel) {
    const Operand* run = a + pixel * kBlock;
    std::uint32_t products = 0;
    for (Index i = 0; i < job.runs; ++i, run += job.a_run_step) {
      for (int k = 0; k < kBlock; k += 4)
        products += static_cast<std::uint32_t>(run[k] * run[k + 2] + run[k + 1] * run[k + 3]);
    }
    sums[pixel] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[pixel]) - products);
  }
}
