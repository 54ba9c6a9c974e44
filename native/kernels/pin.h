// Keeps a value in a register at this place: compilers otherwise read it from memory again for each of its uses, or put
// off sums until there are more than the registers hold.
#ifndef LINNET_PIN_H
#define LINNET_PIN_H

#if defined(__AVX512F__)
// Any of 32 registers.
#define LINNET_PIN(v) asm("" : "+v"(v))
#elif defined(__x86_64__)
#define LINNET_PIN(v) asm("" : "+x"(v))
#elif defined(__aarch64__)
#define LINNET_PIN(v) asm("" : "+w"(v))
#else
#define LINNET_PIN(v) static_cast<void>(v)
#endif

// The same for an address: what is read beside it is then an offset in the instruction. Compilers otherwise compute
// many such addresses before a loop, and keep those that find no register in memory.
#define LINNET_PIN_ADDRESS(p) asm("" : "+r"(p))

// What is handed sums by reference: were it called, they would be kept in memory, and stored anew in each turn of a
// loop.
#define LINNET_INLINE static inline __attribute__((always_inline))

// What is rare is there once, and not once more for each caller.
#if defined(__clang__)
#define LINNET_ONCE __attribute__((noinline))
#else
#define LINNET_ONCE __attribute__((noipa))
#endif

#endif
