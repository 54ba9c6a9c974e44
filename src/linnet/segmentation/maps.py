"""Label maps: the best class of every pixel, decided while the scores are resized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linnet.architecture.operations import Grid
from linnet.engine.resizing import places, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = 255
"""What a mask has where nothing is said: neither learnt nor counted."""

MOST_CLASSES = 255
"""A mask holds an index in a byte, of which one value is `IGNORED`."""

BAND = 1 << 20
"""Scores that are resized at a time, so that the map of all classes at the picture's size never exists."""


def label_map(logits: NDArray[np.float32], size: tuple[int, int], grid: Grid) -> NDArray[np.uint8]:
    """The best class of every pixel, of equals the one with the lower index.

    Args:
        logits: (h, w, classes) of the whole picture.
        size: (width, height) of the picture.
        grid: how the logits become those of pixels, as `linnet.architecture.Resize` has it.

    Returns:
        (H, W) uint8 classes.

    Raises:
        ValueError: if a logit is not a number.
    """
    check_finite(logits)
    width, height = size
    high, wide, classes = logits.shape
    if (high, wide) == (height, width):
        return logits.argmax(axis=2).astype(np.uint8)
    found = np.empty((height, width), np.uint8)
    across = resize(logits[None], (high, width), grid)[0]  # (h, W, classes)
    rows = places(high, height, grid)
    step = max(BAND // (width * classes), 1)
    for start in range(0, height, step):
        band = slice(start, start + step)
        top, bottom = across[rows.low[band]], across[rows.high[band]]
        found[band] = (top + (bottom - top) * rows.share[band, None, None]).argmax(axis=2)
    return found


def check_finite(logits: NDArray[np.float32]) -> None:
    """Raises a ValueError if a logit is not a number."""
    if not np.isfinite(logits).all():
        raise ValueError("The network's output is not a number: its weights are damaged.")
