"""Where the anchors are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.architecture import Detector


def anchors(detector: Detector) -> NDArray[np.float32]:
    """The boxes that a detector's offsets are relative to: (A, 4) centre x, centre y, width, height.

    Fractions of the input; level by level, row by row, cell by cell, in the order of `Level.anchors`. Centres are those
    of the cells, of which `Level.cells` fit into the input. Large anchors near the border reach outside, as
    TensorFlow's do, unless the detector has `clipped_anchors`. Where it has an `anchor_step`, all four are rounded to
    multiples of it.

    Examples:
        >>> from linnet.architecture import SSDLite
        >>> anchors(SSDLite(resolution=320)).shape
        (2034, 4)
    """
    levels = []
    for level in detector.levels:
        height, width = level.size
        down, across = level.cells
        grid = np.empty((height, width, len(level.anchors), 4))
        grid[..., 0] = ((np.arange(width) + 0.5) / across)[None, :, None]
        grid[..., 1] = ((np.arange(height) + 0.5) / down)[:, None, None]
        grid[..., 2:] = level.anchors
        levels.append(grid.reshape(-1, 4))  # (height * width * anchors of a cell, 4)
    exact = np.concatenate(levels)
    if detector.clipped_anchors:
        exact = exact.clip(0, 1)
    if detector.anchor_step:
        # As integers times a scale, both float32, as a file of integers gives them.
        return np.rint(exact / detector.anchor_step).astype(np.float32) * np.float32(detector.anchor_step)
    return exact.astype(np.float32)
