"""How long the engine takes for one picture."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from linnet.engine.native import NativeSession

SECONDS = 1.0
"""For which a network runs to be timed; each step of its plan then has the least time of its runs."""

FEWEST_RUNS = 5


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
