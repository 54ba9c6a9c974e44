"""A checkpoint as an ONNX graph of standard operators: the paper's point is that no special one is needed.

The graph is made from the folded architecture, without torch: Conv, Clip (or Relu), Add, ReduceMean and Gemm, and of a
detector Transpose, Reshape and Concat: its outputs are `offsets` and `logits`, decoding is left to whoever runs it. Of
a segmenter there are Concat, Resize to the size of the file's pictures, and ArgMax: its output is `labels`. Values have
the names of linnet's intermediate tensors, so any of them can be asked for in the other runtime too.

A quantised network keeps its integers: each value is followed by QuantizeLinear and DequantizeLinear (QDQ), weights and
biases stand behind DequantizeLinear, and runtimes compute with integers what lies between.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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
from linnet.architecture.operations import Shape
from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.engine.integer_reference import numpy_network
from linnet.export.segmenter import LABELS, check_labels, exported, gives_labels
from linnet.export.written import Export, InputKind, Precision, check_choices, differences, documents, noise
from linnet.files import write_atomically
from linnet.images import GREY_WEIGHTS, Preprocessing
from linnet.quantisation.scheme import Quantisation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference from the numpy reference that is accepted, relative to the largest output."""

INTEGER_TOLERANCE = 12
"""The same of a quantised network, in steps of its output. Runtimes round integers in ways of their own: LiteRT's own
kernels differ among themselves by up to 8 steps after the 50 layers of a MobileNetV2."""

MAP_TOLERANCE = 36
"""The same of a map, in which the largest difference is that of many thousand numbers."""

KINDS = {"int8": np.int8, "uint8": np.uint8}


