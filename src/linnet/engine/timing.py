"""How long the engine takes for one picture."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from linnet.engine.native import NativeSession

SECONDS = 1.0
"""For which a network runs to be timed; each step of its plan then has the least time of its runs."""

FEWEST_RUNS = 5

WARM_UP = 0.05
"""Seconds before that: the first runs find cold caches and sleeping threads."""


class Latency(NamedTuple):
    """Seconds of one picture.

    Attributes:
        median: of all runs.
        least: the fastest run.
    """

    median: float
    least: float


def measure_latency(session: NativeSession, *, seconds: float = SECONDS) -> Latency:
    """What `linnet profile --time` prints and `linnet choose` compares: runs of one random picture, after a warm-up.

    Args:
        session: of the network; its threads are those that are measured.
        seconds: for which it runs.
    """
    time_pictures(session, seconds=min(WARM_UP, seconds))
    taken = time_pictures(session, seconds=seconds)
    return Latency(statistics.median(taken), min(taken))


def time_pictures(session: NativeSession, *, seconds: float = SECONDS) -> list[float]:
    """Seconds of each run with one random picture, at least `FEWEST_RUNS` and for as long as is said."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, *session.size, session.channels), dtype=np.uint8)
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < FEWEST_RUNS or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        session.run(pixels)
        taken.append(time.perf_counter() - start)
    return taken
