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
    return np.linspace(0, length - side, count).round().astype(int).tolist()


def merge(size: tuple[int, int], answers: Iterable[tuple[Tile, NDArray[np.float32]]], grid: Grid) -> NDArray[np.uint8]:
    """The best class of every pixel, of the windows' probabilities, weighted.

    Windows come row by row, as `tiles_of` gives them: of the sum only the rows that windows to come may still reach
    are kept, in float32.

    Args:
        size: (width, height) of the picture.
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
        if sums is None:
            sums = np.zeros((tile.bottom - tile.top, width, logits.shape[2]), np.float32)
        if tile.top > first:
            done = min(tile.top - first, len(sums))
            found[first : first + done] = sums[:done].argmax(axis=2)
            sums = np.concatenate([sums[done:], np.zeros((done, *sums.shape[1:]), np.float32)])
            first = tile.top
        _add(sums[: tile.bottom - tile.top, tile.left : tile.right], logits, grid)
    assert sums is not None
    found[first:] = sums[: height - first].argmax(axis=2)
    return found


def _add(sums: NDArray[np.float32], logits: NDArray[np.float32], grid: Grid) -> None:
    """Adds a window's probabilities to its place, in bands."""
    height, width = sums.shape[:2]
    check_finite(logits)
    scores = resize(logits[None], (height, width), grid)[0]  # (H, W, classes)
    weights = np.outer(_ramp(height), _ramp(width)).astype(np.float32)[..., None]  # (H, W, 1)
    rows = max(BAND // max(width * sums.shape[2], 1), 1)
    for start in range(0, height, rows):
        band = slice(start, start + rows)
        powers = np.exp(scores[band] - scores[band].max(axis=2, keepdims=True))
        sums[band] += powers / powers.sum(axis=2, keepdims=True) * weights[band]


def _ramp(length: int) -> NDArray[np.float64]:
    """From `EDGE` at both ends to 1 in the middle, linearly."""
    places = (np.arange(length) + 0.5) / length
    return EDGE + (1 - EDGE) * np.minimum(places, 1 - places) * 2
