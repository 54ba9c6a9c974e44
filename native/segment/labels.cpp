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

// Four logits side by side, as every processor has them; of two the larger and the smaller.
typedef float Four __attribute__((vector_size(16)));
typedef float FourInMemory __attribute__((vector_size(16), aligned(4), may_alias));
Four four_at(const float* p) { return *reinterpret_cast<const FourInMemory*>(p); }
template <typename Value>
Value larger_of(Value a, Value b) {
  return a > b ? a : b;
}
template <typename Value>
Value smaller_of(Value a, Value b) {
  return a < b ? a : b;
}

// What one logit must be above another so that it is so everywhere between; negative if a logit is no number.
float doubt_of(const float* logits, Index count) {
  // The largest and the smallest, and their sum of zeros: what is no finite number makes that something else.
  Four most[4] = {}, least[4] = {}, zeros[4] = {};
  Index i = 0;
  for (; i + 16 <= count; i += 16) {
    for (int k = 0; k < 4; ++k) {
      const Four values = four_at(logits + i + 4 * k);
      most[k] = larger_of(values, most[k]), least[k] = smaller_of(values, least[k]), zeros[k] += values * 0.0F;
    }
  }
  float largest = 0, zero = 0;
  for (int k = 0; k < 16; ++k) {
    largest = larger_of(largest, larger_of(most[k / 4][k % 4], -least[k / 4][k % 4]));
    zero += zeros[k / 4][k % 4];
  }
  for (; i < count; ++i) largest = larger_of(std::fabs(logits[i]), largest), zero += logits[i] * 0.0F;
  return zero == 0 && largest <= kLargest ? largest * kDoubt : -1;
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

// The largest of some logits and the largest of the others.
struct Best {
  float first, second;
  void add(float value) {
    second = larger_of(second, smaller_of(first, value));
    first = larger_of(first, value);
  }
};

Best best_of(const float* logits, Index classes) {
  const float none = -2 * kLargest;
  Four first = Four{} + none, second = first;
  Index i = 0;
  for (; i + 4 <= classes; i += 4) {
    const Four values = four_at(logits + i);
    second = larger_of(second, smaller_of(first, values));
    first = larger_of(first, values);
  }
  Best best = {none, none};
  for (int k = 0; k < 4; ++k) best.add(first[k]), best.add(second[k]);
  for (; i < classes; ++i) best.add(logits[i]);
  return best;
}

Best best_of(const std::uint8_t* logits, Index classes) {
  Best best = {-1, -1};
  for (Index i = 0; i < classes; ++i) best.add(logits[i]);
  return best;
}

// The best class, if it is above all others by more than `doubt`.
template <typename Number>
std::uint8_t clear_best(const Number* logits, Index classes, float doubt) {
  const Best best = best_of(logits, classes);
  if (!(best.first - best.second > doubt)) return kUnclear;
  Index found = 0;
  while (static_cast<float>(logits[found]) != best.first) ++found;
  return static_cast<std::uint8_t>(found);
}

template <typename Number>
bool label(const linnet_labelling& rule, const Number* logits, const Workspace& work, std::uint8_t* labels) {
  using Mix = typename MixOf<Number>::Type;
  const Index width = rule.width, classes = rule.classes, pixels = Index{rule.height} * width;
  const float doubt = doubt_of(logits, pixels * classes);
  if (doubt < 0) return false;
  for (Index i = 0; i < pixels; ++i) work.best[i] = clear_best(logits + i * classes, classes, doubt);
  find_columns(width, rule.output_width, rule.grid, work.columns);
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
