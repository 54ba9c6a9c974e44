"""A segmenter on pictures with masks: intersection over union, accuracy and boundaries, and the worst pictures."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linnet.data.samples import Sample, picture_of
from linnet.evaluation.figures import (
    Failures,
    Progress,
    Table,
    failed_entries,
    none_read,
    spell,
    with_interval,
    worst_classes,
)
from linnet.evaluation.pixels import FIGURES, PixelCounts, PixelStatistic, count_pixels, figures_of
from linnet.evaluation.uncertainty import Difference, Interval, interval_of, paired, resample
from linnet.files import describe_failure
from linnet.predictor import Predictor
from linnet.results import Segmentation

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORST = 12
"""Pictures that are remembered, those with the most wrong pixels."""

TITLES = {"mIoU": "mean IoU", "pixel_accuracy": "pixel accuracy", "boundary_F1": "boundary F1"}
"""Names of figures for people."""


class LabelMap(NamedTuple):
    """What a model says of a picture, compressed: a few hundredths of its pixels."""

    content: bytes
    size: tuple[int, int]
    """(height, width)."""

    @staticmethod
    def of(labels: NDArray[np.uint8]) -> LabelMap:
        """Compresses (H, W) classes."""
        return LabelMap(zlib.compress(labels.tobytes(), 1), (labels.shape[0], labels.shape[1]))

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(H, W) classes."""
        return np.frombuffer(zlib.decompress(self.content), np.uint8).reshape(self.size)


class Worst(NamedTuple):
    """A picture that came out badly."""

    sample: Sample
    share_right: float
    """Of its pixels that count."""
    answer: LabelMap


