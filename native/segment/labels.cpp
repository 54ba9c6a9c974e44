// From a segmenter's logits to the best class of every pixel, without a map of logits at full size: what
// `linnet.segmentation.label_map` gives, to the bit. Nothing may be contracted here.

#include <cmath>

#include "engine.h"
#include "resizing.h"

namespace linnet {
namespace {

constexpr Index kMostClasses = 255;
constexpr float kLargest = 1e37F;
// Of the largest logit: what rounding can add between two of them, many times over.
constexpr float kDoubt = 1e-5F;
// Among four pixels that disagree, or nearly do.
constexpr std::uint8_t kUnclear = 255;

bool known(const linnet_labelling& rule) {
  const auto side = [](Index value) { return value >= 1 && value <= kMostSide; };
  return side(rule.height) && side(rule.width) && side(rule.output_height) && side(rule.output_width) &&
         rule.classes >= 1 && rule.classes <= kMostClasses &&
         (rule.precision == LINNET_FLOAT32 || rule.precision == LINNET_UINT8) && rule.grid >= LINNET_ALIGN_CORNERS &&
         rule.grid <= LINNET_ASYMMETRIC;
}

// The parts of the caller's workspace.
struct Workspace {
  Neighbours* columns;  // [output_width]
  std::uint8_t* best;   // [height][width]: the best class of a pixel by far, or kUnclear
  std::uint8_t* cells;  // [output_width]: the class on which four pixels agree, or kUnclear
  Index bytes;
};

Workspace lay_out(const linnet_labelling& rule, void* memory) {
  auto* const start = static_cast<std::uint8_t*>(memory);
  const Index columns = round_up(rule.output_width * static_cast<Index>(sizeof(Neighbours)), 8);
  const Index best = round_up(Index{rule.height} * rule.width, 8), cells = round_up(rule.output_width, 8);
  if (start == nullptr) return {nullptr, nullptr, nullptr, columns + best + cells};
  return {reinterpret_cast<Neighbours*>(start), start + columns, start + columns + best, columns + best + cells};
}

// What one logit must be above another so that it is so everywhere between; negative if a logit is no number.
float doubt_of(const float* logits, Index count) {
  float largest = 0;
  for (Index i = 0; i < count; ++i) {
    const float size = std::fabs(logits[i]);
    if (!(size <= kLargest)) return -1;
    largest = size > largest ? size : largest;
  }
  return largest * kDoubt;
}

// Sums of bytes are exact: one step is enough.
float doubt_of(const std::uint8_t*, Index) { return 0; }

template <typename Number>
Index first_largest(const Number* values, Index count) {
  Index best = 0;
  for (Index i = 1; i < count; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

template <typename Number>
std::uint8_t clear_best(const Number* logits, Index classes, float doubt) {
  const Index best = first_largest(logits, classes);
  for (Index i = 0; i < classes; ++i) {
    if (i != best && !(static_cast<float>(logits[best]) - static_cast<float>(logits[i]) > doubt)) return kUnclear;
  }
  return static_cast<std::uint8_t>(best);
}

template <typename Number>
bool label(const linnet_labelling& rule, const Number* logits, const Workspace& work, std::uint8_t* labels) {
  using Mix = typename MixOf<Number>::Type;
  const Index width = rule.width, classes = rule.classes, pixels = Index{rule.height} * width;
  const float doubt = doubt_of(logits, pixels * classes);
  if (doubt < 0) return false;
  for (Index i = 0; i < pixels; ++i) work.best[i] = clear_best(logits + i * classes, classes, doubt);
  for (Index x = 0; x < rule.output_width; ++x) {
    work.columns[x] = neighbours_of(x, width, rule.output_width, rule.grid);
  }
  Index low = -1;
  for (Index y = 0; y < rule.output_height; ++y, labels += rule.output_width) {
    const Neighbours row = neighbours_of(y, rule.height, rule.output_height, rule.grid);
    const std::uint8_t *above = work.best + row.low * width, *below = work.best + row.high * width;
    for (Index x = 0; row.low != low && x < rule.output_width; ++x) {
      const Neighbours& column = work.columns[x];
      const std::uint8_t first = above[column.low];
      const bool agree = first == above[column.high] && first == below[column.low] && first == below[column.high];
      work.cells[x] = agree ? first : kUnclear;
    }
    low = row.low;
    const Number *top = logits + row.low * width * classes, *bottom = logits + row.high * width * classes;
    for (Index x = 0; x < rule.output_width; ++x) {
      labels[x] = work.cells[x];
      if (labels[x] != kUnclear) continue;
      const Neighbours& column = work.columns[x];
      const Mix mix(row, column);
      const Index left = column.low * classes, right = column.high * classes;
      Number mixed[kMostClasses];
      for (Index k = 0; k < classes; ++k) {
        mixed[k] = mix(top[left + k], top[right + k], bottom[left + k], bottom[right + k]);
      }
      labels[x] = static_cast<std::uint8_t>(first_largest(mixed, classes));
    }
  }
  return true;
}

}  // namespace
}  // namespace linnet

using namespace linnet;

extern "C" int64_t linnet_labels_workspace(const linnet_labelling* rule) {
  return rule == nullptr || !known(*rule) ? -1 : lay_out(*rule, nullptr).bytes;
}

extern "C" int linnet_labels(const linnet_labelling* rule, const void* logits, void* workspace, uint8_t* labels,
                             linnet_error* error) {
  if (rule == nullptr || !known(*rule) || logits == nullptr || workspace == nullptr || labels == nullptr) {
    return fail(
        error, LINNET_BAD_ARGUMENT,
        "Labels need logits of from 1 to 255 classes, sizes from 1 to 65,536, a known grid, and places for all.");
  }
  const Workspace work = lay_out(*rule, workspace);
  const bool done = rule->precision == LINNET_FLOAT32
                        ? label(*rule, static_cast<const float*>(logits), work, labels)
                        : label(*rule, static_cast<const std::uint8_t*>(logits), work, labels);
  return done ? LINNET_OK
              : fail(error, LINNET_BAD_ARGUMENT, "The network gives logits that are no finite numbers below 1e37.");
}
