"""face-api's `ssd_mobilenetv1_model`: a manifest of TensorFlow.js and shards, without a description of the network.

face-api.js (and the copies of it) detects faces with TensorFlow's SSD on MobileNetV1. Its files hold tensors alone; the
network stands in its code. It is written down here as the graph of TensorFlow that this code computes, so that
everything which is read of a graph, and everything that proves it, is said once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.matching import NotOurs
from linnet.weights.tensorflow_graph import graph_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKBONE, PREDICTION = "MobilenetV1/Conv2d_", "Prediction/BoxPredictor_"

EPSILON = 0.0010000000474974513
"""Of batch norm, in the code."""

STRIDED = (2, 4, 6, 12)
"""Blocks whose filters take every second pixel, counted from 1."""

TAPPED = 11
"""The block that the first heads read."""

SIZE, SCALE, OFFSET = "Preprocessor/ResizeImage/size", "Preprocessor/mul/x", "Preprocessor/sub/y"
ANCHORS = "Output/extra_dim"

LARGEST_SIDE = 4096
"""Of pictures, in pixels; its own are of 512."""


def is_face_api(names: Mapping[str, Any]) -> bool:
    """Whether tensors are those of face-api's detector."""
    return f"{BACKBONE}0_pointwise/weights" in names and f"{PREDICTION}0/BoxEncodingPredictor/weights" in names


def graph_of_tensors(tensors: Mapping[str, NDArray[Any]]) -> Any:
    """The message of the graph that face-api's code computes with its tensors; its Const nodes are empty.

    Raises:
        NotOurs: if a tensor is missing, or there is one that belongs to no layer.
    """
    graph = _Graph(tensors)
    for name, count in ((SIZE, 2), (SCALE, 1), (OFFSET, 1)):
        if name not in tensors or tensors[name].size != count or not np.isfinite(tensors[name]).all():
            raise NotOurs(f"it does not have '{name}' of {count} numbers, as face-api's detector has")
    height, width = (float(side) for side in tensors[SIZE].ravel())
    if not 1 <= min(height, width) <= max(height, width) <= LARGEST_SIDE or height % 1 or width % 1:
        raise NotOurs(f"its pictures are of {height:g} x {width:g} pixels")
    image = graph.node("image", "Placeholder", shape=(1, int(height), int(width), 3))
    current = graph.node("Preprocessor/mul", "Mul", image, graph.constant(SCALE))
    current = graph.node("Preprocessor/sub", "Sub", current, graph.constant(OFFSET))
    current, taps, block = graph.pointwise(f"{BACKBONE}0_pointwise", current, stride=2), [], 1
    while f"{BACKBONE}{block}_pointwise/weights" in tensors:
        current = graph.depthwise(f"{BACKBONE}{block}_depthwise", current, stride=2 if block in STRIDED else 1)
        current = graph.pointwise(f"{BACKBONE}{block}_pointwise", current)
        if block == TAPPED:
            taps.append(current)
        block += 1
    taps.append(current)
    extra = 0
    while f"Prediction/Conv2d_{extra}_pointwise/weights" in tensors:
        current = graph.pointwise(f"Prediction/Conv2d_{extra}_pointwise", current, stride=1 + extra % 2)
        if extra % 2:
            taps.append(current)
        extra += 1
    boxes = [graph.head(f"{PREDICTION}{number}/BoxEncodingPredictor", tap) for number, tap in enumerate(taps)]
    classes = [graph.head(f"{PREDICTION}{number}/ClassPredictor", tap) for number, tap in enumerate(taps)]
    graph.node("boxes", "ConcatV2", *boxes)
    graph.node("scores", "Sigmoid", graph.node("classes", "ConcatV2", *classes))
    if tensors.get(ANCHORS, np.zeros(0)).ndim != 3:
        raise NotOurs(f"it does not have its anchors in '{ANCHORS}', as face-api's detector has")
    graph.constant(ANCHORS)
    layers = (name for name in tensors if name.startswith((BACKBONE, PREDICTION, "Prediction/Conv2d_")))
    surplus = next((name for name in layers if tensors[name].ndim > 0 and name not in graph.used), None)
    if surplus is not None and not surplus.endswith(("/stack", "/stack_1")):
        raise NotOurs(f"its tensor '{surplus}' belongs to no layer of face-api's detector")
    return graph.message


class _Graph:
    """A graph in the making.

    Attributes:
        message: the graph so far.
        used: names of the tensors that it has.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.message, self.used, self._tensors = graph_class()(), set[str](), tensors

    def node(self, name: str, kind: str, *reads: str, **values: Any) -> str:
        entry = self.message.node.add(name=name, op=kind, input=list(reads))
        for key, value in values.items():
            if isinstance(value, bytes):
                entry.attr[key].s = value
            elif isinstance(value, bool):
                entry.attr[key].b = value
            elif isinstance(value, float):
                entry.attr[key].f = value
            elif isinstance(value, list):
                entry.attr[key].list.i.extend(value)
            else:
                for side in value:
                    entry.attr[key].shape.dim.add(size=side)
        return name

    def constant(self, name: str) -> str:
        if name not in self._tensors:
            raise NotOurs(f"its tensor '{name}', which face-api's detector has, is missing")
        self.used.add(name)
        return self.node(name, "Const")

    def pointwise(self, name: str, source: str, *, stride: int = 1) -> str:
        weights, bias = self.constant(f"{name}/weights"), self.constant(f"{name}/convolution_bn_offset")
        strides = [1, stride, stride, 1]
        found = self.node(f"{name}/Conv2D", "Conv2D", source, weights, strides=strides, padding=b"SAME")
        return self.node(f"{name}/Relu6", "Relu6", self.node(f"{name}/BiasAdd", "BiasAdd", found, bias))

    def depthwise(self, name: str, source: str, *, stride: int) -> str:
        weights = self.constant(f"{name}/depthwise_weights")
        strides = [1, stride, stride, 1]
        kind = "DepthwiseConv2dNative"
        found = self.node(f"{name}/{kind}", kind, source, weights, strides=strides, padding=b"SAME")
        parts = [self.constant(f"{name}/BatchNorm/{part}") for part in ("gamma", "beta", "moving_mean")]
        parts.append(self.constant(f"{name}/BatchNorm/moving_variance"))
        found = self.node(f"{name}/FusedBatchNorm", "FusedBatchNorm", found, *parts, epsilon=EPSILON, is_training=False)
        return self.node(f"{name}/Relu6", "Relu6", found)

    def head(self, name: str, source: str) -> str:
        weights, bias = self.constant(f"{name}/weights"), self.constant(f"{name}/biases")
        found = self.node(f"{name}/Conv2D", "Conv2D", source, weights, strides=[1, 1, 1, 1], padding=b"SAME")
        return self.node(f"{name}/Reshape", "Reshape", self.node(f"{name}/BiasAdd", "BiasAdd", found, bias))
