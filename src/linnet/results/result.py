"""What results of all tasks have in common: everything that commands, rows and drawings ask of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Found:
    """One of the things that were found: a class of the picture, an object, a region."""

    label: str
    index: int

    @property
    def corners(self) -> tuple[float, ...]:
        """x0, y0, x1, y1 of its box in pixels; empty of what has none."""
        return ()

    @property
    def number(self) -> int | None:
        """The number that it keeps from frame to frame of a film; None of what has none."""
        return None


class Result(ABC):
    """What a network says of one picture. Each task has its own.

    Attributes:
        key: of the list of what was found in a JSON document.
        column: the same in a table of many pictures.
        measure: the attribute of what was found that orders it: `score` or `share`.
        drawn: how many of what was found stand on a drawing; None for all.
    """

    key: ClassVar[str] = "predictions"
    column: ClassVar[str]
    measure: ClassVar[str] = "score"
    drawn: ClassVar[int | None] = None

    @property
    def score(self) -> float | None:
        """How probable it is; None where that is not known, or nothing was found."""
        return None

    @abstractmethod
    def top(self, count: int = 5) -> Sequence[Found]:
        """The `count` first of what was found, the best or the largest first."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """What it says in a few words, which stay the same as long as the same is seen."""

    @property
    def caption(self) -> str | None:
        """What stands under a picture that nothing is drawn on; None of results that are drawn on it."""
        return None

    @abstractmethod
    def draw(self, image: Image.Image) -> Image.Image:
        """A copy of the picture that shows it."""

    def scaled(self, scale: tuple[float, float]) -> Self:
        """The same on a picture that is so many times as wide and as high."""
        return self
