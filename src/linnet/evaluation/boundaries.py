"""How near the boundaries of a label map lie to those of the mask (Csurka et al. 2013, section 2.2).

A boundary pixel of a class has a neighbour, left, right, above or below, of another class. It is right if the other
map has a boundary pixel of the same class within `TOLERANCE` of the picture's diagonal. Mean intersection over union
hardly sees whether thin things are met; this figure sees little else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 0.0075
"""Share of the diagonal; Csurka's. Of 480 x 360 pixels these are 4.5, of 512 x 512 5.4: whole pixels below count."""

WORD = 63
"""Classes that are looked at together, each as a bit of a number."""


def boundary_counts(
    labels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Boundary pixels of each class, all (classes,): of the mask, of these found; of the label map, of these right.

    Args:
        labels: (H, W) classes that a model says.
        mask: (H, W) classes that are true. What is not below `classes` has no boundary and makes none, and what a
            model says there counts nowhere.
        classes: number of them.
    """
    radius = max(int(TOLERANCE * math.hypot(*mask.shape)), 1)
    ignored = mask >= classes
    labels = np.where(ignored, 255, labels).astype(np.uint8)
    truth, guess = _edges(mask, ignored), _edges(labels, ignored)
    counts = [np.zeros(classes, np.int64) for _ in range(4)]
    for first in range(0, classes, WORD):
        true_bits, said_bits = (_bits(each, edge, first) for each, edge in ((mask, truth), (labels, guess)))
        near_true, near_said = (_spread(bits, radius) for bits in (true_bits, said_bits))
        of_word = slice(first, min(first + WORD, classes))
        for place, (map_, bits) in enumerate(
            ((mask, true_bits), (mask, true_bits & near_said), (labels, said_bits), (labels, said_bits & near_true))
        ):
            found = np.bincount(map_[bits != 0], minlength=256)[of_word]
            counts[place][of_word] = found
    return counts[0], counts[1], counts[2], counts[3]


def _edges(map_: NDArray[np.uint8], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): pixels with a neighbour of another class; none beside what is ignored."""
    edge = np.zeros(map_.shape, np.bool_)
    across = (map_[:, :-1] != map_[:, 1:]) & ~ignored[:, :-1] & ~ignored[:, 1:]
    down = (map_[:-1] != map_[1:]) & ~ignored[:-1] & ~ignored[1:]
    edge[:, :-1] |= across
    edge[:, 1:] |= across
    edge[:-1] |= down
    edge[1:] |= down
    return edge


def _bits(map_: NDArray[np.uint8], edge: NDArray[np.bool_], first: int) -> NDArray[np.int64]:
    """(H, W): the bit of a boundary pixel's class, 0 of all else and of classes that are not of this word."""
    places = map_.astype(np.int64) - first
    inside = edge & (places >= 0) & (places < WORD)
    return np.where(inside, np.int64(1) << np.clip(places, 0, WORD - 1), 0)


def _spread(bits: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Every bit carried to all pixels within a disc around its own."""
    height = len(bits)
    spread = np.zeros_like(bits)
    for down in range(min(radius, height - 1) + 1):
        wide = _spread_rows(bits, math.isqrt(radius * radius - down * down))
        spread[down:] |= wide[: height - down]
        spread[: height - down] |= wide[down:]
    return spread


def _spread_rows(bits: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Every bit carried so far to the left and to the right."""
    wide, width, done = bits.copy(), bits.shape[1], 0
    while done < reach:
        # What has been carried `done` far is carried once more: it doubles.
        step = min(done + 1 if done else 1, reach - done, width - 1)
        if step <= 0:
            break
        moved = wide.copy()
        moved[:, step:] |= wide[:, :-step]
        moved[:, :-step] |= wide[:, step:]
        wide, done = moved, done + step
    return wide
