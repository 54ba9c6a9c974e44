"""Batch norm folded into the convolution before it: the same function with fewer tensors.

A folded network is the same list of operations without batch norm: each convolution then has `weight` and `bias`
instead of `weight`, `scale`, `shift`, `mean` and `variance` (docs/decisions/0002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture, Graph
from linnet.architecture.cost import graph_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def fold(
    network: Architecture | Graph,
    tensors: Mapping[str, NDArray[np.floating[Any]]],
    *,
    dtype: type[np.floating[Any]] = np.float32,
) -> tuple[Graph, dict[str, NDArray[Any]]]:
    """The folded operations and their tensors in float32, or another type; what is folded already stays as it is.

    weight' = weight x scale / sqrt(variance + epsilon), bias' = shift - mean x scale / sqrt(variance + epsilon),
    computed in float64.

    Raises:
        ValueError: if the tensors are integers.
    """
    graph = graph_of(network)
    integers = [name for name in graph.tensors if name in tensors and tensors[name].dtype.kind in "iu"]
    if integers:
        raise ValueError(
            f"{integers[0]} holds integers: of a quantised network. Its `dequantised()` has numbers, and "
            "`linnet.engine.integer_reference` runs the integers."
        )
    result: dict[str, NDArray[Any]] = {}
    for convolution in graph.convolutions:
        if convolution.norm is None:
            continue
        name = convolution.label
        weight, scale, shift, mean, variance = (
            np.asarray(tensors[f"{name}.{part}"], np.float64)
            for part in ("weight", "scale", "shift", "mean", "variance")
        )
        factor = scale / np.sqrt(variance + convolution.norm.epsilon)
        result[f"{name}.weight"] = (weight * factor[:, None, None, None]).astype(dtype)
        result[f"{name}.bias"] = (shift - mean * factor).astype(dtype)
    folded = graph.folded
    for name in folded.tensors.keys() - result.keys():
        result[name] = np.asarray(tensors[name], dtype)
    return folded, {name: result[name] for name in folded.tensors}
