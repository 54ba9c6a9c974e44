"""Top-1 and top-5 accuracy of a classifier, with everything a report needs, in memory that does not grow."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.dataset import Sample
from linnet.data.sources import Location
from linnet.predictor import Predictor
from linnet.results import Classification

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
"""Equal parts of the confidence from 0 to 1, for the reliability curve."""

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
class Accuracy:
    """Counts over a data set. Fractions are of 1.

    Attributes:
        confusion: (classes, classes) pictures of class row that were taken for class column.
        hits5: pictures whose class is among the best min(5, classes).
        confidence: (BINS, 3) pictures, sum of confidences and correct ones, by confidence of the best class.
        mistakes: the most confident ones, worst first.
        failed: name and error of each picture that could not be read; they count nowhere.
    """

    names: tuple[str, ...]
    confusion: NDArray[np.int64]
    hits5: int = 0
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros((BINS, 3)))
    mistakes: list[Mistake] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

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

    def to_json(self) -> dict[str, Any]:
        """The figures as `linnet evaluate --json` prints them."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "calibration_error": self.calibration_error,
            "per_class": [{"label": name, "images": count, "top1": top1} for name, count, top1 in self.per_class()],
            "failed": [{"file": file, "error": error} for file, error in self.failed],
        }


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
        ValueError: if the network has no classifier or is a detector, or not one picture could be read.
    """
    if predictor.architecture.task != "classification":
        raise ValueError("Accuracy is of classifiers; this model is a detector.")
    classes = predictor.architecture.classes or 0
    names = predictor.classes or tuple(str(index) for index in range(classes))
    accuracy = Accuracy(names, np.zeros((classes, classes), np.int64))
    worst: list[tuple[float, int, Mistake]] = []
    results = predictor.stream((sample.picture for sample in samples), batch=batch)
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
        reason = accuracy.failed[0][1] if accuracy.failed else "there are none"
        raise ValueError(f"Not one of {len(samples)} pictures could be read. The first: {reason}")
    accuracy.mistakes = [mistake for _, _, mistake in sorted(worst, key=lambda entry: entry[:2], reverse=True)]
    return accuracy


def _count(accuracy: Accuracy, sample: Sample, result: Classification) -> None:
    accuracy.confusion[sample.index, result.index] += 1
    accuracy.hits5 += any(prediction.index == sample.index for prediction in result.top(5))
    bin_ = min(int(result.score * BINS), BINS - 1)
    accuracy.confidence[bin_] += (1, result.score, result.index == sample.index)


def describe_failure(error: Exception) -> str:
    """One sentence for an error that a picture gave."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"'{error.filename}': {error.strerror}."
    return str(error)
