"""A segmenter's logits to the best class of every pixel, natively: the large map of logits never exists."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from linnet.architecture.operations import Grid, Size
from linnet.engine.library import FLOAT32, UINT8, LabellingRule
from linnet.engine.native import MOST_SIDE, EngineError, call, native_library
from linnet.engine.program import GRIDS

if TYPE_CHECKING:
    from numpy.typing import NDArray


def native_labels(logits: NDArray[np.float32 | np.uint8], size: Size, grid: Grid) -> NDArray[np.uint8]:
    """(H, W, classes) logits of one picture, in float32 or as a quantised network's bytes → (*size) labels, uint8.

    Any number of threads may call it at once.

    Raises:
        EngineError: if there is no native library, on logits of another shape or type, or that are not finite.
    """
    if logits.ndim != 3 or logits.dtype not in (np.float32, np.uint8):
        raise EngineError(
            f"Logits must be (H, W, classes) of float32 or uint8; these are {logits.shape} {logits.dtype}."
        )
    if max(*logits.shape, *size) > MOST_SIDE:
        raise EngineError(f"A map of labels has at most {MOST_SIDE:,} pixels a side.")
    given = np.ascontiguousarray(logits)
    precision = UINT8 if given.dtype == np.uint8 else FLOAT32
    rule = LabellingRule(*given.shape, precision, GRIDS[grid], *size)
    bytes_needed = native_library().linnet_labels_workspace(ctypes.byref(rule))
    if bytes_needed < 0:
        raise EngineError(f"Labels need from 1 to 255 classes, and maps of pixels; got {given.shape} for {size}.")
    workspace, labels = np.empty((bytes_needed + 7) // 8, np.float64), np.empty(size, np.uint8)
    call("linnet_labels", ctypes.byref(rule), *(array.ctypes.data for array in (given, workspace, labels)))
    return labels
