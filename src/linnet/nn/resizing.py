"""Maps at another size, in torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from linnet.architecture.operations import Grid, Size


def resize(x: Tensor, size: Size, grid: Grid) -> Tensor:
    """(N, C, H, W) → (N, C, *size), bilinearly: `linnet.architecture.Resize` says what the grids are."""
    if x.shape[2] == x.shape[3] == 1:
        return x.expand(-1, -1, *size)
    if grid == "asymmetric":
        return _mix(_mix(x, 2, size[0]), 3, size[1])
    return F.interpolate(x, size, mode="bilinear", align_corners=grid == "align_corners")


def _mix(x: Tensor, axis: int, length: int) -> Tensor:
    """One axis at another length, where output o lies at o * inputs / outputs."""
    inputs = x.shape[axis]
    at = (torch.arange(length, device=x.device, dtype=x.dtype) * (inputs / length)).clamp(max=inputs - 1)
    low = at.to(torch.int64)
    high = (low + 1).clamp(max=inputs - 1)
    share = (at - low).reshape(-1, *[1] * (3 - axis))
    before, behind = x.index_select(axis, low), x.index_select(axis, high)
    return before + (behind - before) * share
