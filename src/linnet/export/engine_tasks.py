"""What the files of `linnet.export.engine_folder` have by what the network is for; `@name@` is filled in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskTexts:
    """Parts of the files' texts, in C.

    Attributes:
        macros: of the header.
        declarations: of the header: what a program calls.
        run: the functions of model.c.
        main: fields of `engine_sources.MAIN`.
        check: fields of `engine_sources.CHECK`.
    """

    macros: str
    declarations: str
    run: str
    main: dict[str, str]
    check: dict[str, str]


PIXELS = "a picture [HEIGHT][WIDTH][CHANNELS]: @colours@, from 0 to 255"

CLASSIFICATION = TaskTexts(
    macros="#define LINNET_MODEL_NUMBERS @numbers@ /* logits, one a class; or features */\n",
    declarations=f"""\
/* Logits of {PIXELS}. */
int linnet_model_run(linnet_session* session, const uint8_t* pixels, float* scores, linnet_error* error);
""",
    run="""\
@values@int linnet_model_run(linnet_session* session, const uint8_t* pixels, float* scores, linnet_error* error) {
@declared@  void* places[] = {@place@};
  const int code = linnet_session_run(session, pixels, 1, places, error);
@spelt@  return code;
}
""",
    main={
        "usage": ": prints the logit and the name of every class.",
        "count": "3",
        "places": "  static float scores[LINNET_MODEL_NUMBERS];\n",
        "there": "",
        "call": "linnet_model_run(session, pixels, scores, &error)",
        "say": """\
  for (int i = 0; code == LINNET_OK && i < LINNET_MODEL_NUMBERS; ++i)
    printf("%.9g %s\\n", scores[i], linnet_model_classes[i]);
""",
    },
    check={"places": "", "call": "linnet_model_run(session, pixels, numbers, &error)", "more": ""},
)

NUMBERS = """\
/* Where the tensors begin in the workspace, in bytes, and where they end. */
static const int64_t begins[] = {@begins@};

/* What the network's numbers are put together of: so many of a tensor from a place on, and the row of `values` that
 * says what bytes stand for; -1 where they are floats. */
static const struct {
  int32_t tensor, start, count, row;
} parts[] = {
@parts@};

static const float values[][256] = {
@values@};

/* Runs the network; its tensors are in the workspace then. */
static int run(linnet_session* session, const uint8_t* pixels, void* workspace, linnet_error* error) {
  void* places[@output_count@];
  for (int i = 0; i < @output_count@; ++i) places[i] = (unsigned char*)workspace + begins[i];
  return linnet_session_run(session, pixels, 1, places, error);
}

int linnet_model_numbers(linnet_session* session, const uint8_t* pixels, void* workspace, float* numbers,
                         linnet_error* error) {
  const int code = run(session, pixels, workspace, error);
  for (size_t i = 0; code == LINNET_OK && i < sizeof(parts) / sizeof(parts[0]); ++i) {
    const unsigned char* bytes = (const unsigned char*)workspace + begins[parts[i].tensor];
    const float* floats = (const float*)(const void*)bytes;
    for (int32_t j = parts[i].start; j < parts[i].start + parts[i].count; ++j)
      *numbers++ = parts[i].row < 0 ? floats[j] : values[parts[i].row][bytes[j]];
  }
  return code;
}
"""

DETECTION = TaskTexts(
    macros="""\
#define LINNET_MODEL_ANCHORS @anchors@
#define LINNET_MODEL_CLASSES @classes@ /* without the background */
#define LINNET_MODEL_NUMBERS @numbers@ /* offsets and logits */
#define LINNET_MODEL_BOXES @boxes@ /* at most, of a picture */
""",
    declarations=f"""\
/* A box that was found: two corners as shares of the picture, from 0 to 1, its score, and its class. */
typedef struct linnet_model_box {{
  float x0, y0, x1, y1;
  float score;
  int32_t label;
}} linnet_model_box;

/* Bytes that a call of the functions below needs for itself, aligned to 8; -1 if the library is another one. */
int64_t linnet_model_workspace(void);

/* The boxes of {PIXELS};
 * the best first, at most BOXES. Those below `least_score` are left out, and of two of a class that share more than
 * `overlap` of what they cover together the better one stays: linnet takes @least@ and @overlap@. */
