"""How well a detector's anchors fit the objects of a data set.

A detector learns an object from the anchors that overlap it by half. Of an object that none does, it learns from a
single forced one, and badly: small objects are lost so, and no training brings them back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.boxes import iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

MATCHED = 0.5
"""IoU from which an anchor learns an object: SSD's (Liu et al. 2016, section 2.2)."""

BINS = 10
"""Of the histogram, from IoU 0 to 1."""

ENOUGH = 0.95
"""Share of objects that an anchor shall match; below, something is suggested."""

MOST = 20_000
"""Objects that are looked at; of more, so many are drawn."""

CHUNK = 256
"""Objects that are compared with all anchors at once: few megabytes."""

STRIDES = (16, 8, 4, 2)
"""Of the grids that a detector can have: the finest one of SSDLite first."""


@dataclass(frozen=True)
class ClassCoverage:
    """How N objects of one class, or of all, are matched.

    Attributes:
        name: of the class.
        objects: N.
        side: median side (square root of the area) in pixels of the input.
        histogram: objects by the IoU of their best anchor, in ten equal bins.
        recall: share with an anchor of IoU 0.5 or more.
        misshapen: share that no anchor would match wherever it lay: scales or ratios are at fault; of the others that
            are not matched it is the grid.
        mean: mean IoU of the best anchors.
        suggestion: what would help, in words; empty where nothing has to.
    """

    name: str
    objects: int
    side: float
    histogram: tuple[int, ...]
    recall: float
    misshapen: float
    mean: float
    suggestion: str

    @property
    def unreached(self) -> float:
        """Share of the objects that no anchor reaches, with IoU 0.5."""
        return 1 - self.recall

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "label": self.name,
            "objects": self.objects,
            "side": self.side,
            "recall": self.recall,
            "unreached": self.unreached,
            "misshapen": self.misshapen,
            "mean": self.mean,
            "histogram": list(self.histogram),
            "suggestion": self.suggestion,
        }


def best_overlaps(boxes: NDArray[Any], anchors: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """IoU of each box with its best anchor, and with the one that would be best if all lay at the box's centre.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        anchors: (A, 4) centre x, centre y, width, height, in the same unit; A of 1 or more.

    Returns:
        Two arrays (N,) float32 in [0, 1].
    """
    boxes, anchors = boxes.astype(np.float32), anchors.astype(np.float32)
    corners = np.concatenate([anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2], axis=1)
    shapes = _at_origin(np.unique(anchors[:, 2:], axis=0))
    best, centred = np.zeros(len(boxes), np.float32), np.zeros(len(boxes), np.float32)
    for start in range(0, len(boxes), CHUNK):
        part = boxes[start : start + CHUNK]
        best[start : start + CHUNK] = iou(part, corners).max(axis=1)
        centred[start : start + CHUNK] = iou(_at_origin(part[:, 2:] - part[:, :2]), shapes).max(axis=1)
    return best, centred


def _at_origin(sides: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 2) widths and heights → (N, 4) boxes x0, y0, x1, y1 that all begin at one corner."""
    return np.concatenate([np.zeros_like(sides), sides], axis=1)


def measure_coverage(
    boxes: NDArray[Any],
    indices: NDArray[np.int64],
    classes: Sequence[str],
    anchors: NDArray[Any],
    resolution: tuple[int, int],
) -> tuple[ClassCoverage, ...]:
    """How the anchors match the objects of each class, and all together at the end.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 as fractions of their pictures.
        indices: (N,) classes.
        classes: names.
        anchors: (A, 4) centre x, centre y, width, height as fractions of the input, as `linnet.detection.anchors`.
        resolution: (height, width) of the input in pixels.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if boxes.ndim != 2 or boxes.shape[1:] != (4,) or len(boxes) != len(indices):
        raise ValueError(f"Boxes must be (N, 4) with N classes; these are {boxes.shape} with {len(indices)}.")
    if anchors.ndim != 2 or anchors.shape[1:] != (4,) or not len(anchors):
        raise ValueError(f"Anchors must be (A, 4) with A of 1 or more; these are {anchors.shape}.")
    if len(boxes) > MOST:
        chosen = np.random.default_rng(0xA2C4).choice(len(boxes), MOST, replace=False)
        boxes, indices = boxes[chosen], indices[chosen]
    best, centred = best_overlaps(boxes, anchors)
    pixels = boxes * np.array((*resolution[::-1], *resolution[::-1]))
    groups = [(name, indices == index) for index, name in enumerate(classes)]
    found = [
        _summary(name, best[which], centred[which], pixels[which], resolution) for name, which in groups if which.any()
    ]
    # What would help differs from class to class.
    together = [replace(_summary("all", best, centred, pixels, resolution), suggestion="")] if len(found) > 1 else []
    return (*found, *together)


def _summary(
    name: str,
    best: NDArray[np.float32],
    centred: NDArray[np.float32],
    pixels: NDArray[Any],
    resolution: tuple[int, int],
) -> ClassCoverage:
    matched = best >= MATCHED
    sides = pixels[:, 2:] - pixels[:, :2]
    counts = np.bincount(np.minimum(best * BINS, BINS - 1).astype(np.int64), minlength=BINS)
    return ClassCoverage(
        name,
        len(best),
        float(np.median(np.sqrt(sides.prod(axis=1)))),
        tuple(counts.tolist()),
        float(matched.mean()),
        float((centred < MATCHED).mean()),
        float(best.mean()),
        "" if matched.mean() >= ENOUGH else _suggestion(pixels[~matched], resolution),
    )


def _suggestion(missed: NDArray[Any], resolution: tuple[int, int]) -> str:
    """Anchors for objects (N, 4), in pixels of the input, that none matches, and the grid on which these reach them."""
    width, height = np.median(missed[:, 2:] - missed[:, :2], axis=0).tolist()
    scale = math.sqrt(width * height / (resolution[0] * resolution[1]))
    stride = next((stride for stride in STRIDES if _reached(missed, stride) >= ENOUGH), STRIDES[-1])
    text = f"anchors of scale {scale:.3f} ({width:.0f} x {height:.0f} px) on a grid of stride {stride}"
    if stride < STRIDES[0]:
        factors = np.arange(max(resolution) // 32 + 1, 4 * max(resolution) // 32) * 32 / max(resolution)
        enough = next((factor for factor in factors if _reached(missed * factor, STRIDES[0]) >= ENOUGH), None)
        if enough is not None:
            text += f", or with such anchors on stride {STRIDES[0]} a resolution of {enough * max(resolution):.0f}"
    return text


def _reached(boxes: NDArray[Any], stride: int) -> float:
    """Share of the boxes that anchors of their own shapes would match on a grid of so many pixels."""
    own = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2
    off = np.abs((centres / stride) % 1 - 0.5) * stride
    shared = (own - off).clip(0).prod(axis=1)
    return float((shared / (2 * own.prod(axis=1) - shared) >= MATCHED).mean())
