"""The integer rule: what each operation of a quantised network computes, in the plainest numpy.

Every place that runs a quantised network gives these bits: the numpy reference, the engine on every processor, exports.
They are also those of LiteRT's default kernels (XNNPACK on x86), as tests on its files show. s and z are a tensor's
scale (float32) and zero point, q its integer; every operation below is one of IEEE float32 or of exact integers, and
none may be contracted (no fused multiply-add). rint rounds halves to even, >> rounds down.

    convolution, linear   sum = bias + Σ (q_in - z_in) (w - z_w), exact in 32 bits, padding with q_in = z_in
                          m = (s_in * s_w) / s_out, of each output channel, or one for all
                          q = clamp(rint(float32(sum) * m) + z_out, low, high)
    activation            q(v) = rint(clamp(v / s + z)); linear: the type's limits; relu: low = q(0); relu6 also
                          high = q(6)
    addition              r = s_in / s_out of both; h = 20 - floor(log2(max r)); m = rint(r * 2^h)
                          q = clamp(((2^(h-1) + m_a (q_a - z_a) + m_b (q_b - z_b)) >> h) + z_out)
    mean over n pixels    c = (s_in / s_out) * (1 / float32(n)); b = float32(z_out) - float32(n z_in) * c
                          q = clamp(rint(float32(Σ q_in) * c + b))
    average over n pixels the sum of q_in over n, halves away from 0, the encoding stays
    logistic              q = clamp(rint(float32(1 / (1 + exp(-s_in (q_in - z_in)))) * (1 / s_out) + z_out))
    resizing              with weights of 11 bits between 4 neighbours, the encoding stays
    joining               k = s_in * (1 / s_out); q = clamp(round(q_in * k - z_in * k) + z_out), halves away from 0;
                          a copy where the encodings agree; or, as XNNPACK's QUANTIZE, m = rint(2^8 (s_in / s_out));
                          q = clamp((((q_in - z_in) m + 2^7) >> 8) + z_out)
    picture               q = clamp(rint(x * (1 / s)) + z)
    number                x = float32(q - z) * s
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linnet.architecture.operations import Grid
from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType, Joining

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.signedinteger[Any] | np.unsignedinteger[Any]]
    Floats = NDArray[np.float32]

ADD_BITS = 20
"""Bits behind the point of the larger multiplier of an addition."""

RECODE_BITS = 8
"""Bits behind the point of the factor with which XNNPACK recodes."""

RESIZE_BITS = 11
"""Bits behind the point of the weights of resizing, along each axis."""


def bounds(dtype: IntegerType, encoding: Encoding, activation: str) -> tuple[int, int]:
    """The least and the largest integer that an operation gives: its activation.

    Args:
        dtype: of the result.
        encoding: of the result.
        activation: `linear`, `relu` or `relu6`.
    """
    low, high = LIMITS[dtype]

    def place(value: float) -> int:
        with np.errstate(over="ignore"):  # 6 over the smallest of all scales
            exact = np.float32(value) / np.float32(encoding.scale) + np.float32(encoding.zero)
        return int(np.rint(np.clip(exact, low, high)))

    return low if activation == "linear" else place(0), place(6) if activation == "relu6" else high


def multiplier(given: Encoding, weight_scale: Floats, result: Encoding) -> Floats:
    """What the sums of a convolution or a linear layer are multiplied by: (1,) or (channels,) float32."""
    product = np.float32(given.scale) * weight_scale.astype(np.float32)
    return product / np.float32(result.scale)


def requantise(
    sums: NDArray[Any], factor: Floats, result: Encoding, dtype: IntegerType, limits: tuple[int, int]
) -> Integers:
    """Sums as integers of the result's encoding.

    Args:
        sums: (…, channels), whole numbers of any type that holds them exactly.
        factor: of `multiplier`.
        result: the encoding of what comes out.
        dtype: its type.
        limits: of `bounds`.
    """
    scaled = sums.astype(np.float32)
    with np.errstate(over="ignore"):
        scaled *= factor
    np.rint(scaled, out=scaled)
    scaled += np.float32(result.zero)
    return np.clip(scaled, *limits, out=scaled).astype(dtype)


def addition(given: tuple[Encoding, Encoding], result: Encoding) -> tuple[tuple[int, int], int]:
    """What both terms of a sum are multiplied by, and by how many bits the sum is shifted down."""
    ratios = [np.float32(encoding.scale) / np.float32(result.scale) for encoding in given]
    # Of frexp the fraction is from 0.5 to 1: its exponent is one above the floor of the logarithm.
    shift = ADD_BITS - (int(np.frexp(max(ratios))[1]) - 1)
    first, second = (int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return (first, second), shift


def add(
    first: Integers, second: Integers, given: tuple[Encoding, Encoding], result: Encoding, dtype: IntegerType
) -> Integers:
    """The sum of two tensors of their own encodings."""
    factors, shift = addition(given, result)
    total = np.full(first.shape, 1 << (shift - 1), np.int64)
    for values, factor, encoding in zip((first, second), factors, given, strict=True):
        total += factor * (values.astype(np.int64) - encoding.zero)
    return np.clip((total >> shift) + result.zero, *LIMITS[dtype]).astype(dtype)


def pool_mean(values: Integers, given: Encoding, result: Encoding, dtype: IntegerType) -> Integers:
    """The mean over a map: (N, H, W, C) → (N, C)."""
    count = values.shape[1] * values.shape[2]
    factor = (np.float32(given.scale) / np.float32(result.scale)) * (np.float32(1) / np.float32(count))
    offset = np.float32(result.zero) - np.float32(count * given.zero) * factor
    scaled = values.sum(axis=(1, 2), dtype=np.int64).astype(np.float32) * factor
    return np.clip(np.rint(scaled + offset), *LIMITS[dtype]).astype(dtype)


def pool_average(values: Integers, dtype: IntegerType) -> Integers:
    """The mean over a map, (N, H, W, C) → (N, C), rounded as an integer: the encoding stays."""
    count = values.shape[1] * values.shape[2]
    total = values.sum(axis=(1, 2), dtype=np.int64)
    return (np.sign(total) * ((np.abs(total) + count // 2) // count)).astype(dtype)


def logistic(values: Integers, given: Encoding, result: Encoding, dtype: IntegerType) -> Integers:
    """The logistic function, by a table of all 256 integers."""
    low, high = LIMITS[dtype]
    numbers = dequantise(np.arange(low, high + 1), given).astype(np.float64)
    grown = np.exp(np.minimum(numbers, 700))  # beyond, the share is 1 and the power infinite
    shares = (grown / (1 + grown)).astype(np.float32)
    scaled = shares * (np.float32(1) / np.float32(result.scale)) + np.float32(result.zero)
    table = np.clip(np.rint(scaled), low, high).astype(dtype)
    return table[values.astype(np.int64) - low]


def resize(values: Integers, size: tuple[int, int], dtype: IntegerType, grid: Grid) -> Integers:
    """Bilinear resizing of maps (N, H, W, C) to another height and width; the encoding stays.

    Args:
        values: the maps.
        size: height and width of the result.
        dtype: of both.
        grid: where pixels lie; see `linnet.architecture.Resize`.
    """
    places = (neighbours(before, after, grid) for before, after in zip(values.shape[1:3], size, strict=True))
    return mixed(values, *places).astype(dtype)


class Neighbours(NamedTuple):
    """Of each place along a new axis those of the old one that it lies between.

    Attributes:
        low: the place before, (outputs,).
        high: the place behind, the same at the end of the axis.
        share: of the second one, from 0 to 1.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    share: NDArray[np.floating[Any]]


