"""What spoke for a class and what against it, laid over the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.colours import AGAINST, FOR
from linnet.results.drawing import draw_caption

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

STRENGTH = 0.75
"""Share of the colour where a place spoke the most."""

READABLE_SIDE = 320
"""Smaller pictures are enlarged to about that."""


def draw_shares(
    image: Image.Image, shares: NDArray[np.floating], box: tuple[float, float, float, float], text: str
) -> Image.Image:
    """A copy with each place tinted by its share, and a sentence on a strip under it.

    The strongest place has the strongest colour. What the network did not see is dark.

    Args:
        image: RGB.
        shares: (h, w), of the places of a map.
        box: x0, y0, x1, y1 in pixels of the image: where the map lies.
        text: the sentence.
    """
    from PIL import Image

    times = max(-(-READABLE_SIDE // max(image.size)), 1)
    canvas = image.resize((times * image.width, times * image.height)) if times > 1 else image
    x0, y0, x1, y1 = (times * value for value in box)
    grey = np.asarray(canvas.convert("L"), np.float32)[..., None]
    spread, seen = _spread(shares, (x0, y0, x1, y1), canvas.size)
    strength = np.abs(spread) / max(float(np.abs(shares).max()), 1e-12)
    colours = np.where(spread[..., None] >= 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    mixed = (STRENGTH * strength)[..., None].clip(0, STRENGTH)
    tinted = np.where(seen[..., None], grey * (1 - mixed) + colours * mixed, grey * 0.4)
    return draw_caption(Image.fromarray(tinted.round().astype(np.uint8)), text)


def _spread(
    shares: NDArray[np.floating], box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(H, W): the map over a picture of (width, height), between its places as straight as possible; what it covers."""
    (x0, y0, x1, y1), (width, height) = box, size
    across, down = np.arange(width) + 0.5, np.arange(height) + 0.5
    seen = ((across >= x0) & (across <= x1))[None] & ((down >= y0) & (down <= y1))[:, None]
    rows = _between(shares.astype(np.float32), (down - y0) / (y1 - y0), 0)
    return _between(rows, (across - x0) / (x1 - x0), 1), seen


def _between(values: NDArray[np.float32], places: NDArray[Any], axis: int) -> NDArray[np.float32]:
    """Values of one axis at places from 0 to 1, in straight lines between the middles of its cells."""
    length = values.shape[axis]
    at = (places * length - 0.5).clip(0, length - 1)
    low = at.astype(np.int64).clip(0, max(length - 2, 0))
    share = (at - low).astype(np.float32)
    share = share[:, None] if axis == 0 else share[None]
    high = np.minimum(low + 1, length - 1)
    result: NDArray[np.float32] = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return result
