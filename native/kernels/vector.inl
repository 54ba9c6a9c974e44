// Vectors of kLanes floats in the compiler's own extension. The including file defines kLanes, kTileRows and
// kTileVectors.

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float VecInMemory __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

static inline Vec load(const float* p) { return *reinterpret_cast<const VecInMemory*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<VecInMemory*>(p) = v; }
static inline Vec splat(float x) { return x - Vec{}; }

// Keeps a value in a register: compilers otherwise read it from memory again for each of its uses.
#if defined(__x86_64__)
#define LINNET_PIN(v) asm("" : "+x"(v))
#elif defined(__aarch64__)
#define LINNET_PIN(v) asm("" : "+w"(v))
#else
#define LINNET_PIN(v) static_cast<void>(v)
#endif
// The same for an address: what is read beside it is then an offset in the instruction. Compilers otherwise compute
// many such addresses before a loop, and keep those that find no register in memory.
#define LINNET_PIN_ADDRESS(p) asm("" : "+r"(p))

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
