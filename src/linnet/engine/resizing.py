"""Maps at another size, in numpy: which pixels each new pixel lies between, and what it gets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linnet.architecture.operations import Grid, Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Places(NamedTuple):
    """Where the pixels of a new axis lie on the old one: each between two of its pixels.

    Attributes:
        low: number of the pixel before, (outputs,).
        high: of the pixel behind, the same at the end of the axis.
        share: of the second one, from 0 to 1.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.floating[Any]]


def places(inputs: int, outputs: int, grid: Grid, kind: type[np.floating[Any]] = np.float32) -> Places:
    """Where `outputs` pixels lie among `inputs`, in the arithmetic of a type; in float32 as XNNPACK has it."""
    one, half, last = kind(1), kind(0.5), kind(inputs - 1)
    corners = grid == "align_corners" and outputs > 1
    step = last / (kind(outputs) - one) if corners else kind(inputs) / kind(outputs)
    at = np.arange(outputs, dtype=kind) * step
    if grid == "half_pixel":
        at = at + (half * step - half)
    at = np.clip(at, kind(0), last)
    low = at.astype(np.int64)
    return Places(low, np.minimum(low + 1, inputs - 1), at - low.astype(kind))


def resize(values: NDArray[Any], size: Size, grid: Grid) -> NDArray[Any]:
    """(N, H, W, C) → (N, *size, C), bilinearly; along rows first, as the engine does it."""
    kind = values.dtype.type
    rows, columns = (places(length, new, grid, kind) for length, new in zip(values.shape[1:3], size, strict=True))
    share = columns.share[:, None]
    left, right = values[:, :, columns.low], values[:, :, columns.high]
    wide = left + (right - left) * share  # (N, H, new W, C)
    share = rows.share[:, None, None]
    top, bottom = wide[:, rows.low], wide[:, rows.high]
    return top + (bottom - top) * share
