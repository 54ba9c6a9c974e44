"""Quantised networks for tests: random ones, quantised in the simplest way, by the least and the largest number."""

from __future__ import annotations

from typing import Any

import numpy as np
from networks import random_tensors
from numpy.typing import NDArray

from linnet.architecture import INPUT, Architecture, Graph, Pool, Reshape
from linnet.architecture.cost import graph_of
from linnet.checkpoint import Checkpoint, default_preprocessing
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType, Pooling, Quantisation


def encoding_of(values: NDArray[Any], dtype: IntegerType) -> Encoding:
    """What holds the least and the largest of some numbers, and 0."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = float(np.float32(max((high - low) / 255, 1e-6)))
    least, most = LIMITS[dtype]
    return Encoding(scale, int(np.clip(np.rint(least - low / scale), least, most)))


def quantised_tensors(
    graph: Graph,
    tensors: dict[str, NDArray[np.float32]],
    encodings: dict[str, Encoding],
    *,
    dtype: IntegerType,
    per_tensor: bool,
    floating: tuple[str, ...] = (),
) -> dict[str, NDArray[Any]]:
    """Integer weights: int8 around 0, or uint8 from the least to the largest."""
    result: dict[str, NDArray[Any]] = {}
    for operation in graph.operations:
        if not operation.tensors:
            continue
        label = operation.label
        weight = tensors[f"{label}.weight"]
        if operation.name in floating:
            result |= {name: tensors[name] for name in operation.tensors}
            continue
        flat = weight.reshape(len(weight), -1)
        zero = 0
        if dtype == "uint8":
            encoding = encoding_of(flat, "uint8")
            zero, scale = encoding.zero, np.array([encoding.scale], np.float32)
            result[f"{label}.weight.zero"] = np.array([zero], np.uint8)
        else:
            most = np.abs(flat).max(keepdims=True) if per_tensor else np.abs(flat).max(axis=1, keepdims=True)
            scale = (np.maximum(most, 1e-6) / 127).astype(np.float32).ravel()
        whole = np.rint(flat / scale[:, None].astype(np.float64)) + zero
        low, high = (0, 255) if dtype == "uint8" else (-127, 127)
        result[f"{label}.weight"] = np.clip(whole, low, high).astype(dtype).reshape(weight.shape)
        result[f"{label}.weight.scale"] = scale
        if f"{label}.bias" not in tensors:
            continue
        steps = tensors[f"{label}.bias"] / (encodings[operation.reads[0]].scale * scale.astype(np.float64))
        result[f"{label}.bias"] = np.clip(np.rint(steps), -(2**29), 2**29).astype(np.int32)
    return result


def quantised_checkpoint(
    architecture: Architecture,
    *,
    dtype: IntegerType = "int8",
    per_tensor: bool = False,
    pooling: Pooling = "mean",
    floating: tuple[str, ...] = (),
    seed: int = 0,
    classes: tuple[str, ...] | None = None,
) -> Checkpoint:
    """A network with random weights in eight bits, calibrated on four random pictures.

    Args:
        architecture: of the network; it is folded.
        dtype: of activations and weights. uint8 weights have one scale and a zero point, as TensorFlow's old files.
        per_tensor: one scale for all channels of an int8 weight.
        pooling: see `Quantisation`.
        floating: operations that stay in float.
        seed: of the weights and the pictures.
        classes: names of the classes.
    """
    graph, tensors = fold(architecture, random_tensors(architecture, seed))
    contract = default_preprocessing(architecture)
    pictures = np.random.default_rng(seed + 1).uniform(
        -1, 1, (4, *architecture.input_size, architecture.input_channels)
    )
    encodings = calibrated(graph, tensors, pictures.astype(np.float32), dtype=dtype, pooling=pooling)
    return Checkpoint(
        architecture.with_options(folded=True),
        contract,
        quantised_tensors(graph, tensors, encodings, dtype=dtype, per_tensor=per_tensor, floating=floating),
        classes,
        quantisation=Quantisation(dtype, encodings, pooling, floating),
    )


def calibrated(
    network: Architecture | Graph,
    tensors: dict[str, NDArray[np.float32]],
    pictures: NDArray[np.float32],
    *,
    dtype: IntegerType,
    pooling: Pooling = "mean",
) -> dict[str, Encoding]:
    """Encodings of all tensors, by the least and the largest number on some pictures."""
    graph = graph_of(network)
    _, kept = NumpyNetwork(graph, tensors).run(pictures, list(graph.by_name))
    encodings = {INPUT: encoding_of(pictures, dtype)}
    for operation in graph.operations:
        same = isinstance(operation, Reshape) or (isinstance(operation, Pool) and pooling == "average")
        given = encodings[operation.reads[0]]
        encodings[operation.name] = given if same else encoding_of(kept[operation.name], dtype)
    return encodings
