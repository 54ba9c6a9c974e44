"""The class of every pixel of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from linnet.results.result import Found, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


SAME_PIXELS = 0.9
"""Share of equal pixels from which on two label maps are taken for one answer."""


@dataclass(frozen=True)
class Region(Found):
    """All pixels of one class."""

    share: float
    """Of the picture's pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation(Result):
    """The class of every pixel of one picture.

    Attributes:
        labels: (H, W) uint8 classes, of the original picture's size as it is seen upright.
        count: number of classes that there are.
        classes: their names; without names the index in digits serves.
        score: the probability of the best class, its mean over the network's own map; None where the network gives
            labels alone.
    """

    labels: NDArray[np.uint8]
    count: int
    classes: tuple[str, ...] | None = None
    score: float | None = None

    key = "classes"
    column = "classes"
    measure = "share"

    def __repr__(self) -> str:
        best = ", ".join(f"{found.label} {found.share:.1%}" for found in self.top(3))
        height, width = self.labels.shape
        return f"Segmentation({best}; {width} x {height} pixels)"

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """(count,) share of the pixels that each class has; they sum to 1."""
        return np.bincount(self.labels.ravel(), minlength=self.count) / self.labels.size

    def top(self, count: int | None = None) -> list[Region]:
        """The classes that are there, the largest first; all of them without a count."""
        order = np.argsort(-self.shares, kind="stable")
        found = [int(index) for index in order if self.shares[index] > 0]
        return [
            Region(self.name(index), index, float(self.shares[index]))
            for index in (found if count is None else found[: max(count, 0)])
        ]

    @property
    def summary(self) -> str:
        """The classes that are there."""
        return ", ".join(sorted(found.label for found in self.top()))

    def draw(self, image: Image.Image) -> Image.Image:
        """A copy that is tinted by the classes of its pixels."""
        from linnet.results.overlay import draw_segmentation

        return draw_segmentation(image, self)

    def agrees(self, other: Segmentation) -> bool:
        """Whether both say the same of nine pixels of ten."""
        return self.labels.shape == other.labels.shape and float((self.labels == other.labels).mean()) >= SAME_PIXELS

    def mask(self, index: int) -> NDArray[np.bool_]:
        """(H, W): where a class is."""
        return self.labels == index

    def image(self) -> Image.Image:
        """The label map as a grey picture whose values are the classes, as masks of data sets have them."""
        from PIL import Image

        return Image.fromarray(self.labels)

    def name(self, index: int) -> str:
        """What a class is called."""
        return self.classes[index] if self.classes else str(index)