@dataclass(frozen=True, eq=False)
class SegmenterFigures:
    """What a segmenter came to. Fractions are of 1.

    Attributes:
        classes: names.
        columns: (N, len(COLUMNS), classes) counts of each picture.
        confusion: (classes, classes) pixels of class row that were taken for class column.
        worst: the pictures with the least share of right pixels, worst first.
        answers: what was said of each picture.
        failed: pictures that could not be read.
        intervals: 95 % of figures by name, once `with_intervals` has found them; of a class `IoU.3`.
    """

    classes: tuple[str, ...]
    columns: NDArray[np.float64]
    confusion: NDArray[np.int64]
    worst: Sequence[Worst] = ()
    answers: Sequence[LabelMap] = ()
    failed: Failures = field(default_factory=list)
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    headline: str = "mIoU"

    @property
    def images(self) -> int:
        """Pictures that were measured."""
        return len(self.columns)

    @property
    def whole(self) -> Mapping[str, NDArray[np.float64]]:
        """The figures of all pictures together, as `figures_of` has them."""
        return figures_of(self.columns.sum(axis=0))

    def figure(self, name: str) -> float | None:
        """One of `FIGURES`; None where it cannot be measured."""
        return _number(self.whole[name])

    def of_class(self, index: int, name: str = "IoU") -> float | None:
        """`IoU` or `F1` of a class; None of one that neither masks nor model have."""
        return _number(self.whole[name][index])

    @property
    def sentence(self) -> str:
        """Mean IoU and pixel accuracy."""
        return ", ".join(f"{TITLES[name]} {self._spell(name)}" for name in ("mIoU", "pixel_accuracy"))

    def _spell(self, name: str) -> str:
        return spell(self.figure(name), self.intervals.get(name))

    def ranked(self) -> list[int]:
        """Classes that masks or model have, worst first."""
        iou = self.whole["IoU"]
        return sorted(np.flatnonzero(np.isfinite(iou)).tolist(), key=lambda index: (iou[index], self.classes[index]))

    def tables(self) -> list[Table]:
        """Classes, worst first, then the whole."""
        whole, more = self.whole, " (95 %)" * bool(self.intervals)
        title, shown = worst_classes(self.ranked())
        rows = [
            (
                self.classes[index],
                f"{self.share_of(index):.2%}",
                *(spell(_number(whole[name][index]), self.intervals.get(f"{name}.{index}")) for name in ("IoU", "F1")),
            )
            for index in shown
        ]
        columns = (("class", "left"), ("pixels", "right"), (f"IoU{more}", "right"), (f"boundary F1{more}", "right"))
        figures = [(TITLES[name], self._spell(name)) for name in FIGURES]
        return [Table(title, columns, rows), Table("", (("figure", "left"), (f"value{more}", "right")), figures)]

    def share_of(self, index: int) -> float:
        """The share of the pixels that count which a class has in the masks."""
        labelled = self.confusion.sum(axis=1)
        return float(labelled[index] / max(labelled.sum(), 1))

    def to_json(self) -> dict[str, Any]:
        """The figures as `linnet evaluate --json` prints them."""
        document: dict[str, Any] = {"images": self.images}
        for name in FIGURES:
            document |= with_interval(name, self.figure(name), self.intervals.get(name))
        for name in ("IoU", "F1"):
            values = {label: self.of_class(index, name) for index, label in enumerate(self.classes)}
            document[name] = values
            if self.intervals:
                ends = {label: self.intervals.get(f"{name}.{index}") for index, label in enumerate(self.classes)}
                document[f"{name}_95"] = {label: None if both is None else list(both) for label, both in ends.items()}
        pixels = self.confusion.sum(axis=1).tolist()
        document["pixels"] = dict(zip(self.classes, pixels, strict=True))
        return document | {"failed": failed_entries(self.failed)}

    def score(self) -> Mapping[str, Any]:
        """All figures, and those of each class."""
        document = {name: value for name, value in self.to_json().items() if name != "failed"}
        entries = [
            {
                "label": label,
                "share": self.share_of(index),
                "IoU": self.of_class(index),
                "F1": self.of_class(index, "F1"),
            }
            for index, label in enumerate(self.classes)
        ]
        return document | {"per_class": entries}

    def with_intervals(self, progress: Progress = lambda done: None) -> SegmenterFigures:
        """Intervals of all figures by drawing pictures anew."""
        found: dict[str, Interval | None] = {}
        for name, draws in resample(PixelStatistic(self.columns), self.images, progress=progress).items():
            if draws.ndim == 1:
                found[name] = interval_of(self.figure(name), draws)
            else:
                for index in range(len(self.classes)):
                    found[f"{name}.{index}"] = interval_of(self.of_class(index, name), draws[:, index])
        return replace(self, intervals=found)

    def agreement(self, other: SegmenterFigures) -> dict[str, int]:
        """Nothing: a picture is neither right nor wrong."""
        return {}

    def same_answers(self, other: SegmenterFigures) -> float:
        """The share of all pixels that both take for the same class."""
        same = total = 0
        for ours, theirs in zip(self.answers, other.answers, strict=True):
            same += int((ours.labels == theirs.labels).sum())
            total += ours.labels.size
        return same / max(total, 1)

    def against(self, other: SegmenterFigures) -> list[Difference]:
        """Each figure less another model's, of the same draws of the same pictures; then the IoU of each class."""
        ours, theirs = (resample(PixelStatistic(each.columns), self.images) for each in (self, other))
        found = [paired(name, self.figure(name), other.figure(name), ours[name], theirs[name]) for name in FIGURES]
        for index in sorted(self.ranked()):
            draws = (each["IoU"][:, index] for each in (ours, theirs))
            found.append(paired(f"IoU of {self.classes[index]}", self.of_class(index), other.of_class(index), *draws))
        return found


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def measure_segmenter(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    batch: int = 8,
    progress: Progress = lambda done: None,
) -> SegmenterFigures:
    """Looks at every picture and holds the label map against its mask, at the picture's own size.

    Args:
        predictor: a segmenter.
        samples: pictures with their masks.
        batch: pictures a forward pass.
        progress: called with the number of pictures done.

    Raises:
        ValueError: if the network is no segmenter, not one picture could be read, or no pixel counts.
    """
    if predictor.architecture.task != "segmentation":
        raise ValueError(f"Intersection over union is of segmenters; this model is for {predictor.architecture.task}.")
    classes = predictor.architecture.classes or 0
    names = predictor.classes or tuple(str(index) for index in range(classes))
    confusion, columns = np.zeros((classes, classes), np.int64), []
    answers: list[LabelMap] = []
    failed: Failures = []
    worst: list[tuple[float, int, Worst]] = []
    results = predictor.stream_of(samples, picture_of, batch=batch)
    for number, (sample, (_, result)) in enumerate(zip(samples, results, strict=True), start=1):
        counted = _counted(sample, result, classes)
        if isinstance(counted, Exception):
            failed.append((sample.name, describe_failure(counted)))
        else:
            confusion += counted.confusion
            columns.append(counted.columns)
            answers.append(LabelMap.of(result.labels))
            heapq.heappush(worst, (-counted.share_right, -number, Worst(sample, counted.share_right, answers[-1])))
            if len(worst) > WORST:
                heapq.heappop(worst)
        progress(number)
    if not columns:
        raise none_read(len(samples), failed)
    if not confusion.sum():
        raise ValueError(
            f"Every pixel of the masks of {len(columns)} pictures is ignored: there is nothing to measure."
        )
    listed = [entry[2] for entry in sorted(worst, key=lambda entry: entry[:2], reverse=True)]
    return SegmenterFigures(names, np.stack(columns), confusion, listed, answers, failed)


def _counted(sample: Sample, result: Segmentation | Exception, classes: int) -> PixelCounts | Exception:
    """The counts of a picture, or why there are none."""
    if isinstance(result, Exception):
        return result
    try:
        height, width = result.labels.shape
        return count_pixels(result.labels, sample.mask.read((width, height)), classes)
    except (OSError, ValueError) as error:
        return error
