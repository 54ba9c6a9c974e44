"""The size of a network's input that fits most pictures of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linnet.architecture.operations import Size
from linnet.data import Sample
from linnet.data.headers import upright_size

LONGEST = 512
"""Pixels of the longer side at the most: what is larger is a choice of its own (`--resolution`, `--tile`)."""

LOOKED_AT = 64
"""Pictures whose size is asked for."""

ALIKE = 1.15
"""Times that a picture's shape may be wider or higher than the usual one to be one of it."""

SHARE = 0.9
"""Of the pictures that must be of one shape for it to be the network's; else that is a square."""


def usual_size(samples: Sequence[Sample]) -> int | Size:
    """(height, width) of an input: the pictures' own where they are alike and not large, a square where they differ.

    Args:
        samples: of which some, spread evenly, are looked at.
    """
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples))).round().astype(int))
    found = [upright_size(samples[number].picture) for number in chosen.tolist()]
    sizes = np.array([size for size in found if size is not None], np.float64).reshape(-1, 2)  # width, height
    if not len(sizes):
        return LONGEST
    shapes = sizes[:, 0] / sizes[:, 1]
    width, height = np.median(sizes, axis=0)
    usual = float(np.median(shapes))
    alike = np.maximum(shapes / usual, usual / shapes) <= ALIKE
    if alike.mean() < SHARE:
        width = height = float(np.sqrt(width * height))
    scale = min(1.0, LONGEST / max(width, height))
    return max(round(height * scale), 1), max(round(width * scale), 1)
