"""Which measured times look disturbed, held against those of networks that are nearly the same.

A machine that did something else for a third of a second only ever makes a time longer: what is doubted is measured
again, and the shortest median counts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linnet.choosing.candidates import Candidate
    from linnet.choosing.measuring import Measured

NEIGHBOURS = 4
"""Networks that a time is held against."""

DEARER = 1.2
"""Times that a multiply-add may take as long as the neighbours' do, in the median."""

LONGER = 1.05
"""Times that a network may take as long as one which is no smaller in anything."""


def doubtful(measured: Sequence[Candidate], found: Mapping[str, Measured]) -> list[Candidate]:
    """Candidates whose time breaks a law: more multiply-adds take longer, and nearly the same ones nearly as long.

    Args:
        measured: all that can be compared.
        found: key of a candidate → what it takes.
    """
    kinds: dict[tuple[str, str], list[tuple[Candidate, float]]] = {}
    for candidate in measured:
        latency = found[candidate.key].latency_ms
        if latency is not None:
            kinds.setdefault((candidate.network, candidate.precision), []).append((candidate, latency))
    return [
        candidate
        for alike in kinds.values()
        for candidate, latency in alike
        if _is_longer(candidate, latency, alike) or _is_dearer(candidate, latency, alike)
    ]


def _is_longer(candidate: Candidate, latency: float, alike: Sequence[tuple[Candidate, float]]) -> bool:
    return any(
        other.width >= candidate.width and other.resolution >= candidate.resolution and latency > LONGER * least
        for other, least in alike
    )


def _is_dearer(candidate: Candidate, latency: float, alike: Sequence[tuple[Candidate, float]]) -> bool:
    def distance(other: Candidate) -> float:
        return math.hypot(math.log(other.width / candidate.width), math.log(other.resolution / candidate.resolution))

    others = sorted(((distance(other), other.key, other, time) for other, time in alike if other is not candidate))
    if len(others) < NEIGHBOURS:
        return False
    rates = [time / other.cost.multiply_adds for _, _, other, time in others[:NEIGHBOURS]]
    return latency / candidate.cost.multiply_adds > DEARER * statistics.median(rates)
