"""What a TFLite file says of itself, for clients that ask: labels, normalisation, licence (TFLITE_METADATA).

A flatbuffer of its own (`metadata_schema.fbs`, identifier M001), of which no package has the functions: fields
are written by their places in the schema. Labels lie beside it, in a zip archive behind the graph, stored and not
compressed, as MediaPipe demands.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np

from linnet.export.tflite_file import offset_vector, table, vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from linnet.checkpoint import Checkpoint
    from linnet.export.contract import Ends
    from linnet.export.written import InputKind

NAME = "TFLITE_METADATA"
LABELS = "labels.txt"

NORMALISATION = 1
"""Of the union of process units."""

FEATURES, IMAGE, BOXES = 1, 2, 3
"""Of the union of contents."""

COLOURS = {"RGB": 1, "BGR": 0, "grey": 2}
"""The schema has no BGR: 0 is unknown."""

AXIS_LABELS, VALUE_LABELS = 2, 3
"""Types of label files: one a number of the tensor, or one for each value that a number can have."""

BOUNDARIES = 1
"""Boxes by two corners; index says where x and y of them are."""

UNNAMED = {"detection"}
"""Tasks whose own outputs are not the classes alone: a detector's have a background too, which has no name."""

READER = "1.0.0"
"""The least version of the clients' parser."""


def metadata(checkpoint: Checkpoint, inputs: InputKind, ends: Ends = "outputs") -> bytes:
    """The flatbuffer.

    Args:
        checkpoint: what is exported.
        inputs: what the file takes; pixels are normalised inside.
        ends: what it gives.
    """
    builder = flatbuffers.Builder(4096)
    licence = checkpoint.provenance.get("licence")
    entered = offset_vector(builder, [_picture(builder, checkpoint, inputs)])
    left = offset_vector(builder, DESCRIBED[ends](builder, checkpoint))
    subgraph = offset_vector(builder, [table(builder, {2: entered, 3: left})])
    fields = {
        0: builder.CreateString(type(checkpoint.architecture).__name__),
        1: builder.CreateString(describe(checkpoint)),
        3: subgraph,
        7: builder.CreateString(READER),
    }
    if licence:
        fields[5] = builder.CreateString(str(licence))
    builder.Finish(table(builder, fields), file_identifier=b"M001")
    return bytes(builder.Output())


def describe(checkpoint: Checkpoint) -> str:
    """The network and where its weights come from, in a sentence or two."""
    architecture = checkpoint.architecture
    height, width = architecture.input_size
    known = "; ".join(
        f"{name}: {value}" for name, value in checkpoint.provenance.items() if isinstance(value, str | int | float)
    )
    text = f"{type(architecture).__name__} for pictures of {height} x {width} pixels, exported by linnet."
    return f"{text} {known}." if known else text


def with_labels(content: bytes, checkpoint: Checkpoint) -> bytes:
    """A file with its class names, one a line, in an archive behind the graph; as it is where there are none."""
    if checkpoint.classes is None:
        return content
    lines = "".join(" ".join(name.split()) + "\n" for name in checkpoint.classes)
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        # Without the time at which it was written: the same checkpoint gives the same file.
        archive.writestr(zipfile.ZipInfo(LABELS), lines)
    return stream.getvalue()


def _picture(builder: Any, checkpoint: Checkpoint, inputs: InputKind) -> Any:
    contract = checkpoint.preprocessing
    fields = {0: builder.CreateString("image")}
    if contract is not None:
        image = table(builder, {}, small={0: COLOURS[contract.colours]})
        fields[3] = _content(builder, IMAGE, image)
        if inputs != "pixels":
            scaled = (vector(builder, [255 * x for x in each], np.float32) for each in (contract.mean, contract.std))
            unit = table(builder, {1: table(builder, dict(enumerate(scaled)))}, small={0: NORMALISATION})
            fields[4] = offset_vector(builder, [unit])
    return table(builder, fields)


def _outputs(builder: Any, checkpoint: Checkpoint) -> list[Any]:
    """Of logits, features or raw heads."""
    found = []
    for name in checkpoint.architecture.exported_graph.outputs:
        features = _content(builder, FEATURES, table(builder, {}))
        fields = {0: builder.CreateString(name), 3: features}
        if checkpoint.classes is not None and checkpoint.task not in UNNAMED:
            fields[6] = _label_file(builder, AXIS_LABELS)
        found.append(table(builder, fields))
    return found


def _labels(builder: Any, checkpoint: Checkpoint) -> list[Any]:
    """Of the best class of every pixel."""
    fields = {0: builder.CreateString("labels"), 3: _content(builder, FEATURES, table(builder, {}))}
    if checkpoint.classes is not None:
        fields[6] = _label_file(builder, VALUE_LABELS)
    return [table(builder, fields)]


def _detections(builder: Any, checkpoint: Checkpoint) -> list[Any]:
    """Of TFLite_Detection_PostProcess."""
    # Where x and y of the first corner, then those of the second are: the operator gives y before x.
    corners = table(builder, {0: vector(builder, [1, 0, 3, 2], np.uint32)}, small={1: BOUNDARIES})
    fields = [{0: builder.CreateString(name)} for name in ("location", "category", "score", "number of detections")]
    fields[0][3] = _content(builder, BOXES, corners)
    for each in fields[1:]:
        each[3] = _content(builder, FEATURES, table(builder, {}))
    if checkpoint.classes is not None:
        fields[1][6] = _label_file(builder, VALUE_LABELS)
    return [table(builder, each) for each in fields]


DESCRIBED: dict[Ends, Callable[[Any, Checkpoint], list[Any]]] = {
    "outputs": _outputs,
    "detections": _detections,
    "labels": _labels,
}
"""What a file gives → its description."""


def _label_file(builder: Any, kind: int) -> Any:
    return offset_vector(builder, [table(builder, {0: builder.CreateString(LABELS)}, small={2: kind})])


def _content(builder: Any, kind: int, properties: Any) -> Any:
    return table(builder, {1: properties}, small={0: kind})