def export_onnx(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    inputs: InputKind | None = None,
    precision: Precision | None = None,
    raw: bool = False,
) -> Export:
    """Runs a network as ONNX (opset 17) beside the numpy reference, and writes it if the two agree.

    The batch size is open, height and width are those of the checkpoint: TensorFlow's padding depends on them. The
    preprocessing contract and the class names stand in the file's metadata under `linnet.*`.

    Args:
        checkpoint: what to export.
        path: file to write.
        inputs: `normalised` takes (N, C, H, W) float32 as the contract normalises it; `pixels` takes (N, H, W, 3)
            uint8 RGB and normalises inside. `normalised` if not given.
        precision: `float32`, or `int8` for the integers of a quantised network; as the network is, if not given.
        raw: a segmenter gives the logits of every pixel instead of labels; a detector gives offsets and logits anyway.

    Raises:
        ValueError: if `inputs` is unknown, the network has no integers that are asked for or takes no pictures, or ONNX
            computes something else: then nothing is written.
        OSError: if the file cannot be written.
    """
    precision = check_choices(checkpoint, inputs, precision, ("float32", "int8"), ("normalised", "pixels"))
    if precision == "float32":
        checkpoint = checkpoint.dequantised("the ONNX file")
    graph, quantisation = exported(checkpoint)
    if quantisation is None:
        writer = GraphWriter(*fold(graph, checkpoint.tensors))
    else:
        writer = QuantisedWriter(graph, checkpoint.tensors, quantisation)
    model = writer.model(checkpoint.preprocessing if inputs == "pixels" else None)
    path = Path(path)
    compared = None
    if find_spec("onnxruntime"):
        labelled = gives_labels(checkpoint, raw)
        compared = _compare(writer, checkpoint, model, inputs or "normalised", path if labelled else None)
    if gives_labels(checkpoint, raw):
        end_with_labels(model, graph)
    helper.set_model_props(model, {name: json.dumps(document) for name, document in documents(checkpoint).items()})
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    difference = None if compared is None else compared[0]
    allowed = _allowed(graph, quantisation)
    if difference is not None and not difference <= allowed:
        raise ValueError(
            f"'{path}' was not written: onnxruntime's outputs differ from the reference by {difference:.1e} of the "
            f"largest one; at most {allowed:.0e} was expected."
        )
    write_atomically(path, content)
    operators = tuple(sorted({node.op_type for node in model.graph.node}))
    return Export(
        path,
        path.stat().st_size,
        operators,
        difference,
        format="onnx",
        precision=precision,
        runtime="onnxruntime",
        equal=None if compared is None else compared[1],
    )


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

    def model(self, contract: Preprocessing | None = None) -> Any:
        """The model: normalised (N, C, H, W) float32 in; with a contract (N, H, W, 3) uint8, normalised inside."""
        height, width, channels = self.graph.input_shape
        shape: list[str | int] = ["N", channels, height, width]
        entry = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)
        values = {INPUT: INPUT}
        if contract is not None:
            entry = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", height, width, 3])
            values[INPUT] = self._normalise(contract)
        values[INPUT] = self.enter(values[INPUT])
        for operation in self.graph.operations:
            read = [values[name] for name in operation.reads]
            values[operation.name] = self.write(operation, read)
        exits = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *_channels_first(self.graph.shape_of(name))])
            for name in self.graph.outputs
        ]
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
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def plain(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Appends a node that computes no numbers of the network, such as sizes."""
        return GraphWriter.node(self, operator, inputs, output, **attributes)

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        """Adds a constant, unless there is one of this name."""
        if name not in self._constants:
            array = np.ascontiguousarray(np.array(values, kind))
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def activated(self, operation: Convolve | Linear, operator: str, inputs: list[str], **attributes: Any) -> str:
        """Appends a node and its operation's activation; the last has the operation's name."""
        if operation.activation == "linear":
            return self.node(operator, inputs, operation.name, **attributes)
        suffix = "convolved" if isinstance(operation, Convolve) else "weighted"
        result = self.node(operator, inputs, f"{operation.name}:{suffix}", **attributes)
        if operation.activation == "relu6":
            return self.node("Clip", [result, self.constant("zero", 0), self.constant("six", 6)], operation.name)
        return self.node("Relu", [result], operation.name)

    def weights(self, operation: Operation) -> list[str]:
        """The tensors of an operation as constants."""
        return [self.constant(name, self._tensors[name]) for name in operation.tensors]

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
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, NDArray[Any]], quantisation: Quantisation) -> None:
        super().__init__(graph, tensors)
        self._quantisation = quantisation
        self._exact: str | None = None

    def enter(self, value: str) -> str:
        """The picture, rounded."""
        return self._round(INPUT, value, f"{INPUT}:rounded")

    def write(self, operation: Operation, read: list[str]) -> str:
        """An operation and the rounding of its result, which has its name."""
        if isinstance(operation, Reshape):
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
        weight = self._integers(f"{label}.weight", scale, self._tensors.get(f"{label}.weight.zero"))
        given = np.float32(self._quantisation.encodings[operation.reads[0]].scale)
        if f"{label}.bias" not in self._tensors:
            return [weight]
        return [weight, self._integers(f"{label}.bias", given * scale, None)]

    def _integers(self, name: str, scale: NDArray[np.float32], zero: NDArray[Any] | None) -> str:
        values = self._tensors[name]
        zeros = np.zeros(len(scale), values.dtype) if zero is None else zero
        single = len(scale) == 1
        inputs = [
            self.constant(name, values, values.dtype),
            self.constant(f"{name}:scale", scale[0] if single else scale),
            self.constant(f"{name}:zero", zeros[0] if single else zeros, values.dtype),
        ]
        return super().node("DequantizeLinear", inputs, f"{name}:number", **({} if single else {"axis": 0}))

    def _round(self, name: str, value: str, output: str) -> str:
        encoding, kind = self._quantisation.encodings[name], KINDS[self._quantisation.dtype]
        pair = [self.constant(f"{name}:scale", encoding.scale), self.constant(f"{name}:zero", encoding.zero, kind)]
        integers = super().node("QuantizeLinear", [value, *pair], f"{name}:integers")
        return super().node("DequantizeLinear", [integers, *pair], output)


def _channels_first(shape: Shape) -> Shape:
    """(height, width, channels) as ONNX has it; rows and vectors as they are."""
    return (shape[2], *shape[:2]) if len(shape) == 3 else shape


def _convolve(writer: GraphWriter, operation: Convolve, inputs: list[str]) -> str:
    """Convolution, then its activation; the last has the operation's name."""
    top, bottom, left, right = operation.pads
    return writer.activated(
        operation,
        "Conv",
        [*inputs, *writer.weights(operation)],
        kernel_shape=[operation.kernel] * 2,
        strides=[operation.stride] * 2,
        dilations=[operation.dilation] * 2,
        pads=[top, left, bottom, right],
        group=operation.in_channels if operation.depthwise else 1,
    )


def _reshape(writer: GraphWriter, operation: Reshape, inputs: list[str]) -> str:
    cells = writer.node("Transpose", inputs, f"{operation.name}:cells", perm=[0, 2, 3, 1])
    shape = writer.constant(f"{operation.name}:shape", [0, *operation.shape], np.int64)
    return writer.node("Reshape", [cells, shape], operation.name)


def _concatenate(writer: GraphWriter, operation: Concatenate, inputs: list[str]) -> str:
    # Axes of (height, width, channels) as ONNX has them; rows and vectors stay in their order.
    axes = (2, 3, 1) if len(operation.shape) == 3 else (1, 2)
    return writer.node("Concat", inputs, operation.name, axis=axes[operation.axis])


def _pool(writer: GraphWriter, operation: Pool, inputs: list[str]) -> str:
    return writer.node("ReduceMean", inputs, operation.name, axes=[2, 3], keepdims=int(operation.keeps_map))


GRIDS = {"align_corners": "align_corners", "half_pixel": "half_pixel", "asymmetric": "asymmetric"}
"""What ONNX calls them."""


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
        coordinate_transformation_mode=GRIDS[operation.grid],
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
        operation, "Gemm", [*inputs, *writer.weights(operation)], transB=1
    ),
    Reshape: _reshape,
    Concatenate: _concatenate,
    Resize: _resize,
}
"""Kind of operation → what writes its nodes, of the values read; it gives the name of the result's."""


