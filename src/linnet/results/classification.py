"""The classes of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.results.result import Found, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True)
class Prediction(Found):
    """One class with its probability."""

    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Classification(Result):
    """The classes of one picture.

    Attributes:
        scores: (classes,) float32 probabilities that sum to 1.
        classes: names, one a score; without names the index in digits serves.
    """

    scores: NDArray[np.float32]
    classes: tuple[str, ...] | None = None

    column = "top"
    drawn = 1

    @staticmethod
    def from_logits(logits: NDArray[np.float32], classes: tuple[str, ...] | None = None) -> Classification:
        """Softmax of (classes,) logits.

        Raises:
            ValueError: if a logit is not a number.
        """
        # In float64 from the start: the difference of two float32 can be more than float32 holds.
        values = logits.astype(np.float64)
        if not np.isfinite(values.max()):
            raise ValueError("The network's output is not a number: its weights are damaged.")
        powers = np.exp(values - values.max())
        return Classification((powers / powers.sum()).astype(np.float32), classes)

    def __repr__(self) -> str:
        best = ", ".join(f"{prediction.label} {prediction.score:.1%}" for prediction in self.top(3))
        return f"Classification({best}; {len(self.scores)} classes)"

    @property
    def index(self) -> int:
        """The most probable class, counted from 0."""
        return int(self.scores.argmax())

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self._label(self.index)

    @property
    def score(self) -> float:
        """Probability of the most probable class."""
        return float(self.scores[self.index])

    def top(self, count: int = 5) -> list[Prediction]:
        """The `count` most probable classes, best first; of equals the one with the lower index."""
        order = np.argsort(-self.scores, kind="stable")[: max(count, 0)]
        return [Prediction(self._label(int(index)), int(index), float(self.scores[index])) for index in order]

    @property
    def summary(self) -> str:
        """The best class."""
        return self.label

    @property
    def caption(self) -> str:
        """The best class and its probability."""
        return f"{self.score:.0%} {self.label}"

    def draw(self, image: Image.Image) -> Image.Image:
        """A copy with the caption on a strip under it."""
        from linnet.results.drawing import draw_caption

        return draw_caption(image, self.caption)

    def agrees(self, other: Classification) -> bool:
        """Whether both have the same best class."""
        return self.index == other.index

    def _label(self, index: int) -> str:
        return self.classes[index] if self.classes else str(index)
