"""A checkpoint as an ONNX graph of standard operators: the paper's point is that no special one is needed.

The graph is made from the folded architecture, without torch: Conv, Clip (or Relu), Add, ReduceMean and Gemm, and of a
detector Transpose, Reshape and Concat: its outputs are `offsets` and `logits`, decoding is left to whoever runs it. Of
a segmenter there are Concat, Resize to the size of the file's pictures, and ArgMax: its output is `labels`. Values have
the names of linnet's intermediate tensors, so any of them can be asked for in the other runtime too.

A quantised network keeps its integers: each value is followed by QuantizeLinear and DequantizeLinear (QDQ), weights and
biases stand behind DequantizeLinear, and runtimes compute with integers what lies between. Values of int8 are written
as uint8 with zero points 128 higher, which are the same numbers: onnxruntime on x86 makes uint8 of them anyway, but not
of those that are read twice, and leaves in float what reads these; OpenVINO 2026.4 rounds what joined tensors of int8
stand for to whole numbers.

Weights of int8 are uint8 there too, unless asked otherwise: where x86 has no VNNI, both runtimes multiply uint8 by int8
with an instruction that adds two products in 16 bits, which they overflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

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
from linnet.architecture.operations import Shape, Weighted
from linnet.export.onnx_detector import write_detections
from linnet.export.segmenter import LABELS
from linnet.images import GREY_WEIGHTS, Preprocessing
from linnet.quantisation.scheme import Quantisation
from linnet.weights.onnx_own import CENTRE, HALF

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

OPSET = 17

SHIFTS = {"int8": int(HALF), "uint8": 0}
"""Type of a network's values → what is added to them in the file, where all are uint8."""


