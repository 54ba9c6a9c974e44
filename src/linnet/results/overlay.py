"""Classes of pixels laid over their picture, with a legend that says which colour is which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from linnet.colours import CLASSES, QUIET

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from linnet.results.segmentation import Segmentation

STRENGTH = 0.5
"""Share of the colour in a pixel; its outline has all of it."""

READABLE_WIDTH = 360
"""Narrower pictures are enlarged to about that."""

IGNORED = 255
"""Of a mask's values that which is of no class."""

LONGEST_SIDE = 4000
"""Not beyond that: a thin picture would become a very long one."""

STEPS, DARKEST, BRIGHTEST = 9, 120, 700
"""Levels of each channel among which colours are chosen, and the sums of channels that are nearly black and white."""

BACKGROUND = "background"
"""A class of this name is left as it is."""

LEGEND = 40
"""Entries of a legend at most; the smallest classes are left out of it."""


@cache
def palette() -> NDArray[np.uint8]:
    """(256, 3) RGB, a colour for every class: those of boxes first, then each as far from all before as there is."""
    levels = np.linspace(0, 255, STEPS).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    brightness = candidates.sum(axis=1)
    candidates = candidates[(brightness > DARKEST) & (brightness < BRIGHTEST)]
    chosen = [np.array(colour, np.float64) for colour in CLASSES]
    distance = np.full(len(candidates), np.inf)
    for colour in chosen:
        distance = np.minimum(distance, np.abs(candidates - colour).sum(axis=1))
    while len(chosen) < 256:
        chosen.append(candidates[distance.argmax()])
        distance = np.minimum(distance, np.abs(candidates - chosen[-1]).sum(axis=1))
    return np.array(chosen).astype(np.uint8)


def lay_over(image: Image.Image, labels: NDArray[np.uint8], clear: Collection[int] = ()) -> Image.Image:
    """A copy of the picture with each pixel tinted by its class, and lines between the classes.

    Args:
        image: RGB.
        labels: (H, W) uint8 classes of its pixels; 255 is left as it is.
        clear: classes that are left as they are too.
    """
    from PIL import Image

    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    colours = palette()[labels].astype(np.float32)  # (H, W, 3)
    tinted = ~np.isin(labels, [*clear, IGNORED])
    share = (np.where(outlines(labels), 1.0, STRENGTH) * tinted)[..., None]
    return Image.fromarray((pixels * (1 - share) + colours * share).round().astype(np.uint8))


def outlines(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W): pixels whose right or lower neighbour has another class."""
    edge = np.zeros(labels.shape, np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def draw_segmentation(image: Image.Image, result: Segmentation) -> Image.Image:
    """The overlay of a result with its legend below it; small pictures are enlarged by a whole number."""
    from PIL import Image

    times = max(min(-(-READABLE_WIDTH // image.width), LONGEST_SIDE // max(image.size)), 1)
    labels = result.labels.repeat(times, axis=0).repeat(times, axis=1)
    if times > 1:
        image = image.resize((times * image.width, times * image.height))
    overlay = lay_over(image, labels, background_of(result.classes))
    regions = result.top(LEGEND)
    legend = draw_legend(overlay.width, [(f"{each.label} {each.share:.1%}", each.index) for each in regions])
    sheet = Image.new("RGB", (overlay.width, overlay.height + legend.height), "white")
    sheet.paste(overlay)
    sheet.paste(legend, (0, overlay.height))
    return sheet


def background_of(classes: Sequence[str] | None) -> list[int]:
    """The classes that an overlay leaves as they are."""
    return [index for index, name in enumerate(classes or ()) if name.lower() == BACKGROUND]


def draw_legend(width: int, entries: Sequence[tuple[str, int]]) -> Image.Image:
    """A strip of squares in the colours of classes, each with its text, in as many lines as it takes.

    Args:
        width: of the strip in pixels.
        entries: text and class of each.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=min(max(12, width // 60), 18))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    line = round(font.size * 1.7)  # type: ignore[union-attr]
    gap, places = line // 3, []
    x, y = gap, gap
    for text, index in entries:
        text = _shortened(text, width - line - 3 * gap, lambda words: measure.textlength(words, font=font))
        needed = line + round(measure.textlength(text, font=font)) + 2 * gap
        if x > gap and x + needed > width:
            x, y = gap, y + line
        places.append((x, y, text, index))
        x += needed
    strip = Image.new("RGB", (width, y + line + gap if entries else 1), "white")
    pen = ImageDraw.Draw(strip)
    for x, y, text, index in places:
        side = round(line * 0.7)
        pen.rectangle((x, y, x + side, y + side), fill=tuple(palette()[index].tolist()), outline=QUIET)
        pen.text((x + side + gap, y + side / 2), text, fill="black", font=font, anchor="lm")
    return strip


def _shortened(text: str, width: float, length: Callable[[str], float]) -> str:
    while length(text) > width and len(text) > 2:
        text = f"{text.rstrip('…')[:-1]}…"
    return text
