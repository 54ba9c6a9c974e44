"""A graph of TensorFlow run as its operators are defined, node by node in numpy: what conversions are compared with.

Written from the definition of each operator and from nothing of linnet's networks: batch norm stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.keras_runtime import convolve
from linnet.weights.tensorflow import open_graph
from linnet.weights.tensorflow_chain import SHAPED, read_chain
from linnet.weights.tensorflow_graph import PASSED, Graph, Node
from linnet.weights.tensorflow_pixels import NORMS, SUMS, USUAL_EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.weights.conversion import Conversion

    Array = NDArray[np.float32]


class TensorFlowRuntime:
    """The nodes of a converted graph, as they stand in it.

    Args:
        conversion: of a frozen graph, or of a graph model of TensorFlow.js.

    Raises:
        OSError: if the file cannot be read any more.
        ValueError: if it is another one by now.
    """

    def __init__(self, conversion: Conversion) -> None:
        stored = open_graph(conversion.source)
        if stored.digest != conversion.checkpoint.provenance["sha256"]:
            raise ValueError(f"'{conversion.source}' is not the file any more that was converted.")
        self._conversion, self._graph = conversion, Graph.of(stored.message, stored.given)
        self._start = read_chain(self._graph).start

    def run(self, inputs: Array) -> dict[str, Array]:
        """Normalised pictures (N, H, W, C) → what the nodes give, by the names of linnet's tensors."""
        values: dict[str, Any] = {self._start: inputs}
        wanted = self._conversion.outputs
        needed = self._needed(wanted.values())
        for node in (node for node in self._graph.nodes.values() if node.name in needed and node.kind in RUN):
            if node.name in values or self._graph.constant(node.name) is not None:
                continue
            read = [self._of(name, values) for name in node.reads]
            if all(each is not None for each in read):
                values[node.name] = np.asarray(RUN[node.kind](node, *read))
        found = {name: values[place] for name, place in wanted.items() if place in values}
        found |= {name: self._joined(place, values) for name, place in wanted.items() if place not in values}
        if "classifier" in found:
            found["classifier"] = found["classifier"][..., self._conversion.dropped :]
        return found

    def _needed(self, names: Iterable[str]) -> set[str]:
        """The nodes that some results come from, themselves included."""
        found, waiting = set(names), list(names)
        while waiting:
            for name in self._graph.nodes[waiting.pop()].reads:
                if name not in found:
                    found.add(name)
                    waiting.append(name)
        return found

    def _of(self, name: str, values: dict[str, Any]) -> Any:
        return values[name] if name in values else self._graph.constant(name)

    def _joined(self, name: str, values: dict[str, Any]) -> Array:
        """What the heads give, one level after the other; the shapes between are computed while a graph runs."""
        levels = []
        for each in self._graph.nodes[name].reads:
            node = self._graph.nodes[each]
            while node.name not in values and (node.kind in SHAPED or node.kind in PASSED):
                node = self._graph.nodes[node.reads[0]]
            if node.name in values:
                levels.append(values[node.name].ravel())
        return np.concatenate(levels)


def _convolution(node: Node, x: Array, kernel: Array, *bias: Array) -> Array:
    stride, dilation = ((node.values.get(name) or [1, 1])[1] for name in ("strides", "dilations"))
    pads = node.values.get("explicit_paddings") or []
    if node.values.get("padding") == b"EXPLICIT":
        x = np.pad(x, np.reshape(pads, (4, 2)))
    same, depthwise = node.values.get("padding") == b"SAME", "Depthwise" in node.kind
    return _fused(node, convolve(x, kernel, stride=stride, dilation=dilation, same=same, depthwise=depthwise), *bias)


def _fused(node: Node, x: Array, *further: Array) -> Array:
    operations = node.values.get("fused_ops") or []
    if b"BiasAdd" in operations:
        x = x + further[0]
    if b"Relu" in operations:
        x = np.maximum(x, 0)
    return np.clip(x, 0, 6) if b"Relu6" in operations else x


def _norm(node: Node, x: Array, scale: Array, shift: Array, mean: Array, variance: Array) -> Array:
    return (x - mean) / np.sqrt(variance + np.float32(node.values.get("epsilon") or USUAL_EPSILON)) * scale + shift


def _product(node: Node, x: Array, weight: Array, *bias: Array) -> Array:
    x = x.reshape(len(x), -1)
    return _fused(node, np.asarray(x @ (weight.T if node.values.get("transpose_b") else weight)), *bias)


def _flat(node: Node, x: Array, *further: Any) -> Array:
    """Of pooled features and scores the shape does not matter."""
    return x.reshape(len(x), -1) if x.shape[1:-1] in ((1, 1), ()) else x


RUN: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(PASSED, lambda node, x, *further: x),
    **dict.fromkeys(SHAPED, _flat),
    **dict.fromkeys(
        ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"),
        _convolution,
    ),
    **dict.fromkeys(NORMS, _norm),
    **dict.fromkeys(("MatMul", "_FusedMatMul"), _product),
    **dict.fromkeys(("BiasAdd", *SUMS), lambda node, *summands: sum(summands)),
    **dict.fromkeys(("RealDiv", "Div"), lambda node, one, other: one / other),
    "Sub": lambda node, one, other: one - other,
    "Mul": lambda node, one, other: one * other,
    "Relu": lambda node, x: np.maximum(x, 0),
    "Relu6": lambda node, x: np.clip(x, 0, 6),
    "Minimum": lambda node, one, other: np.minimum(one, other),
    "Maximum": lambda node, one, other: np.maximum(one, other),
    **dict.fromkeys(("Pad", "PadV2"), lambda node, x, amounts, *filled: np.pad(x, amounts)),
    "Mean": lambda node, x, axes: x.mean(axis=tuple(int(axis) for axis in axes.ravel()), keepdims=True),
    "AvgPool": lambda node, x: x.mean(axis=(1, 2), keepdims=True),
}
"""Operator → what it computes."""
