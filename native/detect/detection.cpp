// From a detector's output to its boxes: the greedy suppression of linnet.detection, candidate after candidate.
//
// Scores and boxes are made of single float32 operations in the order of linnet.detection, and of exponentials in
// double precision that are rounded once, so that both keep the same boxes. Nothing may be contracted here.

#include <algorithm>
#include <cmath>

#include "engine.h"

namespace linnet {
namespace {

constexpr float kVariances[4] = {0.1F, 0.1F, 0.2F, 0.2F};
constexpr double kLargestGrowth = 13.815510557964274;  // log(1e6)
constexpr Index kMostCandidates = (Index{1} << 31) - 1;
constexpr Index kMostBoxes = 100000;

struct Candidate {
  float value;          // what scores are ordered by
  std::int32_t number;  // class * anchors + anchor
};

// The best comes first: of equals that of the lower class, and of a class the lower anchor.
bool worse(const Candidate& a, const Candidate& b) {
  return a.value < b.value || (a.value == b.value && a.number > b.number);
}

struct Box {
  float corners[4];
  float extent;
  std::int32_t kind;
};

// The parts of the caller's workspace; each begins at a multiple of 8 bytes.
struct Workspace {
  double* powers;         // [1 + classes]
  Candidate* candidates;  // [anchors * classes]
  Box* kept;              // [total]
  std::int32_t* counts;   // [classes]
  Index bytes;
};

Workspace lay_out(const linnet_detection& rule, void* memory) {
  auto* const start = static_cast<unsigned char*>(memory);
  Workspace parts = {};
  const auto take = [&](auto** part, Index count) {
    if (start != nullptr) *part = reinterpret_cast<std::decay_t<decltype(*part)>>(start + parts.bytes);
    parts.bytes += (count * static_cast<Index>(sizeof(**part)) + 7) / 8 * 8;
  };
  take(&parts.powers, Index{1} + rule.classes);
  take(&parts.candidates, rule.anchors * rule.classes);
  take(&parts.kept, rule.total);
  take(&parts.counts, rule.classes);
  return parts;
}

bool is_fraction(double value) { return value >= 0 && value <= 1; }

const char* fault_of(const linnet_detection& rule) {
  if (rule.anchors < 1 || rule.classes < 1 || rule.anchors > kMostCandidates / rule.classes) {
    return "anchors and classes must be at least 1, and their product below 2^31";
  }
  if (rule.scoring != LINNET_SIGMOID && rule.scoring != LINNET_SOFTMAX) return "the scoring is unknown";
  if (!is_fraction(rule.score_threshold) || !is_fraction(rule.iou_threshold)) return "thresholds must be from 0 to 1";
  if (rule.per_class < 1 || rule.per_class > kMostBoxes || rule.total < 1 || rule.total > kMostBoxes) {
    return "from 1 to 100,000 boxes may be kept";
  }
  return nullptr;
}

bool all_finite(const float* values, Index count) {
  // Zero times any finite number is zero.
  int bad = 0;
  for (Index i = 0; i < count; ++i) bad |= values[i] * 0 != 0;
  return bad == 0;
}

bool any_from(const float* values, Index count, float least) {
  int any = 0;
  for (Index i = 0; i < count; ++i) any |= values[i] >= least;
  return any != 0;
}

class Detector {
 public:
  Detector(const linnet_detection& rule, const float* offsets, const float* logits, const float* anchors,
           const Workspace& work)
      : rule_(rule), offsets_(offsets), logits_(logits), anchors_(anchors), work_(work) {}

  // Gives the number of boxes that are written.
  Index detect(float* boxes, float* scores, std::int32_t* classes) {
    rule_.scoring == LINNET_SIGMOID ? find_by_sigmoid() : find_by_softmax();
    std::make_heap(work_.candidates, work_.candidates + count_, worse);
    std::fill(work_.counts, work_.counts + rule_.classes, 0);
    Index kept = 0, written = 0;
    for (; count_ > 0 && kept < rule_.total; --count_) {
      std::pop_heap(work_.candidates, work_.candidates + count_, worse);
      const Candidate best = work_.candidates[count_ - 1];
      const auto kind = static_cast<std::int32_t>(best.number / rule_.anchors);
      if (work_.counts[kind] >= rule_.per_class) continue;
      const Box box = decode(best.number % rule_.anchors, kind);
      if (is_hidden(box, kept)) continue;
      work_.kept[kept++] = box;
      ++work_.counts[kind];
      if (!clip(box, boxes + 4 * written)) continue;
      scores[written] = rule_.scoring == LINNET_SIGMOID
                            ? static_cast<float>(0.5 + 0.5 * std::tanh(0.5 * static_cast<double>(best.value)))
                            : best.value;
      classes[written++] = kind;
    }
    return written;
  }

 private:
  const float* row(Index anchor) const { return logits_ + anchor * (Index{1} + rule_.classes); }

  void add(Index anchor, Index kind, float value) {
    work_.candidates[count_++] = {value, static_cast<std::int32_t>(kind * rule_.anchors + anchor)};
  }

