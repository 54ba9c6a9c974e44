"""Windows that slide over a picture much larger than a network's input, and how their answers become one.

Windows overlap by `OVERLAP` of their sides, and each counts in the middle more than at its border, where it sees no
surroundings. A window has the network's own number of pixels: nothing is made smaller, and thin things stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from linnet.architecture.operations import Grid
from linnet.engine.resizing import resize
from linnet.segmentation.maps import BAND, check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERLAP = 0.25
"""Share of a window's side that the next one has too, at the least."""

EDGE = 0.05
"""Weight of a window's outermost pixels; its middle has 1."""


class Tile(NamedTuple):
    """A window's corners in pixels of the picture."""

    left: int
    top: int
    right: int
    bottom: int


def tiles_of(size: tuple[int, int], window: tuple[int, int]) -> list[Tile]:
    """Windows that cover a picture, row by row; along a side that is shorter than the window there is one.

    Args:
        size: (width, height) of the picture.
        window: (width, height) of the network's input.
    """
    columns, rows = (_starts(length, side) for length, side in zip(size, window, strict=True))
    width, height = (min(length, side) for length, side in zip(size, window, strict=True))
    return [Tile(left, top, left + width, top + height) for top in rows for left in columns]


def _starts(length: int, side: int) -> list[int]:
    """Evenly spread, the first at 0 and the last at the end."""
    if length <= side:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return np.unique(np.linspace(0, length - side, count).round().astype(int)).tolist()


def cut(pixels: NDArray[np.uint8], tile: Tile, window: tuple[int, int]) -> NDArray[np.uint8]:
    """A tile of a picture (H, W, 3) at the size (width, height) of a window; where it ends, its border goes on."""
    part = pixels[tile.top : tile.bottom, tile.left : tile.right]
    lacking = [(0, side - length) for side, length in zip(window[::-1], part.shape, strict=False)]
    return np.pad(part, [*lacking, (0, 0)], mode="edge")


def merge(
    size: tuple[int, int], window: tuple[int, int], answers: Iterable[tuple[Tile, NDArray[np.float32]]], grid: Grid
) -> NDArray[np.uint8]:
    """The best class of every pixel, of the windows' probabilities, weighted.

    Windows come row by row, as `tiles_of` gives them: of the sum only the rows that windows to come may still reach
    are kept, in float32.

    Args:
        size: (width, height) of the picture.
        window: (width, height) of the network's input.
        answers: each window with the (h, w, classes) logits that the network gives for it.
        grid: how these become logits of pixels.

    Returns:
        (H, W) uint8 classes.

    Raises:
        ValueError: if a logit is not a number.
    """
    width, height = size
    found = np.empty((height, width), np.uint8)
    sums: NDArray[np.float32] | None = None  # (rows that are open, W, classes)
    first = 0
    for tile, logits in answers:
        check_finite(logits)
        if sums is None:
            sums = np.zeros((tile.bottom - tile.top, width, logits.shape[2]), np.float32)
        if tile.top > first:
            done = tile.top - first
            found[first : tile.top] = sums[:done].argmax(axis=2)
            sums = np.concatenate([sums[done:], np.zeros((done, *sums.shape[1:]), np.float32)])
            first = tile.top
        scores = resize(logits[None], window[::-1], grid)[0]  # (h, w, classes)
        _add(sums[:, tile.left : tile.right], scores[: tile.bottom - tile.top, : tile.right - tile.left])
    assert sums is not None
    found[first:] = sums.argmax(axis=2)
    return found


def _add(sums: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """Adds a window's probabilities to its place, in bands."""
    height, width, classes = sums.shape
    down, across = _ramp(height), _ramp(width)
    rows = max(BAND // (width * classes), 1)
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        powers = np.exp(scores[band] - scores[band].max(axis=2, keepdims=True))
        weights = (down[band, None] * across)[..., None]  # (rows, W, 1)
        sums[band] += powers / powers.sum(axis=2, keepdims=True) * weights


def _ramp(length: int) -> NDArray[np.float32]:
    """From nearly `EDGE` at both ends to nearly 1 in the middle, linearly."""
    places = (np.arange(length) + 0.5) / length
    return (EDGE + (1 - EDGE) * np.minimum(places, 1 - places) * 2).astype(np.float32)