class GraphWriter:
    """Nodes and constants of an ONNX graph, in order.

    Args:
        graph: folded operations.
        tensors: their weights.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.graph, self._tensors = graph, tensors
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def again(self) -> GraphWriter:
        """One of the same network that has written nothing."""
        return type(self)(self.graph, self._tensors)

    def model(self, contract: Preprocessing | None = None, detector: Detector | None = None) -> Any:
        """The model: normalised (N, C, H, W) float32 in; with a contract (N, H, W, 3) uint8, normalised inside.

        With a detector boxes come out, of one picture at a time.
        """
        height, width, channels = self.graph.input_shape
        batch: str | int = "N" if detector is None else 1
        entry = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [batch, channels, height, width])
        values = {INPUT: INPUT}
        if contract is not None:
            entry = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, height, width, 3])
            values[INPUT] = self._normalise(contract)
        values[INPUT] = self.enter(values[INPUT])
        for operation in self.graph.operations:
            read = [values[name] for name in operation.reads]
            values[operation.name] = self.write(operation, read)
        shapes: dict[str, list[str | int]]
        if detector is None:
            shapes = {name: ["N", *_channels_first(self.graph.shape_of(name))] for name in self.graph.outputs}
        else:
            shapes = write_detections(self, detector)
        exits = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
        document = helper.make_graph(self._nodes, "linnet", [entry], exits, list(self._constants.values()))
        model = helper.make_model(document, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="linnet")
        # Of opset 17, so that older runtimes open the file.
        model.ir_version = 8
        return model

    def enter(self, value: str) -> str:
        """What the operations read of the picture."""
        return value

    def write(self, operation: Operation, read: list[str]) -> str:
        """Appends an operation; gives the name of its result."""
        return WRITERS[type(operation)](self, operation, read)

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Appends a node; gives the name of its output."""
        return self.nodes(operator, inputs, [output], **attributes)[0]

    def nodes(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> list[str]:
        """Appends a node of several outputs; gives their names."""
        self._nodes.append(helper.make_node(operator, list(inputs), list(outputs), name=outputs[0], **attributes))
        return list(outputs)

    def plain(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Appends a node that computes no numbers of the network, such as sizes."""
        return GraphWriter.node(self, operator, inputs, output, **attributes)

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        """Adds a constant, unless there is one of this name."""
        if name not in self._constants:
            # Not `ascontiguousarray`, which would give a number a dimension.
            self._constants[name] = numpy_helper.from_array(np.array(values, kind, order="C"), name)
        return name

    def activated(
        self, operation: Weighted, operator: str, inputs: list[str], *, before: str, **attributes: Any
    ) -> str:
        """Appends a node and its operation's activation; the last has the operation's name, the node `before` too."""
        if operation.activation == "linear":
            return self.node(operator, inputs, operation.name, **attributes)
        result = self.node(operator, inputs, f"{operation.name}:{before}", **attributes)
        if operation.activation == "relu6":
            return self.node("Clip", [result, self.constant("zero", 0), self.constant("six", 6)], operation.name)
        return self.node("Relu", [result], operation.name)

    def weights(self, operation: Operation) -> list[str]:
        """The tensors of an operation as constants."""
        return [self.constant(*self.stored(operation, name)) for name in operation.tensors]

    def stored(self, operation: Operation, name: str) -> tuple[str, NDArray[Any]]:
        """A tensor as the file has it, and its name there."""
        values = self._tensors[name]
        if not name.endswith(".weight") or operation.only_tap is None or not centre_alone(operation):
            return name, values
        row, column = operation.only_tap
        return f"{name}{CENTRE}", values[..., row : row + 1, column : column + 1]

    def _normalise(self, contract: Preprocessing) -> str:
        """(N, H, W, 3) uint8 → (N, C, H, W) float32, as `linnet.images.normalise` does it."""
        value = self.node("Cast", [INPUT], "pixels:float", to=TensorProto.FLOAT)
        if contract.colours == "grey":
            # Pillow's integers: no sum reaches 2^24, so float32 holds each exactly, in any order.
            weights = self.constant("grey", [[weight] for weight in GREY_WEIGHTS])
            value = self.node("MatMul", [value, weights], "pixels:weighted")
            value = self.node("Add", [value, self.constant("grey:half", 1 << 15)], "pixels:half")
            value = self.node("Div", [value, self.constant("grey:whole", 1 << 16)], "pixels:shifted")
            value = self.node("Floor", [value], "pixels:grey")
        elif contract.colours == "BGR":
            order = self.constant("bgr", [2, 1, 0], np.int64)
            value = self.node("Gather", [value, order], "pixels:bgr", axis=3)
        steps = (("Div", "255", (255.0,)), ("Sub", "mean", contract.mean), ("Div", "std", contract.std))
        for operator, name, numbers in steps:
            constant = self.constant(f"pixels:{name}", numbers)
            value = self.node(operator, [value, constant], f"pixels:{operator.lower()}:{name}")
        return self.node("Transpose", [value], "pixels:normalised", perm=[0, 3, 1, 2])


class QuantisedWriter(GraphWriter):
    """The same of a quantised network, whose values are rounded to their encodings.

    Args:
        graph: folded operations.
        tensors: integer weights with their scales.
        quantisation: encodings of all values.
        signed_weights: weights of int8 stay so.
    """

    def __init__(
        self,
        graph: Graph,
        tensors: Mapping[str, NDArray[Any]],
        quantisation: Quantisation,
        *,
        signed_weights: bool = False,
    ) -> None:
        super().__init__(graph, tensors)
        self._quantisation = quantisation
        self._signed_weights = signed_weights
        self._exact: str | None = None

    def again(self) -> QuantisedWriter:
        """See `GraphWriter`."""
        return QuantisedWriter(self.graph, self._tensors, self._quantisation, signed_weights=self._signed_weights)

    def enter(self, value: str) -> str:
        """The picture, rounded."""
        return self._round(INPUT, value, f"{INPUT}:rounded")

    def write(self, operation: Operation, read: list[str]) -> str:
        """An operation and the rounding of its result, which has its name."""
        if operation.storage == "view":
            return super().write(operation, read)
        self._exact = operation.name
        exact = WRITERS[type(operation)](self, operation, read)
        self._exact = None
        return self._round(operation.name, exact, operation.name)

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """What is not rounded yet has another name than the operation."""
        if operator == "ReduceMean":
            # Runtimes have an integer kernel of this one only.
            if attributes["keepdims"]:
                return super().node("GlobalAveragePool", inputs, f"{output}:exact")
            pooled = super().node("GlobalAveragePool", inputs, f"{output}:pooled")
            return super().node("Flatten", [pooled], f"{output}:exact")
        return super().node(operator, inputs, f"{output}:exact" if output == self._exact else output, **attributes)

    def weights(self, operation: Operation) -> list[str]:
        """Integers behind their scales."""
        label = operation.label
        if operation.name in self._quantisation.floating:
            return super().weights(operation)
        scale = self._tensors[f"{label}.weight.scale"]
        weight = self._integers(operation, f"{label}.weight", scale, self._tensors.get(f"{label}.weight.zero"))
        given = np.float32(self._quantisation.encodings[operation.reads[0]].scale)
        if f"{label}.bias" not in self._tensors:
            return [weight]
        return [weight, self._integers(operation, f"{label}.bias", given * scale, None)]

    def _integers(self, operation: Operation, name: str, scale: NDArray[np.float32], zero: NDArray[Any] | None) -> str:
        stored, values = self.stored(operation, name)
        zeros = np.zeros(len(scale), values.dtype) if zero is None else zero
        if values.dtype == np.int8 and not self._signed_weights:
            values, zeros = values.view(np.uint8) ^ HALF, zeros.view(np.uint8) ^ HALF
        single = len(scale) == 1
        inputs = [
            self.constant(stored, values, values.dtype),
            self.constant(f"{name}:scale", scale[0] if single else scale),
            self.constant(f"{name}:zero", zeros[0] if single else zeros, values.dtype),
        ]
        return super().node("DequantizeLinear", inputs, f"{name}:number", **({} if single else {"axis": 0}))

    def _round(self, name: str, value: str, output: str) -> str:
        encoding = self._quantisation.encodings[name]
        zero = encoding.zero + SHIFTS[self._quantisation.dtype]
        pair = [self.constant(f"{name}:scale", encoding.scale), self.constant(f"{name}:zero", zero, np.uint8)]
        integers = super().node("QuantizeLinear", [value, *pair], f"{name}:integers")
        return super().node("DequantizeLinear", [integers, *pair], output)


def centre_alone(operation: Operation) -> bool:
    """Whether of a depthwise kernel only one tap is ever reached: on a map of one pixel, which the others lie beside.

    It is written as 1 x 1: OpenCV 4.10 and 4.12 compute the padded 3 x 3 wrongly there.
    """
    return operation.depthwise and operation.only_tap is not None


def _channels_first(shape: Shape) -> Shape:
    """(height, width, channels) as ONNX has it; rows and vectors as they are."""
    return (shape[2], *shape[:2]) if len(shape) == 3 else shape


def _convolve(writer: GraphWriter, operation: Convolve, inputs: list[str]) -> str:
    """Convolution, then its activation; the last has the operation's name."""
    top, bottom, left, right = operation.pads
    kernel = operation.kernel
    if centre_alone(operation):
        kernel, top, bottom, left, right = 1, 0, 0, 0, 0
    return writer.activated(
        operation,
        "Conv",
        [*inputs, *writer.weights(operation)],
        before="convolved",
        kernel_shape=[kernel] * 2,
        strides=[operation.stride] * 2,
        dilations=[operation.dilation] * 2,
        pads=[top, left, bottom, right],
        group=operation.groups,
    )


def _reshape(writer: GraphWriter, operation: Reshape, inputs: list[str]) -> str:
    cells = writer.node("Transpose", inputs, f"{operation.name}:cells", perm=[0, 2, 3, 1])
    shape = writer.constant(f"{operation.name}:shape", [0, *operation.shape], np.int64)
    return writer.node("Reshape", [cells, shape], operation.name)


def _pool(writer: GraphWriter, operation: Pool, inputs: list[str]) -> str:
    return writer.node("ReduceMean", inputs, operation.name, axes=[2, 3], keepdims=int(operation.keeps_map))


def _resize(writer: GraphWriter, operation: Resize, inputs: list[str]) -> str:
    # The number of pictures is open, and opset 17 wants it in the size too.
    whole = writer.plain("Shape", inputs, f"{operation.name}:shape")
    ends = [writer.constant(f"resize:{place}", [place], np.int64) for place in (0, 2)]
    first = writer.plain("Slice", [whole, *ends], f"{operation.name}:first")
    size = writer.constant(f"{operation.name}:size", operation.output_size, np.int64)
    full = writer.plain("Concat", [first, size], f"{operation.name}:full", axis=0)
    return writer.node(
        "Resize",
        [*inputs, "", "", full],
        operation.name,
        mode="linear",
        coordinate_transformation_mode=operation.grid,  # ONNX calls them the same
    )


def end_with_labels(model: Any, graph: Graph) -> None:
    """Appends ArgMax to a model whose only output is (N, classes, H, W) logits: `labels`, (N, H, W) int64."""
    (logits,) = graph.outputs
    model.graph.node.append(helper.make_node("ArgMax", [logits], [LABELS], name=LABELS, axis=1, keepdims=0))
    height, width = graph.shape_of(logits)[:2]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(LABELS, TensorProto.INT64, ["N", height, width]))


WRITERS: dict[type[Operation], Callable[[GraphWriter, Any, list[str]], str]] = {
    Convolve: _convolve,
    Add: lambda writer, operation, inputs: writer.node("Add", inputs, operation.name),
    Pool: _pool,
    Linear: lambda writer, operation, inputs: writer.activated(
        operation, "Gemm", [*inputs, *writer.weights(operation)], before="weighted", transB=1
    ),
    Reshape: _reshape,
    Concatenate: lambda writer, operation, inputs: writer.node(
        "Concat", inputs, operation.name, axis=operation.axis_of_batches
    ),
    Resize: _resize,
}
"""Kind of operation → what writes its nodes, of the values read; it gives the name of the result's."""
