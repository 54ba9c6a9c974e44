"""What bytes does a converter write for a network? Small TFLite files of every style that linnet reads.

`write_tflite` writes an `Architecture`; `NetworkWriter` any chain of layers, so also networks that are no MobileNet;
`GraphWriter` any graph at all, and its operators may be altered before it is written. All go through the schema's own
builder functions.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from linnet.architecture import (
    INPUT,
    Add,
    Architecture,
    Concatenate,
    Convolve,
    Graph,
    Linear,
    Operation,
    Pool,
    Reshape,
)
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.export.tflite_file import Codes, offset_vector, table, vector
from linnet.export.tflite_file import GraphWriter as GraphWriter
from linnet.export.tflite_file import Operator as Operator

Quantisation = Codes
Tensors = Mapping[str, NDArray[np.float32]]
Ranges = Mapping[str, tuple[float, float]]

ACTIVATIONS = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6"}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of itself in its TFLITE_METADATA; empty fields are left out. Pixel values are 0 to 255."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    licence: str = ""
    label_file: str = ""


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a converter writes one and the same network.

    Attributes:
        weights: `float16` stands behind DEQUANTIZE, `int8` is per channel and symmetric, `uint8` per tensor and
            asymmetric (TF1); with the last two activations are integers too. `hybrid` is `int8` with float
            activations and biases (dynamic range quantisation).
        input_type: of an `int8` network: `uint8` puts QUANTIZE at both ends, `float32` QUANTIZE and DEQUANTIZE.
        input_scale: of an integer input; real = input_scale x (pixel - input_zero).
        input_zero: the pixel value, 0 to 255, that is real 0.
        explicit_pads: PAD and VALID instead of SAME, for strided convolutions or for all with a larger kernel.
        classifier: as a 1x1 CONV_2D or as FULLY_CONNECTED.
        pool: as MEAN or AVERAGE_POOL_2D.
        separate_activations: RELU and RELU6 as operators of their own. Not for integer networks.
        softmax: at the end.
        labels: packed as `label_file` into a zip archive behind the graph.
        description: the metadata; None writes none.
    """

    weights: Literal["float32", "float16", "hybrid", "int8", "uint8"] = "float32"
    input_type: Literal["int8", "uint8", "float32"] = "uint8"
    input_scale: float = 1 / 128
    input_zero: int = 128
    explicit_pads: Literal["never", "strided", "always"] = "never"
    classifier: Literal["convolution", "fully_connected"] = "convolution"
    pool: Literal["mean", "average"] = "mean"
    separate_activations: bool = False
    softmax: bool = False
    labels: tuple[str, ...] | None = None
    label_file: str = "labels.txt"
    description: Description | None = None

    @property
    def integer(self) -> bool:
        """Whether activations are integers."""
        return self.weights in ("int8", "uint8")


def write_tflite(
    path: Path, architecture: Architecture, tensors: Tensors, style: Style | None = None
) -> dict[str, int]:
    """Writes a network; batch norm is folded first if it is not yet. Returns tensor name → number in the file."""
    style = style or Style()
    network = network_writer(architecture, tensors, style)
    write_content(path, network.content(), style)
    return {alias: network.numbers[name] for alias, name in architecture.graph.aliases.items()}


def network_writer(architecture: Architecture, tensors: Tensors, style: Style | None = None) -> NetworkWriter:
    """A network ready to be written, its graph open to alterations."""
    style = style or Style()
    folded, values = fold(architecture, tensors)
    ranges = activation_ranges(folded, values, style) if style.integer else {}
    return NetworkWriter(folded.operations, values, folded.input_shape, style, ranges)


def write_content(path: Path, content: bytes, style: Style) -> None:
    """Writes a graph, with the labels that the style packs behind it."""
    path.write_bytes(content)
    if style.labels is not None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(style.label_file, "".join(f"{label}\n" for label in style.labels))


def activation_ranges(graph: Graph, tensors: Tensors, style: Style) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every intermediate tensor over a few pictures of noise."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (3, *graph.input_shape))
    inputs = ((pixels - style.input_zero) * style.input_scale).astype(np.float32)
    _, found = NumpyNetwork(graph, tensors).run(inputs, list(graph.aliases))
    return {name: (float(values.min()), float(values.max())) for name, values in found.items()}


