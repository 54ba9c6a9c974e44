// From a picture to a network's bytes: the preprocessing contract of a checkpoint, as linnet.images.resizing has it.

#include <cmath>

#include "resample.h"

namespace linnet {
namespace {

constexpr Index kLongest = 1 << 24;          // of a side: float32 counts so far
constexpr Index kLargestResized = 50000000;  // pixels beyond which only what is cut out is made

bool is_size(Index value, Index most) { return value >= 1 && value <= most; }

const char* fault_of(const linnet_resampling& job) {
  if (!is_size(job.width, kLongest) || !is_size(job.height, kLongest)) return "a side must be from 1 to 16,777,216";
  if (job.pixel_bytes < 1 || job.pixel_bytes > 4 || job.channels < 1 || job.channels > job.pixel_bytes) {
    return "pixels must have from 1 to 4 bytes, and at most as many channels";
  }
  if (job.row_bytes < job.width * job.pixel_bytes) return "a row must hold its pixels";
  if (job.interpolation < LINNET_NEAREST || job.interpolation > LINNET_BICUBIC) return "the interpolation is unknown";
  if (job.antialias == 0 && job.interpolation != LINNET_BILINEAR) return "only bilinear sampling has no antialiasing";
  const bool ordered = job.box[0] >= 0 && job.box[1] >= 0 && job.box[0] < job.box[2] && job.box[1] < job.box[3];
  if (!ordered || !(job.box[2] <= static_cast<float>(job.width) && job.box[3] <= static_cast<float>(job.height))) {
    return "the box must lie in the picture and have an extent";
  }
  if (!is_size(job.new_width, kLongest) || !is_size(job.new_height, kLongest)) {
    return "a new side must be from 1 to 16,777,216";
  }
  for (int axis = 0; axis < 2; ++axis) {
    const Index most = axis == 0 ? job.new_width : job.new_height;
    if (job.window[axis] < 0 || !is_size(job.window[2 + axis], most - job.window[axis])) {
      return "the window must lie in the resized picture";
    }
  }
  return nullptr;
}

int resize(const linnet_resampling& job, const std::uint8_t* pixels, std::uint8_t* output, linnet_error* error) {
  const Pixels picture = {pixels, job.width, job.height, job.row_bytes, job.pixel_bytes, job.channels};
  const Axis across = {job.width, job.box[0], job.box[2], job.new_width, job.window[0], job.window[2]};
  const Axis down = {job.height, job.box[1], job.box[3], job.new_height, job.window[1], job.window[3]};
  const bool is_done = job.antialias == 0 ? sample_bilinear(picture, across, down, output)
                       : job.interpolation == LINNET_NEAREST
                           ? take_nearest(picture, across, down, output)
                           : resample(picture, across, down, job.interpolation, output);
  return is_done ? LINNET_OK
                 : fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for resizing a picture of %lld x %lld pixels.",
                        static_cast<long long>(job.width), static_cast<long long>(job.height));
}

// (width, height) that just covers the network's size divided by the crop, as `_covering_size`.
void cover(const linnet_preparation& rule, linnet_resampling* job) {
  const auto enlarged = [&](Index side) { return larger(static_cast<Index>(std::rint(side / rule.crop)), side); };
  const Index high = enlarged(rule.height), wide = enlarged(rule.width);
  const auto scaled = [](Index side, Index length, Index other) {
    return static_cast<Index>(static_cast<double>(side * length) / static_cast<double>(other));
  };
  if (job->width * high <= job->height * wide) {
    job->new_width = wide;
    job->new_height = larger(scaled(wide, job->height, job->width), rule.height);
  } else {
    job->new_width = larger(scaled(high, job->width, job->height), rule.width);
    job->new_height = high;
  }
  job->window[0] = static_cast<Index>(std::rint(static_cast<double>(job->new_width - rule.width) / 2));
  job->window[1] = static_cast<Index>(std::rint(static_cast<double>(job->new_height - rule.height) / 2));
  if (rule.antialias == 0 || job->new_width * job->new_height <= kLargestResized) return;
  // Of a thin picture only what is cut out of it.
  const double across = static_cast<double>(job->width) / static_cast<double>(job->new_width);
  const double down = static_cast<double>(job->height) / static_cast<double>(job->new_height);
  job->box[0] = static_cast<float>(static_cast<double>(job->window[0]) * across);
  job->box[1] = static_cast<float>(static_cast<double>(job->window[1]) * down);
  job->box[2] = static_cast<float>(static_cast<double>(job->window[0] + rule.width) * across);
  job->box[3] = static_cast<float>(static_cast<double>(job->window[1] + rule.height) * down);
  job->new_width = rule.width;
  job->new_height = rule.height;
  job->window[0] = job->window[1] = 0;
}

// Pillow's conversion of red, green and blue: ITU-R 601 in 65,536ths.
std::uint8_t grey_of(const std::uint8_t* pixel) {
  return static_cast<std::uint8_t>((19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 0x8000) >> 16);
}

}  // namespace
}  // namespace linnet

