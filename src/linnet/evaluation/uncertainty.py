"""How sure a figure is: intervals for shares, and the bootstrap over pictures for everything else.

A figure of N pictures would have come out otherwise on N others of the same kind. Wilson's interval says by how much
for a share. For what is no share (average precision, calibration, mean intersection over union) the pictures are drawn
anew, with replacement, and the figure is computed of each draw: the middle 95 % of what comes out is the interval
(Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13). All of that is of the pictures: another training
would differ by more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.float32]
    Statistic = Callable[[Counts], Mapping[str, NDArray[np.float64]]]

Interval = tuple[float, float]

SAMPLES = 1000
"""Draws: the ends of an interval then move by a twentieth of its length from seed to seed."""

CERTAINTY = 0.95

NORMAL = 1.959963984540054
"""Deviations within which a normal distribution has 95 %."""

CHUNK, FEWEST, MOST = 1 << 20, 32, 500
"""Counts that are held at a time, and draws at the least and at the most: there shall be progress to show."""


def wilson(hits: int, total: int) -> Interval | None:
    """The 95 % interval of a share (Wilson 1927); None of nothing.

    Examples:
        >>> low, high = wilson(0, 10)
        >>> round(low, 4), round(high, 4)
        (0.0, 0.2775)
    """
    if total == 0:
        return None
    share, spread = hits / total, NORMAL**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = NORMAL / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    # The ends are exact where nothing, or everything, is hit; rounding may leave them beside it.
    return (0.0 if hits == 0 else max(centre - half, 0.0)), (1.0 if hits == total else min(centre + half, 1.0))


def resample(
    statistic: Statistic,
    pictures: int,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, NDArray[np.float64]]:
    """Figures of pictures drawn anew.

    Args:
        statistic: gets (B, N) counts, how often each picture is in each of B draws; gives figures by name, (B, …), NaN
            where a draw has nothing to measure.
        pictures: N.
        samples: draws.
        seed: of the draws. The same seed draws the same pictures, whatever is measured of them: what two models get is
            paired.
        progress: called with the number of draws done.

    Returns:
        Each figure of all draws, (samples, …).
    """
    generator = np.random.default_rng((seed, 0xB007))
    step = min(max(CHUNK // max(pictures, 1), FEWEST), MOST)
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for start in range(0, samples, step):
        count = min(step, samples - start)
        drawn = generator.integers(0, pictures, (count, pictures))
        # Each draw counts in places of its own.
        drawn += np.arange(count)[:, None] * pictures
        counts = np.bincount(drawn.ravel(), minlength=count * pictures).reshape(count, pictures).astype(np.float32)
        for name, values in statistic(counts).items():
            parts.setdefault(name, []).append(values)
        progress(start + count)
    return {name: np.concatenate(values) for name, values in parts.items()}


def interval_of(figure: float | None, values: NDArray[np.float64]) -> Interval | None:
    """The middle 95 % of a figure's draws, and the figure itself.

    A figure that cannot fall below 0, as the calibration error, is larger in nearly every draw than of the pictures
    themselves where it is small: the interval is then widened to hold it.

    Args:
        figure: of the pictures as they are; None where it cannot be measured.
        values: (B,) of the draws.

    Returns:
        The ends; None where the figure or every draw could not be measured.
    """
    known = values[np.isfinite(values)]
    if figure is None or not len(known):
        return None
    low, high = np.quantile(known, [(1 - CERTAINTY) / 2, (1 + CERTAINTY) / 2])
    return min(float(low), figure), max(float(high), figure)


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another on the same pictures.

    Attributes:
        name: of the figure.
        ours: of the first model; None where it cannot be measured.
        theirs: of the second.
        interval: 95 % of the difference, ours less theirs; None where it cannot be measured.
    """

    name: str
    ours: float | None
    theirs: float | None
    interval: Interval | None

    @property
    def value(self) -> float | None:
        """Ours less theirs."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs

    @property
    def excludes_zero(self) -> bool:
        """Whether the pictures show that one is better."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def sentence(self) -> str:
        """What the comparison says, for people."""
        ours, theirs, difference = self.ours, self.theirs, self.value
        if ours is None or theirs is None or difference is None or self.interval is None:
            return f"{self.name}: it cannot be measured on these pictures."
        low, high = self.interval
        if self.excludes_zero:
            better = "the first" if difference > 0 else "the second"
            verdict = f"zero lies outside: {better} is better on pictures like these"
        else:
            verdict = "zero lies inside: these pictures do not show that they differ"
        return (
            f"{self.name}: {ours:.3f} against {theirs:.3f}, a difference of {difference:+.3f} "
            f"(95 %: {low:+.3f} to {high:+.3f}); {verdict}."
        )

    def to_json(self) -> dict[str, Any]:
        """The difference as `linnet evaluate --json` prints it."""
        return {
            "figure": self.name,
            "value": self.ours,
            "against": self.theirs,
            "difference": self.value,
            "difference_95": None if self.interval is None else list(self.interval),
            "excludes_zero": self.excludes_zero,
        }


def paired(
    name: str, ours: float | None, theirs: float | None, first: NDArray[np.float64], second: NDArray[np.float64]
) -> Difference:
    """The difference of one figure, of draws (B,) that two models share."""
    difference = None if ours is None or theirs is None else ours - theirs
    return Difference(name, ours, theirs, interval_of(difference, first - second))
