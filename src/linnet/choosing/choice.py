"""What fits a budget, what of it nothing else beats, and what is nearest where nothing fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linnet.choosing.candidates import Candidate
from linnet.choosing.measuring import Measured

NAMES = {
    "latency_ms": ("latency", "latency", "ms"),
    "memory_bytes": ("memory", "memory", "bytes"),
    "size_bytes": ("size", "file size", "bytes"),
    "multiply_adds": ("multiply_adds", "multiply-adds", ""),
}
"""What can be bounded, as rows call it → the flag, its name in a sentence, and its unit."""

FAR = 1.5
"""Times the bound on latency up to which it is worth measuring what lies between published networks."""


@dataclass(frozen=True)
class Bounds:
    """The most that a network may take; None: as much as it likes.

    Attributes:
        latency: milliseconds of one picture.
        memory: bytes of activations.
        size: bytes of the file.
        multiply_adds: of one picture.
    """

    latency: float | None = None
    memory: int | None = None
    size: int | None = None
    multiply_adds: int | None = None

    def given(self) -> dict[str, float]:
        """What is bounded, as rows call it."""
        values = {row: getattr(self, flag) for row, (flag, _, _) in NAMES.items()}
        return {row: value for row, value in values.items() if value is not None}


@dataclass(frozen=True)
class Row:
    """A candidate with everything that is known of it.

    Attributes:
        candidate: the network.
        measured: what it takes.
        data_top1: on the user's own data, a share of 1; None where that was not asked for.
    """

    candidate: Candidate
    measured: Measured
    data_top1: float | None = None

    @property
    def quality(self) -> float:
        """By which rows are ranked: top-1 on the user's data, or else on ImageNet."""
        return self.candidate.accuracy.top1 if self.data_top1 is None else self.data_top1

    @property
    def takes(self) -> dict[str, float]:
        """What may be bounded; latency only where it was measured."""
        latency = self.measured.latency_ms
        return {
            **({} if latency is None else {"latency_ms": latency}),
            "memory_bytes": self.measured.memory_bytes,
            "size_bytes": self.measured.size_bytes,
            "multiply_adds": self.candidate.cost.multiply_adds,
        }

    def to_json(self, data: str) -> dict[str, Any]:
        """As `linnet choose --json` prints it."""
        candidate, accuracy = self.candidate, self.candidate.accuracy
        own = {} if self.data_top1 is None else {"data_top1": self.data_top1}
        return {
            "network": candidate.network,
            "width": candidate.width,
            "resolution": candidate.resolution,
            "precision": candidate.precision,
            "parameters": candidate.cost.parameters,
            "latency_ms": None,
            **self.takes,
            "imagenet_top1": round(accuracy.top1, 4),
            "imagenet_top1_is": "published" if accuracy.published else "interpolated",
            **own,
            "command": candidate.command(data),
        }


def spent(rows: Iterable[Row]) -> str:
    """What networks are told apart by besides their quality: latency, or memory where no latency was measured."""
    return "latency_ms" if all("latency_ms" in row.takes for row in rows) else "memory_bytes"


def fitting(rows: Iterable[Row], bounds: Bounds) -> list[Row]:
    """The rows within all bounds."""
    given = bounds.given()
    return [row for row in rows if all(row.takes[name] <= most for name, most in given.items())]


def front(rows: Sequence[Row], bounds: Bounds) -> list[Row]:
    """The rows that no other beats, best first.

    A row beats another if it is as good and as fast and takes as little of everything that is bounded, and is better
    in one of these. Memory stands for speed where no latency was measured.
    """
    cost = spent(rows)
    names = tuple(dict.fromkeys((cost, *bounds.given())))
    marks = [(-row.quality, *(row.takes[name] for name in names)) for row in rows]
    kept = [
        row
        for row, mark in zip(rows, marks, strict=True)
        if not any(other != mark and all(a <= b for a, b in zip(other, mark, strict=True)) for other in marks)
    ]
    return sorted(kept, key=lambda row: (-row.quality, row.takes[cost]))


def nearest(rows: Sequence[Row], bounds: Bounds) -> tuple[Row, list[str]]:
    """Where nothing fits: the row whose worst excess is the smallest, and what would have to be loosened, and to what.

    Returns:
        The row, and sentences' parts such as `--latency to 6.1 (ms; 5 was asked for)`.
    """
    given = bounds.given()

    def excess(row: Row) -> float:
        return max(row.takes[name] / most for name, most in given.items())

    best = min(rows, key=lambda row: (excess(row), -row.quality))
    loosen = []
    for name, most in given.items():
        flag, _, unit = NAMES[name]
        if best.takes[name] > most:
            needed = f"{best.takes[name]:.3g}" if name == "latency_ms" else f"{best.takes[name]:.0f}"
            asked = f"{most:g}" if name == "latency_ms" else f"{most:.0f}"
            loosen.append(f"--{flag.replace('_', '-')} to {needed}{f' {unit}' * bool(unit)} ({asked} was asked for)")
    return best, loosen


def worth_measuring(every: Iterable[Candidate], found: Mapping[str, Measured], bounds: Bounds) -> Iterator[Candidate]:
    """Candidates in the order in which they are to be measured: published ones, then those that may fit the budget.

    What is exact before it is measured rules out at once; latency is guessed by multiply-adds once the published ones
    have been measured.
    """
    rest: list[Candidate] = []
    known: list[Candidate] = []
    for candidate in every:
        if bounds.multiply_adds is not None and candidate.cost.multiply_adds > bounds.multiply_adds:
            continue
        if candidate.published:
            known.append(candidate)
            yield candidate
        else:
            rest.append(candidate)

    def guessed(candidate: Candidate) -> float:
        """Milliseconds, by those of the published network of its family and precision that is nearest in cost."""
        alike = [
            each
            for each in known
            if (each.network, each.precision) == (candidate.network, candidate.precision) and each.key in found
        ]
        if not alike:
            return 0.0
        cost = candidate.cost.multiply_adds
        near = min(alike, key=lambda each: abs(each.cost.multiply_adds / cost - 1))
        return (found[near.key].latency_ms or 0.0) * cost / near.cost.multiply_adds

    most = bounds.latency
    order = {candidate.key: guessed(candidate) for candidate in rest}
    if most is not None:
        rest = [candidate for candidate in rest if order[candidate.key] <= FAR * most]
        # The best that fits is near the bound.
        rest.sort(key=lambda candidate: abs(order[candidate.key] - most))
    yield from rest
