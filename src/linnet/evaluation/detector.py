"""A detector on labelled pictures: what it finds, COCO's figures of that, and its mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from linnet.data.samples import Sample, picture_of
from linnet.detection import EVERYTHING
from linnet.evaluation.average_precision import FIGURES, AveragePrecision, measure_precision
from linnet.evaluation.box_mistakes import BoxMistakes, find_mistakes
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
from linnet.evaluation.resampled_precision import PrecisionStatistic
from linnet.evaluation.uncertainty import Difference, Interval, interval_of, paired, resample
from linnet.files import describe_failure
from linnet.predictor import Predictor
from linnet.results import Detections

MEASURING = EVERYTHING
"""What counts as a detection where average precision is measured."""


@dataclass(frozen=True, eq=False)
class DetectorFigures:
    """What a detector came to.

    Attributes:
        precision: COCO's figures.
        mistakes: what it confused, missed and made up.
        failed: pictures that could not be read.
        samples: the pictures that were read.
        detections: what was found in each of them.
        intervals: 95 % of figures by name, once `with_intervals` has found them; of a class `per_class_AP.3`.
    """

    precision: AveragePrecision
    mistakes: BoxMistakes
    failed: Failures = field(default_factory=list)
    samples: Sequence[Sample] = ()
    detections: Sequence[Detections] = ()
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    headline: str = "AP"

    @property
    def images(self) -> int:
        """Pictures that were measured."""
        return self.precision.images

    @property
    def sentence(self) -> str:
        """AP, AP50 and AP75."""
        return ", ".join(f"{name} {self._spell(name)}" for name in ("AP", "AP50", "AP75"))

    def _spell(self, name: str) -> str:
        return spell(self.precision.figures[name], self.intervals.get(name))

    def tables(self) -> list[Table]:
        """Classes, worst first, then COCO's twelve."""
        precision, sure = self.precision, bool(self.intervals)
        classes = sorted(
            (index for index, count in enumerate(precision.objects) if count),
            key=lambda index: (precision.per_class[index][0] or 0, precision.classes[index]),
        )
        title, shown = worst_classes(classes)
        rows = [
            (
                precision.classes[index],
                str(precision.objects[index]),
                *(
                    spell(value, self.intervals.get(f"per_class_{name}.{index}"))
                    for name, value in zip(("AP", "AP50"), precision.per_class[index], strict=True)
                ),
            )
            for index in shown
        ]
        more = " (95 %)" * sure
        columns = (("class", "left"), ("objects", "right"), (f"AP{more}", "right"), (f"AP50{more}", "right"))
        whole = [(name, self._spell(name)) for name in FIGURES]
        return [Table(title, columns, rows), Table("", (("figure", "left"), (f"value{more}", "right")), whole)]

    def to_json(self) -> dict[str, Any]:
        """The figures as `linnet evaluate --json` prints them."""
        precision = self.precision
        document: dict[str, Any] = {"images": self.images}
        for name in FIGURES:
            document |= with_interval(name, precision.figures[name], self.intervals.get(name))
        per_class = []
        for index, (name, count) in enumerate(zip(precision.classes, precision.objects, strict=True)):
            entry: dict[str, Any] = {"label": name, "objects": count}
            for figure, value in zip(("AP", "AP50"), precision.per_class[index], strict=True):
                entry |= with_interval(figure, value, self.intervals.get(f"per_class_{figure}.{index}"))
            per_class.append(entry)
        return document | {"per_class": per_class, "failed": failed_entries(self.failed)}

    def score(self) -> Mapping[str, Any]:
        """COCO's twelve, and each class."""
        return {name: value for name, value in self.to_json().items() if name != "failed"}

    def _statistic(self) -> PrecisionStatistic:
        return PrecisionStatistic(self.samples, self.detections, len(self.precision.classes))

    def with_intervals(self, progress: Progress = lambda done: None) -> DetectorFigures:
        """Intervals of all figures by drawing pictures anew."""
        found: dict[str, Interval | None] = {}
        for name, draws in resample(self._statistic(), self.images, progress=progress).items():
            if draws.ndim == 1:
                found[name] = interval_of(self.precision.figures[name], draws)
            else:
                place = ("per_class_AP", "per_class_AP50").index(name)
                found |= {
                    f"{name}.{index}": interval_of(figures[place], draws[:, index])
                    for index, figures in enumerate(self.precision.per_class)
                }
        return replace(self, intervals=found)

    def agreement(self, other: DetectorFigures) -> dict[str, int]:
        """Nothing: a picture is neither right nor wrong."""
        return {}

    def same_answers(self, other: DetectorFigures) -> float:
        """The share of the pictures on which both find the same best object."""
        pairs = list(zip(self.detections, other.detections, strict=True))
        return sum(first.agrees(second) for first, second in pairs) / len(pairs)

    def against(self, other: DetectorFigures) -> list[Difference]:
        """Each figure less another model's, of the same draws of the same pictures; then the AP of each class."""
        ours, theirs = (resample(figures._statistic(), self.images) for figures in (self, other))
        first, second = self.precision.figures, other.precision.figures
        found = [paired(name, first[name], second[name], ours[name], theirs[name]) for name in FIGURES]
        draws = [each["per_class_AP"] for each in (ours, theirs)]
        for index, (label, count) in enumerate(zip(self.precision.classes, self.precision.objects, strict=True)):
            if count:
                mine, its = self.precision.per_class[index][0], other.precision.per_class[index][0]
                found.append(paired(f"AP of {label}", mine, its, draws[0][:, index], draws[1][:, index]))
        return found


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
        raise ValueError(f"Average precision is of detectors; this model is for {predictor.architecture.task}.")
    classes = predictor.architecture.classes or 0
    names = predictor.classes or tuple(str(index) for index in range(classes))
    read: list[Sample] = []
    found: list[Detections] = []
    failed: Failures = []
    results = predictor.stream_of(samples, picture_of, batch=batch)
    for number, (sample, (_, result)) in enumerate(zip(samples, results, strict=True), start=1):
        if isinstance(result, Exception):
            failed.append((sample.name, describe_failure(result)))
        else:
            read.append(sample)
            found.append(result)
        progress(number)
    if not read:
        raise none_read(len(samples), failed)
    precision, mistakes = measure_precision(read, found, names), find_mistakes(read, found, names)
    return DetectorFigures(precision, mistakes, failed, read, found)
