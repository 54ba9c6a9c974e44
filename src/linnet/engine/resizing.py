"""Maps at another size, in numpy and in float."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linnet.architecture.operations import Grid, Size
from linnet.quantisation.rule import Neighbours, neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray


def resize(values: NDArray[Any], size: Size, grid: Grid) -> NDArray[Any]:
    """(N, H, W, C) → (N, *size, C), bilinearly."""
    kind = values.dtype.type
    return mixed(values, *(neighbours(*lengths, grid, kind) for lengths in zip(values.shape[1:3], size, strict=True)))


def mixed(values: NDArray[Any], rows: Neighbours, columns: Neighbours) -> NDArray[Any]:
    """What lies at some places between the pixels of maps (N, H, W, C); along rows first, as the engine does it."""
    share = columns.share[:, None]
    left, right = values[:, :, columns.low], values[:, :, columns.high]
    wide = left + (right - left) * share  # (N, H, new W, C)
    share = rows.share[:, None, None]
    top, bottom = wide[:, rows.low], wide[:, rows.high]
    return top + (bottom - top) * share
