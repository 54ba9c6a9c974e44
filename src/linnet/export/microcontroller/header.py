"""The header beside the C file: what a program is offered."""

from __future__ import annotations

import textwrap

from linnet.export.microcontroller.arrays import number
from linnet.export.microcontroller.layers import Network

FORM = """\
{title}
/* Written by linnet export: do not edit. */
#ifndef LINNET_MODEL_H
#define LINNET_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{macros}
/* pixels: [HEIGHT][WIDTH][CHANNELS], {colours}. {gives}
 * One picture at a time: nothing here may be called while another call runs. */
void linnet_model_run(const uint8_t* pixels, {outputs});

/* The same row by row, from the top, so that the picture need not exist whole: begin, HEIGHT times row, end.
 * `linnet_model_end` gives 0; or, if rows are missing, their number, and nothing is computed. */
void linnet_model_begin(void);
void linnet_model_row(const uint8_t* pixels);
int32_t linnet_model_end({outputs});
{boxes}
#ifdef __cplusplus
}}
#endif

#endif
"""


BOXES = """
/* A box that was found: two corners as shares of the picture, and the class, from 0, without the background. */
typedef struct {{
  float x0, y0, x1, y1;
  float score;
  int32_t label;
}} linnet_model_box;

/* In {file}, which calls exp, log and tanh: the boxes of at least that score, best first, and their number, at most
 * `most`. Of two boxes of a class that share more than `overlap` of what they cover together the better one stays.
 * linnet predict takes 0.3 and 0.5. */
int32_t linnet_model_boxes(const int8_t* offsets, const int8_t* logits, float least_score, float overlap,
                           linnet_model_box* boxes, int32_t most);
"""


def write_header(network: Network, *, title: str, colours: str, ram: int, boxes: str = "") -> str:
    """The header.

    Args:
        network: what is computed.
        title: what it is, and where it comes from.
        colours: of the picture: `RGB` or `grey`.
        ram: bytes of static memory.
        boxes: name of the file that makes a detector's boxes.
    """
    height, width, channels = network.input_shape
    macros: dict[str, str] = {"HEIGHT": str(height), "WIDTH": str(width), "CHANNELS": str(channels)}
    if len(network.outputs) == 1:
        (scores,) = network.outputs
        macros |= {"CLASSES": str(scores.size), "SCORE_SCALE": number(scores.scale), "SCORE_ZERO": f"({scores.zero})"}
        gives = "Gives the scores, [CLASSES]:\n * a class's logit is SCORE_SCALE * (score - SCORE_ZERO)."
        outputs = "int8_t* scores"
    else:
        offsets, logits = network.outputs
        anchors = offsets.size // 4
        macros |= {"ANCHORS": str(anchors), "CLASSES": str(logits.size // anchors)}
        for name, output in (("OFFSET", offsets), ("LOGIT", logits)):
            macros |= {f"{name}_SCALE": number(output.scale), f"{name}_ZERO": f"({output.zero})"}
        gives = (
            "Gives [ANCHORS][4] and\n * [ANCHORS][CLASSES], the background first: numbers are OFFSET_SCALE * "
            "(offset - OFFSET_ZERO), and so on."
        )
        outputs = "int8_t* offsets, int8_t* logits"
    macros["RAM"] = f"{ram} /* bytes of static memory */"
    lines = "".join(f"#define LINNET_MODEL_{name} {value}\n" for name, value in macros.items())
    comment = "\n".join(textwrap.wrap(title, 116, break_long_words=False, break_on_hyphens=False))
    return FORM.format(
        title="/* " + comment.replace("\n", "\n * ") + " */",
        macros=lines,
        colours=colours,
        gives=gives,
        outputs=outputs,
        boxes=BOXES.format(file=boxes) if boxes else "",
    )
