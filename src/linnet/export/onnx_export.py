"""A checkpoint as an ONNX file: the graph, what it says of itself, and the comparison before it is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from linnet.architecture import INPUT, Graph
from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.engine.integer_reference import numpy_network
from linnet.export.contract import Contract, contract_of
from linnet.export.detections import check_detections
from linnet.export.onnx_graph import GraphWriter, QuantisedWriter, end_with_labels
from linnet.export.onnx_run import as_taken, run_onnx
from linnet.export.segmenter import SHARES_ALLOWED, check_labels, exported
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, InputKind, Precision, check_difference, differences
from linnet.files import write_atomically
from linnet.quantisation.scheme import Quantisation
from linnet.weights.onnx_session import session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from linnet.export.contract import Ends
    from linnet.images import Preprocessing

TOLERANCE = 1e-4
"""Largest difference from the numpy reference that is accepted, relative to the largest output."""

INTEGER_TOLERANCE = 12
"""The same of a quantised network, in steps of its output. Runtimes round integers in ways of their own: LiteRT's own
kernels differ among themselves by up to 8 steps after the 50 layers of a MobileNetV2."""

MAP_TOLERANCE = 36
"""The same of a map, in which the largest difference is that of many thousand numbers."""

DETECTIONS_ALLOWED = 1e-3
"""Of boxes and scores on another processor."""


def export_onnx(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    precision: Precision,
    inputs: InputKind = "normalised",
    raw: bool = False,
    nms: bool = False,
    signed_weights: bool = False,
) -> Export:
    """Runs a network as ONNX (opset 17) beside the numpy reference, and writes it if the two agree.

    The batch size is open, height and width are those of the checkpoint: TensorFlow's padding depends on them. The
    preprocessing contract and the class names stand in the file's metadata under `linnet.*`.

    Args:
        checkpoint: what to export.
        path: file to write.
        precision: `float32`, or `int8` for the integers of a quantised network.
        inputs: `normalised` takes (N, C, H, W) float32 as the contract normalises it; `pixels` takes (N, H, W, 3)
            uint8 RGB and normalises inside.
        raw: a segmenter gives the logits of every pixel instead of labels, (N, H, W); a detector gives offsets and
            logits anyway.
        nms: a detector gives boxes, classes, scores and their number instead, of one picture at a time.
        signed_weights: weights of a quantised network of int8 are int8, not uint8: faster where the processor has VNNI
            or ARM's dot products, wrong in onnxruntime and OpenVINO on other x86 processors, which overflow.

    Raises:
        ValueError: if an option does not suit the network, or ONNX computes something else: then nothing is written.
        OSError: if the file cannot be written.
    """
    graph, quantisation = exported(checkpoint)
    if signed_weights and (quantisation is None or quantisation.dtype != "int8"):
        raise ValueError("`signed_weights` is for the integers of a network quantised to int8; this one has none.")
    if quantisation is None:
        writer = GraphWriter(*fold(graph, checkpoint.tensors))
    else:
        writer = QuantisedWriter(graph, checkpoint.tensors, quantisation, signed_weights=signed_weights)
    finish = _asked(checkpoint, raw=raw) if nms else None if raw else FINISHES.get(checkpoint.task)
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    expected = _reference(checkpoint, pictures)
    allowed, pixels = _allowed(graph, quantisation), checkpoint.preprocessing if inputs == "pixels" else None
    contract = contract_of(checkpoint, inputs, precision).with_vectors(Vectors.of_samples(pictures, expected, allowed))
    path, model, compared, given = Path(path), writer.model(pixels), None, as_taken(pictures, contract)
    if find_spec("onnxruntime"):
        compared = differences(
            [_channels_last(each) for each in run_onnx(_content(model, contract), {INPUT: given})], expected
        )
    check_difference(path, "onnxruntime", compared, allowed)
    if finish is not None:
        contract = replace(contract, ends=finish.ends, vectors=None)
        made = _Made(path, writer, model, contract, pictures, given, expected[0], allowed)
        model = made.model = finish.end(made, pixels)
        if compared is not None:
            contract = contract.with_vectors(finish.vectors(made))
    content = _content(model, contract)
    write_atomically(path, content)
    operators = tuple(sorted({node.op_type for node in model.graph.node}))
    return Export(
        path,
        path.stat().st_size,
        operators,
        None if compared is None else compared[0],
        precision=precision,
        equal=None if compared is None else compared[1],
    )


def _allowed(graph: Graph, quantisation: Quantisation | None) -> float:
    """The largest difference from the reference that is accepted, relative to the largest output."""
    if quantisation is None:
        return TOLERANCE
    return (MAP_TOLERANCE if len(graph.shape_of(graph.outputs[0])) == 3 else INTEGER_TOLERANCE) / 255


def _channels_last(output: NDArray[Any]) -> NDArray[Any]:
    """A map as linnet has it, (N, H, W, C); all else as it is."""
    return output.transpose(0, 2, 3, 1) if output.ndim == 4 else output


@dataclass
class _Made:
    """A file that is not kept yet: its graph, what it says, sample pictures and what the network gives for them."""

    path: Path
    writer: GraphWriter
    model: Any
    contract: Contract
    pictures: NDArray[Any]
    given: NDArray[Any]
    expected: NDArray[np.float32]
    allowed: float


@dataclass(frozen=True)
class _Finish:
    """What a file goes on to behind a network's own outputs: what writes it, and what checks it with onnxruntime."""

    ends: Ends
    end: Callable[[_Made, Preprocessing | None], Any]
    vectors: Callable[[_Made], Vectors]