int linnet_model_run(linnet_session* session, const uint8_t* pixels, double least_score, double overlap,
                     void* workspace, linnet_model_box* boxes, int64_t* count, linnet_error* error);

/* What boxes are made of: offsets [ANCHORS][4], and logits [ANCHORS][1 + CLASSES] behind them, the background first. */
int linnet_model_numbers(linnet_session* session, const uint8_t* pixels, void* workspace, float* numbers,
                         linnet_error* error);
""",
    run=NUMBERS
    + """
/* Centre x, centre y, width and height, as shares of the picture. */
static const float anchors[LINNET_MODEL_ANCHORS][4] = {
@places_of_anchors@};

static linnet_detection rule_of(double least_score, double overlap) {
  const linnet_detection rule = {.anchors = LINNET_MODEL_ANCHORS, .classes = LINNET_MODEL_CLASSES,
                                 .scoring = @scoring@, .score_threshold = least_score, .iou_threshold = overlap,
                                 .per_class = @per_class@, .total = LINNET_MODEL_BOXES};
  return rule;
}

/* Behind the tensors: the network's numbers, then corners, scores and classes, then what linnet_detect needs. */
#define NUMBERS_AT begins[@output_count@]
#define CORNERS_AT (NUMBERS_AT + 4 * (int64_t)LINNET_MODEL_NUMBERS)
#define SCORES_AT (CORNERS_AT + 16 * LINNET_MODEL_BOXES)
#define LABELS_AT (SCORES_AT + 4 * LINNET_MODEL_BOXES)
#define DETECTING_AT ((LABELS_AT + 4 * LINNET_MODEL_BOXES + 7) / 8 * 8)

int64_t linnet_model_workspace(void) {
  const linnet_detection rule = rule_of(0, 1);
  const int64_t detecting = linnet_detect_workspace(&rule);
  return detecting < 0 ? -1 : DETECTING_AT + detecting;
}

int linnet_model_run(linnet_session* session, const uint8_t* pixels, double least_score, double overlap,
                     void* workspace, linnet_model_box* boxes, int64_t* count, linnet_error* error) {
  unsigned char* const memory = workspace;
  float *const numbers = (float*)(void*)(memory + NUMBERS_AT), *const corners = (float*)(void*)(memory + CORNERS_AT);
  float* const scores = (float*)(void*)(memory + SCORES_AT);
  int32_t* const labels = (int32_t*)(void*)(memory + LABELS_AT);
  const linnet_detection rule = rule_of(least_score, overlap);
  int code = linnet_model_numbers(session, pixels, workspace, numbers, error);
  if (code == LINNET_OK)
    code = linnet_detect(&rule, numbers, numbers + 4 * LINNET_MODEL_ANCHORS, &anchors[0][0], memory + DETECTING_AT,
                         corners, scores, labels, count, error);
  for (int64_t i = 0; code == LINNET_OK && i < *count; ++i) {
    const float* at = corners + 4 * i;
    const linnet_model_box box = {at[0], at[1], at[2], at[3], scores[i], labels[i]};
    boxes[i] = box;
  }
  return code;
}
""",
    main={
        "usage": ": prints score, class, left, top, right and bottom of what is on the picture.",
        "count": "3",
        "places": """\
  static linnet_model_box boxes[LINNET_MODEL_BOXES];
  int64_t found = 0;
  void* workspace = malloc((size_t)linnet_model_workspace());
""",
        "there": " || workspace == NULL",
        "call": "linnet_model_run(session, pixels, @least@, @overlap@, workspace, boxes, &found, &error)",
        "say": """\
  for (const linnet_model_box* box = boxes; code == LINNET_OK && box < boxes + found; ++box)
    printf("%.9g %s %.9g %.9g %.9g %.9g\\n", box->score, linnet_model_classes[box->label], box->x0, box->y0, box->x1,
           box->y1);
  free(workspace);
""",
    },
    check={
        "places": """\
  static linnet_model_box boxes[LINNET_MODEL_BOXES];
  int64_t found = 0;
  void* workspace = malloc((size_t)linnet_model_workspace());
""",
        "call": "linnet_model_numbers(session, pixels, workspace, numbers, &error)",
        "more": """\
    memset(boxes, 0, sizeof(boxes));
    if (code == LINNET_OK) code = linnet_model_run(session, pixels, @checked@, workspace, boxes, &found, &error);
    fwrite(&found, 1, sizeof(found), stdout);
    fwrite(boxes, 1, sizeof(boxes), stdout);
