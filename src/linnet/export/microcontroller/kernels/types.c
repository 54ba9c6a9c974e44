/* A tensor in the arena, or a ring of its rows: row y is in slot y % slots, pixel by pixel, channel by channel. */
typedef struct {
  int32_t offset;
  int32_t slots, height, width, channels;
} linnet_map;

/* What a layer sums, and how its sums become int8. */
typedef struct {
  const int8_t* weights;        /* [channels][length]; of a filter of 3 x 3 pixels [9][channels] */
  const int32_t* bias;          /* with what the zero point of the input makes of all weights */
  const linnet_factor* factors; /* of each channel */
  int32_t length, channels;
  int32_t weight_zero;
  int32_t once; /* whether fixed point rounds its sums once: a linear layer */
  linnet_range range;
} linnet_layer;

/* The sum of two int8. */
typedef struct {
  linnet_terms terms;
  int32_t first_zero, second_zero, zero;
} linnet_sum;

/* What makes the rows of one tensor: a filter, or products with gathered pixels, or both. */
typedef struct {
  const linnet_layer* filter;  /* null: there is none */
  const linnet_layer* product; /* the same */
  const linnet_sum* sum;       /* the same: how `added` is added */
  const int8_t* outside;       /* a pixel that stands outside of the input */
  linnet_map input, output, added;
  int32_t kernel, stride, dilation, top, left; /* of the window; kernel 0: pixel by pixel */
  int32_t tile, pixels;                        /* where in the arena so many pixels are gathered at a time */
} linnet_stage;

static struct {
  int32_t given;                         /* rows of the picture */
  int32_t made[LINNET_MOST_STAGES];      /* rows of each stage of the chain that runs */
  int32_t words[LINNET_ARENA_BYTES / 4]; /* the arena */
} linnet_state;

static int8_t* linnet_at(int32_t offset) { return (int8_t*)linnet_state.words + offset; }

static int8_t* linnet_row(const linnet_map* map, int32_t y) {
  return linnet_at(map->offset) + y % map->slots * map->width * map->channels;
}
