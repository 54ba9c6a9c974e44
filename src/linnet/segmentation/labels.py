"""From the logits of a coarse map to the best class of every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture.operations import Grid, Size
from linnet.engine.resizing import mixed
from linnet.quantisation import rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.quantisation.scheme import Quantisation

LARGEST = 1e37
"""Beyond it what lies between two logits could be infinite."""

VALUES_AT_ONCE = 1 << 20
"""Logits at full size that are there at the same time."""


def label_map(
    logits: NDArray[np.float32],
    size: Size,
    grid: Grid,
    *,
    quantisation: Quantisation | None = None,
    native: bool = False,
) -> NDArray[np.uint8]:
    """The best class of every pixel: of logits resized to `size` the largest, of equals the first.

    Args:
        logits: (H, W, classes) of one picture, as a segmenter gives them; at most 255 classes.
        size: height and width of the labels: the picture's, or any other.
        grid: `DeepLab.grid`.
        quantisation: of a quantised network: its logits are resized by the integer rule, as LiteRT does it.
        native: whether the engine decides; the labels are the same.

    Returns:
        (*size) uint8.

    Raises:
        ValueError: on logits of another shape, or that are not finite.
    """
    given: NDArray[Any] = np.asarray(logits, np.float32)
    if given.ndim != 3 or not 1 <= given.shape[2] <= 255 or 0 in given.shape:
        raise ValueError(f"Logits must be (height, width, classes) of 1 to 255 classes; these are {given.shape}.")
    if not np.abs(given).max() <= LARGEST:
        raise ValueError("The network gives logits that are no finite numbers below 1e37.")
    if quantisation is not None:
        whole = rule.quantise(given, quantisation.encodings["logits"], quantisation.dtype)
        # Their order, and what lies between them, is that of the bytes from 0 on.
        given = (whole.astype(np.int16) - quantisation.limits[0]).astype(np.uint8)
    if native:
        from linnet.engine.labels import native_labels

        return native_labels(given, size, grid)
    return _labels(given, size, grid)


def _labels(logits: NDArray[Any], size: Size, grid: Grid) -> NDArray[np.uint8]:
    """Some rows at a time."""
    labels = np.empty(size, np.uint8)
    step = max(VALUES_AT_ONCE // (size[1] * logits.shape[2]), 1)
    mix = rule.mixed if logits.dtype == np.uint8 else mixed
    rows, columns = (rule.neighbours(before, after, grid) for before, after in zip(logits.shape[:2], size, strict=True))
    for first in range(0, size[0], step):
        part = rule.Neighbours(*(each[first : first + step] for each in rows))
        top, bottom = int(part.low[0]), int(part.high[-1]) + 1
        moved = rule.Neighbours(part.low - top, part.high - top, part.share)
        labels[first : first + step] = mix(logits[None, top:bottom], moved, columns)[0].argmax(axis=2)
    return labels
