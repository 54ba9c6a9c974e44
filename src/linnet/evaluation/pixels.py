"""Label maps against masks, picture by picture: what figures of segmentation are made of.

Everything is a count that adds up over pictures, so that a figure of any draw of the pictures is a sum and a division.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.evaluation.boundaries import boundary_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIGURES = ("mIoU", "pixel_accuracy", "boundary_F1")
"""Of the whole data set."""

COLUMNS = ("hits", "labelled", "predicted", "edges", "edges_found", "outlines", "outlines_right")
"""Of each class: pixels that are right, that the mask has and that the model says; boundary pixels of the mask and
those that the model's boundary is near to; boundary pixels of the model's and those that the mask's is near to."""


@dataclass(frozen=True)
class PixelCounts:
    """What became of the pixels of one picture.

    Attributes:
        columns: (len(COLUMNS), classes) float64 counts.
        confusion: (classes, classes) int64 pixels of class row that were taken for class column.
    """

    columns: NDArray[np.float64]
    confusion: NDArray[np.int64]

    @property
    def share_right(self) -> float:
        """Of the pixels that count; 1 where none does."""
        total = self.confusion.sum()
        return float(np.trace(self.confusion) / total) if total else 1.0


def count_pixels(labels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> PixelCounts:
    """Holds a label map against a mask.

    Args:
        labels: (H, W) classes that a model says.
        mask: (H, W) classes that are true; what is not below `classes` counts nowhere.
        classes: number of them.

    Raises:
        ValueError: if the sizes differ.
    """
    if labels.shape != mask.shape:
        there, here = (" x ".join(map(str, shape[::-1])) for shape in (mask.shape, labels.shape))
        raise ValueError(f"The mask has {there} pixels and the picture {here}: they must be of one size.")
    confusion = confusion_of(labels, mask, classes)
    pixels = [np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)]
    return PixelCounts(np.array([*pixels, *boundary_counts(labels, mask, classes)], np.float64), confusion)


def confusion_of(labels: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """(classes, classes): pixels of class row that were taken for class column, without those that are ignored."""
    counted = mask < classes
    places = mask[counted].astype(np.int64) * classes + labels[counted]
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def iou_of(
    hits: NDArray[np.float64], labelled: NDArray[np.float64], predicted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Intersection over union of each class (…, C); NaN of a class that neither side has."""
    union = labelled + predicted - hits
    return np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def figures_of(columns: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """Figures of summed counts (len(COLUMNS), …, C): `FIGURES` of shape (…), and `IoU` and `F1` of each class (…, C).

    Means are over the classes that the mask or the model has.
    """
    hits, labelled, predicted, edges, found, outlines, right = columns
    iou = iou_of(hits, labelled, predicted)
    recall = np.divide(found, edges, out=np.zeros(edges.shape), where=edges > 0)
    precision = np.divide(right, outlines, out=np.zeros(edges.shape), where=outlines > 0)
    both = recall + precision
    f1 = np.divide(2 * recall * precision, both, out=np.zeros(edges.shape), where=both > 0)
    f1 = np.where(edges + outlines > 0, f1, np.nan)
    total = labelled.sum(axis=-1)
    accuracy = np.divide(hits.sum(axis=-1), total, out=np.full(total.shape, np.nan), where=total > 0)
    return {"mIoU": _mean(iou), "pixel_accuracy": accuracy, "boundary_F1": _mean(f1), "IoU": iou, "F1": f1}


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the classes (…, C) that have a value; NaN where none has."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


@dataclass(frozen=True)
class PixelStatistic:
    """Figures of pictures drawn anew, as `linnet.evaluation.uncertainty.resample` asks for them.

    Attributes:
        columns: (N, len(COLUMNS), classes) counts of each picture.
    """

    columns: NDArray[np.float64]

    def __call__(self, counts: NDArray[np.float32]) -> Mapping[str, NDArray[np.float64]]:
        """(B, N) how often each picture is drawn → each figure, (B,) or (B, classes)."""
        pictures, kinds, classes = self.columns.shape
        # In float64: float32 does not hold the pixels of a data set.
        sums = counts.astype(np.float64) @ self.columns.reshape(pictures, kinds * classes)
        return figures_of(sums.reshape(-1, kinds, classes).transpose(1, 0, 2))
