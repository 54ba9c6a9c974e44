"""A detector on labelled pictures: what it finds, COCO's figures of that, and its mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from linnet.data.dataset import Sample
from linnet.detection import Suppression
from linnet.evaluation.accuracy import describe_failure
from linnet.evaluation.average_precision import AveragePrecision, measure_precision
from linnet.evaluation.box_mistakes import BoxMistakes, find_mistakes
from linnet.predictor import Predictor
from linnet.results import Detections

MEASURING = Suppression(score_threshold=0.01, iou_threshold=0.5)
"""What counts as a detection where average precision is measured: nearly everything, since a score orders it."""


@dataclass(frozen=True, eq=False)
class DetectorFigures:
    """What a detector came to.

    Attributes:
        precision: COCO's figures.
        mistakes: what it confused, missed and made up.
        failed: name and error of each picture that could not be read; they count nowhere.
    """

    precision: AveragePrecision
    mistakes: BoxMistakes
    failed: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The figures as `linnet evaluate --json` prints them."""
        failed = [{"file": file, "error": error} for file, error in self.failed]
        return self.precision.to_json() | {"failed": failed}


def measure_detector(
    predictor: Predictor,
    samples: Sequence[Sample],
    *,
    batch: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> DetectorFigures:
    """Looks at every picture and holds what was found against its objects.

    Args:
        predictor: a detector, loaded with `MEASURING` or a suppression of one's own.
        samples: pictures with their objects.
        batch: pictures a forward pass.
        progress: called with the number of pictures done.

    Raises:
        ValueError: if the network is no detector, or not one picture could be read.
    """
    if predictor.architecture.task != "detection":
        raise ValueError("Average precision is of detectors; this model is a classifier.")
    classes = predictor.architecture.classes or 0
    names = predictor.classes or tuple(str(index) for index in range(classes))
    read: list[Sample] = []
    found: list[Detections] = []
    failed: list[tuple[str, str]] = []
    results = predictor.stream((sample.picture for sample in samples), batch=batch)
    for number, (sample, (_, result)) in enumerate(zip(samples, results, strict=True), start=1):
        if isinstance(result, Exception):
            failed.append((sample.name, describe_failure(result)))
        else:
            read.append(sample)
            found.append(result)
        progress(number)
    if not read:
        reason = failed[0][1] if failed else "there are none"
        raise ValueError(f"Not one of {len(samples)} pictures could be read. The first: {reason}")
    return DetectorFigures(measure_precision(read, found, names), find_mistakes(read, found, names), failed)
