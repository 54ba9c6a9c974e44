"""What the figures of every task have in common: a headline, tables, a document, a report, how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from linnet.evaluation.uncertainty import Difference, Interval

T = TypeVar("T")

SHOWN_CLASSES = 40
"""Above so many a table shows a quarter as many, the worst."""

Failures = list[tuple[str, str]]
"""Name and error of each picture that could not be read; they count nowhere."""

Progress = Callable[[int], None]
"""Called with the number of pictures, or draws, done."""


@dataclass(frozen=True)
class Table:
    """Figures for people.

    Attributes:
        title: what stands above it; may be empty.
        columns: heading, and `left` or `right`.
        rows: cells.
    """

    title: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]


class Figures(Protocol):
    """What a model came to on pictures. Frozen: what was measured stays."""

    @property
    def headline(self) -> str:
        """Name of the figure that tells two models apart, the higher the better; a key of `to_json`."""
        ...

    @property
    def failed(self) -> Failures:
        """Pictures that could not be read."""
        ...

    @property
    def images(self) -> int:
        """Pictures that were measured."""
        ...

    @property
    def sentence(self) -> str:
        """The most important figures, for people."""
        ...

    def tables(self) -> list[Table]:
        """Everything for people, the most important last."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything as `linnet evaluate --json` prints it: beside each figure `x` its 95 % interval `x_95`."""
        ...

    def score(self) -> Mapping[str, Any]:
        """What a checkpoint keeps of it."""
        ...

    def with_intervals(self, progress: Progress = lambda done: None) -> Self:
        """The same figures, and how sure each of them is."""
        ...

    def agreement(self, other: Self) -> dict[str, int]:
        """On how many of the same pictures both models, one and neither are right; empty where there is no right."""
        ...

    def same_answers(self, other: Self) -> float:
        """The share of the same pictures on which the best answers of both models are equal, right or wrong."""
        ...

    def against(self, other: Self) -> list[Difference]:
        """How much better these are than another model's of the same pictures, figure by figure."""
        ...


@dataclass(frozen=True)
class Comparison:
    """What the figures of two models on the same pictures say of them.

    Attributes:
        headline: name of the figure that tells two models apart.
        differences: of each figure.
        agreement: on how many pictures both, one of them and neither are right; may be empty.
    """

    headline: str
    differences: Sequence[Difference]
    agreement: Mapping[str, int]

    @property
    def sentences(self) -> list[str]:
        """Whether the difference of the headline excludes zero, and how often the models agree."""
        said = [each.sentence for each in self.differences if each.name == self.headline]
        if self.agreement:
            both, first, second, neither = self.agreement.values()
            said.append(
                f"Both are right on {both} pictures, only the first on {first}, only the second on {second}, "
                f"neither on {neither}."
            )
        return said

    def to_json(self) -> dict[str, Any]:
        """The comparison as `linnet evaluate --json` prints it."""
        document: dict[str, Any] = {"differences": [each.to_json() for each in self.differences]}
        return document | ({"agreement": dict(self.agreement)} if self.agreement else {})


def worst_classes(ranked: Sequence[T]) -> tuple[str, Sequence[T]]:
    """Of classes, worst first, those that a table shows, and its title before them."""
    shown = ranked if len(ranked) <= SHOWN_CLASSES else ranked[: SHOWN_CLASSES // 4]
    return "per class, worst first" + f" ({len(shown)} of {len(ranked)})" * (len(shown) < len(ranked)), shown


def failed_entries(failed: Failures) -> list[dict[str, str]]:
    """As they stand in a document."""
    return [{"file": file, "error": error} for file, error in failed]


def none_read(pictures: int, failed: Failures) -> ValueError:
    """What is raised where there is nothing to measure."""
    reason = failed[0][1] if failed else "there are none"
    return ValueError(f"Not one of {pictures} pictures could be read. The first: {reason}")


def with_interval(name: str, value: float | None, interval: Interval | None) -> dict[str, Any]:
    """A figure and its interval as they stand in a document."""
    return {name: value} if interval is None else {name: value, f"{name}_95": list(interval)}


def spell(value: float | None, interval: Interval | None, *, percent: bool = False) -> str:
    """A figure for people: `0.563 (0.543 to 0.587)`, or `89.8 % (86.3 to 92.5)`; a dash for none."""
    if value is None:
        return "-"
    factor, digits, unit = (100, 1, " %") if percent else (1, 3, "")
    text = f"{factor * value:.{digits}f}{unit}"
    if interval is None:
        return text
    low, high = (f"{factor * end:.{digits}f}" for end in interval)
    return f"{text} ({low} to {high})"
