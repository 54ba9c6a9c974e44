"""Boxes as a network gives them: offsets from anchors; and boxes as two corners or as a centre with a size.

`boxes` are x0, y0, x1, y1, `boxes_cxcywh` and anchors centre x, centre y, width, height: all fractions of the input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

VARIANCES = (0.1, 0.1, 0.2, 0.2)
"""Offsets are divided by them, of centre x and y, width and height: TensorFlow's scales 10, 10, 5, 5 turned over."""

LARGEST_GROWTH = math.log(1e6)
"""No box is decoded larger than a million times its anchor: it covers everything anyway, and is no overflow yet."""


def to_corners(boxes_cxcywh: Array) -> Array:
    """(…, 4) centre x, centre y, width, height → x0, y0, x1, y1."""
    centres, halves = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2  # (…, 2) each
    return np.concatenate([centres - halves, centres + halves], axis=-1)


def to_centres(boxes: Array) -> Array:
    """(…, 4) x0, y0, x1, y1 → centre x, centre y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]  # (…, 2) each
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def encode(boxes: Array, anchors: Array) -> Array:
    """What a network has to say of an anchor to mean a box (SSD, arXiv 1512.02325, section 2.2).

    Args:
        boxes: (…, 4) x0, y0, x1, y1, of positive width and height.
        anchors: (…, 4) centre x, centre y, width, height; one a box, or what broadcasts to that.

    Returns:
        (…, 4): distance of the centres in anchor sizes, logarithm of the ratio of the sizes; over `VARIANCES`.

    Raises:
        ValueError: if a box has no area.
    """
    centres = to_centres(boxes)
    if not (centres[..., 2:] > 0).all():
        raise ValueError("A box without width or height cannot be encoded. Leave it out before.")
    distance = (centres[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    growth = np.log(centres[..., 2:] / anchors[..., 2:])
    offsets = np.concatenate([distance, growth], axis=-1)  # (…, 4)
    return offsets / np.array(VARIANCES, offsets.dtype)


def decode(offsets: Array, anchors: Array) -> Array:
    """The boxes that offsets mean: the inverse of `encode`. (…, 4) each; boxes are x0, y0, x1, y1, not clipped."""
    scaled = offsets * np.array(VARIANCES, offsets.dtype)
    centres = anchors[..., :2] + scaled[..., :2] * anchors[..., 2:]  # (…, 2)
    # In double precision, rounded once: the native library then comes to the same bits.
    growth = np.exp(np.minimum(scaled[..., 2:], LARGEST_GROWTH).astype(np.float64)).astype(scaled.dtype)
    sizes = anchors[..., 2:] * growth
    return to_corners(np.concatenate([centres, sizes], axis=-1))
