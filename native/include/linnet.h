/**
 * linnet's native library: plain C, no dependencies, nothing allocated, no exception across this boundary.
 *
 * Every function is safe to call from several threads at once. Strings belong to the library and live as long as
 * it is loaded.
 */
#ifndef LINNET_H
#define LINNET_H

#ifdef __cplusplus
extern "C" {
#endif

/** The version of the package that this library was built with, such as "0.1.0". Never null. */
const char* linnet_version(void);

/**
 * The widest vector instruction set of this processor that linnet distinguishes: "avx512" (F, DQ, BW and VL), "avx2"
 * (with FMA), "neon" or "baseline". Never null.
 */
const char* linnet_instruction_set(void);

#ifdef __cplusplus
}
#endif

#endif
