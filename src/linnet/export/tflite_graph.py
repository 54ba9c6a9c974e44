"""A checkpoint as a TFLite file, without TensorFlow: float32, weights in float16, or a quantised network's integers.

The graph is made from the folded architecture: CONV_2D, DEPTHWISE_CONV_2D, ADD, MEAN or AVERAGE_POOL_2D and
FULLY_CONNECTED, of a detector RESHAPE and CONCATENATION too, of a segmenter CONCATENATION, RESIZE_BILINEAR and at the
end ARG_MAX. TensorFlow's padding is SAME, PyTorch's a PAD (with the
zero point) before a VALID convolution. Logits come out: no softmax is added. Before a file is kept, LiteRT runs it
where it is installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tflite

from linnet.architecture import (
    INPUT,
    Add,
    Concatenate,
    Convolve,
    Graph,
    Linear,
    Operation,
    Pool,
    Reshape,
    Resize,
)
from linnet.architecture.operations import pad_amounts
from linnet.engine.integer_reference import IntegerNetwork
from linnet.engine.reference import NumpyNetwork, Runner
from linnet.export.segmenter import LABELS
from linnet.export.tflite_file import Codes, GraphWriter
from linnet.export.written import InputKind
from linnet.images import Preprocessing, normalise
from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding, Quantisation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Largest difference from the reference that is accepted, relative to the largest output. Integers must be equal."""

CANCELLING_TOLERANCE = 1e-4
"""The same where the largest of an output may be a sum that cancels, as of a detector's heads, a segmenter's map and of
`FEW` numbers: random weights reach 2e-5, trained ones 1e-6."""

FEW = 8

FLOATING_TOLERANCE = 12 / 255
"""The same of a quantised network of which some operations run in float: the order of their sums decides halves."""

ACTIVATIONS = {"linear": "NONE", "relu": "RELU", "relu6": "RELU6"}

VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "MEAN": 2,
    "AVERAGE_POOL_2D": 2,
    "PAD": 2,
    "CONCATENATION": 2,
    "RESIZE_BILINEAR": 2,
    "ARG_MAX": 2,
    "DEQUANTIZE": 2,
}
"""Of operators on int8, as converters write them; on all else they are 1."""