def _end_with_labels(made: _Made, pixels: Preprocessing | None) -> Any:
    end_with_labels(made.model, made.writer.graph)
    return made.model


def _of_labels(made: _Made) -> Vectors:
    (labels,) = run_onnx(_content(made.model, made.contract), {INPUT: made.given})
    check_labels(made.path, labels, made.expected, made.allowed)
    return Vectors.of_samples(made.pictures, made.contract.canonical([labels]), SHARES_ALLOWED)


def _end_with_boxes(made: _Made, pixels: Preprocessing | None) -> Any:
    detector: Any = made.contract.architecture
    return made.writer.again().model(pixels, detector)


def _of_detections(made: _Made) -> Vectors:
    detector: Any = made.contract.architecture
    heads, detections = _both(made.model, made.contract, made.given)
    check_detections(detector, heads, detections, made.path, "onnxruntime")
    return Vectors.of_samples(made.pictures, made.contract.canonical(detections), DETECTIONS_ALLOWED)


FINISHES = {"segmentation": _Finish("labels", _end_with_labels, _of_labels)}
"""Task → what its files go on to unless raw outputs are asked for."""

ASKED = {"detection": _Finish("detections", _end_with_boxes, _of_detections)}
"""Task → what its files go on to with `nms`."""


def _asked(checkpoint: Checkpoint, *, raw: bool) -> _Finish:
    """What `nms` asks for."""
    if checkpoint.task not in ASKED:
        raise ValueError("`nms` is for detectors: this network gives no boxes.")
    if raw:
        raise ValueError("`raw` and `nms` exclude each other: offsets and logits, or boxes.")
    return ASKED[checkpoint.task]


def _content(model: Any, contract: Contract) -> bytes:
    """The bytes of a model with what it says of itself."""
    del model.metadata_props[:]
    helper.set_model_props(model, contract.documents())
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _both(model: Any, contract: Contract, given: NDArray[Any]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Offsets and logits of pictures, and the boxes that are found in these same numbers."""
    opened = onnx.ModelProto.FromString(_content(model, contract))
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("offsets", "logits"))
    session = session_of(opened.SerializeToString())
    rows = [session.run(None, {INPUT: given[number : number + 1]}) for number in range(len(given))]
    outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return outputs[-2:], outputs[:-2]


def _reference(checkpoint: Checkpoint, pictures: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
    """What the numpy reference gives for pictures, or for what a network takes that takes none."""
    graph, quantisation = exported(checkpoint)
    network = numpy_network(graph, checkpoint.tensors, quantisation)
    outputs, _ = network.run(as_fed(pictures, checkpoint.preprocessing))
    return outputs if isinstance(outputs, tuple) else (outputs,)
