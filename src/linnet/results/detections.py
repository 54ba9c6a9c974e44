"""The objects on one picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from linnet.boxes import iou
from linnet.results.classification import Prediction
from linnet.results.result import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


SAME_OBJECT = 0.5
"""Intersection over union from which on two boxes are taken for one object, as AP50 does it."""


@dataclass(frozen=True)
class Detection(Prediction):
    """One object: its class, its probability and where it is."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the original picture, as it is seen upright."""

    @property
    def corners(self) -> tuple[float, ...]:
        """Its box."""
        return self.box

    @property
    def caption(self) -> str:
        """What stands beside its box."""
        return f"{self.label} {self.score:.0%}"

    @property
    def colour(self) -> int:
        """Number of its box's colour: that of its class."""
        return self.index


@dataclass(frozen=True, eq=False, repr=False)
class Detections(Result):
    """The objects on one picture, the most probable first.

    Attributes:
        boxes: (K, 4) float32 x0, y0, x1, y1 in pixels of the original picture, as it is seen upright, and inside it.
        scores: (K,) float32 probabilities, falling.
        indices: (K,) classes, counted from 0.
        classes: their names; without names the index in digits serves.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    indices: NDArray[np.int64]
    classes: tuple[str, ...] | None = None

    column = "boxes"

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        best = "".join(f"{found.label} {found.score:.1%}, " for found in self.top(3))
        return f"Detections({best}{len(self)} objects)"

    def top(self, count: int | None = None) -> list[Detection]:
        """The `count` most probable objects, best first; all without a count."""
        end = len(self) if count is None else min(max(count, 0), len(self))
        return [self._detection(number) for number in range(end)]

    @property
    def score(self) -> float | None:
        """Probability of the most probable object; None without any."""
        return float(self.scores[0]) if len(self) else None

    @property
    def summary(self) -> str:
        """How many objects of each class."""
        counts = Counter(found.label for found in self.top())
        return ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "nothing found"

    def draw(self, image: Image.Image) -> Image.Image:
        """A copy with the boxes."""
        from linnet.results.drawing import Box, draw_boxes

        return draw_boxes(image, [Box(found.box, found.colour, found.caption) for found in self.top()])

    def scaled(self, scale: tuple[float, float]) -> Self:
        """The boxes, scaled."""
        return replace(self, boxes=self.boxes * np.array(scale * 2, np.float32))

    def agrees(self, other: Detections) -> bool:
        """Whether the best objects of both are of one class and overlap by half of their union, or both have none."""
        if not len(self) or not len(other):
            return len(self) == len(other)
        overlap = float(iou(self.boxes[:1], other.boxes[:1])[0, 0])
        return int(self.indices[0]) == int(other.indices[0]) and overlap >= SAME_OBJECT

    def _detection(self, number: int) -> Detection:
        index = int(self.indices[number])
        x0, y0, x1, y1 = (float(value) for value in self.boxes[number])
        label = self.classes[index] if self.classes else str(index)
        return Detection(label, index, float(self.scores[number]), (x0, y0, x1, y1))
