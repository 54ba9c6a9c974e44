"""ONNX classifiers and feature extractors → checkpoint: read by the graph, never by its names.

PyTorch's two exporters, tf2onnx and linnet's own write the same network in four ways: weights under numbers or names,
in a file beside the graph, shared through Identity nodes; pads of their own nodes; channels last behind a Transpose.
What is normalised inside the graph is taken into the preprocessing. Integers behind DequantizeLinear are dequantised.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture.network import OptionError
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.kinds import SAVED_MODEL_MARK
from linnet.weights.chain import (
    as_classes,
    columns_of_two,
    match,
    names_of_two,
    outputs_by_name,
    tensors_of_chain,
)
from linnet.weights.conversion import Conversion, contract_of, in_short, normalisation_of, without_background
from linnet.weights.layouts import IMAGENET_PIXELS
from linnet.weights.matching import NotOurs
from linnet.weights.named import IMAGENET_CLASSES, checked_content, imagenet_classes
from linnet.weights.onnx_graph import Reading, read_graph
from linnet.weights.onnx_own import convert_own
from linnet.weights.own_words import as_said

if TYPE_CHECKING:
    from collections.abc import Mapping


def why_not(start: bytes) -> str | None:
    """None if a file begins as ONNX files do: with the version of the format, and a text or the graph behind it."""
    if start.startswith(SAVED_MODEL_MARK):
        return "not an ONNX file, but a SavedModel of TensorFlow"
    version = len(start) > 2 and start[0] == 0x08 and 0 < start[1] < 64
    return None if version and start[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72) else "not an ONNX file"


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads an ONNX file into a checkpoint, batch norm folded.

    Args:
        source: the file; weights that lie in a file of their own are looked for beside it.
        labels: class names, one an output.
        licence: for the provenance.
        url: where the file was published.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    if find_spec("onnx") is None:
        raise ValueError(f"'{path}' is an ONNX file, and reading it needs onnx: pip install 'linnet[convert]'.")
    content = checked_content(path)
    try:
        # Damaged scales overflow; what comes of it is looked at afterwards.
        with np.errstate(all="ignore"):
            own_file = convert_own(path, content, labels=labels, licence=licence, url=url)
            if own_file is not None:
                return own_file
            reading = read_graph(content, path.parent)
        own = _own(reading)
        chain = as_classes(reading.chain, reading.notes, own.get("architecture"))
        architecture: Any = match(chain)
    except NotOurs as problem:
        raise ValueError(f"'{path}' is not a MobileNetV1 or V2 classifier: {in_short(problem)}.") from None
    except OptionError:
        raise ValueError(
            f"'{path}' is not a MobileNet that linnet knows: its first convolution has no ReLU or ReLU6 behind it."
        ) from None
    except ValueError as error:
        if "no MobileNetV1" in str(error):
            raise ValueError(f"'{path}' is not a MobileNet that linnet knows: {in_short(error)}.") from None
        raise ValueError(f"'{path}' is damaged: it cannot be read ({in_short(error)}).") from None
    except Exception as error:
        # A damaged protobuf leads its reader anywhere, and to exceptions of any kind.
        raise ValueError(f"'{path}' is damaged: it cannot be read ({in_short(error)}).") from None
    notes = list(reading.notes)
    try:
        tensors = tensors_of_chain(architecture, chain)
        broken = next((name for name, values in tensors.items() if not np.isfinite(values).all()), None)
        if broken is not None:
            raise ValueError(f"its weights are not all finite numbers, first {broken}")
        names = names_of_two(chain, labels or own.get("classes"))
        if names is None and architecture.classes == IMAGENET_CLASSES:
            notes.append("It has 1000 outputs: they are taken for ImageNet's classes. `--labels FILE` names others.")
            names = imagenet_classes()
        architecture, tensors, names, dropped = without_background(path, architecture, tensors, names, notes)
        architecture = as_said(architecture, own.get("architecture"))
        contract = own.get("contract") or _contract(architecture, reading, notes)
        provenance = {
            "source": url or path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "licence": licence or "not stated in the file",
            "weights": f"ONNX of {reading.producer or 'an unnamed program'}, batch norm folded",
            "converted_by": "linnet convert",
        }
        checkpoint = Checkpoint(architecture, contract, tensors, names, provenance=provenance)
    except ValueError as error:
        raise ValueError(f"'{path}' cannot be converted: {in_short(error)}") from None
    outputs = {name: reading.names[number] for name, number in outputs_by_name(architecture, chain).items()}
    return Conversion(
        path,
        checkpoint,
        dropped,
        outputs,
        tuple(notes),
        not reading.any_size,
        "onnx",
        columns_of_two(chain),
    )


def _own(reading: Reading) -> dict[str, Any]:
    """What linnet's own export has written beside the graph."""
    found: dict[str, Any] = {}
    if "linnet.preprocessing" in reading.metadata:
        values: Mapping[str, Any] | None = json.loads(reading.metadata["linnet.preprocessing"])
        if values is not None:
            said = Preprocessing.from_json(dict(values))
            if reading.scale is None or _normalises_as(reading, said):
                found["contract"] = said
    if "linnet.architecture" in reading.metadata:
        found["architecture"] = json.loads(reading.metadata["linnet.architecture"])
    if "linnet.classes" in reading.metadata:
        names = json.loads(reading.metadata["linnet.classes"])
        found["classes"] = None if names is None else tuple(map(str, names))
    return found


def _normalises_as(reading: Reading, contract: Preprocessing) -> bool:
    """Whether the graph does to its pixels what a contract says, but for rounding."""
    assert reading.scale is not None
    scale = 1 / (255 * np.array(contract.std))
    offset = -np.array(contract.mean) / np.array(contract.std)
    given = np.zeros(1) if reading.offset is None else np.ravel(reading.offset)
    return bool(np.allclose(np.ravel(reading.scale), scale, rtol=1e-5) and np.allclose(given, offset, rtol=1e-5))


def _contract(architecture: Any, reading: Reading, notes: list[str]) -> Preprocessing | None:
    """From what the graph does to its input, else from the convention of the library that its padding tells."""
    if reading.bytes and reading.scale is None:
        reading.scale, reading.offset = np.ones(1, np.float32), np.zeros(1, np.float32)
    if reading.scale is not None and reading.offset is not None:
        scale, offset = (
            np.broadcast_to(values.astype(np.float64), architecture.input_channels)
            for values in (reading.scale, reading.offset)
        )
        notes.append("Pixels are normalised within the graph; the checkpoint does it before the network.")
        return contract_of(architecture, **normalisation_of(scale, offset, 255.0 if reading.bytes else None))
    if architecture.padding == "symmetric" and architecture.input_channels == 3:
        notes.append(
            "The graph does not say how pixels are normalised; it pads as PyTorch does, so ImageNet's mean and "
            "deviation are assumed. `--mean` and `--std` say others."
        )
        return contract_of(architecture, **IMAGENET_PIXELS)
    notes.append(
        "The graph does not say how pixels are normalised; [-1, 1] is assumed. `--mean` and `--std` say others."
    )
    return contract_of(architecture)
