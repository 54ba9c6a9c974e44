"""A checkpoint as a TFLite file, without TensorFlow: float32, weights in float16, or a quantised network's integers.

The graph is made from the folded architecture: CONV_2D, DEPTHWISE_CONV_2D, ADD, MEAN or AVERAGE_POOL_2D and
FULLY_CONNECTED, of a detector RESHAPE and CONCATENATION too, of a segmenter CONCATENATION, RESIZE_BILINEAR and at the
end ARG_MAX. TensorFlow's padding is SAME, PyTorch's a PAD (with the
zero point) before a VALID convolution. Logits come out: no softmax is added. Before a file is kept, LiteRT runs it
where it is installed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tflite

from linnet.architecture import (
    INPUT,
    Add,
    Concatenate,
    Convolve,
    Detector,
    Graph,
    Linear,
    Operation,
    Pool,
    Reshape,
    Resize,
)
from linnet.architecture.operations import pad_amounts
from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.engine.integer_reference import IntegerNetwork
from linnet.engine.reference import NumpyNetwork, Runner
from linnet.export.segmenter import LABELS, check_labels, exported, gives_labels
from linnet.export.tflite_detector import boxes_in_order, decoded, write_detections
from linnet.export.tflite_file import Codes, GraphWriter
from linnet.export.tflite_metadata import NAME, describe, metadata, with_labels
from linnet.export.tflite_run import run_tflite
from linnet.export.written import Export, InputKind, Precision, check_choices, differences, documents, noise
from linnet.files import write_atomically
from linnet.images import Preprocessing, normalise
from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding, Quantisation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Largest difference from the reference that is accepted, relative to the largest output. Integers must be equal."""

HEADS_TOLERANCE = 1e-4
"""The same of a detector or a segmenter, whose least outputs are sums that cancel: random weights reach 1.5e-5, trained
ones 1e-6."""

FLOATING_TOLERANCE = 12 / 255
"""The same of a quantised network of which some operations run in float: the order of their sums decides halves."""

DETECTION_TOLERANCE = 1e-4
"""Most by which a box, in sides of the picture or of itself, or a score may differ from an anchor's."""

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

SIGNATURE = "serving_default"


