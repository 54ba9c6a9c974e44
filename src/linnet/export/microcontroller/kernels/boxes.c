/* What an offset or a logit stands for. */
static float linnet_number(int8_t value, float scale, int32_t zero) { return (float)(value - zero) * scale; }

/* A number of a class that grows with its score: the logit, or its share of all. */
static float linnet_value(const int8_t* logits, int32_t label) {
#if LINNET_SOFTMAX
  const float scale = LINNET_MODEL_LOGIT_SCALE;
  const int32_t zero = LINNET_MODEL_LOGIT_ZERO;
  int8_t most = logits[0];
  double total = 0, own = 0;
  for (int32_t i = 1; i < LINNET_MODEL_CLASSES; ++i) most = logits[i] > most ? logits[i] : most;
  for (int32_t i = 0; i < LINNET_MODEL_CLASSES; ++i) {
    const double power = exp((double)(linnet_number(logits[i], scale, zero) - linnet_number(most, scale, zero)));
    total += power;
    if (i == 1 + label) own = power;
  }
  return (float)(own / total);
#else
  return linnet_number(logits[1 + label], LINNET_MODEL_LOGIT_SCALE, LINNET_MODEL_LOGIT_ZERO);
#endif
}

/* The box that offsets from an anchor (centre x, centre y, width, height) mean; 13.8155 is the logarithm of a million,
 * by which no box outgrows its anchor. */
static void linnet_decode(const int8_t* offsets, const float* anchor, linnet_model_box* box) {
  float scaled[4], width, height, x, y;
  for (int32_t i = 0; i < 4; ++i) {
    scaled[i] = linnet_number(offsets[i], LINNET_MODEL_OFFSET_SCALE, LINNET_MODEL_OFFSET_ZERO) * (i < 2 ? 0.1f : 0.2f);
    if (i >= 2 && scaled[i] > 13.8155106f) scaled[i] = 13.8155106f;
  }
  x = anchor[0] + scaled[0] * anchor[2];
  y = anchor[1] + scaled[1] * anchor[3];
  width = anchor[2] * (float)exp((double)scaled[2]) / 2;
  height = anchor[3] * (float)exp((double)scaled[3]) / 2;
  box->x0 = x - width;
  box->y0 = y - height;
  box->x1 = x + width;
  box->y1 = y + height;
}

static float linnet_positive(float value) { return value > 0 ? value : 0; }

static float linnet_area(const linnet_model_box* box) {
  return linnet_positive(box->x1 - box->x0) * linnet_positive(box->y1 - box->y0);
}

/* Whether a better box of the same class overlaps too much. */
static int linnet_suppressed(const linnet_model_box* box, const linnet_model_box* kept, int32_t count, float overlap) {
  for (int32_t i = 0; i < count; ++i) {
    const linnet_model_box* other = &kept[i];
    const float right = box->x1 < other->x1 ? box->x1 : other->x1, left = box->x0 > other->x0 ? box->x0 : other->x0;
    const float bottom = box->y1 < other->y1 ? box->y1 : other->y1, top = box->y0 > other->y0 ? box->y0 : other->y0;
    const float shared = linnet_positive(right - left) * linnet_positive(bottom - top);
    if (other->label == box->label && shared > overlap * (linnet_area(box) + linnet_area(other) - shared)) return 1;
  }
  return 0;
}

static float linnet_within(float value) { return value < 0 ? 0 : value > 1 ? 1 : value; }

/* The best box that is left is taken, again and again. Boxes are looked at by class and then by anchor; what comes
 * behind the last one taken, by its value and then in that order, is all that can be left: nothing has to be marked. */
int32_t linnet_model_boxes(const int8_t* offsets, const int8_t* logits, float least_score, float overlap,
                           linnet_model_box* boxes, int32_t most) {
#if LINNET_SOFTMAX
  const float least = least_score;
#else
  const float least = least_score <= 0   ? -HUGE_VALF
                      : least_score >= 1 ? HUGE_VALF
                                         : (float)log((double)least_score / (1 - (double)least_score));
#endif
  float last = HUGE_VALF;
  int32_t count = 0, given = 0, place = -1;
  while (count < most) {
    float best = 0;
    int32_t found = -1;
    linnet_model_box box;
    for (int32_t i = 0; i < (LINNET_MODEL_CLASSES - 1) * LINNET_MODEL_ANCHORS; ++i) {
      const int32_t label = i / LINNET_MODEL_ANCHORS, anchor = i % LINNET_MODEL_ANCHORS;
      const float value = linnet_value(logits + anchor * LINNET_MODEL_CLASSES, label);
      if (value < least || (found >= 0 && value <= best) || value > last || (value == last && i <= place)) continue;
      linnet_decode(offsets + anchor * 4, linnet_anchors[anchor], &box);
      box.label = label;
      if (linnet_suppressed(&box, boxes, count, overlap)) continue;
      best = value;
      found = i;
      boxes[count] = box;
    }
    if (found < 0) break;
    last = best;
    place = found;
    boxes[count++].score = best;
  }
  /* Cut to the picture last: what lies outside counts where two boxes are compared. */
  for (int32_t i = 0; i < count; ++i) {
    linnet_model_box box = boxes[i];
    box.x0 = linnet_within(box.x0);
    box.y0 = linnet_within(box.y0);
    box.x1 = linnet_within(box.x1);
    box.y1 = linnet_within(box.y1);
#if !LINNET_SOFTMAX
    box.score = (float)(0.5 + 0.5 * tanh(0.5 * (double)box.score));
#endif
    if (box.x1 > box.x0 && box.y1 > box.y0) boxes[given++] = box;
  }
  return given;
}
