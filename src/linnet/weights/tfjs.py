"""TensorFlow.js models → checkpoint: a `model.json` with its shards beside it, a folder or a zip archive of them.

A layers model is described as Keras describes it; Teachable Machine's archives are such, with their class names in
`metadata.json`. A graph model is a graph of TensorFlow with its numbers in shards; folders of TensorFlow.js before 1.0
have it as `tensorflowjs_model.pb`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from linnet.weights import tensorflow
from linnet.weights.conversion import Conversion
from linnet.weights.keras import LARGEST_LABELS, LARGEST_TEXT, Model, convert_model, numbered_labels, reading
from linnet.weights.keras_layers import describe_model
from linnet.weights.keras_tensors import Pool
from linnet.weights.members import Members, is_own
from linnet.weights.tensorflow_graph import graph_of_bytes, graph_of_json
from linnet.weights.tfjs_manifest import read_manifest

MODEL, OLD_MODEL, METADATA = "model.json", "tensorflowjs_model.pb", "metadata.json"

MARKS = (b'"modelTopology"', b'"weightsManifest"', b'"layers-model"', b'"graph-model"')


def why_not(start: bytes) -> str | None:
    """None if a file begins as a `model.json` of TensorFlow.js does, else what it is not."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    return None if text[:1] == b"{" and any(mark in text for mark in MARKS) else "no model.json of TensorFlow.js"


def why_not_members(names: frozenset[str]) -> str | None:
    """None if a folder or archive has one `model.json` or `tensorflowjs_model.pb`, else what it is not."""
    return None if _model_of(tuple(names)) else "no folder or archive of TensorFlow.js"


def _model_of(names: tuple[str, ...]) -> str | None:
    for wanted in (MODEL, OLD_MODEL):
        found = [name for name in names if PurePosixPath(name).name == wanted and is_own(name)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


@dataclass(frozen=True)
class Source:
    """Where a model's parts are read from.

    Attributes:
        folder: of them all, or the archive.
        name: of the file that describes the model.
    """

    folder: Members
    name: str

    @classmethod
    def of(cls, path: Path) -> Source:
        """What a path leads to: a model's file, or a folder or archive with one.

        Raises:
            OSError: if it cannot be read.
            ValueError: if there is none.
        """
        if _is_file(path):
            return cls(Members(path.parent), path.name)
        folder = Members(path)
        name = _model_of(folder.names)
        if name is None:
            raise ValueError(f"it does not hold one {MODEL}")
        return cls(folder, name)

    def content(self) -> bytes:
        """Of the file that describes the model."""
        return self.folder.read(self.name, LARGEST_TEXT)

    def beside(self, name: str, limit: int) -> bytes:
        """The content of a file that lies beside it."""
        return self.folder.read((PurePosixPath(self.name).parent / name).as_posix(), limit)


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads a model of TensorFlow.js into a checkpoint.

    Args:
        source: a `model.json`, or a folder or zip archive with one or with an old `tensorflowjs_model.pb`.
        labels: class names, one an output; Teachable Machine's own if this is not given.
        licence: for the provenance.
        url: where the model was published, for the provenance.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if it is damaged, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    with reading(path):
        found = Source.of(path)
        content = found.content()
    if not is_graph(found.name, content):
        return convert_model(path, open_model(path), labels=labels, licence=licence, url=url)
    with tensorflow.reading(path):
        names = _labels(found.beside)[0] if labels is None else labels
        return tensorflow.convert_graph(path, open_graph(path), labels=names, licence=licence, url=url)


def is_graph(name: str, content: bytes) -> bool:
    """Whether a file describes a graph of TensorFlow, and no layers of Keras."""
    if PurePosixPath(name).name == OLD_MODEL:
        return True
    try:
        topology = _json(content, MODEL).get("modelTopology")
    except ValueError:
        return False
    return isinstance(topology, dict) and "node" in topology


def open_graph(path: Path) -> tensorflow.Stored:
    """Reads a graph model.

    Raises:
        Exception: of any kind, if it is damaged or cannot be read.
    """
    found = Source.of(path)
    content = found.content()
    if PurePosixPath(found.name).name == OLD_MODEL:
        manifest: Any = json.loads(found.beside(tensorflow.MANIFEST, LARGEST_TEXT))
        tensorflow.needs_protobuf()
        message = graph_of_bytes(content)
    else:
        document = _json(content, MODEL)
        manifest = document.get("weightsManifest")
        tensorflow.needs_protobuf()
        message = graph_of_json(document["modelTopology"])
    tensors, shards, stored = read_manifest(manifest, found.beside)
    return tensorflow.Stored(message, tensors, hashlib.sha256(content + shards).hexdigest(), stored)


def open_model(path: Path) -> Model:
    """Reads what a layers model describes and holds.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if it is damaged.
    """
    with reading(path):
        found = Source.of(path)
        return _open(found.content(), found.beside)


def _is_file(path: Path) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(2) != b"PK"


def _open(text: bytes, read_beside: Callable[[str, int], bytes]) -> Model:
    document = _json(text, MODEL)
    topology = document.get("modelTopology")
    if not isinstance(topology, dict):
        raise ValueError(f"its {MODEL} describes no model (modelTopology)")
    described = topology.get("model_config", topology)
    description = describe_model(described)
    tensors, content, stored = read_manifest(document.get("weightsManifest"), read_beside)
    pool = Pool()
    for name, values in tensors.items():
        pool.add(name, lambda values=values: values)  # type: ignore[misc]
    labels, teachable = _labels(read_beside)
    weights = "float32" if stored == ("float32",) else f"dequantised from {' and '.join(stored)}"
    return Model(description, pool, hashlib.sha256(text + content).hexdigest(), labels, teachable, weights)


def _labels(read_beside: Callable[[str, int], bytes]) -> tuple[tuple[str, ...] | None, bool]:
    """Class names that lie beside the model, and whether Teachable Machine made it."""
    try:
        metadata = _json(read_beside(METADATA, LARGEST_LABELS), METADATA)
    except ValueError:
        metadata = {}
    teachable = any(key in metadata for key in ("tmVersion", "tfjsVersion"))
    labels = metadata.get("labels")
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return tuple(labels), teachable
    try:
        return numbered_labels(read_beside("labels.txt", LARGEST_LABELS)), teachable
    except ValueError:
        return None, teachable


def _json(text: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"its {name} is no JSON document")
    return document
