"""Label maps: the best class of every pixel, decided while the scores are resized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture.operations import Grid
from linnet.engine.resizing import mixed
from linnet.quantisation import rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.quantisation.scheme import Quantisation

IGNORED = 255
"""What a mask has where nothing is said: neither learnt nor counted."""

MOST_CLASSES = 255
"""A mask holds an index in a byte, of which one value is `IGNORED`."""

BAND = 1 << 20
"""Scores that are resized at a time, so that the map of all classes at the picture's size never exists."""

LARGEST = 1e37
"""Beyond it what lies between two scores could be infinite."""


def label_map(
    logits: NDArray[np.float32],
    size: tuple[int, int],
    grid: Grid,
    *,
    quantisation: Quantisation | None = None,
    native: bool = False,
) -> NDArray[np.uint8]:
    """The best class of every pixel, of equals the one with the lower index.

    Args:
        logits: (h, w, classes) of the whole picture, as a segmenter gives them.
        size: (width, height) of the picture.
        grid: how the logits become those of pixels, as `linnet.architecture.Resize` has it.
        quantisation: of a quantised network: its logits are resized by the integer rule, as LiteRT does it.
        native: whether the engine decides; the labels are the same.

    Returns:
        (H, W) uint8 classes.

    Raises:
        ValueError: if a logit is not a number, or beyond all reason.
    """
    check_finite(logits)
    given: NDArray[Any] = logits
    if quantisation is not None:
        whole = rule.quantise(logits, quantisation.encodings["logits"], quantisation.dtype)
        # Their order, and what lies between them, is that of bytes from 0 on.
        given = (whole.astype(np.int16) - quantisation.limits[0]).astype(np.uint8)
    if native:
        from linnet.engine.labels import native_labels

        return native_labels(given, size[::-1], grid)
    return byte_or_float_labels(given, size, grid)


def byte_or_float_labels(logits: NDArray[Any], size: tuple[int, int], grid: Grid) -> NDArray[np.uint8]:
    """`label_map` of logits in float32, or of a quantised network's as bytes, in numpy."""
    width, height = size
    found = np.empty((height, width), np.uint8)
    step = max(BAND // (width * logits.shape[2]), 1)
    mix = rule.mixed if logits.dtype == np.uint8 else mixed
    rows, columns = rule.neighbours(logits.shape[0], height, grid), rule.neighbours(logits.shape[1], width, grid)
    for start in range(0, height, step):
        band = slice(start, start + step)
        low, high = rows.low[band], rows.high[band]
        top, bottom = int(low[0]), int(high[-1]) + 1
        moved = rule.Neighbours(low - top, high - top, rows.share[band])
        found[band] = mix(logits[None, top:bottom], moved, columns)[0].argmax(axis=2)
    return found


def check_finite(logits: NDArray[np.float32]) -> None:
    """Raises a ValueError if a logit is not a number."""
    if not np.abs(logits).max(initial=0) <= LARGEST:
        raise ValueError("The network's output is not a number: its weights are damaged.")
