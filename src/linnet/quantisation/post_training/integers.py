"""Weights and biases as integers: one scale an output channel, symmetric around 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Operation
from linnet.quantisation.scheme import SMALLEST_SCALE, Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LARGEST = 127
"""Of a weight: -128 is not taken, so that all weights are symmetric."""

LARGEST_BIAS = 2**30
"""Half of what 32 bits hold; the other half is for the products."""

LEAST_SHARE = 2.0**-20
"""Of the largest scale of an operation: what a dead channel has, whose weights are 0 or nearly."""

LEAST_FACTOR = 2.0**-31
"""Of what sums are multiplied by: below it other runtimes refuse a network."""


def weight_scales(weight: Floats, bias: NDArray[np.floating[Any]], given: Encoding, result: Encoding) -> Floats:
    """(C,) scales of the output channels.

    A dead channel, which batch norm leaves with weights near 0 and a bias, gets a scale with which the bias fits 32
    bits; its weights then have fewer steps, or none, but less than half a step of the result depends on that.
    """
    spans = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64) / LARGEST
    floors = np.maximum(np.abs(bias) / (given.scale * LARGEST_BIAS), spans.max() * LEAST_SHARE)
    floors = np.maximum(floors, LEAST_FACTOR * result.scale / given.scale)
    return np.maximum(np.maximum(spans, floors), SMALLEST_SCALE / min(given.scale, 1)).astype(np.float32)


def as_integers(
    operation: Operation,
    weight: Floats,
    bias: NDArray[np.floating[Any]],
    scales: Floats,
    given: Encoding,
) -> dict[str, NDArray[Any]]:
    """The tensors of an operation as a checkpoint holds them.

    Args:
        operation: whose they are.
        weight: (C, …).
        bias: (C,), corrected perhaps.
        scales: (C,) or (1,) of the weights.
        given: encoding of what the operation reads.
    """
    label = operation.label
    whole = np.rint(weight / scales.reshape(-1, *[1] * (weight.ndim - 1)))
    steps = bias.astype(np.float64) / (given.scale * scales.astype(np.float64))
    return {
        f"{label}.weight": np.clip(whole, -LARGEST, LARGEST).astype(np.int8),
        f"{label}.weight.scale": scales,
        f"{label}.bias": np.rint(steps).astype(np.int32),
    }
