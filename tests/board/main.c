/* Runs an exported network on pictures; says scores in hexadecimal, instructions and the stack that was used. */
#include "model.h"
#include "start.h"

#ifdef LINNET_MODEL_ANCHORS
#define SIZES {LINNET_MODEL_ANCHORS * 4, LINNET_MODEL_ANCHORS * LINNET_MODEL_CLASSES}
static int8_t offsets[LINNET_MODEL_ANCHORS * 4], logits[LINNET_MODEL_ANCHORS * LINNET_MODEL_CLASSES];
#define OUTPUTS offsets, logits
static int8_t* const outputs[] = {OUTPUTS};
#else
#define SIZES {LINNET_MODEL_CLASSES}
static int8_t scores[LINNET_MODEL_CLASSES];
#define OUTPUTS scores
static int8_t* const outputs[] = {OUTPUTS};
#endif

#define PICTURE (LINNET_MODEL_HEIGHT * LINNET_MODEL_WIDTH * LINNET_MODEL_CHANNELS)

extern const uint8_t pictures[];
extern const int32_t picture_count;

static void say_hex(uint32_t value, int digits) {
  char text[9];
  text[digits] = 0;
  while (digits-- > 0) {
    text[digits] = "0123456789abcdef"[value & 15];
    value >>= 4;
  }
  board_say(text);
}

int main(void) {
  static const int32_t sizes[] = SIZES;
  uint32_t ticks = 0;
  for (int32_t picture = 0; picture < picture_count; ++picture) {
    board_start_ticks();
    linnet_model_run(pictures + picture * PICTURE, OUTPUTS);
    ticks = board_ticks();
    for (uint32_t output = 0; output < sizeof outputs / sizeof *outputs; ++output) {
      for (int32_t i = 0; i < sizes[output]; ++i) say_hex((uint8_t)outputs[output][i], 2);
    }
    board_say("\n");
  }
  board_say("ticks ");
  say_hex(ticks, 8);
  board_say("\nstack ");
  say_hex(board_stack_used(), 8);
  board_say("\n");
  return 0;
}