def metadata_content(description: Description) -> bytes:
    """The flatbuffer of TFLITE_METADATA (`metadata_schema.fbs`), field by field: no package has its builders."""
    builder = flatbuffers.Builder(1024)
    licence = builder.CreateString(description.licence) if description.licence else None
    units = []
    if description.mean:
        means, stds = (vector(builder, values, np.float32) for values in (description.mean, description.std))
        normalisation = table(builder, {0: means, 1: stds})
        builder.StartObject(2)
        # Number 1 of the union ProcessUnitOptions is NormalizationOptions.
        builder.PrependUint8Slot(0, 1, 0)
        builder.PrependUOffsetTRelativeSlot(1, normalisation, 0)
        units.append(builder.EndObject())
    files = []
    if description.label_file:
        files.append(table(builder, {0: builder.CreateString(description.label_file)}))
    input_tensor = table(builder, {4: offset_vector(builder, units)} if units else {})
    output_tensor = table(builder, {6: offset_vector(builder, files)} if files else {})
    tensors = {2: offset_vector(builder, [input_tensor]), 3: offset_vector(builder, [output_tensor])}
    fields = {3: offset_vector(builder, [table(builder, tensors)])}
    root = table(builder, fields | ({} if licence is None else {5: licence}))
    builder.Finish(root, file_identifier=b"M001")
    return bytes(builder.Output())


