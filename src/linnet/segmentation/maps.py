"""Label maps: the best class of every pixel, decided while the scores are resized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = 255
"""What a mask has where nothing is said: neither learnt nor counted."""

MOST_CLASSES = 255
"""A mask holds an index in a byte, of which one value is `IGNORED`."""

BAND = 1 << 20
"""Scores that are resized at a time, so that the map of all classes at the picture's size never exists."""


def label_map(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The best class of every pixel, of equals the one with the lower index.

    Args:
        logits: (h, w, classes) of the whole picture.
        size: (width, height) of the picture.

    Returns:
        (H, W) uint8 classes.

    Raises:
        ValueError: if a logit is not a number.
    """
    if not np.isfinite(logits).all():
        raise ValueError("The network's output is not a number: its weights are damaged.")
    width, height = size
    if logits.shape[:2] == (height, width):
        return logits.argmax(axis=2).astype(np.uint8)
    found = np.empty((height, width), np.uint8)
    wide = _resized(logits, width, axis=1)  # (h, W, classes)
    low, high, share = _places(logits.shape[0], height)
    rows = max(BAND // max(width * logits.shape[2], 1), 1)
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        between = share[band, None, None]
        found[band] = (wide[low[band]] * (1 - between) + wide[high[band]] * between).argmax(axis=2)
    return found


def upsampled(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear resizing at pixel centres, (h, w, C) → (H, W, C) of (width, height) `size`."""
    return _resized(_resized(values, size[0], axis=1), size[1], axis=0)


def _resized(values: NDArray[np.float32], target: int, *, axis: int) -> NDArray[np.float32]:
    if values.shape[axis] == target:
        return values
    low, high, share = _places(values.shape[axis], target)
    share = share.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
    return np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share


def _places(length: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Of each of `target` places the neighbours among `length`, and the share of the second (half-pixel centres)."""
    centres = np.clip((np.arange(target) + 0.5) * (length / target) - 0.5, 0, length - 1)
    low = centres.astype(np.int64)
    return low, np.minimum(low + 1, length - 1), (centres - low).astype(np.float32)
