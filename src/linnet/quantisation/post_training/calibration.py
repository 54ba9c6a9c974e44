"""Which integers stand for which numbers: the encoding of each tensor, from what it held on the calibration pictures.

Three ways are tried, and for each tensor that is taken which does the least to what reads it:

    min-max          from the least value to the largest: nothing is cut off, and one outlier makes every step larger
    percentile       all but one value in 10,000 at either end; never of outputs and pooled tensors, which are few
                     values that all count
    least-squares    both ends moved inwards by the factor whose square error is least
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from linnet.architecture import INPUT, Graph
from linnet.quantisation import rule
from linnet.quantisation.post_training.observation import Observation
from linnet.quantisation.scheme import LIMITS, SMALLEST_SCALE, Encoding, IntegerType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Way = Literal["min-max", "percentile", "least-squares"]

WAYS: tuple[Way, ...] = ("min-max", "percentile", "least-squares")

PERCENT = 99.99
"""Of the values at or below the upper end, and at or above the lower one."""

SMALLEST = SMALLEST_SCALE * 2.0**40
"""Scale of a tensor: products and ratios of scales must be normal numbers too."""

DEAD_SPAN = 1.0
"""What the integers of a tensor span that was 0 throughout."""

LARGEST_RATIO = 2.0**7
"""Of what is added to its sum; the rule has room for twice that."""

SHRINKS = tuple(1 - step / 40 for step in range(29))
"""Factors of both ends that are tried: 1 to 0.3."""


@dataclass(frozen=True)
class Calibrated:
    """The encoding of a tensor and how it came about.

    Attributes:
        encoding: what its integers stand for.
        way: how its ends were found.
        errors: way → mean square error of what reads the tensor, of its rounding and cutting, on what was kept of it.
    """

    encoding: Encoding
    way: Way
    errors: Mapping[Way, float]


def encoding_of(low: float, high: float, dtype: IntegerType) -> Encoding:
    """The encoding whose ends are nearest to two numbers; 0 is one of its numbers."""
    least, most = LIMITS[dtype]
    low, high = min(low, 0.0), max(high, 0.0)
    span = high - low or DEAD_SPAN
    scale = np.float32(max(span / (most - least), SMALLEST))
    return Encoding(float(scale), int(np.clip(np.rint(least - low / scale), least, most)))


def sensitivities(graph: Graph, tensors: Mapping[str, Floats]) -> dict[str, NDArray[np.float64]]:
    """How much of a square error in each channel of a tensor arrives in what reads it: (C,) by name."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in reversed((INPUT, *graph.by_name)):
        total = np.zeros(graph.shape_of(name)[-1])
        if name in graph.outputs:
            total += 1
        for reader in map(graph.by_name.__getitem__, graph.readers[name]):
            if reader.name in graph.weighted:
                squares = tensors[f"{reader.label}.weight"].astype(np.float64) ** 2
                squares = squares.reshape(*squares.shape[:2], -1).sum(axis=2)
                total += squares[:, 0] if reader.depthwise else squares.sum(axis=0)
            else:
                # What is only put elsewhere, as rows of anchors, has the error as it is.
                total += 1 if reader.arranges else found[reader.name]
        found[name] = np.maximum(total, 1e-30)
    return found


def calibrate(
    graph: Graph,
    tensors: Mapping[str, Floats],
    observations: Mapping[str, Observation],
    dtype: IntegerType,
    *,
    ways: tuple[Way, ...] = WAYS,
) -> dict[str, Calibrated]:
    """Encodings of all tensors of a folded network.

    What is joined, the result and what is only arranged or resized share one encoding: the integers are then copied.

    Args:
        graph: the folded operations.
        tensors: their weights and biases.
        observations: what the network's tensors held, and of `INPUT` what pictures can be.
        dtype: of the integers.
        ways: to choose from; where they are not allowed, min-max is taken.

    Raises:
        ValueError: if a tensor was not finite.
    """
    weights = sensitivities(graph, tensors)
    found: dict[str, Calibrated] = {}
    for names in _sharing(graph):
        seen = [(observations[name], weights[name]) for name in names if name in observations]
        allowed = ways if ways == ("min-max",) or not _kept_whole(graph, names) else ("min-max",)
        for (one, _), name in zip(seen, names, strict=False):
            if not (np.isfinite(one.low).all() and np.isfinite(one.high).all()):
                raise ValueError(
                    f"{name} is not finite on the calibration pictures: the network's weights are damaged."
                )
        found |= dict.fromkeys(names, _calibrate(seen, dtype, allowed))
    return _with_room_for_sums(graph, found)


def _with_room_for_sums(graph: Graph, found: dict[str, Calibrated]) -> dict[str, Calibrated]:
    """The same, where a sum is not far smaller than what is added: where both nearly cancel, its steps are larger."""
    for operation in graph.operations:
        if operation.adds:
            least = max(found[name].encoding.scale for name in operation.reads) / LARGEST_RATIO
            own = found[operation.name]
            if own.encoding.scale < least:
                found[operation.name] = replace(own, encoding=replace(own.encoding, scale=float(np.float32(least))))
    return found


def _sharing(graph: Graph) -> list[list[str]]:
    """Names of tensors that have one encoding."""
    sets = {INPUT: [INPUT]}
    for operation in graph.operations:
        sets[operation.name] = [operation.name]
        if operation.keeps_encoding or operation.arranges:
            for name in operation.reads:
                if sets[name] is not sets[operation.name]:
                    sets[operation.name] += sets[name]
                    sets |= dict.fromkeys(sets[name], sets[operation.name])
    return list({id(names): names for names in sets.values()}.values())


def _kept_whole(graph: Graph, names: list[str]) -> bool:
    """Whether some are outputs, or pooled."""
    return any(name in graph.outputs or (name != INPUT and graph.by_name[name].averages) for name in names)


def _calibrate(
    seen: list[tuple[Observation, NDArray[np.float64]]], dtype: IntegerType, ways: tuple[Way, ...]
) -> Calibrated:
    low = min(float(one.low.min()) for one, _ in seen)
    high = max(float(one.high.max()) for one, _ in seen)
    values = np.concatenate([one.rows.ravel() for one, _ in seen])
    weights = np.concatenate([np.broadcast_to(weight, one.rows.shape).ravel() for one, weight in seen])
    weights = (weights / max(weights.sum(), 1e-30)).astype(np.float32)

    def error_of(encoding: Encoding) -> float:
        errors = rule.dequantise(rule.quantise(values, encoding, dtype), encoding) - values
        return float(np.dot(errors**2, weights))

    candidates: dict[Way, list[Encoding]] = {}
    for way in ways:
        if way == "min-max":
            candidates[way] = [encoding_of(low, high, dtype)]
        elif way == "percentile":
            ends = np.percentile(values, [100 - PERCENT, PERCENT])
            candidates[way] = [encoding_of(float(ends[0]), float(ends[1]), dtype)]
        else:
            candidates[way] = [encoding_of(low * shrink, high * shrink, dtype) for shrink in SHRINKS]
    tried = [(error_of(encoding), way, encoding) for way, group in candidates.items() for encoding in group]
    errors = {way: min(error for error, of, _ in tried if of == way) for way in candidates}
    # Of equal ones the first.
    _, way, encoding = min(tried, key=lambda one: one[0])
    return Calibrated(encoding, way, errors)
