"""Quantised networks for tests: random ones, quantised in the simplest way, by the least and the largest number."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from networks import random_tensors
from numpy.typing import NDArray

from linnet.architecture import INPUT, Architecture, Graph, Pool
from linnet.architecture.cost import graph_of
from linnet.checkpoint import Checkpoint, default_preprocessing
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType, Pooling, Quantisation


def encoding_of(values: NDArray[Any], dtype: IntegerType, *, dyadic: bool = False) -> Encoding:
    """What holds the least and the largest of some numbers, and 0; with a power of two as its scale if asked for."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    step = max((high - low) / 255, 1e-6)
    scale = 2.0 ** math.ceil(math.log2(step)) if dyadic else float(np.float32(step))
    least, most = LIMITS[dtype]
    return Encoding(scale, int(np.clip(np.rint(least - low / scale), least, most)))


class QuantisedNetwork(NamedTuple):
    """What a checkpoint has of a quantised network."""

    graph: Graph
    tensors: dict[str, NDArray[Any]]
    quantisation: Quantisation


def quantised_tensors(
    graph: Graph,
    tensors: dict[str, NDArray[np.float32]],
    encodings: dict[str, Encoding],
    *,
    dtype: IntegerType,
    per_tensor: bool,
    floating: tuple[str, ...] = (),
) -> dict[str, NDArray[Any]]:
    """Integer weights: int8 around 0, or uint8 from the least to the largest; what stays in float has few digits.

    So few that its sums are exact where what it reads has a power of two as its scale: their order does not matter.
    """
    result: dict[str, NDArray[Any]] = {}
    for operation in graph.operations:
        if not operation.tensors:
            continue
        label = operation.label
        weight = tensors[f"{label}.weight"]
        if operation.name in floating:
            step = np.float32(1 / 64)
            result[f"{label}.weight"] = np.rint(weight / step) * step
            step *= np.float32(encodings[operation.reads[0]].scale)
            if f"{label}.bias" in tensors:
                result[f"{label}.bias"] = np.rint(tensors[f"{label}.bias"] / step) * step
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
    contract = default_preprocessing(architecture)
    network = quantised_network(
        architecture, dtype=dtype, per_tensor=per_tensor, pooling=pooling, floating=floating, seed=seed
    )
    folded = architecture.with_options(folded=True)
    return Checkpoint(folded, contract, network.tensors, classes, quantisation=network.quantisation)


def quantised_network(
    architecture: Architecture | Graph,
    *,
    dtype: IntegerType = "int8",
    per_tensor: bool = False,
    pooling: Pooling = "mean",
    floating: tuple[str, ...] = (),
    seed: int = 0,
    pictures: NDArray[np.float32] | None = None,
) -> QuantisedNetwork:
    """A network, or any list of operations, with random weights in eight bits; see `quantised_checkpoint`.

    `pictures` are what it is calibrated on, (N, H, W, C).
    """
    graph, tensors = fold(architecture, random_tensors(architecture, seed))
    if pictures is None:
        pictures = np.random.default_rng(seed + 1).uniform(-1, 1, (4, *graph.input_shape)).astype(np.float32)
    encodings = calibrated(graph, tensors, pictures, dtype=dtype, pooling=pooling, floating=floating)
    whole = quantised_tensors(graph, tensors, encodings, dtype=dtype, per_tensor=per_tensor, floating=floating)
    return QuantisedNetwork(graph, whole, Quantisation(dtype, encodings, pooling, floating))


def calibrated(
    network: Architecture | Graph,
    tensors: dict[str, NDArray[np.float32]],
    pictures: NDArray[np.float32],
    *,
    dtype: IntegerType,
    pooling: Pooling = "mean",
    floating: tuple[str, ...] = (),
) -> dict[str, Encoding]:
    """Encodings of all tensors, by the least and the largest number on some pictures.

    What is read by operations that stay in float has a power of two as its scale.
    """
    graph = graph_of(network)
    _, kept = NumpyNetwork(graph, tensors).run(pictures, list(graph.by_name))
    dyadic = {name for operation in graph.operations if operation.name in floating for name in operation.reads}
    encodings = {INPUT: encoding_of(pictures, dtype, dyadic=INPUT in dyadic)}
    for operation in graph.operations:
        average = isinstance(operation, Pool) and pooling == "average" and operation.name not in floating
        if operation.keeps_encoding or average:
            encodings[operation.name] = encodings[operation.reads[0]]
        else:
            encodings[operation.name] = encoding_of(kept[operation.name], dtype, dyadic=operation.name in dyadic)
    return encodings
