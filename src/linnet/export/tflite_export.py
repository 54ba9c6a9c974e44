"""A checkpoint as a TFLite file: the graph, what it says of itself, and the comparison before it is kept."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.export.contract import FINISHED, contract_of
from linnet.export.detections import DETECTION_TOLERANCE, check_detections
from linnet.export.segmenter import SHARES_ALLOWED, check_labels, exported
from linnet.export.tflite_detector import boxes_in_order, write_detections
from linnet.export.tflite_graph import FLOATING_TOLERANCE, HalfWriter, IntegerWriter, NetworkWriter
from linnet.export.tflite_metadata import NAME, describe, metadata, with_labels
from linnet.export.tflite_run import AXES, as_taken, run_tflite
from linnet.export.vectors import FLOAT_ALLOWED, Vectors, as_fed, sample_pictures
from linnet.export.written import Export, InputKind, Precision, check_difference, differences
from linnet.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Ends

SIGNATURE = "serving_default"


def export_tflite(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    precision: Precision,
    inputs: InputKind | None = None,
    raw: bool = False,
) -> Export:
    """Runs a network as TFLite beside the numpy reference, and writes it if the two agree.

    One picture at a time, (1, H, W, C); interpreters can resize the batch. Class names, normalisation, licence and
    provenance stand in the file's TFLite metadata; architecture, contract and all else in buffers `linnet.*`.

    Args:
        checkpoint: what to export.
        path: file to write.
        precision: `float32`, `float16` for weights of half the size, or `int8` for the integers of a quantised network.
        inputs: `normalised` takes and gives float32, pictures as the contract normalises them; `pixels` takes
            uint8 values from 0 to 255 in the contract's colours; `integers` takes and gives the integers of a quantised
            network. If not given, `integers` of a file in eight bits and `normalised` of all others.
        raw: a detector's file gives offsets and logits of all anchors, of which offsets are centre y, centre x, height
            and width as in TensorFlow; else boxes (1, K, 4) y0, x0, y1, x1, classes (1, K) from 0, scores (1, K) and
            their number (1,), found by TFLite_Detection_PostProcess. A segmenter's gives the logits of every pixel,
            (1, H, W, classes); else `labels`, (1, H, W) int32.

    Raises:
        ValueError: if an option does not suit the network, or LiteRT computes something else: then nothing is written.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    inputs = inputs or ("integers" if precision == "int8" else "normalised")
    if inputs == "integers" and precision != "int8":
        raise ValueError(f"`inputs` (='integers') are those of a quantised network; the file is {precision}.")
    if inputs == "pixels" and checkpoint.preprocessing is not None and checkpoint.preprocessing.colours == "BGR":
        raise ValueError("A TFLite file does not swap the colours of pixels: take normalised inputs for a BGR network.")
    ends: Ends = "outputs" if raw else FINISHED.get(checkpoint.task, "outputs")
    detector: Any = checkpoint.architecture if ends == "detections" else None
    writer = _writer(checkpoint, precision)
    writer.write(inputs, checkpoint.preprocessing, floats=detector is not None)
    heads = writer.file.outputs
    labelled = ends == "labels"
    if labelled:
        writer.end_with_labels()
    if detector is not None:
        # Beside its outputs: what is compared are the numbers that boxes are made of.
        write_detections(writer.file, detector, heads)
    contract = contract_of(checkpoint, inputs, precision, ends)
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    expected = writer.reference(as_fed(pictures, checkpoint.preprocessing))

    def content_of(outputs: list[int], vectors: Vectors | None = None) -> bytes:
        writer.file.outputs = outputs
        documents = contract.with_vectors(vectors).documents()
        buffers = {NAME: metadata(checkpoint, inputs, detections=detector is not None, labels=labelled)}
        buffers |= {name: document.encode() for name, document in documents.items()}
        content = writer.file.content(buffers, description=describe(checkpoint), signature=SIGNATURE)
        return with_labels(content, checkpoint)

    found, given, compared = writer.file.outputs, as_taken(pictures, contract), None
    if find_spec("ai_edge_litert"):
        compared = differences(run_tflite(content_of(heads), given), expected)
    check_difference(path, "LiteRT", compared, writer.allowed)
    vectors: Vectors | None = None
    ours = [expected[0][..., AXES], *expected[1:]] if checkpoint.task == "detection" else expected
    if labelled:
        if compared is not None:
            (labels,) = run_tflite(content_of(found), given)
            check_labels(path, labels, expected[0], writer.allowed)
            vectors = Vectors.of_samples(pictures, contract.canonical([labels]), SHARES_ALLOWED)
    elif detector is None:
        vectors = Vectors.of_samples(pictures, ours, _allowed_elsewhere(writer, checkpoint))
    elif compared is not None:
        detections = run_tflite(content_of(found), given)
        check_detections(detector, ours, detections, path, "LiteRT")
        vectors = Vectors.of_samples(pictures, contract.canonical(detections), DETECTION_TOLERANCE)
    content = content_of(found, vectors)
    write_atomically(path, content)
    operators = tuple(sorted({operator.custom or operator.name for operator in writer.file.operators}))
    return Export(
        path,
        path.stat().st_size,
        operators,
        None if compared is None else compared[0],
        precision=precision,
        equal=None if compared is None else compared[1],
    )


def _writer(checkpoint: Checkpoint, precision: Precision) -> NetworkWriter:
    graph, quantisation = exported(checkpoint)
    tensors: dict[str, NDArray[Any]] = dict(checkpoint.tensors)
    if quantisation is None:
        graph, tensors = fold(graph, checkpoint.tensors)
    if FINISHED.get(checkpoint.task) == "detections":
        detector: Any = checkpoint.architecture
        tensors |= boxes_in_order(detector, tensors)
    if quantisation is not None:
        return IntegerWriter(graph, tensors, quantisation)
    return NetworkWriter(graph, tensors) if precision == "float32" else HalfWriter(graph, tensors)


def _allowed_elsewhere(writer: NetworkWriter, checkpoint: Checkpoint) -> float:
    """By how much a file may differ on another processor: int8 has one rule everywhere, uint8 another one on ARM."""
    if checkpoint.quantisation is None:
        return FLOAT_ALLOWED
    return writer.allowed if checkpoint.quantisation.dtype == "int8" else FLOATING_TOLERANCE