def export_tflite(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    inputs: InputKind | None = None,
    precision: Precision | None = None,
    raw: bool = False,
) -> Export:
    """Runs a network as TFLite beside the numpy reference, and writes it if the two agree.

    One picture at a time, (1, H, W, C); interpreters can resize the batch. Class names, normalisation, licence and
    provenance stand in the file's TFLite metadata; architecture, contract and all else in buffers `linnet.*`.

    Args:
        checkpoint: what to export.
        path: file to write.
        inputs: `normalised` takes and gives float32, pictures as the contract normalises them; `pixels` takes
            uint8 values from 0 to 255 in the contract's colours; `integers` takes and gives the integers of a quantised
            network. If not given, `integers` of a file in eight bits and `normalised` of all others.
        precision: `float32`, `float16` for weights of half the size, or `int8` for the integers of a quantised
            network; as the network is, if not given.
        raw: a detector's file gives offsets and logits of all anchors, of which offsets are centre y, centre x, height
            and width as in TensorFlow; else boxes (1, K, 4) y0, x0, y1, x1, classes (1, K) from 0, scores (1, K) and
            their number (1,), found by TFLite_Detection_PostProcess. A segmenter's gives the logits of every pixel,
            (1, H, W, classes); else `labels`, (1, H, W) int32.

    Raises:
        ValueError: if an option is unknown or does not suit the network, or LiteRT computes something else: then
            nothing is written.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    precision = check_choices(checkpoint, inputs, precision, ("float32", "float16", "int8"))
    if precision != "int8":
        checkpoint = checkpoint.dequantised("the TFLite file")
    inputs = inputs or ("integers" if precision == "int8" else "normalised")
    if inputs == "integers" and precision != "int8":
        raise ValueError(f"`inputs` (='integers') are those of a quantised network; the file is {precision}.")
    if inputs == "pixels" and checkpoint.preprocessing is not None and checkpoint.preprocessing.colours == "BGR":
        raise ValueError("A TFLite file does not swap the colours of pixels: take normalised inputs for a BGR network.")
    detector = checkpoint.architecture if isinstance(checkpoint.architecture, Detector) and not raw else None
    writer = _writer(checkpoint, precision)
    writer.write(inputs, checkpoint.preprocessing, floats=detector is not None)
    heads = writer.file.outputs
    labelled = gives_labels(checkpoint, raw)
    if labelled:
        writer.end_with_labels()
    if detector is not None:
        # Beside its outputs: what is compared are the numbers that boxes are made of.
        write_detections(writer.file, detector, heads)
    buffers = {NAME: metadata(checkpoint, inputs, detections=detector is not None, labels=labelled)}
    buffers |= {name: json.dumps(document).encode() for name, document in documents(checkpoint).items()}

    def content_of(outputs: list[int]) -> bytes:
        writer.file.outputs = outputs
        content = writer.file.content(buffers, description=describe(checkpoint), signature=SIGNATURE)
        return with_labels(content, checkpoint)

    found = writer.file.outputs
    compared = _compare(writer, checkpoint, content_of(heads), inputs) if find_spec("ai_edge_litert") else None
    if compared is not None and not compared[0] <= writer.allowed:
        raise ValueError(
            f"'{path}' was not written: LiteRT's outputs differ from the reference by {compared[0]:.1e} of the largest "
            f"one; at most {writer.allowed:.0e} was expected."
        )
    content = content_of(found)
    if compared is not None and labelled:
        pixels, pictures = noise(checkpoint)
        (labels,) = run_tflite(content, _as_taken(pixels, pictures, checkpoint, inputs))
        check_labels(path, labels, writer.reference(pictures)[0], writer.allowed)
    if compared is not None and detector is not None:
        _check_detections(writer, checkpoint, content, inputs, path)
    write_atomically(path, content)
    operators = tuple(sorted({operator.custom or operator.name for operator in writer.file.operators}))
    return Export(
        path,
        path.stat().st_size,
        operators,
        None if compared is None else compared[0],
        format="tflite",
        precision=precision,
        runtime="ai-edge-litert",
        equal=None if compared is None else compared[1],
    )


def _writer(checkpoint: Checkpoint, precision: Precision) -> NetworkWriter:
    graph, quantisation = exported(checkpoint)
    tensors: dict[str, NDArray[Any]] = dict(checkpoint.tensors)
    if quantisation is None:
        graph, tensors = fold(graph, checkpoint.tensors)
    if isinstance(checkpoint.architecture, Detector):
        tensors |= boxes_in_order(checkpoint.architecture, tensors)
    if quantisation is not None:
        return IntegerWriter(graph, tensors, quantisation)
    return NetworkWriter(graph, tensors) if precision == "float32" else HalfWriter(graph, tensors)


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
        dense = len(graph.outputs) > 1 or len(graph.shape_of(graph.outputs[0])) == 3
        self.allowed = HEADS_TOLERANCE if dense else TOLERANCE
        if any(isinstance(each, Resize) and each.grid == "half_pixel" for each in graph.operations):
            self.file.versions = {"RESIZE_BILINEAR": 3}

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
            self.file.versions = dict(VERSIONS) | self.file.versions
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


def _compare(writer: NetworkWriter, checkpoint: Checkpoint, content: bytes, inputs: InputKind) -> tuple[float, bool]:
    """Largest difference of the file from the reference over noisy pictures, relative; and whether all is equal."""
    pixels, pictures = noise(checkpoint)
    given = _as_taken(pixels, pictures, checkpoint, inputs)
    return differences(run_tflite(content, given), writer.reference(pictures))


def _as_taken(
    pixels: NDArray[np.uint8], pictures: NDArray[np.float32], checkpoint: Checkpoint, inputs: InputKind
) -> NDArray[Any]:
    """Pictures as the file takes them, but for integers."""
    if inputs != "pixels":
        return pictures
    return pixels if checkpoint.architecture.input_channels == 3 else _grey(pixels, checkpoint)


def _check_detections(
    writer: NetworkWriter, checkpoint: Checkpoint, content: bytes, inputs: InputKind, path: Path
) -> None:
    """Raises a ValueError unless all that the file finds are boxes of anchors, with these anchors' scores."""
    detector = checkpoint.architecture
    assert isinstance(detector, Detector)
    pixels, pictures = noise(checkpoint)
    given = _as_taken(pixels, pictures, checkpoint, inputs)
    boxes, classes, scores, counts = run_tflite(content, given)
    offsets, logits = writer.reference(pictures)
    for row in range(len(pictures)):
        count = int(counts[row])
        places, expected = decoded(detector, offsets[row], logits[row])
        own = expected[:, classes[row, :count].astype(np.int64)].T  # (K, A)
        apart = np.abs(places[None] - boxes[row, :count, None]).max(axis=2)  # (K, A)
        # Boxes may reach far beyond the picture.
        apart /= np.maximum(1, np.abs(boxes[row, :count]).max(axis=1, initial=0))[:, None]
        nearest = np.maximum(apart, np.abs(own - scores[row, :count, None])).min(axis=1)
        if not nearest.max(initial=0) <= DETECTION_TOLERANCE:
            raise ValueError(
                f"'{path}' was not written: LiteRT finds boxes or scores that are {nearest.max():.1e} from those of "
                f"any anchor; at most {DETECTION_TOLERANCE:.0e} was expected."
            )


def _grey(pixels: NDArray[np.uint8], checkpoint: Checkpoint) -> NDArray[np.uint8]:
    """The pixels of grey pictures, (N, H, W, 1): what is left of colours before they are normalised."""
    assert checkpoint.preprocessing is not None
    plain = replace(checkpoint.preprocessing, mean=(0.0,), std=(1 / 255,))
    return np.rint(normalise(pixels, plain)).astype(np.uint8)
