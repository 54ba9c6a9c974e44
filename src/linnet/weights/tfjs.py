"""TensorFlow.js models → checkpoint: a `model.json` with its shards beside it, a folder or a zip archive of them.

A layers model is described as Keras describes it; Teachable Machine's archives are such, with their class names in
`metadata.json`. A graph model is a graph of TensorFlow with its numbers in shards; folders of TensorFlow.js before 1.0
have it as `tensorflowjs_model.pb`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from linnet.weights import tensorflow
from linnet.weights.conversion import LARGEST_LABELS, Conversion, numbered_labels
from linnet.weights.found import MODEL
from linnet.weights.keras import Model, convert_model, reading
from linnet.weights.keras_layers import describe_model
from linnet.weights.keras_tensors import Pool
from linnet.weights.tfjs_manifest import read_manifest
from linnet.weights.tfjs_source import Source, is_graph, is_manifest, model_of, read_json

METADATA = "metadata.json"

MARKS = (b'"modelTopology"', b'"weightsManifest"', b'"layers-model"', b'"graph-model"')


def why_not(start: bytes) -> str | None:
    """None if a file begins as a `model.json` of TensorFlow.js does, else what it is not."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if is_manifest(start):
        return None
    return None if text[:1] == b"{" and any(mark in text for mark in MARKS) else "no model.json of TensorFlow.js"


def why_not_members(names: frozenset[str]) -> str | None:
    """None if a folder or archive has one `model.json` or `tensorflowjs_model.pb`, else what it is not."""
    # torch.export has a model.json too, of another kind.
    exported = any(PurePosixPath(name).name == "archive_format" for name in names)
    return None if model_of(tuple(names)) and not exported else "no folder or archive of TensorFlow.js"


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
    if not is_graph(found, content):
        return convert_model(path, open_model(path), labels=labels, licence=licence, url=url)
    with tensorflow.reading(path):
        names = _labels(found.beside)[0] if labels is None else labels
        return tensorflow.convert_graph(path, tensorflow.open_graph(path), labels=names, licence=licence, url=url)


def open_model(path: Path) -> Model:
    """Reads what a layers model describes and holds.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if it is damaged.
    """
    with reading(path):
        found = Source.of(path)
        return _open(found.content(), found.beside)


def _open(text: bytes, read_beside: Callable[[str, int], bytes]) -> Model:
    document = read_json(text, MODEL)
    topology = document.get("modelTopology")
    if not isinstance(topology, dict):
        raise ValueError(f"its {MODEL} describes no model (modelTopology)")
    described = topology.get("model_config", topology)
    description = describe_model(described)
    tensors, content, stored = read_manifest(document.get("weightsManifest"), read_beside)
    pool = Pool()
    for name, values in tensors.items():
        pool.add(name, lambda values=values: values)  # type: ignore[misc]
    labels, marked = _labels(read_beside)
    weights = "float32" if stored == ("float32",) else f"dequantised from {' and '.join(stored)}"
    return Model(description, pool, hashlib.sha256(text + content).hexdigest(), labels, marked, weights)


def _labels(read_beside: Callable[[str, int], bytes]) -> tuple[tuple[str, ...] | None, bool]:
    """Class names that lie beside the model, and whether Teachable Machine made it."""
    try:
        metadata = read_json(read_beside(METADATA, LARGEST_LABELS), METADATA)
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
