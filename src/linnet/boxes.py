"""The arithmetic of boxes: corners x0, y0, x1, y1 in any unit, the same for all of one call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def iou(boxes: Array, others: Array) -> Array:
    """Intersection over union of each of N boxes with each of M: (N, 4) and (M, 4) x0, y0, x1, y1 → (N, M) in [0, 1].

    The unit does not matter; a box without area overlaps nothing.
    """
    shared = intersections(boxes, others)
    union = areas(boxes)[:, None] + areas(others)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)


def intersections(boxes: Array, others: Array) -> Array:
    """The area that each of N boxes shares with each of M: (N, 4) and (M, 4) x0, y0, x1, y1 → (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=-1)


def areas(boxes: Array) -> Array:
    """(…, 4) x0, y0, x1, y1 → (…); 0 where a corner is on the wrong side."""
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1)
