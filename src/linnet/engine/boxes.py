"""A detector's output to its boxes, natively: what `linnet.detection.detect` does, without an allocation."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Literal

import numpy as np

from linnet.engine.library import DetectionRule
from linnet.engine.native import EngineError, call, native_library, take_turns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

SCORINGS = ("sigmoid", "softmax")
"""In the order in which linnet.h numbers them."""


class NativeDetection:
    """Decodes and suppresses the boxes of a detector, one picture after the other.

    Args:
        anchors: (A, 4) float32, centre x, centre y, width, height of each, as shares of the picture.
        classes: number of classes, without the background.
        scoring: how logits become scores.
        score_threshold: the lowest score of a box to keep, from 0 to 1.
        iou_threshold: of two boxes of a class that overlap by more than this, the one with the higher score is kept.
        per_class: most boxes of one class in a picture.
        total: most boxes in a picture.

    Raises:
        EngineError: if there is no native library, or the rule makes no sense.
    """

    _turn: threading.Lock

    def __init__(
        self,
        anchors: Array,
        classes: int,
        *,
        scoring: Literal["sigmoid", "softmax"],
        score_threshold: float,
        iou_threshold: float,
        per_class: int,
        total: int,
    ) -> None:
        if anchors.ndim != 2 or anchors.shape[1] != 4:
            raise EngineError(f"Anchors must be (A, 4); these are {anchors.shape}.")
        if not 1 <= classes < 2**31 or not 1 <= total <= 100_000 or not 1 <= per_class <= 100_000:
            raise EngineError("A detector has at least one class, and from 1 to 100,000 boxes may be kept.")
        self._anchors = np.array(anchors, np.float32, order="C")
        self._shapes = ((len(anchors), 4), (len(anchors), 1 + classes))
        self._rule = DetectionRule(
            len(anchors), classes, SCORINGS.index(scoring), score_threshold, iou_threshold, per_class, total
        )
        size = native_library().linnet_detect_workspace(ctypes.byref(self._rule))
        if size < 0:
            raise EngineError("A rule of detection needs anchors, classes, and thresholds from 0 to 1.")
        self._workspace = np.empty((size + 7) // 8, np.float64)
        self._boxes = np.empty((total, 4), np.float32)
        self._scores, self._classes = np.empty(total, np.float32), np.empty(total, np.int32)
        take_turns(self)

    def __call__(self, offsets: Array, logits: Array) -> tuple[Array, Array, NDArray[np.int64]]:
        """(A, 4) offsets and (A, 1 + classes) logits → what `linnet.detection.detect` gives.

        Raises:
            EngineError: if the output has another shape, or is not a number.
        """
        if (offsets.shape, logits.shape) != self._shapes:
            raise EngineError(f"Offsets and logits must be {self._shapes}; they are {offsets.shape}, {logits.shape}.")
        given = [np.ascontiguousarray(values, np.float32) for values in (offsets, logits)]
        count = ctypes.c_int64()
        arrays = (*given, self._anchors, self._workspace, self._boxes, self._scores, self._classes)
        with self._turn:
            places = (array.ctypes.data for array in arrays)
            call("linnet_detect", ctypes.byref(self._rule), *places, ctypes.byref(count))
            kept = slice(count.value)
            return self._boxes[kept].copy(), self._scores[kept].copy(), self._classes[kept].astype(np.int64)
