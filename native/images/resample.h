// Resizing, equal to Pillow's to the bit.
#ifndef LINNET_RESAMPLE_H
#define LINNET_RESAMPLE_H

#include "engine.h"

namespace linnet {

// Pixels in memory: rows of `stride` bytes, pixels of `pixel` bytes, of which the first `channels` count.
struct Pixels {
  const std::uint8_t* data;
  Index width, height, stride;
  int pixel, channels;
  const std::uint8_t* row(Index y) const { return data + y * stride; }
};

// What of an axis is resized to how many pixels, and which of these are made.
struct Axis {
  Index length;        // of the picture
  float from, to;      // the part of it that is resized
  Index size;          // pixels that this part gets
  Index first, count;  // of these, what is made
};

// Each writes [down.count][across.count][channels]; false where there is no memory.
bool resample(const Pixels& picture, const Axis& across, const Axis& down, int interpolation, std::uint8_t* output);
bool take_nearest(const Pixels& picture, const Axis& across, const Axis& down, std::uint8_t* output);
// Two neighbours along each axis and nothing else, however much smaller the result is, as TensorFlow does it.
bool sample_bilinear(const Pixels& picture, const Axis& across, const Axis& down, std::uint8_t* output);

}  // namespace linnet

#endif
