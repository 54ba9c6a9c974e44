"""The time of one picture through a network with random weights, beside other networks in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from linnet.architecture import Architecture, Detector
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.predictor import Predictor

ROUNDS = 9


def random_checkpoint(architecture: Architecture) -> Checkpoint:
    """A folded network with random weights, for timing: the time does not depend on them.

    It takes pictures if it has one or three channels.
    """
    folded = architecture.with_options(folded=True)
    generator = np.random.default_rng(0)
    tensors = {
        name: (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in folded.tensors.items()
    }
    contract = Preprocessing(
        size=folded.input_size, resize="squash" if isinstance(folded, Detector) else "shorter_side"
    )
    if folded.input_channels == 1:
        contract = replace(contract, colours="grey", mean=(0.5,), std=(0.5,))
    return Checkpoint(folded, contract if folded.input_channels in (1, 3) else None, tensors)


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