class NetworkWriter:
    """Tensors and operators of a network in float32.

    Args:
        graph: folded operations.
        tensors: their weights.

    Attributes:
        file: what was written so far.
        tensors: weights by name.
        allowed: the largest difference from the reference that is accepted.
    """

    quantisation: Quantisation | None = None

    def __init__(self, graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.graph, self.tensors = graph, dict(tensors)
        self.file = GraphWriter()
        shapes = [graph.shape_of(name) for name in graph.outputs]
        several = len(shapes) == 1 and len(shapes[0]) < 3 and math.prod(shapes[0]) > FEW
        self.allowed = TOLERANCE if several else CANCELLING_TOLERANCE

    def write(self, inputs: InputKind, contract: Preprocessing | None, *, floats: bool = False) -> None:
        """Writes the network with its ends: the picture, and what the outputs are given as, or floats."""
        entered = self.enter(inputs, contract)
        values = {INPUT: entered}
        for operation in self.graph.operations:
            values[operation.name] = self.operation(operation, [values[name] for name in operation.reads])
        left: InputKind = "normalised" if floats else inputs
        self.file.outputs = [self.leave(name, values[name], left) for name in self.graph.outputs]

    def end_with_labels(self) -> None:
        """Makes the best class of every pixel the only output, of logits however they leave."""
        (logits,) = self.file.outputs
        shape = self.file.tensors[logits].shape[:3]
        axis = self.file.constant("labels:axis", np.array([3], np.int32))
        result = self.file.tensor(LABELS, shape, np.int32)
        fields = {"OutputType": tflite.TensorType.INT32}
        self.file.outputs = [self.file.operator("ARG_MAX", [logits, axis], result, "ArgMaxOptions", **fields)]

    def enter(self, inputs: InputKind, contract: Preprocessing | None) -> int:
        """The picture as the first operation reads it."""
        if inputs == "pixels":
            assert contract is not None
            return self._normalised(contract)
        number = self.file.tensor(INPUT, (1, *self.graph.input_shape))
        self.file.inputs = [number]
        return number

    def leave(self, name: str, number: int, inputs: InputKind) -> int:
        """An output as the file gives it."""
        return number

    def operation(self, operation: Operation, read: list[int]) -> int:
        """Appends an operation; gives the number of its result."""
        return WRITERS[type(operation)](self, operation, read)

    def computed(self, name: str, shape: tuple[int, ...], of: str) -> int:
        """A tensor of activations, encoded as the one of name `of` where there are integers."""
        return self.file.tensor(name, (1, *shape))

    def weights(self, operation: Operation, weight: NDArray[Any], axis: int) -> list[int]:
        """Weight and bias as constants; -1 where there is no bias. `axis` is that of the weight's outputs."""
        label = operation.label
        bias = self.tensors.get(f"{label}.bias")
        return [
            self.constant(f"{label}.weight", weight),
            -1 if bias is None else self.constant(f"{label}.bias", bias),
        ]

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """Weights as the file has them."""
        return self.file.constant(name, values)

    def reference(self, pictures: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """What the outputs must be for normalised pictures (N, H, W, C); numbers with more digits than float32 has."""
        if self.quantisation is not None:
            network: Runner = IntegerNetwork(self.graph, self.tensors, self.quantisation)
        else:
            network = NumpyNetwork(self.graph, self.tensors, dtype=np.float64)
        outputs, _ = network.run(pictures)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _normalised(self, contract: Preprocessing) -> int:
        """Pixels, normalised by the steps of `linnet.images.normalise`, in their order."""
        shape = (1, *self.graph.input_shape)
        current = self.file.tensor(INPUT, shape, np.uint8)
        self.file.inputs = [current]
        fields = {"InDataType": tflite.TensorType.UINT8, "OutDataType": tflite.TensorType.FLOAT32}
        current = self.file.operator("CAST", [current], self.file.tensor("pixels", shape), "CastOptions", **fields)
        for operator, name, numbers in (
            ("Div", "255", (255.0,)), ("Sub", "mean", contract.mean), ("Div", "std", contract.std),
        ):  # fmt: skip
            constant = self.file.constant(f"pixels:{name}", np.array(numbers, np.float32))
            result = self.file.tensor(f"pixels:{operator.lower()}:{name}", shape)
            none = tflite.ActivationFunctionType.NONE
            kind = f"{operator}Options"
            current = self.file.operator(
                operator.upper(), [current, constant], result, kind, FusedActivationFunction=none
            )
        return current


class HalfWriter(NetworkWriter):
    """The same with weights in float16, which DEQUANTIZE widens. Biases stay as they are."""

    def __init__(self, graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(graph, tensors)
        self.file.versions |= {"DEQUANTIZE": 3}
        for name in self.tensors:
            if name.endswith(".weight"):
                with np.errstate(over="ignore"):
                    half = self.tensors[name].astype(np.float16)
                if not np.array_equal(np.isfinite(half), np.isfinite(self.tensors[name])):
                    raise ValueError(f"{name} has values that float16 cannot hold (above 65504). Export it as float32.")
                self.tensors[name] = half.astype(np.float32)

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """Weights in float16, widened."""
        if not name.endswith(".weight"):
            return super().constant(name, values)
        stored = self.file.constant(f"{name}.half", values.astype(np.float16))
        return self.file.operator("DEQUANTIZE", [stored], self.file.tensor(name, values.shape), "DequantizeOptions")


class IntegerWriter(NetworkWriter):
    """The same of a quantised network, with its integers as they are.

    Args:
        graph: folded operations.
        tensors: integer weights with their scales.
        quantisation: encodings of all values.

    Raises:
        ValueError: if TFLite has no operators for such integers.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, NDArray[Any]], quantisation: Quantisation) -> None:
        super().__init__(graph, tensors)
        self.quantisation: Quantisation = quantisation
        self.allowed = FLOATING_TOLERANCE if quantisation.floating else 0.0
        self.dtype = np.dtype(quantisation.dtype)
        if quantisation.dtype == "int8":
            self.file.versions = dict(VERSIONS)
        for operation in graph.operations:
            if operation.tensors and operation.name not in quantisation.floating:
                kind = self.tensors[f"{operation.label}.weight"].dtype
                if kind != self.dtype:
                    raise ValueError(
                        f"The weights of {operation.name} are {kind} and activations {self.dtype}: TFLite has no "
                        "operators for both together."
                    )
        self._floats = False

    def enter(self, inputs: InputKind, contract: Preprocessing | None) -> int:
        """The picture as integers of its encoding."""
        encoding = self.quantisation.encodings[INPUT]
        shape = self.graph.input_shape
        if inputs == "integers":
            number = self.computed(INPUT, shape, INPUT)
            self.file.inputs = [number]
            return number
        if (
            inputs == "pixels"
            and contract is not None
            and (zero := _pixel_zero(self.quantisation, contract)) is not None
        ):
            entered = self.file.tensor(INPUT, (1, *shape), np.uint8, Codes((encoding.scale,), (zero,)))
            self.file.inputs = [entered]
            return entered if self.dtype == np.uint8 else self._quantise(entered, INPUT, shape)
        return self._quantise(super().enter(inputs, contract), INPUT, shape)

    def leave(self, name: str, number: int, inputs: InputKind) -> int:
        """An output as integers, unsigned ones where pixels come in, or as numbers."""
        encoding, shape = self.quantisation.encodings[name], self.graph.shape_of(name)
        tensor = self.file.tensors[number]
        if inputs == "normalised":
            tensor.name = f"{name}:integers"
            return self.file.operator("DEQUANTIZE", [number], self.file.tensor(name, (1, *shape)), "DequantizeOptions")
        if inputs == "pixels" and tensor.dtype == np.int8:
            tensor.name = f"{name}:signed"
            codes = Codes((encoding.scale,), (encoding.zero + 128,))
            unsigned = self.file.tensor(name, (1, *shape), np.uint8, codes)
            return self.file.operator("QUANTIZE", [number], unsigned, "QuantizeOptions")
        return number

    def operation(self, operation: Operation, read: list[int]) -> int:
        """An operation on integers, or one in float between DEQUANTIZE and QUANTIZE."""
        if operation.name not in self.quantisation.floating:
            return super().operation(operation, read)
        self._floats = True
        numbers = [
            self.file.operator(
                "DEQUANTIZE",
                [number],
                self.file.tensor(f"{operation.name}:read:{place}", self.file.tensors[number].shape),
                "DequantizeOptions",
            )
            for place, number in enumerate(read)
        ]
        result = super().operation(operation, numbers)
        self._floats = False
        self.file.tensors[result].name = f"{operation.name}:number"
        return self._quantise(result, operation.name, operation.shape)

    def computed(self, name: str, shape: tuple[int, ...], of: str) -> int:
        """A tensor of activations in an encoding."""
        if self._floats:
            return super().computed(name, shape, of)
        encoding = self.quantisation.encodings[of]
        return self.file.tensor(name, (1, *shape), self.dtype, Codes((encoding.scale,), (encoding.zero,)))

    def weights(self, operation: Operation, weight: NDArray[Any], axis: int) -> list[int]:
        """Integers with their scales; the bias in steps of what is read times the weights'."""
        if self._floats:
            return super().weights(operation, weight, axis)
        label = operation.label
        scale = self.tensors[f"{label}.weight.scale"]
        zero = self.tensors.get(f"{label}.weight.zero", np.zeros(1, np.int64))
        zeros = np.broadcast_to(zero, scale.shape)
        number = self.file.constant(f"{label}.weight", weight, _codes(scale, zeros, axis if len(scale) > 1 else 0))
        bias = self.tensors.get(f"{label}.bias")
        if bias is None:
            return [number, -1]
        steps = np.float32(self.quantisation.encodings[operation.reads[0]].scale) * scale
        return [number, self.file.constant(f"{label}.bias", bias, _codes(steps, np.zeros_like(zeros), 0))]

    def _quantise(self, number: int, name: str, shape: tuple[int, ...]) -> int:
        result = self.computed(f"{name}:rounded" if name == INPUT else name, shape, name)
        return self.file.operator("QUANTIZE", [number], result, "QuantizeOptions")


def _codes(scales: NDArray[np.float32], zeros: NDArray[Any], axis: int) -> Codes:
    return Codes(tuple(map(float, scales)), tuple(map(int, zeros)), axis)


def _pixel_zero(quantisation: Quantisation, contract: Preprocessing) -> int | None:
    """The zero point of unsigned integers that are the pixels themselves; None where an encoding rounds them."""
    encoding: Encoding = quantisation.encodings[INPUT]
    shift = 128 if quantisation.dtype == "int8" else 0
    grey = np.arange(256, dtype=np.uint8)
    rows = normalise(np.repeat(grey[None, None, :, None], 3, axis=3), contract)
    found = rule.quantise(rows, encoding, quantisation.dtype).astype(np.int64) + shift
    return encoding.zero + shift if (found == grey[None, None, :, None]).all() else None


def _convolve(writer: NetworkWriter, operation: Convolve, read: list[int]) -> int:
    current, padding = _pad(writer, operation, read[0])
    weight = writer.tensors[f"{operation.label}.weight"]
    fields = {
        "Padding": padding,
        "StrideH": operation.stride,
        "StrideW": operation.stride,
        "DilationHFactor": operation.dilation,
        "DilationWFactor": operation.dilation,
        "FusedActivationFunction": _activation(operation.activation),
    }
    if operation.depthwise:
        operator, kind, axis = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", 3
        weight, fields = weight.transpose(1, 2, 3, 0), fields | {"DepthMultiplier": 1}
    else:
        operator, kind, axis = "CONV_2D", "Conv2DOptions", 0
        weight = weight.transpose(0, 2, 3, 1)
    inputs = [current, *writer.weights(operation, np.ascontiguousarray(weight), axis)]
    result = writer.computed(operation.name, operation.shape, operation.name)
    return writer.file.operator(operator, inputs, result, kind, **fields)


def _pad(writer: NetworkWriter, operation: Convolve, current: int) -> tuple[int, int]:
    """What a convolution reads, and its padding rule: SAME where that gives just these zeros."""
    top, bottom, left, right = operation.pads
    height, width = operation.input_size
    same = [
        amount
        for length in (height, width)
        for amount in pad_amounts(
            length, kernel=operation.kernel, stride=operation.stride, dilation=operation.dilation, rule="same"
        )
    ]
    if same == [top, bottom, left, right]:
        return current, tflite.Padding.SAME
    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    inputs = [current, writer.file.constant(f"{operation.name}:pads", amounts)]
    shape = (top + height + bottom, left + width + right, operation.in_channels)
    result = writer.computed(f"{operation.name}:padded", shape, operation.reads[0])
    return writer.file.operator("PAD", inputs, result, "PadOptions"), tflite.Padding.VALID


def _add(writer: NetworkWriter, operation: Add, read: list[int]) -> int:
    result = writer.computed(operation.name, operation.shape, operation.name)
    return writer.file.operator("ADD", read, result, "AddOptions", FusedActivationFunction=_activation("linear"))


def _pool(writer: NetworkWriter, operation: Pool, read: list[int]) -> int:
    _, height, width, channels = writer.file.tensors[read[0]].shape
    quantisation = writer.quantisation
    if quantisation is None or quantisation.pooling == "mean" or operation.name in quantisation.floating:
        axes = writer.file.constant(f"{operation.name}:axes", np.array([1, 2], np.int32))
        result = writer.computed(operation.name, operation.shape, operation.name)
        return writer.file.operator("MEAN", [read[0], axes], result, "ReducerOptions", KeepDims=operation.keeps_map)
    fields = {"Padding": tflite.Padding.VALID, "StrideH": 1, "StrideW": 1, "FilterHeight": height, "FilterWidth": width}
    name = operation.name if operation.keeps_map else f"{operation.name}:map"
    pooled = writer.computed(name, (1, 1, channels), operation.name)
    writer.file.operator("AVERAGE_POOL_2D", [read[0]], pooled, "Pool2DOptions", **fields)
    return pooled if operation.keeps_map else _shaped(writer, operation, pooled)


def _resize(writer: NetworkWriter, operation: Resize, read: list[int]) -> int:
    size = writer.file.constant(f"{operation.name}:size", np.array(operation.output_size, np.int32))
    result = writer.computed(operation.name, operation.shape, operation.name)
    fields = {"AlignCorners": operation.grid == "align_corners", "HalfPixelCenters": operation.grid == "half_pixel"}
    if operation.grid == "half_pixel":
        writer.file.versions["RESIZE_BILINEAR"] = 3
    return writer.file.operator("RESIZE_BILINEAR", [read[0], size], result, "ResizeBilinearOptions", **fields)


def _linear(writer: NetworkWriter, operation: Linear, read: list[int]) -> int:
    weight = writer.tensors[f"{operation.label}.weight"]
    result = writer.computed(operation.name, operation.shape, operation.name)
    return writer.file.operator(
        "FULLY_CONNECTED",
        [read[0], *writer.weights(operation, weight, 0)],
        result,
        "FullyConnectedOptions",
        FusedActivationFunction=_activation(operation.activation),
    )


def _reshape(writer: NetworkWriter, operation: Reshape, read: list[int]) -> int:
    return _shaped(writer, operation, read[0])


def _shaped(writer: NetworkWriter, operation: Operation, number: int) -> int:
    """The same numbers in an operation's shape, of any batch."""
    shape = writer.file.constant(f"{operation.name}:shape", np.array([-1, *operation.shape], np.int32))
    result = writer.computed(operation.name, operation.shape, operation.name)
    return writer.file.operator("RESHAPE", [number, shape], result)


def _concatenate(writer: NetworkWriter, operation: Concatenate, read: list[int]) -> int:
    result = writer.computed(operation.name, operation.shape, operation.name)
    if writer.quantisation is not None and writer.quantisation.joining == "quantize":
        read = [_recoded(writer, operation, number, result) for number in read]
    codes = [writer.file.tensors[number].quantisation for number in (*read, result)]
    if writer.file.tensors[result].dtype == np.int8 and any(each != codes[0] for each in codes):
        return _concatenate_unsigned(writer, operation, read, result)
    fields = {"Axis": 1 + operation.axis, "FusedActivationFunction": _activation("linear")}
    return writer.file.operator("CONCATENATION", read, result, "ConcatenationOptions", **fields)


def _recoded(writer: NetworkWriter, operation: Concatenate, number: int, result: int) -> int:
    """A tensor in the encoding of what joins it."""
    tensor, codes = writer.file.tensors[number], writer.file.tensors[result].quantisation
    if tensor.quantisation == codes:
        return number
    other = writer.file.tensor(f"{operation.name}:{tensor.name}", tensor.shape, tensor.dtype, codes)
    return writer.file.operator("QUANTIZE", [number], other, "QuantizeOptions")


def _concatenate_unsigned(writer: NetworkWriter, operation: Concatenate, read: list[int], result: int) -> int:
    """Joins int8 tensors of several encodings as uint8: TFLite recodes only such. What comes out is uint8 too.

    Unless something reads it, which then has it as int8 again.
    """
    unsigned, joined = [], result
    if writer.graph.readers[operation.name]:
        signed = writer.file.tensors[result]
        joined = writer.file.tensor(f"{operation.name}:joined", signed.shape, np.int8, signed.quantisation)
    for number in (*read, joined):
        tensor = writer.file.tensors[number]
        assert tensor.quantisation is not None
        codes = Codes(tensor.quantisation.scales, (tensor.quantisation.zeros[0] + 128,))
        if number == joined:
            tensor.dtype, tensor.quantisation = np.dtype(np.uint8), codes
            continue
        other = writer.file.tensor(f"{tensor.name}:unsigned", tensor.shape, np.uint8, codes)
        unsigned.append(writer.file.operator("QUANTIZE", [number], other, "QuantizeOptions"))
    fields = {"Axis": 1 + operation.axis, "FusedActivationFunction": _activation("linear")}
    writer.file.operator("CONCATENATION", unsigned, joined, "ConcatenationOptions", **fields)
    return joined if joined == result else writer.file.operator("QUANTIZE", [joined], result, "QuantizeOptions")


def _activation(name: str) -> int:
    return int(getattr(tflite.ActivationFunctionType, ACTIVATIONS[name]))


WRITERS: dict[type[Operation], Callable[[NetworkWriter, Any, list[int]], int]] = {
    Convolve: _convolve,
    Add: _add,
    Pool: _pool,
    Linear: _linear,
    Reshape: _reshape,
    Concatenate: _concatenate,
    Resize: _resize,
}
"""Kind of operation → what writes its operators, of the tensors read; it gives the number of the result."""
