"""The rule of processors without float: sums are multiplied by integers, as in TensorFlow Lite's reference kernels.

`linnet.quantisation.rule` is what linnet computes everywhere; this is what a C file computes that is exported for fixed
point, and what TFLite's reference kernels (`BUILTIN_REF`, TFLM's) give. A real multiplier m is q 2^(e - 31) with q of
31 bits. Results differ from those of the rule in floats by one in some of a thousand numbers.

    scale(v, q, e)        w = (v 2^max(e, 0) q + half) / 2^31, halves away from 0; then w / 2^max(-e, 0), the same
    convolution           q = clamp(scale(sum, m) + z_out), m = s_in s_w / s_out
    linear                q = clamp(((sum q + 2^(30-e)) >> (31-e)) + z_out): rounded once
    addition              t = 2 max(s_a, s_b); the sum of scale((q - z) 2^20, s / t) of both;
                          q = clamp(scale(that sum, t / (2^20 s_out)) + z_out)
    mean over n pixels    k = min(floor(log2 n), 32, 31 + e) of s_in / s_out; q' = q 2^k / n, e' = e - k;
                          clamp(scale(sum of q_in - z_in, q', e') + z_out)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.quantisation.rule import Floats, Integers

ADD_SHIFT = 20
"""Bits that both terms of an addition are shifted up."""

LARGEST_SHIFT, SMALLEST_SHIFT = 30, -62
"""Of an exponent: beyond, all sums become the limits, or nothing."""


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Real multipliers as integers: m = factor x 2^(shift - 31).

    Attributes:
        factors: int32, from 2^30 to 2^31 - 1, or 0.
        shifts: int32, above 0 to the left.
    """

    factors: NDArray[np.int32]
    shifts: NDArray[np.int32]


def split(number: float) -> tuple[int, int]:
    """A positive number as an integer of 31 bits and the exponent that goes with it."""
    fraction, exponent = math.frexp(number)
    factor = math.floor(fraction * 2**31 + 0.5)
    if factor == 2**31:
        factor, exponent = 2**30, exponent + 1
    if exponent < SMALLEST_SHIFT:
        return 0, 0
    return (2**31 - 1, LARGEST_SHIFT) if exponent > LARGEST_SHIFT else (factor, exponent)


def multipliers(given: Encoding, weight_scale: Floats, result: Encoding, channels: int) -> Multipliers:
    """Those of a convolution or a linear layer, one for each output channel."""
    scales = np.broadcast_to(weight_scale.astype(np.float64), (channels,))
    pairs = [split(given.scale * float(scale) / result.scale) for scale in scales]
    factors, shifts = np.array(pairs, np.int32).T
    return Multipliers(np.ascontiguousarray(factors), np.ascontiguousarray(shifts))


def bounds(dtype: IntegerType, encoding: Encoding, activation: str) -> tuple[int, int]:
    """The least and the largest integer that an operation gives: its activation. Halves are rounded away from zero."""
    low, high = LIMITS[dtype]

    def place(value: float) -> int:
        with np.errstate(over="ignore"):
            exact = float(np.float32(value) / np.float32(encoding.scale))
        return int(np.clip(math.floor(min(exact, 1e6) + 0.5) + encoding.zero, low, high))

    return low if activation == "linear" else place(0), place(6) if activation == "relu6" else high


def scale(values: NDArray[Any], factor: NDArray[Any] | int, shift: NDArray[Any] | int) -> NDArray[np.int64]:
    """Whole numbers of 32 bits, multiplied and rounded twice; broadcasts."""
    shift = np.asarray(shift, np.int64)
    limits = (-(2**31), 2**31 - 1)
    grown = np.clip(values.astype(np.int64) << np.maximum(shift, 0), *limits)
    product = grown * np.asarray(factor, np.int64)
    high = _toward_zero(product + np.where(product >= 0, 1 << 30, 1 - (1 << 30)), np.int64(1 << 31))
    right = np.maximum(-shift, 0)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    return np.sign(high) * ((np.abs(high) + half) >> right)


def _toward_zero(values: NDArray[np.int64], divisor: np.int64) -> NDArray[np.int64]:
    return np.sign(values) * (np.abs(values) // divisor)


def requantise(
    sums: NDArray[Any], factor: Multipliers, result: Encoding, dtype: IntegerType, limits: tuple[int, int]
) -> Integers:
    """Sums of a convolution as integers of the result's encoding; see `rule.requantise`."""
    return np.clip(scale(sums, factor.factors, factor.shifts) + result.zero, *limits).astype(dtype)


def requantise_once(
    sums: NDArray[Any], factor: Multipliers, result: Encoding, dtype: IntegerType, limits: tuple[int, int]
) -> Integers:
    """Sums of a linear layer, rounded once."""
    shift = 31 - factor.shifts.astype(np.int64)
    product = sums.astype(np.int64) * factor.factors + (np.int64(1) << (np.minimum(shift, 62) - 1))
    return np.clip((product >> np.minimum(shift, 62)) + result.zero, *limits).astype(dtype)


def addition(given: tuple[Encoding, Encoding], result: Encoding) -> tuple[tuple[int, int], ...]:
    """Multiplier and shift of the first term, of the second and of their sum."""
    twice = 2 * max(encoding.scale for encoding in given)
    return (
        *(split(encoding.scale / twice) for encoding in given),
        split(twice / (2**ADD_SHIFT * result.scale)),
    )


def add(
    first: Integers, second: Integers, given: tuple[Encoding, Encoding], result: Encoding, dtype: IntegerType
) -> Integers:
    """The sum of two tensors of their own encodings."""
    *terms, whole = addition(given, result)
    total = np.zeros(first.shape, np.int64)
    for values, factor, encoding in zip((first, second), terms, given, strict=True):
        total += scale((values.astype(np.int64) - encoding.zero) << ADD_SHIFT, *factor)
    return np.clip(scale(total, *whole) + result.zero, *LIMITS[dtype]).astype(dtype)


def mean(given: Encoding, result: Encoding, pixels: int) -> tuple[int, int]:
    """Multiplier and shift that make a sum over so many pixels their mean."""
    factor, exponent = split(given.scale / result.scale)
    bits = max(min(pixels.bit_length() - 1, 32, 31 + exponent), 0)
    return (factor << bits) // pixels, exponent - bits


def pool_mean(values: Integers, given: Encoding, result: Encoding, dtype: IntegerType) -> Integers:
    """The mean over a map: (N, H, W, C) → (N, C)."""
    count = values.shape[1] * values.shape[2]
    total = values.sum(axis=(1, 2), dtype=np.int64) - count * given.zero
    return np.clip(scale(total, *mean(given, result, count)) + result.zero, *LIMITS[dtype]).astype(dtype)