""",
    },
)

SEGMENTATION = TaskTexts(
    macros="""\
#define LINNET_MODEL_CLASSES @classes@
#define LINNET_MODEL_MAP_HEIGHT @map_height@ /* of the logits */
#define LINNET_MODEL_MAP_WIDTH @map_width@
#define LINNET_MODEL_NUMBERS @numbers@ /* logits */
""",
    declarations=f"""\
/* Bytes that a call of the functions below needs for itself, for a label map of this size, aligned to 8; -1 if the
 * library is another one, or the size none. */
int64_t linnet_model_workspace(int32_t height, int32_t width);

/* The class of every pixel of {PIXELS}.
 * `labels` are [height][width], of any size up to 65,536: that of the network, or that which the picture once had. */
int linnet_model_run(linnet_session* session, const uint8_t* pixels, int32_t height, int32_t width, void* workspace,
                     uint8_t* labels, linnet_error* error);

/* What labels are made of: logits [MAP_HEIGHT][MAP_WIDTH][CLASSES]. */
int linnet_model_numbers(linnet_session* session, const uint8_t* pixels, void* workspace, float* numbers,
                         linnet_error* error);
""",
    run=NUMBERS
    + """
static linnet_labelling rule_of(int32_t height, int32_t width) {
  const linnet_labelling rule = {.height = LINNET_MODEL_MAP_HEIGHT, .width = LINNET_MODEL_MAP_WIDTH,
                                 .classes = LINNET_MODEL_CLASSES, .precision = @precision@, .grid = @grid@,
                                 .output_height = height, .output_width = width};
  return rule;
}

int64_t linnet_model_workspace(int32_t height, int32_t width) {
  const linnet_labelling rule = rule_of(height, width);
  const int64_t labelling = linnet_labels_workspace(&rule);
  return labelling < 0 ? -1 : begins[1] + labelling;
}

int linnet_model_run(linnet_session* session, const uint8_t* pixels, int32_t height, int32_t width, void* workspace,
                     uint8_t* labels, linnet_error* error) {
  const linnet_labelling rule = rule_of(height, width);
  int code = run(session, pixels, workspace, error);
  if (code == LINNET_OK)
    code = linnet_labels(&rule, workspace, (unsigned char*)workspace + begins[1], labels, error);
  return code;
}
""",
    main={
        "usage": " labels.pgm: writes the class of every pixel, a grey picture.",
        "count": "4",
        "places": """\
  static uint8_t labels[LINNET_MODEL_HEIGHT * LINNET_MODEL_WIDTH];
  void* workspace = malloc((size_t)linnet_model_workspace(LINNET_MODEL_HEIGHT, LINNET_MODEL_WIDTH));
""",
        "there": " || workspace == NULL",
        "call": (
            "linnet_model_run(session, pixels, LINNET_MODEL_HEIGHT, LINNET_MODEL_WIDTH, workspace,\n"
            "                                                labels, &error)"
        ),
        "say": """\
  FILE* file = code == LINNET_OK ? fopen(arguments[3], "wb") : NULL;
  if (code == LINNET_OK && file == NULL) perror(arguments[3]);
  if (file == NULL) return 1;
  fprintf(file, "P5 %d %d 255\\n", LINNET_MODEL_WIDTH, LINNET_MODEL_HEIGHT);
  fwrite(labels, 1, sizeof(labels), file);
  if (fclose(file) != 0) code = LINNET_BAD_ARGUMENT;
  free(workspace);
""",
    },
    check={
        "places": """\
  static uint8_t labels[LINNET_MODEL_HEIGHT * LINNET_MODEL_WIDTH];
  void* workspace = malloc((size_t)linnet_model_workspace(LINNET_MODEL_HEIGHT, LINNET_MODEL_WIDTH));
""",
        "call": "linnet_model_numbers(session, pixels, workspace, numbers, &error)",
        "more": """\
    if (code == LINNET_OK)
      code = linnet_model_run(session, pixels, LINNET_MODEL_HEIGHT, LINNET_MODEL_WIDTH, workspace, labels, &error);
    fwrite(labels, 1, sizeof(labels), stdout);
""",
    },
)

TASKS = {"classification": CLASSIFICATION, "detection": DETECTION, "segmentation": SEGMENTATION}
