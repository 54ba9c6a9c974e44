"""A checkpoint as a TFLite file: the graph, what it says of itself, and the comparison before it is kept."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.checkpoint import Checkpoint
from linnet.engine.fold import fold
from linnet.export.contract import contract_of
from linnet.export.segmenter import exported
from linnet.export.tflite_detector import boxes_in_order
from linnet.export.tflite_ends import ENDS, RAW, Made
from linnet.export.tflite_graph import HalfWriter, IntegerWriter, NetworkWriter
from linnet.export.tflite_metadata import NAME, describe, metadata, with_labels
from linnet.export.tflite_run import as_taken, in_our_order, run_tflite
from linnet.export.vectors import Vectors, as_fed, sample_pictures
from linnet.export.written import Export, InputKind, Precision, check_difference, differences
from linnet.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

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
    end = RAW if raw else ENDS.get(checkpoint.task, RAW)
    writer = _writer(checkpoint, precision)
    writer.write(inputs, checkpoint.preprocessing, floats=end.floats)
    # What is compared are the network's own outputs, which the file goes on from.
    heads = writer.file.outputs
    end.append(writer, checkpoint.architecture)
    contract = contract_of(checkpoint, inputs, precision, end.ends)
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    expected = writer.reference(as_fed(pictures, checkpoint.preprocessing))

    def content_of(outputs: list[int], vectors: Vectors | None = None) -> bytes:
        writer.file.outputs = outputs
        documents = contract.with_vectors(vectors).documents()
        buffers = {NAME: metadata(checkpoint, inputs, end.ends)}
        buffers |= {name: document.encode() for name, document in documents.items()}
        content = writer.file.content(buffers, description=describe(checkpoint), signature=SIGNATURE)
        return with_labels(content, checkpoint)

    found, given, compared = writer.file.outputs, as_taken(pictures, contract), None
    if find_spec("ai_edge_litert"):
        compared = differences(run_tflite(content_of(heads), given), expected)
    check_difference(path, "LiteRT", compared, writer.allowed)
    run = None if compared is None else lambda: run_tflite(content_of(found), given)
    made = Made(path, writer, contract, pictures, in_our_order(checkpoint.task, expected), run)
    content = content_of(found, end.vectors(made))
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


ORDERED: dict[str, Callable[[Any, dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]] = {"detection": boxes_in_order}
"""Task → the tensors that a file has in another order: TensorFlow's."""


def _writer(checkpoint: Checkpoint, precision: Precision) -> NetworkWriter:
    graph, quantisation = exported(checkpoint)
    tensors: dict[str, NDArray[Any]] = dict(checkpoint.tensors)
    if quantisation is None:
        graph, tensors = fold(graph, checkpoint.tensors)
    if (ordered := ORDERED.get(checkpoint.task)) is not None:
        tensors |= ordered(checkpoint.architecture, tensors)
    if quantisation is not None:
        return IntegerWriter(graph, tensors, quantisation)
    return NetworkWriter(graph, tensors) if precision == "float32" else HalfWriter(graph, tensors)