  // The logits themselves are in the order of the scores.
  void find_by_sigmoid() {
    const double threshold = rule_.score_threshold;
    const auto least = static_cast<float>(threshold > 0 && threshold < 1 ? std::log(threshold / (1 - threshold))
                                                                         : std::copysign(HUGE_VAL, threshold - 0.5));
    for (Index anchor = 0; anchor < rule_.anchors; ++anchor) {
      const float* logits = row(anchor) + 1;
      if (!any_from(logits, rule_.classes, least)) continue;
      for (Index kind = 0; kind < rule_.classes; ++kind) {
        if (logits[kind] >= least) add(anchor, kind, logits[kind]);
      }
    }
  }

  void find_by_softmax() {
    const double threshold = rule_.score_threshold;
    const auto least = static_cast<float>(threshold);
    // A class's share is at most its ratio to the background's; a little less than the bound, for the rounding.
    const auto bound = static_cast<float>(threshold > 0 ? std::log(threshold) - 1e-3 : -HUGE_VAL);
    for (Index anchor = 0; anchor < rule_.anchors; ++anchor) {
      const float* logits = row(anchor);
      if (!any_from(logits + 1, rule_.classes, logits[0] + bound)) continue;
      float most = logits[0];
      for (Index i = 1; i <= rule_.classes; ++i) most = logits[i] > most ? logits[i] : most;
      double sum = 0;
      for (Index i = 0; i <= rule_.classes; ++i) {
        const float below = logits[i] - most;
        work_.powers[i] = std::exp(static_cast<double>(below));
        sum += work_.powers[i];
      }
      for (Index kind = 0; kind < rule_.classes; ++kind) {
        const auto score = static_cast<float>(work_.powers[1 + kind] / sum);
        if (score >= least) add(anchor, kind, score);
      }
    }
  }

  Box decode(Index number, std::int32_t kind) const {
    const float *offset = offsets_ + 4 * number, *anchor = anchors_ + 4 * number;
    Box box = {};
    box.kind = kind;
    for (int axis = 0; axis < 2; ++axis) {
      const float distance = offset[axis] * kVariances[axis] * anchor[2 + axis];
      const float centre = anchor[axis] + distance;
      const float growth = smaller_of(offset[2 + axis] * kVariances[2 + axis], static_cast<float>(kLargestGrowth));
      const float half = anchor[2 + axis] * static_cast<float>(std::exp(static_cast<double>(growth))) / 2;
      box.corners[axis] = centre - half;
      box.corners[2 + axis] = centre + half;
    }
    box.extent = positive(box.corners[2] - box.corners[0]) * positive(box.corners[3] - box.corners[1]);
    return box;
  }

  // Whether a better box of its class covers it too much.
  bool is_hidden(const Box& box, Index kept) const {
    const auto most = static_cast<float>(rule_.iou_threshold);
    for (Index i = 0; i < kept; ++i) {
      const Box& other = work_.kept[i];
      if (other.kind != box.kind) continue;
      const float across = smaller_of(box.corners[2], other.corners[2]) - larger_of(box.corners[0], other.corners[0]);
      const float down = smaller_of(box.corners[3], other.corners[3]) - larger_of(box.corners[1], other.corners[1]);
      const float shared = positive(across) * positive(down);
      if (shared > most * (box.extent + other.extent - shared)) return true;
    }
    return false;
  }

  // False if nothing of it lies in the picture.
  static bool clip(const Box& box, float* corners) {
    for (int i = 0; i < 4; ++i) corners[i] = smaller_of(larger_of(box.corners[i], 0), 1);
    return corners[2] > corners[0] && corners[3] > corners[1];
  }

  static float smaller_of(float a, float b) { return a < b ? a : b; }
  static float larger_of(float a, float b) { return a > b ? a : b; }
  static float positive(float a) { return a > 0 ? a : 0; }

  const linnet_detection& rule_;
  const float *offsets_, *logits_, *anchors_;
  const Workspace& work_;
  Index count_ = 0;  // of candidates
};

}  // namespace
}  // namespace linnet

using namespace linnet;

extern "C" int64_t linnet_detect_workspace(const linnet_detection* rule) {
  return rule == nullptr || linnet::fault_of(*rule) != nullptr ? -1 : lay_out(*rule, nullptr).bytes;
}

extern "C" int linnet_detect(const linnet_detection* rule, const float* offsets, const float* logits,
                             const float* anchors, void* workspace, float* boxes, float* scores, int32_t* classes,
                             int64_t* count, linnet_error* error) {
  if (rule == nullptr || offsets == nullptr || logits == nullptr || anchors == nullptr || workspace == nullptr ||
      boxes == nullptr || scores == nullptr || classes == nullptr || count == nullptr) {
    return fail(error, LINNET_BAD_ARGUMENT,
                "Detecting needs a rule, a network's output, anchors and places for boxes.");
  }
  if (const char* fault = linnet::fault_of(*rule)) {
    return fail(error, LINNET_BAD_ARGUMENT, "Nothing can be detected: %s.", fault);
  }
  if (!all_finite(offsets, 4 * rule->anchors) || !all_finite(logits, (1 + Index{rule->classes}) * rule->anchors)) {
    return fail(error, LINNET_BAD_ARGUMENT, "The network's output is not a number: its weights are damaged.");
  }
  const Workspace work = lay_out(*rule, workspace);
  *count = Detector(*rule, offsets, logits, anchors, work).detect(boxes, scores, classes);
  return LINNET_OK;
}