def neighbours(before: int, after: int, grid: Grid, kind: type[np.floating[Any]] = np.float32) -> Neighbours:
    """Where `after` places lie among `before`, in the arithmetic of a type; the rule's is float32, as XNNPACK has it.

    In float resizing (`linnet.engine.resizing`) the same places are taken.
    """
    half, last = kind(0.5), kind(before - 1)
    aligned = grid == "align_corners" and after > 1
    ratio = last / kind(after - 1) if aligned else kind(before) / kind(after)
    places = np.arange(after, dtype=kind) * ratio
    if grid == "half_pixel":
        places = places + (half * ratio - half)
    places = np.clip(places, kind(0), last)
    low = np.floor(places).astype(np.int64)
    return Neighbours(low, np.minimum(low + 1, before - 1), places - low.astype(kind))


def mixed(values: Integers, rows: Neighbours, columns: Neighbours) -> NDArray[np.int64]:
    """What lies at some places between the pixels of maps (N, H, W, C)."""
    raw = values.astype(np.int64)
    down, across = (np.rint(each.share * np.float32(1 << RESIZE_BITS)).astype(np.int64) for each in (rows, columns))

    def between(row: NDArray[np.int64]) -> NDArray[np.int64]:
        near, far = raw[:, row][:, :, columns.low], raw[:, row][:, :, columns.high]
        return (near << RESIZE_BITS) + (far - near) * across[:, None]

    above, below = between(rows.low), between(rows.high)
    total = (above << RESIZE_BITS) + (below - above) * down[:, None, None]
    result: NDArray[np.int64] = (total + (1 << (2 * RESIZE_BITS - 1))) >> (2 * RESIZE_BITS)
    return result


def recode(
    values: Integers, given: Encoding, result: Encoding, dtype: IntegerType, how: Joining = "concatenation"
) -> Integers:
    """The same numbers in another encoding, as joined tensors are given one; a copy where both are equal."""
    if given == result:
        return values.astype(dtype)
    if how == "quantize":
        ratio = int(np.rint(np.float32(1 << RECODE_BITS) * (np.float32(given.scale) / np.float32(result.scale))))
        moved = (values.astype(np.int64) - given.zero) * ratio + (1 << (RECODE_BITS - 1))
        return np.clip((moved >> RECODE_BITS) + result.zero, *LIMITS[dtype]).astype(dtype)
    factor = np.float32(given.scale) * (np.float32(1) / np.float32(result.scale))
    scaled = (values.astype(np.float32) * factor + np.float32(-given.zero) * factor).astype(np.float64)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    return np.clip(rounded + result.zero, *LIMITS[dtype]).astype(dtype)


def concatenate(
    parts: Sequence[Integers],
    given: Sequence[Encoding],
    result: Encoding,
    dtype: IntegerType,
    *,
    axis: int,
    how: Joining = "concatenation",
) -> Integers:
    """Tensors behind each other, each recoded."""
    recoded = [recode(part, encoding, result, dtype, how) for part, encoding in zip(parts, given, strict=True)]
    return np.concatenate(recoded, axis=axis)


def quantise(values: NDArray[np.floating[Any]], encoding: Encoding, dtype: IntegerType) -> Integers:
    """Numbers as integers, the nearest that there are."""
    scaled = values.astype(np.float32) * (np.float32(1) / np.float32(encoding.scale))
    return np.clip(np.rint(scaled) + np.float32(encoding.zero), *LIMITS[dtype]).astype(dtype)


def dequantise(values: NDArray[Any], encoding: Encoding) -> Floats:
    """What integers stand for."""
    return (values.astype(np.int32) - np.int32(encoding.zero)).astype(np.float32) * np.float32(encoding.scale)
