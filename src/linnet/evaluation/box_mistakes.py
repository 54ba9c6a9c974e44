"""Which objects a detector found, confused and missed, and what it saw where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from linnet.boxes import areas, intersections
from linnet.data.samples import Sample
from linnet.evaluation.average_precision import Detected, check_detections

if TYPE_CHECKING:
    from numpy.typing import NDArray

Wrong = Literal["background", "confused", "displaced", "double", "missed"]
"""Nothing is there; another class is; the object is there, but the box overlaps it by less than half; the object was
found already; nothing was found."""

NEAR = 0.1
"""IoU from which a box that matches no object counts as displaced."""

WORST = 24
"""Mistakes that are shown: of two kinds, seen where nothing is right, and missed."""


@dataclass(frozen=True)
class BoxMistake:
    """One mistake.

    Attributes:
        sample: the picture.
        kind: what is wrong.
        box: x0, y0, x1, y1 in pixels: of the detection, or of the object that was missed.
        guess: the class that was seen; None if the object was missed.
        score: of the detection; of a missed object its share of the picture's sides.
        truth: the class of the object concerned; None if there is none.
        overlap: IoU with that object.
        object: number of that object in the sample.
    """

    sample: Sample
    kind: Wrong
    box: tuple[float, float, float, float]
    guess: int | None
    score: float
    truth: int | None = None
    overlap: float = 0.0
    object: int | None = None


@dataclass(frozen=True, eq=False)
class BoxMistakes:
    """Counts of matched and unmatched objects.

    Attributes:
        classes: names.
        least_score: of the detections that count.
        confusion: (classes + 1, classes + 1) objects of class row that were taken for class column; the last row is
            what was seen where nothing is or was left to be found, the last column what was missed.
        mistakes: the worst ones: detections by falling score, then missed objects by falling size.
    """

    classes: tuple[str, ...]
    least_score: float
    confusion: NDArray[np.int64]
    mistakes: tuple[BoxMistake, ...]

    def to_json(self) -> dict[str, Any]:
        """All counts and mistakes."""
        names = (*self.classes, None)
        return {
            "least_score": self.least_score,
            "confusion": [
                {"label": names[row], "taken_for": names[column], "objects": int(self.confusion[row, column])}
                for row, column in np.argwhere(self.confusion)
            ],
            "mistakes": [
                {
                    "file": mistake.sample.name,
                    "kind": mistake.kind,
                    "box": list(mistake.box),
                    "label": None if mistake.truth is None else self.classes[mistake.truth],
                    "taken_for": None if mistake.guess is None else self.classes[mistake.guess],
                    "score": mistake.score,
                }
                for mistake in self.mistakes
            ],
        }


def find_mistakes(
    samples: Sequence[Sample],
    detections: Sequence[Detected],
    classes: Sequence[str],
    *,
    least_score: float = 0.5,
    least_overlap: float = 0.5,
) -> BoxMistakes:
    """Matches detections with objects, and counts.

    The best detections choose first, each the object of its class that it overlaps most; those that are left choose
    among the objects of other classes that are left. What lies by half on an ignored object counts nowhere.

    Args:
        samples: N pictures with their objects.
        detections: what was found in each of them.
        classes: names, in the order of the indices.
        least_score: detections of less do not count.
        least_overlap: IoU of a match.

    Raises:
        ValueError: if there are no pictures, or detections do not fit them.
    """
    check_detections(samples, detections, len(classes))
    confusion = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    seen: list[BoxMistake] = []
    missed: list[BoxMistake] = []
    for sample, one in zip(samples, detections, strict=True):
        kept = np.flatnonzero(one.scores >= least_score)
        order = kept[np.argsort(-one.scores[kept], kind="stable")]
        picture = _Picture(sample, one.boxes[order], one.scores[order], one.indices[order], least_overlap)
        np.add.at(confusion, picture.cells(), 1)
        seen += picture.seen()
        missed += picture.missed()
    seen.sort(key=lambda mistake: -mistake.score)
    missed.sort(key=lambda mistake: -mistake.score)
    # A third for what was missed, or more where there is room.
    first = max(WORST - len(missed), 2 * WORST // 3)
    shown = seen[:first] + missed[: WORST - len(seen[:first])]
    return BoxMistakes(tuple(classes), least_score, confusion, tuple(shown))


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of boxes (N, 4) and (M, 4): IoU (N, M), and which share of the first lies on the second (N, M)."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    shared, own, other = intersections(first, second), areas(first), areas(second)
    least = np.finfo(np.float64).tiny
    return shared / np.maximum(own[:, None] + other - shared, least), shared / np.maximum(own[:, None], least)


class _Picture:
    """The matches of one picture: number of each detection's object, or -1."""

    def __init__(
        self,
        sample: Sample,
        boxes: NDArray[Any],
        scores: NDArray[Any],
        indices: NDArray[Any],
        least_overlap: float,
    ) -> None:
        self.sample, self.boxes, self.scores, self.indices = sample, boxes, scores, indices
        self.least_overlap = least_overlap
        self.overlap, inside = overlaps(boxes, sample.boxes)
        self.overlap[:, sample.ignored] = 0
        same = indices[:, None] == sample.indices
        self.same = np.where(same, self.overlap, 0)
        self.free = ~sample.ignored
        self.matches = np.full(len(boxes), -1)
        for values in (self.same, np.where(same, 0, self.overlap)):
            for number in np.flatnonzero(self.matches < 0).tolist():
                open_ = np.where(self.free, values[number], 0)
                best = int(open_.argmax()) if open_.size else 0
                if open_.size and open_[best] >= least_overlap:
                    self.matches[number], self.free[best] = best, False
        on_ignored = inside[:, sample.ignored].max(axis=1, initial=0) >= least_overlap
        self.counted = (self.matches >= 0) | ~on_ignored

    def cells(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the confusion matrix that these detections and objects add to."""
        none = -1
        truths = np.where(self.matches >= 0, np.append(self.sample.indices, none)[self.matches], none)[self.counted]
        missed = self.sample.indices[self.free]
        rows = np.concatenate([truths, missed])
        columns = np.concatenate([self.indices[self.counted], np.full(len(missed), none)])
        return rows.astype(np.int64), columns.astype(np.int64)

    def seen(self) -> list[BoxMistake]:
        """Detections that are wrong."""
        found = []
        for number in np.flatnonzero(self.counted).tolist():
            match, guess = int(self.matches[number]), int(self.indices[number])
            kind, place = self._judge(number, match)
            if kind is not None:
                truth = None if kind == "background" else int(self.sample.indices[place])
                overlap = 0.0 if truth is None else float(self.overlap[number, place])
                box, score = _sides(self.boxes[number]), float(self.scores[number])
                concerned = None if truth is None else place
                found.append(BoxMistake(self.sample, kind, box, guess, score, truth, overlap, concerned))
        return found

    def _judge(self, number: int, match: int) -> tuple[Wrong | None, int]:
        """What is wrong with a detection, and the object concerned."""
        if match >= 0:
            return (None if self.sample.indices[match] == self.indices[number] else "confused"), match
        place = int(self.same[number].argmax()) if self.same.shape[1] else 0
        nearest = self.same[number, place] if self.same.shape[1] else 0.0
        if nearest < NEAR:
            return "background", -1
        return ("double" if nearest >= self.least_overlap else "displaced"), place

    def missed(self) -> list[BoxMistake]:
        """Objects that nothing was matched with."""
        width, height = self.sample.size or self.sample.boxes[:, 2:].max(axis=0, initial=1).tolist()
        found = []
        for place in np.flatnonzero(self.free).tolist():
            box, index = _sides(self.sample.boxes[place]), int(self.sample.indices[place])
            share = ((box[2] - box[0]) * (box[3] - box[1]) / (width * height)) ** 0.5
            found.append(BoxMistake(self.sample, "missed", box, None, share, index, object=place))
        return found


def _sides(box: NDArray[Any]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1