class NetworkWriter:
    """A chain of folded operations, whatever they are, as a graph.

    The methods that add an operator take the number of the tensor that it reads and return that of its result.

    Args:
        operations: in the order in which they run.
        tensors: their weights and biases.
        input_shape: height, width, channels.
        style: how the graph is written.
        ranges: least and greatest value of each activation, for integer networks.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        tensors: Tensors,
        input_shape: tuple[int, int, int],
        style: Style | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        self.graph = GraphWriter()
        self.numbers: dict[str, int] = {}
        self._style = style or Style()
        self._tensors = tensors
        self._ranges = ranges or {}
        self._dtype = np.dtype(self._style.weights if self._style.integer else "float32")
        self._write(operations, input_shape)

    def content(self) -> bytes:
        """The whole file."""
        description = self._style.description
        return self.graph.content({} if description is None else {"TFLITE_METADATA": metadata_content(description)})

    def _write(self, operations: Sequence[Operation], input_shape: tuple[int, int, int]) -> None:
        entered = self._input(input_shape)
        values = {INPUT: self._enter(entered)}
        current = values[INPUT]
        writers: dict[type[Operation], Any] = {
            Convolve: self._convolve,
            Add: self._add,
            Pool: self._pool,
            Linear: self._classify,
            Reshape: self._reshape,
            Concatenate: self._concatenate,
        }
        for operation in operations:
            current = writers[type(operation)](operation, *(values[name] for name in operation.reads))
            values[operation.name] = current
            self.numbers.setdefault(operation.name, current)
        read = {name for operation in operations for name in operation.reads}
        ends = [values[operation.name] for operation in operations if operation.name not in read]
        if self._style.softmax:
            ends[-1] = self._softmax(ends[-1])
        self.graph.inputs = [entered]
        self.graph.outputs = [self._leave(end) for end in ends]

    @property
    def _input_dtype(self) -> np.dtype[Any]:
        return np.dtype(self._style.input_type) if self._style.weights == "int8" else self._dtype

    def _input(self, shape: tuple[int, int, int]) -> int:
        quantisation = self._input_quantisation(self._input_dtype) if self._style.integer else None
        return self.graph.tensor("input", (1, *shape), self._input_dtype, quantisation)

    def _input_quantisation(self, dtype: np.dtype[Any]) -> Quantisation | None:
        """The same real numbers in either integer type; none in floats."""
        if dtype == np.float32:
            return None
        shift = 128 if dtype == np.int8 else 0
        return Quantisation((self._style.input_scale,), (self._style.input_zero - shift,))

    def _enter(self, entered: int) -> int:
        """QUANTIZE to the type of the network, if the input has another."""
        if self._input_dtype == self._dtype:
            return entered
        quantisation = self._input_quantisation(self._dtype)
        output = self.graph.tensor("quantised", self.graph.tensors[entered].shape, self._dtype, quantisation)
        return self.graph.operator("QUANTIZE", [entered], output, "QuantizeOptions")

    def _leave(self, current: int) -> int:
        """QUANTIZE or DEQUANTIZE to the type of the input, if the network has another."""
        if self._input_dtype == self._dtype:
            return current
        inner = self.graph.tensors[current]
        assert inner.quantisation is not None
        if self._input_dtype == np.float32:
            return self.graph.operator(
                "DEQUANTIZE", [current], self.graph.tensor("output", inner.shape), "DequantizeOptions"
            )
        outer = Quantisation(inner.quantisation.scales, (inner.quantisation.zeros[0] + 128,))
        output = self.graph.tensor("output", inner.shape, self._input_dtype, outer)
        return self.graph.operator("QUANTIZE", [current], output, "QuantizeOptions")

    def _computed(self, name: str, shape: tuple[int, ...], ranged: str) -> int:
        """A tensor of activations, in an integer network with the range measured under the name `ranged`."""
        if not self._style.integer:
            return self.graph.tensor(name, shape)
        low, high = self._ranges[ranged]
        low, high = min(low, 0.0), max(high, 0.0, low + 1e-6)
        scale = (high - low) / 255
        zero = round(-low / scale) - (128 if self._dtype == np.int8 else 0)
        return self.graph.tensor(name, shape, self._dtype, Quantisation((scale,), (zero,)))

    def _like(self, name: str, shape: tuple[int, ...], model: int) -> int:
        """A tensor of activations with the quantisation of another."""
        return self.graph.tensor(name, shape, self._dtype, self.graph.tensors[model].quantisation)

    def _weights(self, name: str, weight: NDArray[np.float32], axis: int, entered: int) -> list[int]:
        """Weight and bias as constants of the style's type; -1 where there is no bias."""
        if f"{name}.bias" not in self._tensors:
            nothing = np.zeros(weight.shape[axis], np.float32)
            self._tensors = {**self._tensors, f"{name}.bias": nothing}
            return [self._weights(name, weight, axis, entered)[0], -1]
        bias = self._tensors[f"{name}.bias"]
        if self._style.weights == "float16":
            return [self._half(f"{name}.weight", weight), self._half(f"{name}.bias", bias)]
        if self._style.weights == "float32":
            return [self.graph.constant(f"{name}.weight", weight), self.graph.constant(f"{name}.bias", bias)]
        stored, quantisation = _quantise(weight, axis, per_channel=self._style.weights != "uint8")
        number = self.graph.constant(f"{name}.weight", stored, quantisation)
        if self._style.weights == "hybrid":
            return [number, self.graph.constant(f"{name}.bias", bias)]
        source = self.graph.tensors[entered].quantisation
        assert source is not None
        scales = np.asarray(quantisation.scales, np.float32) * np.float32(source.scales[0])
        bias_quantisation = Quantisation(tuple(map(float, scales)), (0,) * len(scales))
        integers = np.round(bias / scales).astype(np.int32)
        return [number, self.graph.constant(f"{name}.bias", integers, bias_quantisation)]

    def _half(self, name: str, values: NDArray[np.float32]) -> int:
        stored = self.graph.constant(f"{name}.half", values.astype(np.float16))
        output = self.graph.tensor(name, values.shape)
        return self.graph.operator("DEQUANTIZE", [stored], output, "DequantizeOptions")

    def _convolve(self, convolution: Convolve, current: int) -> int:
        name, label = convolution.name, convolution.label
        current, padding = self._pad(convolution, current)
        fused = "linear" if self._style.separate_activations else convolution.activation
        fields = {
            "Padding": padding,
            "StrideH": convolution.stride,
            "StrideW": convolution.stride,
            "DilationHFactor": convolution.dilation,
            "DilationWFactor": convolution.dilation,
            "FusedActivationFunction": getattr(tflite.ActivationFunctionType, ACTIVATIONS[fused]),
        }
        weight = self._tensors[f"{label}.weight"]
        if convolution.depthwise:
            operator, axis, weight = "DEPTHWISE_CONV_2D", 3, weight.transpose(1, 2, 3, 0)
            kind, fields = "DepthwiseConv2DOptions", fields | {"DepthMultiplier": 1}
        else:
            operator, axis, weight = "CONV_2D", 0, weight.transpose(0, 2, 3, 1)
            kind = "Conv2DOptions"
        inputs = [current, *self._weights(label, np.ascontiguousarray(weight), axis, current)]
        shape = (1, *convolution.output_size, convolution.out_channels)
        current = self.graph.operator(operator, inputs, self._computed(name, shape, name), kind, **fields)
        if fused != convolution.activation:
            output = self._computed(f"{name}.activated", shape, name)
            current = self.graph.operator(ACTIVATIONS[convolution.activation], [current], output)
        return current

    def _pad(self, convolution: Convolve, current: int) -> tuple[int, int]:
        """The padded tensor, if the style pads by an operator; and the padding rule left to the convolution."""
        explicit = self._style.explicit_pads
        wanted = explicit == "always" or (explicit == "strided" and convolution.stride > 1)
        if not wanted or not any(convolution.pads):
            # SAME is TensorFlow's rule: a network padded by another cannot be written so.
            assert convolution.pads == replace(convolution, padding="same").pads
            return current, tflite.Padding.SAME
        top, bottom, left, right = convolution.pads
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        height, width = convolution.input_size
        shape = (1, top + height + bottom, left + width + right, convolution.in_channels)
        inputs = [current, self.graph.constant(f"{convolution.name}.amounts", amounts)]
        output = self._like(f"{convolution.name}.padded", shape, current)
        return self.graph.operator("PAD", inputs, output, "PadOptions"), tflite.Padding.VALID

    def _add(self, operation: Add, current: int, other: int) -> int:
        output = self._computed(f"{operation.name}.sum", self.graph.tensors[current].shape, operation.name)
        none = tflite.ActivationFunctionType.NONE
        return self.graph.operator("ADD", [current, other], output, "AddOptions", FusedActivationFunction=none)

    def _pool(self, layer: Pool, current: int) -> int:
        _, height, width, channels = self.graph.tensors[current].shape
        if self._style.pool == "average":
            fields = {"Padding": tflite.Padding.VALID, "StrideH": 1, "StrideW": 1}
            fields |= {"FilterHeight": height, "FilterWidth": width}
            # The kernel averages the integers themselves, so its output has the scale of its input.
            output = self._like(layer.name, (1, 1, 1, channels), current)
            return self.graph.operator("AVERAGE_POOL_2D", [current], output, "Pool2DOptions", **fields)
        keep = self._style.classifier == "convolution"
        output = self._computed(layer.name, (1, 1, 1, channels) if keep else (1, channels), layer.name)
        axes = self.graph.constant("pool.axes", np.array([1, 2], np.int32))
        return self.graph.operator("MEAN", [current, axes], output, "ReducerOptions", KeepDims=keep)

    def _classify(self, layer: Linear, current: int) -> int:
        weight = self._tensors[f"{layer.name}.weight"]
        none = tflite.ActivationFunctionType.NONE
        if self._style.classifier == "fully_connected":
            if len(self.graph.tensors[current].shape) == 4:
                current = self._flatten(current, layer.in_channels)
            inputs = [current, *self._weights(layer.name, weight, 0, current)]
            output = self._computed(layer.name, (1, layer.out_channels), layer.name)
            kind = "FullyConnectedOptions"
            fused = getattr(tflite.ActivationFunctionType, ACTIVATIONS[layer.activation])
            return self.graph.operator("FULLY_CONNECTED", inputs, output, kind, FusedActivationFunction=fused)
        inputs = [current, *self._weights(layer.name, weight[:, None, None, :], 0, current)]
        output = self._computed(layer.name, (1, 1, 1, layer.out_channels), layer.name)
        fields = {"Padding": tflite.Padding.SAME, "StrideH": 1, "StrideW": 1, "FusedActivationFunction": none}
        # What gives the logits is the convolution, whatever their shape becomes.
        self.numbers[layer.name] = self.graph.operator("CONV_2D", inputs, output, "Conv2DOptions", **fields)
        return self._flatten(output, layer.out_channels)

    def _reshape(self, operation: Reshape, current: int) -> int:
        shape = (1, *operation.shape)
        inputs = [current, self.graph.constant(f"shape of {operation.name}", np.array(shape, np.int32))]
        return self.graph.operator("RESHAPE", inputs, self._like(operation.name, shape, current))

    def _concatenate(self, operation: Concatenate, *parts: int) -> int:
        none = tflite.ActivationFunctionType.NONE
        output = self._computed(operation.name, (1, *operation.shape), operation.name)
        fields = {"Axis": 1 + operation.axis, "FusedActivationFunction": none}
        return self.graph.operator("CONCATENATION", parts, output, "ConcatenationOptions", **fields)

    def _flatten(self, current: int, channels: int) -> int:
        inputs = [current, self.graph.constant(f"shape of {current}", np.array([1, channels], np.int32))]
        return self.graph.operator("RESHAPE", inputs, self._like(f"flat {current}", (1, channels), current))

    def _softmax(self, current: int) -> int:
        shape = self.graph.tensors[current].shape
        zero = -128 if self._dtype == np.int8 else 0
        quantisation = Quantisation((1 / 256,), (zero,)) if self._style.integer else None
        output = self.graph.tensor("softmax", shape, self._dtype, quantisation)
        return self.graph.operator("SOFTMAX", [current], output, "SoftmaxOptions", Beta=1.0)


def _quantise(weight: NDArray[np.float32], axis: int, *, per_channel: bool) -> tuple[NDArray[Any], Quantisation]:
    """Symmetric int8 with one scale a channel, or asymmetric uint8 with one for all."""
    if not per_channel:
        low, high = min(float(weight.min()), 0.0), max(float(weight.max()), 0.0)
        scale = max((high - low) / 255, 1e-9)
        zero = round(-low / scale)
        return np.clip(np.round(weight / scale) + zero, 0, 255).astype(np.uint8), Quantisation((scale,), (zero,))
    others = tuple(number for number in range(weight.ndim) if number != axis)
    # A scale that is not 0 for channels that are.
    scales = np.maximum(np.abs(weight).max(axis=others, keepdims=True), 1e-6).astype(np.float32) / np.float32(127)
    stored = np.clip(np.round(weight / scales), -127, 127).astype(np.int8)
    return stored, Quantisation(tuple(map(float, scales.ravel())), (0,) * scales.size, axis)
