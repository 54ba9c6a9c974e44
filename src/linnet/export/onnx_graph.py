"""A checkpoint as an ONNX graph of standard operators: the paper's point is that no special one is needed.

The graph is made from the folded architecture, without torch: Conv, Clip (or Relu), Add, ReduceMean and Gemm, and of a
detector Transpose, Reshape and Concat: its outputs are `offsets` and `logits`, decoding is left to whoever runs it.
Values have the names of linnet's intermediate tensors, so any of them can be asked for in the other runtime too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from linnet.architecture import (
    Classifier,
    Convolution,
    Detector,
    InvertedResidual,
    Layer,
    LevelHead,
    Pooling,
    convolutions_of,
    options_of,
)
from linnet.checkpoint import Checkpoint, write_atomically
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.images import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference from the numpy reference that is accepted, relative to the largest output."""

InputKind = Literal["normalised", "pixels"]


@dataclass(frozen=True)
class Export:
    """What was written. `difference` is relative to the largest output; None where onnxruntime is not installed."""

    path: Path
    size_bytes: int
    operators: tuple[str, ...]
    difference: float | None


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
    model = _Builder(checkpoint, inputs).model()
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


class _Builder:
    """Nodes and constants, in order; `current` is the value that the next node reads."""

    def __init__(self, checkpoint: Checkpoint, inputs: InputKind) -> None:
        self._checkpoint = checkpoint
        self._architecture, self._tensors = fold(checkpoint.architecture, checkpoint.tensors)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._current = "input"
        self._expansion = ""
        # A block that adds no input has no value of its own name: the last convolution's is its.
        self._values: dict[str, str] = {}
        self._inputs = inputs

    def model(self) -> Any:
        height, width = self._architecture.input_size
        if self._inputs == "pixels":
            entry = helper.make_tensor_value_info("input", TensorProto.UINT8, ["N", height, width, 3])
            self._normalise()
        else:
            shape: list[str | int] = ["N", self._architecture.input_channels, height, width]
            entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        for layer in self._architecture.layers:
            self._run_layer(layer)
        exits = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self._exits()]
        graph = helper.make_graph(self._nodes, "linnet", [entry], exits, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="linnet")
        # Of opset 17, so that older runtimes open the file.
        model.ir_version = 8
        helper.set_model_props(model, self._metadata())
        return model

    def _run_layer(self, layer: Layer) -> None:
        entered = self._current
        if isinstance(layer, Pooling):
            self._node("ReduceMean", [self._current], layer.name, axes=[2, 3], keepdims=0)
        elif isinstance(layer, Classifier):
            names = [self._constant(name, self._tensors[name]) for name in layer.tensors]
            self._node("Gemm", [self._current, *names], layer.name, transB=1)
        elif isinstance(layer, LevelHead):
            self._current = self._values[layer.source]
        for convolution in convolutions_of(layer):
            added = ""
            if isinstance(layer, InvertedResidual) and convolution is layer.expand:
                added = self._expansion if layer.adds_expansion else ""
                self._expansion = convolution.name
            self._convolve(convolution, added)
            self._values[convolution.name] = convolution.name
        if isinstance(layer, InvertedResidual) and layer.adds_input:
            self._node("Add", [entered, self._current], layer.name)
        self._values[layer.name] = self._current
        if isinstance(layer, LevelHead):
            height, width = layer.convolutions[-1].output_size
            anchors = height * width * layer.convolutions[-1].out_channels // layer.slots
            self._node("Transpose", [self._current], f"{layer.name}:cells", perm=[0, 2, 3, 1])
            shape = self._constant(f"{layer.name}:shape", np.array([0, anchors, layer.slots], np.int64))
            self._node("Reshape", [self._current, shape], f"{layer.name}:anchors")

    def _exits(self) -> list[tuple[str, list[str | int]]]:
        """Names and shapes of the outputs; a detector's two are put together here."""
        architecture = self._architecture
        if not isinstance(architecture, Detector):
            return [(self._current, ["N", architecture.classes or architecture.feature_channels])]
        exits: list[tuple[str, list[str | int]]] = []
        for name, kind in (("offsets", "boxes"), ("logits", "classes")):
            heads = [head for head in architecture.layers if isinstance(head, LevelHead) and head.name.endswith(kind)]
            self._node("Concat", [f"{head.name}:anchors" for head in heads], name, axis=1)
            exits.append((name, ["N", architecture.anchors, heads[0].slots]))
        return exits

    def _metadata(self) -> dict[str, str]:
        documents = {
            "linnet.architecture": options_of(self._architecture),
            "linnet.preprocessing": contract.to_json() if (contract := self._checkpoint.preprocessing) else None,
            "linnet.classes": self._checkpoint.classes,
            "linnet.provenance": dict(self._checkpoint.provenance),
        }
        return {name: json.dumps(document) for name, document in documents.items()}

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self._current = output

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _convolve(self, layer: Convolution, added: str) -> None:
        """Convolution, activation and, of an expansion, the shortcut's sum; the last has the layer's name."""
        names = [self._constant(name, self._tensors[name]) for name in layer.tensors]
        stages = ["convolved"] + ["activated"] * (layer.activation != "linear") + ["summed"] * bool(added)
        outputs = [f"{layer.name}:{stage}" for stage in stages[:-1]] + [layer.name]
        top, bottom, left, right = layer.pads
        self._node(
            "Conv",
            [self._current, *names],
            outputs.pop(0),
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            dilations=[layer.dilation] * 2,
            pads=[top, left, bottom, right],
            group=layer.in_channels if layer.depthwise else 1,
        )
        if layer.activation == "relu6":
            if not any(constant.name == "six" for constant in self._constants):
                self._constant("zero", np.array(0, np.float32))
                self._constant("six", np.array(6, np.float32))
            self._node("Clip", [self._current, "zero", "six"], outputs.pop(0))
        elif layer.activation == "relu":
            self._node("Relu", [self._current], outputs.pop(0))
        if added:
            self._node("Add", [self._current, added], outputs.pop(0))

    def _normalise(self) -> None:
        """(N, H, W, 3) uint8 → (N, C, H, W) float32, as `linnet.images.normalise` does it."""
        contract = self._checkpoint.preprocessing
        assert contract is not None
        self._node("Cast", [self._current], "pixels:float", to=TensorProto.FLOAT)
        if contract.colours == "grey":
            weights = np.array([[0.299], [0.587], [0.114]], np.float32)
            self._node("MatMul", [self._current, self._constant("grey", weights)], "pixels:grey")
            self._node("Round", [self._current], "pixels:rounded")
        elif contract.colours == "BGR":
            order = self._constant("bgr", np.array([2, 1, 0], np.int64))
            self._node("Gather", [self._current, order], "pixels:bgr", axis=3)
        constants = {"255": 255.0, "mean": contract.mean, "std": contract.std}
        for (name, value), operator in zip(constants.items(), ("Div", "Sub", "Div"), strict=True):
            constant = self._constant(f"pixels:{name}", np.array(value, np.float32))
            self._node(operator, [self._current, constant], f"pixels:{operator.lower()}:{name}")
        self._node("Transpose", [self._current], "pixels:normalised", perm=[0, 3, 1, 2])


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
