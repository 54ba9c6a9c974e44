"""The time of one picture through a network with random weights, beside other networks in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from linnet.architecture import Architecture
from linnet.checkpoint import random_checkpoint
from linnet.predictor import Predictor

ROUNDS = 9


def interleaved_times(architectures: Sequence[Architecture], rounds: int = ROUNDS) -> tuple[str, list[list[float]]]:
    """The runtime, and milliseconds of `rounds` runs for each network: one picture, one thread, round by round."""
    predictors = [Predictor(random_checkpoint(architecture), threads=1) for architecture in architectures]
    times: list[list[float]] = [[] for _ in architectures]
    for number in range(rounds + 1):
        for predictor, taken in zip(predictors, times, strict=True):
            pixels = np.zeros((1, *predictor.preprocessing.size, 3), np.uint8)
            start = time.perf_counter()
            predictor.forward(pixels)
            # The first round warms up.
            if number:
                taken.append(1000 * (time.perf_counter() - start))
    return predictors[0].runtime, times
