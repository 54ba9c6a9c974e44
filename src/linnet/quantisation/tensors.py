"""The tensors of a quantised network: integer weights and biases with their scales, under the names of the float ones.

Of an operation X: `X.weight` int8 or uint8, `X.weight.scale` float32 of one number or one for each output channel,
`X.weight.zero` of one number where the weights are uint8, and, where X has a bias, `X.bias` int32, whose scale is that
of what is read times that of the weights. Operations that stay in float have `X.weight` and `X.bias` as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Graph, Operation
from linnet.quantisation import rule
from linnet.quantisation.scheme import SMALLEST_SCALE, Quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

SUM_LIMIT = 2**31
"""Sums of absolute products, and the bias, stay below this: whatever the order, 32 bits hold them."""

INPUT_SPAN = 255
"""The furthest that an integer of eight bits is from a zero point."""


def check_tensors(graph: Graph, tensors: Tensors, quantisation: Quantisation) -> None:
    """Raises a ValueError unless these are the tensors of the quantised network, and its arithmetic is defined."""
    quantisation.check(graph)
    expected: set[str] = set()
    for operation in graph.operations:
        if operation.tensors:
            names = _check_operation(operation, tensors, quantisation)
            expected |= names
    surplus = sorted(tensors.keys() - expected)
    if surplus:
        more = f" and {len(surplus) - 3} more" if len(surplus) > 3 else ""
        raise ValueError(f"The tensors do not fit the architecture (surplus: {', '.join(surplus[:3])}{more}).")


def _check_operation(operation: Operation, tensors: Tensors, quantisation: Quantisation) -> set[str]:
    """The names of an operation's tensors, which are checked."""
    label, shapes = operation.label, operation.tensors
    weight_name, bias_name = f"{label}.weight", f"{label}.bias"
    if operation.name in quantisation.floating:
        for name, shape in shapes.items():
            _check_one(tensors, name, [shape], ["float32", "float16"])
        return set(shapes)
    weight = _check_one(tensors, weight_name, [shapes[weight_name]], ["int8", "uint8"])
    channels = len(weight)
    scale = _check_one(tensors, f"{weight_name}.scale", [(1,), (channels,)], ["float32"])
    names = {weight_name, f"{weight_name}.scale"}
    bias: NDArray[Any] = np.zeros(channels, np.int32)
    if bias_name in shapes:
        bias = _check_one(tensors, bias_name, [shapes[bias_name]], ["int32"])
        names.add(bias_name)
    if weight.dtype == np.uint8:
        _check_one(tensors, f"{weight_name}.zero", [(1,)], ["uint8"])
        names.add(f"{weight_name}.zero")
    if not (np.isfinite(scale).all() and (scale >= SMALLEST_SCALE).all()):
        raise ValueError(f"The scales of {weight_name} must be finite and at least {SMALLEST_SCALE:.4g}.")
    given, result = quantisation.encodings[operation.reads[0]], quantisation.encodings[operation.name]
    with np.errstate(all="ignore"):
        product = np.float32(given.scale) * scale
        factor = rule.multiplier(given, scale, result)
    if not all(np.isfinite(part).all() and (part >= SMALLEST_SCALE).all() for part in (product, factor)):
        raise ValueError(
            f"The scales of {weight_name}, of what {operation.name} reads and of what it gives are too far apart: "
            "float32 does not hold their product or ratio."
        )
    sums = np.abs(centred(tensors, label)).reshape(channels, -1).sum(axis=1)
    most = np.abs(bias.astype(np.int64)) + INPUT_SPAN * sums
    if channels and most.max() >= SUM_LIMIT:
        raise ValueError(
            f"The sums of {operation.name} can reach {most.max():,}, bias included; 32 bits hold less than "
            f"{SUM_LIMIT:,}."
        )
    return names


def _check_one(tensors: Tensors, name: str, shapes: list[tuple[int, ...]], kinds: list[str]) -> NDArray[Any]:
    if name not in tensors:
        raise ValueError(f"The tensors do not fit the architecture (missing: {name}).")
    values = tensors[name]
    if values.dtype.name not in kinds:
        raise ValueError(f"{name} is of type {values.dtype}; expected {' or '.join(kinds)}.")
    if values.shape not in shapes:
        needed = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"{name} has shape {list(values.shape)}; the architecture needs {needed}.")
    return values


def centred(tensors: Tensors, label: str) -> NDArray[np.int64]:
    """The integer weights of an operation without their zero point, in the shape of the weights."""
    weight = tensors[f"{label}.weight"].astype(np.int64)
    return weight - int(tensors[f"{label}.weight.zero"][0]) if f"{label}.weight.zero" in tensors else weight


def dequantise_tensors(graph: Graph, tensors: Tensors, quantisation: Quantisation) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of the folded network that the integers stand for."""
    result: dict[str, NDArray[np.float32]] = {}
    for operation in graph.operations:
        label = operation.label
        for name in operation.tensors:
            values = tensors[name]
            if operation.name not in quantisation.floating:
                scale = tensors[f"{label}.weight.scale"].astype(np.float64)
                if name == f"{label}.weight":
                    values = centred(tensors, label) * scale.reshape(-1, *[1] * (values.ndim - 1))
                else:
                    values = values * (quantisation.encodings[operation.reads[0]].scale * scale)
            result[name] = values.astype(np.float32)
    return result
