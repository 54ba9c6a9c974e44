"""Results drawn on their pictures, readable at any size."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from linnet.colours import CLASSES

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from linnet.results.result import Result

READABLE_SIDE = 320
"""Smaller pictures are enlarged to about that before boxes are drawn on them."""

LONGEST_SIDE = 4000
"""Not beyond that: a thin picture would become a very long one."""


class Box(NamedTuple):
    """What is drawn: corners in pixels, a colour's number, and what stands beside it."""

    corners: tuple[float, float, float, float]
    colour: int
    text: str


def draw(image: Image.Image, result: Result) -> Image.Image:
    """A copy with the best class on a strip under it, with the boxes of what was found, or tinted by its classes."""
    return result.draw(image)


def draw_boxes(image: Image.Image, boxes: list[Box]) -> Image.Image:
    """A copy with boxes, of which the small lie on top; small pictures are enlarged by a whole number."""
    from PIL import ImageDraw

    times = max(min(math.ceil(READABLE_SIDE / min(image.size)), LONGEST_SIDE // max(image.size)), 1)
    canvas = image.resize((times * image.width, times * image.height)) if times > 1 else image.copy()
    pen = ImageDraw.Draw(canvas)
    font = _font(max(11, min(canvas.size) // 40))
    for box in sorted(boxes, key=lambda box: _area(box.corners), reverse=True):
        x0, y0, x1, y1 = (times * value for value in box.corners)
        _draw_box(pen, canvas.size, box._replace(corners=(x0, y0, x1, y1)), font)
    return canvas


def _area(corners: tuple[float, float, float, float]) -> float:
    return (corners[2] - corners[0]) * (corners[3] - corners[1])


def _draw_box(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: Box,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    colour = CLASSES[box.colour % len(CLASSES)]
    x0, y0, x1, y1 = box.corners
    # The far corner of the last pixel that the box covers is the box's own.
    pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=colour, width=max(2, min(size) // 250))
    _, _, right, bottom = pen.textbbox((0, 0), box.text, font=font)
    width, height = right + 4, bottom + 4
    # Above the box; inside it where there is no room, and never beyond the picture.
    left = max(min(x0, size[0] - width), 0)
    top = y0 - height if y0 >= height else y0
    pen.rectangle((left, top, left + width, top + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    pen.text((left + 2, top + 1), box.text, fill="black" if bright else "white", font=font)


def draw_caption(image: Image.Image, text: str) -> Image.Image:
    """A copy with a line of text on a strip under it."""
    from PIL import Image

    strip = caption_strip(image.size, text)
    canvas = Image.new("RGB", (image.width, image.height + strip.height))
    canvas.paste(image)
    canvas.paste(strip, (0, image.height))
    return canvas


def caption_strip(size: tuple[int, int], text: str) -> Image.Image:
    """A line of text on a strip that goes under a picture of (width, height) pixels."""
    from PIL import Image, ImageDraw

    font_size = max(12, min(size) // 20)
    strip = Image.new("RGB", (size[0], round(font_size * 1.8)), "white")
    pen = ImageDraw.Draw(strip)
    while pen.textlength(text, font=_font(font_size)) > strip.width - font_size and font_size > 8:
        font_size -= 1
    pen.text((font_size // 2, strip.height // 2), text, fill="black", font=_font(font_size), anchor="lm")
    return strip


@cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own, which it reads anew each time."""
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
