"""Biases that take back what rounding adds to the mean of each output channel (Nagel et al. 2019, section 4.2).

The mean of what a convolution sums is known from the means of the channels that it reads. With rounded weights, and
with inputs that are rounded and cut off, it is another; the difference goes into the bias, which has room for it.
Padding is left out of account: it is a small share of all pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linnet.architecture import Convolve, Linear
from linnet.quantisation import rule
from linnet.quantisation.post_training.observation import Observation
from linnet.quantisation.scheme import Encoding, IntegerType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def corrected_bias(
    operation: Convolve | Linear,
    weight: Floats,
    rounded: NDArray[np.floating],
    bias: Floats,
    read: Observation,
    encoding: Encoding,
    dtype: IntegerType,
) -> NDArray[np.float64]:
    """The bias with which the mean of each output channel is that of the float network.

    Args:
        operation: whose it is.
        weight: (out, in, …) in float.
        rounded: what the integer weights stand for.
        bias: (out,).
        read: what the operation reads.
        encoding: of that.
        dtype: of its integers.
    """
    rows = read.rows
    before = rows.mean(axis=0, dtype=np.float64)
    after = rule.dequantise(rule.quantise(rows, encoding, dtype), encoding).mean(axis=0, dtype=np.float64)
    depthwise = operation.depthwise
    sums = [each.astype(np.float64).reshape(*each.shape[:2], -1).sum(axis=2) for each in (weight, rounded)]
    if depthwise:
        return bias + sums[0][:, 0] * before - sums[1][:, 0] * after
    return bias + sums[0] @ before - sums[1] @ after
