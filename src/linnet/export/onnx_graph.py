"""A checkpoint as an ONNX graph of standard operators: the paper's point is that no special one is needed.

The graph is made from the folded architecture, without torch: Conv, Clip (or Relu), Add, ReduceMean and Gemm, and of a
detector Transpose, Reshape and Concat: its outputs are `offsets` and `logits`, decoding is left to whoever runs it.
Values have the names of linnet's intermediate tensors, so any of them can be asked for in the other runtime too.
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
    options_of,
)
from linnet.architecture.operations import Shape
from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.export.written import Export, InputKind
from linnet.files import write_atomically
from linnet.images import GREY_WEIGHTS, Preprocessing, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference from the numpy reference that is accepted, relative to the largest output."""


def export_onnx(checkpoint: Checkpoint, path: str | Path, *, inputs: InputKind = "normalised") -> Export:
    """Runs a network as ONNX (opset 17) beside the numpy reference, and writes it if the two agree.

    The batch size is open, height and width are those of the checkpoint: TensorFlow's padding depends on them. The
    preprocessing contract and the class names stand in the file's metadata under `linnet.*`.

    Args:
        checkpoint: what to export.
        path: file to write.
        inputs: `normalised` takes (N, C, H, W) float32 as the contract normalises it; `pixels` takes (N, H, W, 3)
            uint8 RGB and normalises inside.

    Raises:
        ValueError: if `inputs` is unknown, the network takes no pictures, or ONNX computes something else: then nothing
            is written.
        OSError: if the file cannot be written.
    """
    if inputs not in ("normalised", "pixels"):
        raise ValueError(f"`inputs` (={inputs!r}) must be 'normalised' or 'pixels'.")
    if checkpoint.preprocessing is None and inputs == "pixels":
        raise ValueError(f"A network of {checkpoint.architecture.input_channels} channels takes no pictures.")
    checkpoint = checkpoint.dequantised("the ONNX file")
    model = GraphWriter(*fold(checkpoint.architecture, checkpoint.tensors)).model(
        checkpoint.preprocessing if inputs == "pixels" else None
    )
    helper.set_model_props(model, _metadata(checkpoint))
    onnx.checker.check_model(model, full_check=True)
    path, content = Path(path), model.SerializeToString()
    difference = _difference(checkpoint, content, inputs) if find_spec("onnxruntime") else None
    if difference is not None and not difference <= TOLERANCE:
        raise ValueError(
            f"'{path}' was not written: onnxruntime's outputs differ from the reference by {difference:.1e} of the "
            f"largest one; at most {TOLERANCE:.0e} was expected."
        )
    write_atomically(path, content)
    operators = tuple(sorted({node.op_type for node in model.graph.node}))
    return Export(path, path.stat().st_size, operators, difference)


class GraphWriter:
    """Nodes and constants of an ONNX graph, in order.

    Args:
        graph: folded operations.
        tensors: their weights.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, NDArray[np.float32]]) -> None:
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
        for operation in self.graph.operations:
            read = [values[name] for name in operation.reads]
            values[operation.name] = WRITERS[type(operation)](self, operation, read)
        exits = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *_channels_first(self.graph.shape_of(name))])
            for name in self.graph.outputs
        ]
        document = helper.make_graph(self._nodes, "linnet", [entry], exits, list(self._constants.values()))
        model = helper.make_model(document, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="linnet")
        # Of opset 17, so that older runtimes open the file.
        model.ir_version = 8
        return model

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Appends a node; gives the name of its output."""
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

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


WRITERS: dict[type[Operation], Callable[[GraphWriter, Any, list[str]], str]] = {
    Convolve: _convolve,
    Add: lambda writer, operation, inputs: writer.node("Add", inputs, operation.name),
    Pool: lambda writer, operation, inputs: writer.node("ReduceMean", inputs, operation.name, axes=[2, 3], keepdims=0),
    Linear: lambda writer, operation, inputs: writer.activated(
        operation, "Gemm", [*inputs, *writer.weights(operation)], transB=1
    ),
    Reshape: _reshape,
    Concatenate: _concatenate,
}
"""Kind of operation → what writes its nodes, of the values read; it gives the name of the result's."""


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    documents = {
        "linnet.architecture": options_of(checkpoint.architecture.with_options(folded=True)),
        "linnet.preprocessing": contract.to_json() if (contract := checkpoint.preprocessing) else None,
        "linnet.classes": checkpoint.classes,
        "linnet.provenance": dict(checkpoint.provenance),
    }
    return {name: json.dumps(document) for name, document in documents.items()}


def _difference(checkpoint: Checkpoint, content: bytes, inputs: InputKind) -> float:
    """Largest difference of the file from the numpy reference over two noisy pictures, relative."""
    generator = np.random.default_rng(0)
    size, contract = checkpoint.architecture.input_size, checkpoint.preprocessing
    pixels = generator.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    if contract is None:
        images = generator.normal(size=(2, *size, checkpoint.architecture.input_channels)).astype(np.float32)
    else:
        images = normalise(pixels, contract)
    outputs, _ = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(images)
    given = pixels if inputs == "pixels" else images.transpose(0, 3, 1, 2)
    found = run_onnx(content, {"input": np.ascontiguousarray(given)})
    both = zip(found, outputs if isinstance(outputs, tuple) else (outputs,), strict=True)
    return max(float(np.abs(one - other).max() / max(float(np.abs(other).max()), 1e-12)) for one, other in both)


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
