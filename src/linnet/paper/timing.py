"""The time of one picture through a network with random weights, beside other networks in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from linnet.architecture import Architecture
from linnet.checkpoint import random_checkpoint
from linnet.predictor import Predictor

ROUNDS = 9


def interleaved_times(
    architectures: Sequence[Architecture], rounds: int = ROUNDS, *, clock: Callable[[], float] = time.perf_counter
) -> tuple[str, list[list[float]]]:
    """The runtime, and milliseconds of `rounds` runs for each network: one picture, one thread, round by round.

    With `time.thread_time` as the clock they are processor time, which others on the machine do not lengthen as much.
    """
    predictors = [Predictor(random_checkpoint(architecture), threads=1) for architecture in architectures]
    times: list[list[float]] = [[] for _ in architectures]
    for number in range(rounds + 1):
        for predictor, taken in zip(predictors, times, strict=True):
            pixels = np.zeros((1, *predictor.preprocessing.size, 3), np.uint8)
            start = clock()
            predictor.forward(pixels)
            # The first round warms up.
            if number:
                taken.append(1000 * (clock() - start))
    return predictors[0].runtime, times