using namespace linnet;

extern "C" int linnet_resample(const linnet_resampling* job, const uint8_t* pixels, uint8_t* resized,
                               linnet_error* error) {
  if (job == nullptr || pixels == nullptr || resized == nullptr) {
    return fail(error, LINNET_BAD_ARGUMENT, "Resizing needs a rule, pixels and a place for the result.");
  }
  if (const char* fault = fault_of(*job)) {
    return fail(error, LINNET_BAD_ARGUMENT, "The picture cannot be resized: %s.", fault);
  }
  return resize(*job, pixels, resized, error);
}

extern "C" int linnet_prepare(const linnet_preparation* rule, const uint8_t* pixels, int64_t width, int64_t height,
                              int32_t pixel_bytes, uint8_t* prepared, linnet_error* error) {
  if (rule == nullptr || pixels == nullptr || prepared == nullptr) {
    return fail(error, LINNET_BAD_ARGUMENT, "Preparing needs a rule, pixels and a place for the result.");
  }
  const char* fault = !is_size(rule->height, kMostSide) || !is_size(rule->width, kMostSide)
                          ? "the network's sides must be from 1 to 65,536"
                      : rule->resize < LINNET_SHORTER_SIDE || rule->resize > LINNET_SQUASH ? "the resizing is unknown"
                      : !(rule->crop >= 0.01 && rule->crop <= 1)                  ? "the crop must be from 0.01 to 1"
                      : rule->colours < LINNET_RGB || rule->colours > LINNET_GREY ? "the colours are unknown"
                      : pixel_bytes != 3 && pixel_bytes != 4                      ? "pixels must have 3 or 4 bytes"
                                                                                  : nullptr;
  if (fault != nullptr) return fail(error, LINNET_BAD_ARGUMENT, "The picture cannot be prepared: %s.", fault);
  linnet_resampling job = {};
  job.width = width;
  job.height = height;
  job.pixel_bytes = pixel_bytes;
  job.row_bytes = width * pixel_bytes;
  job.channels = 3;
  job.interpolation = rule->interpolation;
  job.antialias = rule->antialias;
  if (rule->resize == LINNET_CENTRAL_CROP) {
    // As tf.image.central_crop: whole pixels, the same number off both ends.
    const auto left = static_cast<Index>((static_cast<double>(width) - static_cast<double>(width) * rule->crop) / 2);
    const auto top = static_cast<Index>((static_cast<double>(height) - static_cast<double>(height) * rule->crop) / 2);
    pixels += top * job.row_bytes + left * pixel_bytes;
    job.width -= 2 * left;
    job.height -= 2 * top;
  }
  job.new_width = rule->width;
  job.new_height = rule->height;
  job.window[2] = rule->width;
  job.window[3] = rule->height;
  job.box[2] = static_cast<float>(job.width);
  job.box[3] = static_cast<float>(job.height);
  if (rule->resize == LINNET_SHORTER_SIDE && is_size(width, kLongest) && is_size(height, kLongest)) cover(*rule, &job);
  if (const char* wrong = linnet::fault_of(job)) {
    return fail(error, LINNET_BAD_ARGUMENT, "The picture cannot be prepared: %s.", wrong);
  }
  const Index count = Index{rule->height} * rule->width;
  Array<std::uint8_t> colours;
  if (rule->colours == LINNET_GREY && !colours.allocate(3 * count)) {
    return fail(error, LINNET_OUT_OF_MEMORY, "There is no memory for a picture of the network's size.");
  }
  std::uint8_t* made = rule->colours == LINNET_GREY ? colours.data() : prepared;
  if (const int code = resize(job, pixels, made, error)) return code;
  for (Index i = 0; i < count; ++i) {
    if (rule->colours == LINNET_GREY) prepared[i] = grey_of(made + 3 * i);
    if (rule->colours == LINNET_BGR) {
      const std::uint8_t red = made[3 * i];
      made[3 * i] = made[3 * i + 2];
      made[3 * i + 2] = red;
    }
  }
  return LINNET_OK;
}

extern "C" int linnet_normalisation_table(int32_t channels, const float* mean, const float* std, float* table,
                                          linnet_error* error) {
  if (channels < 1 || channels > 4096 || mean == nullptr || std == nullptr || table == nullptr) {
    return fail(error, LINNET_BAD_ARGUMENT,
                "A table of normalisation needs from 1 to 4,096 channels and their numbers.");
  }
  for (int32_t channel = 0; channel < channels; ++channel) {
    for (int value = 0; value < 256; ++value) {
      table[channel * 256 + value] = (static_cast<float>(value) / 255.0F - mean[channel]) / std[channel];
    }
  }
  return LINNET_OK;
}
