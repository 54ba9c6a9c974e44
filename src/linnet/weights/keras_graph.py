"""Layers of a Keras model and their tensors → a chain of convolutions, the layers behind the pooling, the pictures.

Works on what files describe (`linnet.weights.keras_layers`) and hold (`linnet.weights.keras_tensors`), whichever of the
formats they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from linnet.architecture.operations import pad_amounts
from linnet.weights.chain import Chain, Step, as_one
from linnet.weights.keras_layers import BEFORE, Description
from linnet.weights.keras_layers import Layer as KerasLayer
from linnet.weights.keras_tensors import Pool
from linnet.weights.matching import Layer, Norm, NotOurs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

USUAL_SIDE = 224
"""Pixels of pictures where the file leaves it open."""

LARGEST_SIDE = 4096

IDENTITIES = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "SpatialDropout2D",
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomContrast",
        "RandomTranslation",
        "RandomBrightness",
        "RandomColorJitter",
        "RandomSaturation",
        "RandomHue",
        "RandomShear",
        "RandomHeight",
        "RandomWidth",
    }
)
"""Layers that do something while training only."""

OPERATIONS = {
    "TrueDivide": "divide",
    "Divide": "divide",
    "Multiply": "multiply",
    "Subtract": "subtract",
    "math.truediv": "divide",
    "math.divide": "divide",
    "math.multiply": "multiply",
    "math.subtract": "subtract",
    "math.add": "add",
    "__operators__.add": "add",
    "Add": "add",
}
"""Operations with a number that stand before the first convolution, of Keras 3 and of TensorFlow in Keras 2."""

ACTIVATIONS = frozenset({"linear", "relu", "relu6", "softmax", "sigmoid"})


@dataclass
class Dense:
    """A linear layer behind the pooling.

    Attributes:
        layer: its weight (out, in) and bias, or no bias.
        activation: `linear`, `relu`, `softmax` or `sigmoid`.
        output: number of the layer that gives its logits.
    """

    layer: Layer
    activation: str
    output: int

    @property
    def alone(self) -> bool:
        """Whether it has one output, which says how far a picture is of the second of two classes."""
        return len(self.layer.weight) == 1 and self.activation in ("sigmoid", "linear")


@dataclass
class Reading:
    """A network as it was read.

    Attributes:
        chain: convolutions, how they are padded and where sums are; weights stand in `layers`.
        layers: one for each of the chain's steps, with batch norm where the file has it.
        head: linear layers behind the pooling, in order.
        epsilon: that batch norm adds to the variance.
        momentum: of batch norm, the share of the new batch.
        scale: what the picture's values are multiplied by before the first convolution; None where nothing is said.
        offset: what is added afterwards.
        channels: of the picture.
        says_size: whether the file says how large pictures are.
        ends: what the network ends with that linnet's does not: `map` without pooling.
        notes: what had to be assumed.
    """

    chain: Chain
    layers: list[Layer] = field(default_factory=list)
    head: list[Dense] = field(default_factory=list)
    epsilon: float = 0.001
    momentum: float = 0.001
    scale: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    says_size: bool = True
    ends: str = ""
    notes: list[str] = field(default_factory=list)


def read_graph(description: Description, pool: Pool) -> Reading:
    """Follows the layers from the picture to the output.

    Raises:
        NotOurs: if the network is no chain of convolutions and sums with a pooling at its end.
        ValueError: if tensors are missing or do not fit their layers.
    """
    return _Walker(description, pool).walk()


class _Walker:
    """`_current` is the number of the tensor that the next layer must read."""

    def __init__(self, description: Description, pool: Pool) -> None:
        self._description, self._pool = description, pool
        size, channels, says_size = _input_shape(description.shapes)
        self._reading = Reading(Chain((*size, channels)), says_size=says_size)
        self._current = -1
        self._is: dict[int, int] = {}
        """Number of each layer → number of the tensor that it gives, where it only passes one on."""
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._pads: tuple[int, int, int, int] | None = None
        self._padded_from = -1
        self._norms: list[tuple[float, float]] = []
        self._affine: tuple[Array, Array] | None = None
        """Scale and shift that the next linear layer has to take up."""

    def walk(self) -> Reading:
        handlers: dict[str, Callable[[KerasLayer], None]] = {
            "ZeroPadding2D": self._pad,
            "Conv2D": self._convolution,
            "Convolution2D": self._convolution,
            "DepthwiseConv2D": self._convolution,
            "BatchNormalization": self._normalise,
            "BatchNormalizationV1": self._normalise,
            "BatchNormalizationV2": self._normalise,
            "ReLU": self._rectify,
            "Activation": self._activate,
            "Softmax": self._activate,
            "Add": self._add,
            "GlobalAveragePooling2D": self._pool_all,
            "AveragePooling2D": self._pool_all,
            "Flatten": self._flatten,
            "Reshape": self._flatten,
            "Dense": self._dense,
            "Rescaling": self._rescale,
            "Normalization": self._standardise,
            "TFOpLambda": self._operate,
            "Resizing": self._resize,
            "RandomCrop": self._crop,
            "CenterCrop": self._crop,
        }
        for number, layer in enumerate(self._description.layers):
            if layer.kind == "InputLayer":
                if self._current >= 0:
                    raise NotOurs("it has two inputs")
                self._give(number, self._reading.chain.input_shape)
                continue
            sources = [self._is[read] for read in layer.reads]
            if self._current not in sources:
                raise self._foreign(f"its layer {layer.name!r} leaves the chain")
            if self._pads is not None and layer.kind not in ("Conv2D", "DepthwiseConv2D"):
                raise self._foreign(f"its {layer.kind} {layer.name!r} reads a padded map")
            if layer.kind in IDENTITIES:
                self._is[number] = self._current
            elif layer.kind in OPERATIONS and len(layer.reads) == 1 and layer.constants:
                self._number = number
                self._operate(layer)
            elif layer.kind in handlers:
                self._number = number
                handlers[layer.kind](layer)
            elif layer.kind == "Lambda":
                raise self._foreign(f"its Lambda {layer.name!r} is Python code, which linnet never runs")
            else:
                raise self._foreign(f"it has a {layer.kind}, {layer.name!r}")
        return self._finish()

    def _finish(self) -> Reading:
        reading = self._reading
        if not reading.chain.steps:
            raise self._foreign("it has no convolutions")
        if self._is[self._description.output] != self._current:
            raise self._foreign("its output is not the end of the chain")
        if reading.chain.pooled is None:
            reading.ends = "map"
            reading.notes.append("The network ends with its last map: linnet gives the mean of each channel.")
        if self._affine is not None:
            raise self._foreign("it ends with a batch norm")
        if any(dense.activation != "relu" for dense in reading.head[:-1]):
            odd = next(dense for dense in reading.head[:-1] if dense.activation != "relu")
            raise self._foreign(f"its hidden layer {odd.layer.name!r} has the activation {odd.activation!r}")
        if reading.head and reading.head[-1].activation == "relu":
            raise self._foreign(f"its last layer {reading.head[-1].layer.name!r} has the activation 'relu'")
        self._settle_norms()
        last = reading.head[-1] if reading.head else None
        # One output becomes two classes, which no layer of the file gives.
        if last is not None and not last.alone:
            reading.chain.logits = last.output
        return reading

    def _settle_norms(self) -> None:
        """One epsilon and momentum for all: a variance takes up what its own epsilon differs by."""
        reading = self._reading
        if not self._norms:
            return
        epsilon, momentum = (Counter(each).most_common(1)[0][0] for each in zip(*self._norms, strict=True))
        norms = iter(self._norms)
        for number, layer in enumerate(reading.layers):
            if layer.norm is not None and (own := next(norms)[0]) != epsilon:
                variance = (layer.norm.variance.astype(np.float64) + (own - epsilon)).astype(np.float32)
                reading.layers[number] = replace(layer, norm=replace(layer.norm, variance=variance))
        reading.epsilon, reading.momentum = epsilon, momentum

    def _give(self, number: int, shape: tuple[int, ...]) -> None:
        self._is[number], self._shapes[number], self._current = number, shape, number

    def _pass(self) -> None:
        self._is[self._number] = self._current

    def _foreign(self, why: str) -> NotOurs:
        return NotOurs(f"{why}; {self._description.describe()}")

    def _tensors(self, layer: KerasLayer, *needed: str) -> dict[str, Array]:
        tensors = self._pool.tensors(layer)
        missing = [name for name in needed if name not in tensors]
        if missing:
            raise ValueError(f"the weights of its layer {layer.name!r} are missing: {', '.join(missing)}")
        return tensors

    def _map(self, layer: KerasLayer) -> tuple[int, int, int]:
        shape = self._shapes[self._current]
        if len(shape) != 3:
            raise self._foreign(f"its {layer.kind} {layer.name!r} reads no map")
        return shape[0], shape[1], shape[2]

    # Maps

    def _pad(self, layer: KerasLayer) -> None:
        _check_format(layer)
        self._map(layer)
        rows, columns = _pairs(layer, "padding")
        self._pads, self._padded_from = (*rows, *columns), self._current
        height, width, channels = self._map(layer)
        self._give(self._number, (height + sum(rows), width + sum(columns), channels))

    def _convolution(self, layer: KerasLayer) -> None:
        _check_format(layer)
        height, width, channels = self._map(layer)
        depthwise = layer.kind == "DepthwiseConv2D"
        kernel = self._tensors(layer, "kernel")["kernel"]
        bias = self._tensors(layer).get("bias")
        if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or 0 in kernel.shape:
            raise self._foreign(f"its {layer.kind} {layer.name!r} has weights of shape {list(kernel.shape)}")
        strides, dilations = _sides(layer, "strides"), _sides(layer, "dilation_rate")
        if len(set(strides)) > 1 or len(set(dilations)) > 1 or _whole(layer, "groups", 1) != 1:
            raise self._foreign(f"its {layer.kind} {layer.name!r} is of a kind that no MobileNet has")
        size, stride, dilation = kernel.shape[0], strides[0], dilations[0]
        if _sides(layer, "kernel_size") != (size, size):
            raise ValueError(f"the weights of its layer {layer.name!r} have shape {list(kernel.shape)}")
        if kernel.shape[2] != channels:
            raise ValueError(f"the weights of its layer {layer.name!r} are for {kernel.shape[2]} channels")
        # (k, k, in, out), and (k, k, channels, 1) of a depthwise one.
        weight = np.ascontiguousarray(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))
        if depthwise and weight.shape[1] != 1:
            if channels != 1:
                raise self._foreign(f"its DepthwiseConv2D {layer.name!r} multiplies channels")
            # On one channel it is an ordinary convolution.
            weight, depthwise = np.ascontiguousarray(weight.transpose(1, 0, 2, 3)), False
        if bias is not None and bias.shape != (len(weight),):
            raise ValueError(f"the bias of its layer {layer.name!r} has shape {list(bias.shape)}")
        if self._reading.chain.pooled is not None:
            if weight.shape[2:] != (1, 1) or depthwise or self._pads is not None:
                raise self._foreign(f"its {layer.kind} {layer.name!r} stands behind the pooling")
            self._linear(layer, weight[:, :, 0, 0], bias)
            return
        pads = self._padding(layer, size, stride, dilation)
        span = (size - 1) * dilation + 1
        padded = (height, width) if self._pads is not None else (height + pads[0] + pads[1], width + pads[2] + pads[3])
        rows, columns = ((length - span) // stride + 1 for length in padded)
        if min(rows, columns) < 1:
            raise self._foreign(f"its {layer.kind} {layer.name!r} shrinks its map to nothing")
        self._reading.chain.steps.append(
            Step(
                weight=weight,
                bias=np.zeros(len(weight), np.float32),
                depthwise=depthwise,
                stride=stride,
                dilation=dilation,
                pads=pads,
                activation="linear",
                input=self._padded_from if self._pads is not None else self._current,
                output=self._number,
            )
        )
        self._reading.layers.append(Layer(f"{layer.name}/kernel", weight, bias))
        self._pads = None
        self._give(self._number, (rows, columns, len(weight)))
        self._apply(layer, _activation(layer))

    def _padding(self, layer: KerasLayer, size: int, stride: int, dilation: int) -> tuple[int, int, int, int]:
        rule = layer.config.get("padding", "valid")
        if rule == "valid":
            return self._pads or (0, 0, 0, 0)
        if rule != "same" or self._pads is not None:
            raise self._foreign(f"its {layer.kind} {layer.name!r} is padded in a way of its own")
        height, width, _ = self._map(layer)
        rows, columns = (
            pad_amounts(length, kernel=size, stride=stride, dilation=dilation, rule="same")
            for length in (height, width)
        )
        return (*rows, *columns)

    def _normalise(self, layer: KerasLayer) -> None:
        shape = self._shapes[self._current]
        axis = layer.config.get("axis", -1)
        axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
        if axis not in (-1, len(shape)):
            raise self._foreign(f"its batch norm {layer.name!r} runs along axis {axis}")
        tensors = self._tensors(layer, "moving_mean", "moving_variance")
        channels = shape[-1]
        scale = tensors.get("gamma", np.ones(channels, np.float32))
        shift = tensors.get("beta", np.zeros(channels, np.float32))
        norm = Norm(scale, shift, tensors["moving_mean"], tensors["moving_variance"])
        for values in (norm.scale, norm.shift, norm.mean, norm.variance):
            if values.shape != (channels,):
                raise ValueError(f"the weights of its layer {layer.name!r} have shape {list(values.shape)}")
        epsilon = _rounded(_real(layer, "epsilon", 0.001))
        steps, layers = self._reading.chain.steps, self._reading.layers
        if len(shape) == 3 and self._reading.chain.pooled is None and steps:
            last = steps[-1]
            if last.output == self._current and last.activation == "linear" and layers[-1].norm is None:
                self._norms.append((epsilon, _share(_real(layer, "momentum", 0.99))))
                layers[-1] = replace(layers[-1], norm=norm)
                last.output = self._number
                self._give(self._number, shape)
                return
            raise self._foreign(f"its batch norm {layer.name!r} follows no convolution")
        if self._reading.chain.pooled is None or self._affine is not None:
            raise self._foreign(f"its batch norm {layer.name!r} follows no convolution")
        factor = norm.scale / np.sqrt(norm.variance + np.float32(epsilon))
        shift = norm.shift - norm.mean * factor
        self._reading.notes.append(f"Its batch norm behind the pooling, {layer.name!r}, went into a linear layer.")
        before = self._reading.head[-1] if self._reading.head else None
        if before is not None and before.activation == "linear":
            bias = shift if before.layer.bias is None else before.layer.bias * factor + shift
            before.layer = replace(before.layer, weight=before.layer.weight * factor[:, None], bias=bias)
            before.output = self._number
        else:
            self._affine = factor, shift
        self._pass()

    def _rectify(self, layer: KerasLayer) -> None:
        if _real(layer, "negative_slope", 0) or _real(layer, "threshold", 0):
            raise self._foreign(f"its ReLU {layer.name!r} is leaky")
        most = layer.config.get("max_value")
        if most not in (None, 6):
            raise self._foreign(f"its ReLU {layer.name!r} ends at {most}")
        self._pass_activated(layer, "relu" if most is None else "relu6")

    def _activate(self, layer: KerasLayer) -> None:
        self._pass_activated(layer, "softmax" if layer.kind == "Softmax" else _activation(layer))

    def _pass_activated(self, layer: KerasLayer, activation: str) -> None:
        if len(self._shapes[self._current]) == 3 and self._reading.chain.pooled is None and activation != "linear":
            self._give(self._number, self._shapes[self._current])
            last = self._reading.chain.steps[-1] if self._reading.chain.steps else None
            if last is None or last.output != self._is[layer.reads[0]]:
                raise self._foreign(f"its {layer.kind} {layer.name!r} follows no convolution")
            self._apply(layer, activation)
            last.output = self._number
            return
        self._apply(layer, activation)
        self._pass()

    def _apply(self, layer: KerasLayer, activation: str) -> None:
        """Puts an activation behind the last convolution or linear layer."""
        if activation == "linear":
            return
        if activation not in ACTIVATIONS:
            raise self._foreign(f"its layer {layer.name!r} has the activation {activation!r}")
        if self._reading.chain.pooled is None:
            step = self._reading.chain.steps[-1]
            if activation in ("softmax", "sigmoid") or step.activation != "linear" or step.sum_source is not None:
                raise self._foreign(f"its layer {layer.name!r} has the activation {activation!r}")
            step.activation = activation
            return
        last = self._reading.head[-1] if self._reading.head else None
        if last is None or last.activation != "linear" or self._affine is not None:
            raise self._foreign(f"its layer {layer.name!r} has the activation {activation!r} behind no linear layer")
        if activation == "relu6":
            raise self._foreign(f"its layer {layer.name!r} has the activation {activation!r}; hidden layers have ReLU")
        last.activation = activation

    def _add(self, layer: KerasLayer) -> None:
        others = [self._is[read] for read in layer.reads if self._is[read] != self._current]
        steps = self._reading.chain.steps
        if len(layer.reads) != 2 or len(others) != 1 or not steps or steps[-1].output != self._current:
            raise self._foreign(f"its Add {layer.name!r} is no shortcut of a MobileNet")
        if self._shapes[others[0]] != self._shapes[self._current]:
            raise ValueError(f"its Add {layer.name!r} adds maps of different shapes")
        steps[-1].sum_source, steps[-1].sum_output = others[0], self._number
        self._give(self._number, self._shapes[self._current])

    # The pooling and what stands behind it

    def _pool_all(self, layer: KerasLayer) -> None:
        _check_format(layer)
        height, width, channels = self._map(layer)
        if layer.kind == "AveragePooling2D":
            pools = _sides(layer, "pool_size")
            strides = pools if layer.config.get("strides") is None else _sides(layer, "strides")
            same = layer.config.get("padding", "valid") == "same"
            once = all(
                pool <= length and pool + stride > length
                for pool, stride, length in zip(pools, strides, (height, width), strict=True)
            )
            if pools != (height, width) or same or not once:
                raise self._foreign(
                    f"its pooling {layer.name!r} takes {pools[0]} x {pools[1]} of a map of {height} x {width}"
                )
        if self._reading.chain.pooled is not None or not self._reading.chain.steps:
            raise self._foreign(f"its pooling {layer.name!r} is not at the end of the convolutions")
        self._reading.chain.pooled = self._number
        kept = layer.kind == "AveragePooling2D" or bool(layer.config.get("keepdims"))
        self._give(self._number, (1, 1, channels) if kept else (channels,))

    def _flatten(self, layer: KerasLayer) -> None:
        shape = self._shapes[self._current]
        if self._reading.chain.pooled is None:
            if not self._reading.chain.steps or shape[:2] != (1, 1):
                text, blocks = " x ".join(map(str, shape)), ", as Edge Impulse's transfer learning blocks do"
                raise self._foreign(
                    f"its head reads every position of the map ({layer.kind} {layer.name!r} of {text}) instead of "
                    f"their average{blocks if layer.kind == 'Reshape' else ''}; linnet has heads behind a "
                    "GlobalAveragePooling2D only"
                )
            # One position is its own average.
            self._reading.chain.pooled = self._number
        target = layer.config.get("target_shape", [shape[-1]])
        if not isinstance(target, list) or not all(isinstance(side, int) for side in target) or not target:
            raise ValueError(f"the target shape of its layer {layer.name!r} makes no sense")
        if target[-1] not in (-1, shape[-1]) or any(side not in (1, -1) for side in target[:-1]):
            raise self._foreign(f"its {layer.kind} {layer.name!r} gives the shape {target}")
        self._is[self._number] = self._current
        self._shapes[self._current] = (*target[:-1], shape[-1])

    def _dense(self, layer: KerasLayer) -> None:
        tensors = self._tensors(layer, "kernel")
        kernel, bias = tensors["kernel"], tensors.get("bias")
        if self._reading.chain.pooled is None:
            raise self._foreign(f"its Dense {layer.name!r} stands before a pooling")
        if kernel.ndim != 2 or 0 in kernel.shape or (bias is not None and bias.shape != kernel.shape[1:]):
            raise ValueError(f"the weights of its layer {layer.name!r} have shape {list(kernel.shape)}")
        self._linear(layer, np.ascontiguousarray(kernel.T), bias)

    def _linear(self, layer: KerasLayer, weight: Array, bias: Array | None) -> None:
        shape = self._shapes[self._current]
        if weight.shape[1] != shape[-1]:
            raise ValueError(f"the weights of its layer {layer.name!r} are for {weight.shape[1]} features")
        head = self._reading.head
        if head and head[-1].activation not in ("linear", "relu"):
            raise self._foreign(f"its layer {layer.name!r} follows a {head[-1].activation}")
        if self._affine is not None:
            factor, shift = self._affine
            bias = weight @ shift + (0 if bias is None else bias)
            weight, self._affine = weight * factor, None
        if head and head[-1].activation == "linear":
            # Two linear layers with nothing between them are one.
            before = head.pop().layer
            weight, bias = as_one((before.weight, before.bias), (weight, bias))
        head.append(Dense(Layer(f"{layer.name}/kernel", weight, bias), "linear", self._number))
        self._give(self._number, (*shape[:-1], len(weight)))
        self._apply(layer, _activation(layer))

    # What is done to the picture

    def _rescale(self, layer: KerasLayer) -> None:
        self._transform(layer, _numbers(layer, "scale", 1.0), _numbers(layer, "offset", 0.0))

    def _standardise(self, layer: KerasLayer) -> None:
        tensors = self._pool.tensors(layer)
        if "mean" in tensors and "variance" in tensors:
            mean, variance = (tensors[name].astype(np.float64).ravel() for name in ("mean", "variance"))
        else:
            mean, variance = _numbers(layer, "mean", None), _numbers(layer, "variance", None)
        # Keras divides by no less than its smallest number.
        deviation = np.maximum(np.sqrt(variance), 1e-7)
        if layer.config.get("invert"):
            self._transform(layer, deviation, mean)
        else:
            self._transform(layer, 1 / deviation, -mean / deviation)

    def _operate(self, layer: KerasLayer) -> None:
        function = str(layer.config.get("function")) if layer.kind == "TFOpLambda" else layer.kind
        if function == "cast":
            self._pass()
            return
        numbers = [(name, value) for name, value in layer.constants if name in ("y", "x", "", "x2", BEFORE)]
        if function not in OPERATIONS or len(numbers) != 1 or numbers[0][0] == BEFORE:
            raise self._foreign(f"it computes a {function}, {layer.name!r}")
        value, kind = np.array([numbers[0][1]], np.float64), OPERATIONS[function]
        if kind == "divide" and value[0] == 0:
            raise ValueError(f"its layer {layer.name!r} divides by 0")
        if kind in ("divide", "multiply"):
            self._transform(layer, 1 / value if kind == "divide" else value, np.zeros(1))
        else:
            self._transform(layer, np.ones(1), value if kind == "add" else -value)

    def _transform(self, layer: KerasLayer, scale: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        """Values become scale x value + offset."""
        channels = self._map(layer)[2]
        if self._reading.chain.steps:
            raise self._foreign(f"its {layer.kind} {layer.name!r} stands behind a convolution")
        if not all(len(each) in (1, channels) and np.isfinite(each).all() for each in (scale, offset)):
            raise ValueError(f"its layer {layer.name!r} does not fit {channels} channels")
        before = np.ones(1) if self._reading.scale is None else self._reading.scale
        added = np.zeros(1) if self._reading.offset is None else self._reading.offset
        self._reading.scale, self._reading.offset = before * scale, added * scale + offset
        self._pass()

    def _crop(self, layer: KerasLayer) -> None:
        """What cuts out a part while training, and nothing of a picture that has its size."""
        size, wanted = self._map(layer)[:2], (_whole(layer, "height", 0), _whole(layer, "width", 0))
        if size != wanted or not self._reading.says_size:
            whole = f"{size[0]} x {size[1]}" if self._reading.says_size else "any size"
            raise self._foreign(f"its {layer.kind} {layer.name!r} cuts {wanted[0]} x {wanted[1]} out of {whole}")
        self._pass()

    def _resize(self, layer: KerasLayer) -> None:
        if self._reading.chain.steps:
            raise self._foreign(f"its Resizing {layer.name!r} stands behind a convolution")
        channels = self._map(layer)[2]
        height, width = _whole(layer, "height", 0), _whole(layer, "width", 0)
        if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
            raise ValueError(f"its layer {layer.name!r} resizes to {height} x {width}")
        self._reading.chain.input_shape = (height, width, channels)
        self._reading.says_size = True
        self._give(self._number, (height, width, channels))


def _input_shape(shapes: tuple[tuple[int | None, ...], ...]) -> tuple[tuple[int, int], int, bool]:
    """Height and width, channels, and whether the file says the size: of the outermost input that says it."""
    maps = [shape[1:] for shape in shapes if len(shape) == 4]
    if not maps:
        if shapes:
            raise NotOurs(f"its input has shape {list(shapes[0])}, not (batch, height, width, channels)")
        maps = [(None, None, 3)]
    channels = next((shape[2] for shape in maps if shape[2] is not None), 3)
    for shape in maps:
        height, width = shape[:2]
        if height is not None and width is not None:
            if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE and 1 <= channels <= LARGEST_SIDE):
                raise ValueError(f"its input has shape {list(shape)}")
            return (height, width), channels, True
    return (USUAL_SIDE, USUAL_SIDE), channels, False


def _check_format(layer: KerasLayer) -> None:
    if layer.config.get("data_format") not in (None, "channels_last"):
        raise NotOurs(f"its layer {layer.name!r} has the channels first, which Keras' MobileNets have last")


def _pairs(layer: KerasLayer, option: str) -> tuple[tuple[int, int], tuple[int, int]]:
    value = layer.config.get(option)
    value = [value, value] if isinstance(value, int) else value
    if isinstance(value, list) and len(value) == 2:
        rows, columns = ([side, side] if isinstance(side, int) else side for side in value)
        sides = [*rows, *columns] if isinstance(rows, list) and isinstance(columns, list) else []
        if len(sides) == 4 and all(isinstance(side, int) and 0 <= side <= 64 for side in sides):
            return (sides[0], sides[1]), (sides[2], sides[3])
    raise ValueError(f"`{option}` of its layer {layer.name!r} makes no sense: {value!r}")


def _sides(layer: KerasLayer, option: str) -> tuple[int, int]:
    value = layer.config.get(option, 1)
    value = [value, value] if isinstance(value, int) else value
    if isinstance(value, list) and len(value) == 2 and all(_is_whole(side) and 1 <= side <= 4096 for side in value):
        return value[0], value[1]
    raise ValueError(f"`{option}` of its layer {layer.name!r} makes no sense: {value!r}")


def _whole(layer: KerasLayer, option: str, usual: int) -> int:
    value = layer.config.get(option, usual)
    if not _is_whole(value):
        raise ValueError(f"`{option}` of its layer {layer.name!r} makes no sense: {value!r}")
    return int(value)


def _real(layer: KerasLayer, option: str, usual: float) -> float:
    value = layer.config.get(option, usual)
    if value is None:
        return usual
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"`{option}` of its layer {layer.name!r} makes no sense: {value!r}")
    return float(value)


def _numbers(layer: KerasLayer, option: str, usual: float | None) -> NDArray[np.float64]:
    """One number or one for each channel; nested lists are flattened."""
    value = layer.config.get(option, usual)
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        value = value["config"].get("value")
    try:
        numbers = np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if len(numbers) == 0 or not np.isfinite(numbers).all():
        raise ValueError(f"`{option}` of its layer {layer.name!r} makes no sense: {value!r}")
    return numbers


def _activation(layer: KerasLayer) -> str:
    """Name of a layer's activation; Keras writes names, or objects with their options."""
    value = layer.config.get("activation", "linear")
    if value is None:
        return "linear"
    if isinstance(value, dict):
        config, kind = value.get("config"), value.get("class_name")
        if kind == "ReLU" and isinstance(config, dict):
            return "relu6" if config.get("max_value") == 6 else "relu" if config.get("max_value") is None else "a ReLU"
        value = config if isinstance(config, str) else kind
    return str(value).rpartition(">")[2].lower()


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _share(momentum: float) -> float:
    """Of the new batch, in the running statistics: 1 - 0.999 is 0.001, and not what floats make of it."""
    return float(f"{1 - _rounded(momentum):.9g}")


def _rounded(value: float) -> float:
    """Without what float32 added to it: 0.0010000000474974513 is 0.001."""
    short = float(f"{value:.6g}")
    return short if np.float32(short) == np.float32(value) else value
