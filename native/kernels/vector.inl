// Vectors of kLanes floats in the compiler's own extension. The including file defines kLanes, kTileRows and
// kTileVectors.

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float VecInMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

static inline Vec load(const float* p) { return *reinterpret_cast<const VecInMemory*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<VecInMemory*>(p) = v; }
static inline Vec splat(float x) { return x - Vec{}; }

// sum + a * b: rounded once where the instruction set can, and else as the compiler decides.
static inline Vec add_product(Vec sum, Vec a, Vec b) {
#if defined(__wasm_relaxed_simd__)
  // No compiler contracts to an instruction whose rounding is the browser's matter.
  return __builtin_wasm_relaxed_madd_f32x4(a, b, sum);
#else
  return sum + a * b;
#endif
}

// The first `count` floats; the other lanes are zeros.
static inline Vec load_part(const float* p, Index count) {
  if (count >= kLanes) return load(p);
  float lanes[kLanes] = {};
  for (Index i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}

static inline void store_part(float* p, Vec v, Index count) {
  if (count >= kLanes) {
    store(p, v);
    return;
  }
  float lanes[kLanes];
  store(lanes, v);
  for (Index i = 0; i < count; ++i) p[i] = lanes[i];
}

// Not a number stays what it is, as in torch.
static inline Vec clamp(Vec x, Vec lowest, Vec highest) {
  x = x < lowest ? lowest : x;
  return x > highest ? highest : x;
}

static inline Vec inside(Vec x, Vec lowest, Vec highest, Vec value) {
  const Vec above = x > lowest ? value : Vec{};
  return x < highest ? above : Vec{};
}

static inline void clear(float* p, Index count) {
  for (Index i = 0; i < count; ++i) p[i] = 0;
}