def _allowed(graph: Graph, quantisation: Quantisation | None) -> float:
    """The largest difference from the reference that is accepted, relative to the largest output."""
    if quantisation is None:
        return TOLERANCE
    return (MAP_TOLERANCE if len(graph.shape_of(graph.outputs[0])) == 3 else INTEGER_TOLERANCE) / 255


def _compare(
    writer: GraphWriter, checkpoint: Checkpoint, model: Any, inputs: InputKind, labelled: Path | None
) -> tuple[float, bool]:
    """Largest difference of a model from the numpy reference over noisy pictures, relative; whether all is equal.

    Of a segmenter that will end with labels, these are checked too: `labelled` is the file that it will be.
    """
    pixels, pictures = noise(checkpoint)
    tensors, quantisation = dict(checkpoint.tensors), exported(checkpoint)[1]
    graph = writer.graph if quantisation is not None else exported(checkpoint)[0]
    outputs, _ = numpy_network(graph, tensors, quantisation).run(pictures)
    given = pixels if inputs == "pixels" else pictures.transpose(0, 3, 1, 2)
    feeds = {"input": np.ascontiguousarray(given)}
    found = run_onnx(model.SerializeToString(), feeds)
    # Maps have their channels first there.
    found = [each.transpose(0, 2, 3, 1) if each.ndim == 4 else each for each in found]
    if labelled is not None:
        whole = type(model)()
        whole.CopyFrom(model)
        end_with_labels(whole, graph)
        (labels,) = run_onnx(whole.SerializeToString(), feeds)
        check_labels(labelled, labels, outputs, _allowed(graph, quantisation))
    return differences(found, outputs if isinstance(outputs, tuple) else (outputs,))


def run_onnx(model: Path | bytes, inputs: Mapping[str, NDArray[Any]], *, threads: int = 0) -> list[NDArray[np.float32]]:
    """The outputs of an ONNX file, or of its bytes, in onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(output) for output in session.run(None, dict(inputs))]
