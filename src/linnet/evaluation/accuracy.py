"""Top-1 and top-5 accuracy of a classifier, with everything a report needs, in a few bytes a picture."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.samples import Sample, picture_of
from linnet.data.sources import Location
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
from linnet.evaluation.uncertainty import Difference, Interval, interval_of, paired, resample, wilson
from linnet.files import describe_failure
from linnet.predictor import Predictor
from linnet.results import Classification

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
"""Equal parts of the confidence from 0 to 1, for the reliability curve."""

FIGURES = ("top1", "top5", "calibration_error")
"""Of the whole data set."""

WORST = 24
"""Most confident mistakes that are remembered."""


@dataclass(frozen=True)
class Mistake:
    """A picture that was taken for another class."""

    sample: Sample
    guess: int
    score: float

    @property
    def file(self) -> Location:
        """The picture, or the Parquet file or shard that holds it."""
        return self.sample.file

    @property
    def truth(self) -> int:
        """The class that the picture has."""
        return self.sample.index


@dataclass
class Outcomes:
    """What became of each picture, in 13 bytes a picture.

    Attributes:
        truth: the class that it has.
        guess: the best class.
        among: whether its class is among the best min(5, classes).
        score: confidence of the best class.
    """

    truth: array[int] = field(default_factory=lambda: array("i"))
    guess: array[int] = field(default_factory=lambda: array("i"))
    among: array[int] = field(default_factory=lambda: array("b"))
    score: array[float] = field(default_factory=lambda: array("f"))


@dataclass
class Accuracy:
    """Counts over a data set. Fractions are of 1.

    Attributes:
        confusion: (classes, classes) pictures of class row that were taken for class column.
        hits5: pictures whose class is among the best min(5, classes).
        confidence: (BINS, 3) pictures, sum of confidences and correct ones, by confidence of the best class.
        mistakes: the most confident ones, worst first.
        outcomes: what became of each picture.
        intervals: 95 % of figures by name, once `with_intervals` has found them.
        failed: pictures that could not be read.
    """

    names: tuple[str, ...]
    confusion: NDArray[np.int64]
    hits5: int = 0
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros((BINS, 3)))
    mistakes: list[Mistake] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=lambda: Outcomes())
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    headline: str = "top1"
    failed: Failures = field(default_factory=list)

    @property
    def images(self) -> int:
        """Pictures that were read."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Share whose best class is right."""
        return float(np.trace(self.confusion)) / max(self.images, 1)

    @property
    def top5(self) -> float:
        """Share whose class is among the best min(5, classes)."""
        return self.hits5 / max(self.images, 1)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean gap of confidence and accuracy, weighted by the bins' pictures."""
        count, total, right = self.confidence.T
        return float(np.abs(total - right).sum() / max(count.sum(), 1))

    def per_class(self) -> Iterator[tuple[str, int, float]]:
        """Name, pictures and share right, of each class that has pictures."""
        for index, row in enumerate(self.confusion):
            if row.sum():
                yield self.names[index], int(row.sum()), float(row[index] / row.sum())

    @property
    def sentence(self) -> str:
        """Top-1 and top-5."""
        shares = {"top-1": "top1", "top-5": "top5"}
        texts = [
            f"{title} {spell(getattr(self, name), self.intervals.get(name), percent=True)}"
            for title, name in shares.items()
        ]
        return ", ".join(texts)

    def tables(self) -> list[Table]:
        """Classes, worst first, then the whole."""
        classes = sorted(self.per_class(), key=lambda entry: (entry[2], entry[0]))
        title, shown = worst_classes(classes)
        sure = bool(self.intervals)
        rows = [
            (name, str(count), spell(top1, wilson(round(top1 * count), count) if sure else None, percent=True))
            for name, count, top1 in shown
        ]
        heading = "top-1 (95 %)" if sure else "top-1"
        whole = [
            ("top-1", spell(self.top1, self.intervals.get("top1"), percent=True)),
            ("top-5", spell(self.top5, self.intervals.get("top5"), percent=True)),
            ("calibration error", spell(self.calibration_error, self.intervals.get("calibration_error"))),
        ]
        return [
            Table(title, (("class", "left"), ("pictures", "right"), (heading, "right")), rows),
            Table("", (("figure", "left"), ("value (95 %)" if sure else "value", "right")), whole),
        ]

    def to_json(self) -> dict[str, Any]:
        """The figures as `linnet evaluate --json` prints them."""
        document: dict[str, Any] = {"images": self.images}
        for name in FIGURES:
            document |= with_interval(name, getattr(self, name), self.intervals.get(name))
        sure = bool(self.intervals)
        return document | {
            "per_class": [
                {"label": name, "images": count}
                | with_interval("top1", top1, wilson(round(top1 * count), count) if sure else None)
                for name, count, top1 in self.per_class()
            ],
            "failed": failed_entries(self.failed),
        }

    def score(self) -> Mapping[str, Any]:
        """Top-1, top-5, calibration, and each class."""
        return {name: value for name, value in self.to_json().items() if name != "failed"}

    def statistic(self, counts: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        """(B, N) counts of the pictures → each of `FIGURES`, (B,)."""
        of = self.outcomes
        truth, guess, among, score = (np.asarray(column) for column in (of.truth, of.guess, of.among, of.score))
        right = (truth == guess).astype(np.float32)
        bins = np.minimum((score * BINS).astype(np.int64), BINS - 1)
        gaps = np.zeros((len(right), BINS), np.float32)
        gaps[np.arange(len(right)), bins] = score - right
        total = counts.sum(axis=1, dtype=np.float64)
        return {
            "top1": (counts @ right) / total,
            "top5": (counts @ among.astype(np.float32)) / total,
            "calibration_error": np.abs(counts @ gaps).sum(axis=1, dtype=np.float64) / total,
        }

    def with_intervals(self, progress: Progress = lambda done: None) -> Accuracy:
        """Wilson's intervals of the shares; the calibration error's by drawing pictures anew."""
        shares = {name: wilson(round(getattr(self, name) * self.images), self.images) for name in ("top1", "top5")}
        draws = resample(self.statistic, self.images, progress=progress)
        return replace(
            self,
            intervals=shares | {"calibration_error": interval_of(self.calibration_error, draws["calibration_error"])},
        )

    def agreement(self, other: Accuracy) -> dict[str, int]:
        """Pictures that both models, only this one, only the other, and neither take for their class."""
        ours, theirs = (np.equal(each.outcomes.truth, each.outcomes.guess) for each in (self, other))
        cells = {"both": ours & theirs, "only_model": ours & ~theirs, "only_against": theirs & ~ours}
        return {name: int(cell.sum()) for name, cell in (cells | {"neither": ~ours & ~theirs}).items()}

    def same_answers(self, other: Accuracy) -> float:
        """The share of the pictures that both take for the same class."""
        return float(np.mean(np.equal(self.outcomes.guess, other.outcomes.guess)))

    def against(self, other: Accuracy) -> list[Difference]:
        """Each figure less another model's, of the same draws of the same pictures."""
        ours, theirs = (resample(figures.statistic, self.images) for figures in (self, other))
        return [paired(name, getattr(self, name), getattr(other, name), ours[name], theirs[name]) for name in FIGURES]


def measure_accuracy(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    batch: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> Accuracy:
    """Classifies every sample and counts.

    Args:
        predictor: a classifier.
        samples: pictures with their classes.
        batch: pictures a forward pass.
        progress: called with the number of pictures done.

    Raises:
        ValueError: if the network is no classifier, or not one picture could be read.
    """
    if predictor.architecture.task != "classification":
        raise ValueError(f"Accuracy is of classifiers; this model is for {predictor.architecture.task}.")
    classes = predictor.architecture.classes or 0
    names = predictor.classes or tuple(str(index) for index in range(classes))
    accuracy = Accuracy(names, np.zeros((classes, classes), np.int64))
    worst: list[tuple[float, int, Mistake]] = []
    results = predictor.stream_of(samples, picture_of, batch=batch)
    for number, (sample, (_, result)) in enumerate(zip(samples, results, strict=True), start=1):
        if isinstance(result, Exception):
            accuracy.failed.append((sample.name, describe_failure(result)))
        else:
            _count(accuracy, sample, result)
            if result.index != sample.index:
                mistake = Mistake(sample, result.index, result.score)
                heapq.heappush(worst, (result.score, -number, mistake))
                if len(worst) > WORST:
                    heapq.heappop(worst)
        progress(number)
    if not accuracy.images:
        raise none_read(len(samples), accuracy.failed)
    accuracy.mistakes = [mistake for _, _, mistake in sorted(worst, key=lambda entry: entry[:2], reverse=True)]
    return accuracy


def _count(accuracy: Accuracy, sample: Sample, result: Classification) -> None:
    accuracy.confusion[sample.index, result.index] += 1
    among = any(prediction.index == sample.index for prediction in result.top(5))
    accuracy.hits5 += among
    outcomes = accuracy.outcomes
    outcomes.truth.append(sample.index)
    outcomes.guess.append(result.index)
    outcomes.among.append(among)
    outcomes.score.append(result.score)
    bin_ = min(int(result.score * BINS), BINS - 1)
    accuracy.confidence[bin_] += (1, result.score, result.index == sample.index)
