"""One self-describing file: weights, architecture, preprocessing, class names, provenance and measured score.

The file is a safetensors file whose metadata holds one JSON document under the key `linnet`. It begins with a digest,
the SHA-256 of the whole file in which the digest's own 64 characters are zeros, so a file altered by a single bit is
refused. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from linnet.architecture import Architecture, from_options, options_of
from linnet.files import write_atomically as write_atomically
from linnet.images import Preprocessing
from linnet.kinds import DOCUMENT, LOOKED_AT, kind_of, looks, misnamed, what_is
from linnet.quantisation.scheme import Quantisation
from linnet.quantisation.tensors import check_tensors, dequantise_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[Any]]

_log = logging.getLogger(__name__)

FORMAT = 3
"""Version of the JSON document. A reader refuses versions above its own, and reads all below for ever.

Format 1 had a detector's backbone by its name, its options among the detector's own; format 2 has it as a network.
Format 3 has a `quantisation`, and only quantised networks are written in it: older readers know all others.
"""

FLOAT_FORMAT = 2
"""Version of what is written of networks in float."""

DIGEST_LENGTH = 64
# Only the metadata's own key can stand like this: inside any string the quotes would be escaped.
DIGEST_MARK = b'"linnet":"{\\"digest\\":\\"'

SMALL_SIDE = 64
"""Pixels up to which pictures are made for their network: there is no margin around what they show to be cut off."""

DTYPES: dict[str, type[np.floating[Any]]] = {"F32": np.float32, "F16": np.float16}

QUANTISED_DTYPES: dict[str, type[np.generic]] = {**DTYPES, "I8": np.int8, "U8": np.uint8, "I32": np.int32}
"""Types of the tensors of quantised networks."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds. `tensors` has exactly the names and shapes of `architecture.tensors`.

    Of a quantised network they are integers with scales beside them (`linnet.quantisation.tensors`).

    Attributes:
        architecture: the network, with all its options.
        preprocessing: how pictures become its input; None for networks of other than 1 or 3 channels.
        tensors: name → array, float32 or float16; of a quantised network int8 or uint8, int32 and float32.
        classes: names, one an output; None where they are not known or there is no classifier.
        provenance: where the weights come from: data, recipe, command, commit, date, source, licence.
        score: measured figures, with the data they were measured on.
        quantisation: what the integers of a quantised network stand for; None of one in float.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    architecture: Architecture
    preprocessing: Preprocessing | None
    tensors: Tensors
    classes: tuple[str, ...] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    score: Mapping[str, Any] = field(default_factory=dict)
    quantisation: Quantisation | None = None

    def __post_init__(self) -> None:
        """Refuses parts that do not fit each other."""
        if self.classes is not None:
            if not all(isinstance(name, str) for name in self.classes):
                raise ValueError("The class names must be strings.")
            if len(self.classes) != self.architecture.classes:
                raise ValueError(f"There are {len(self.classes)} class names for {self.architecture.classes} classes.")
        _check_preprocessing(self.architecture, self.preprocessing)
        if self.quantisation is None:
            _check_tensors(self.architecture.tensors, self.tensors)
        else:
            check_tensors(self.architecture.graph, self.tensors, self.quantisation)

    @property
    def task(self) -> str:
        """`classification` or `detection`."""
        return self.architecture.task

    def dequantised(self, reader: str = "") -> Checkpoint:
        """The same network in float32, still folded: the numbers that its integers stand for. One in float as it is.

        It computes nearly the same: nothing is rounded on the way. The score, which the integers had, is left out.

        Args:
            reader: what needs numbers, the subject of a sentence that is said (logged) where there were integers.
        """
        if self.quantisation is None:
            return self
        if reader:
            _log.info("The network is quantised; %s takes its weights as float32.", reader)
        tensors = dequantise_tensors(self.architecture.graph, self.tensors, self.quantisation)
        return replace(self, tensors=tensors, quantisation=None, score={})


def default_preprocessing(architecture: Architecture) -> Preprocessing | None:
    """How pictures become a network's input where nobody says otherwise; None where it takes no pictures.

    RGB for three channels, grey for one, values in [-1, 1]. The whole picture is squashed where the network needs it
    whole; else the shorter side is fitted, and 0.875 of it are kept (all of it up to `SMALL_SIDE` pixels).
    """
    if architecture.input_channels not in (1, 3):
        return None
    contract = Preprocessing(size=architecture.input_size)
    if architecture.input_channels == 1:
        contract = replace(contract, colours="grey", mean=(0.5,), std=(0.5,))
    if architecture.whole_picture:
        return replace(contract, resize="squash", crop=1.0)
    return replace(contract, crop=1.0) if max(contract.size) <= SMALL_SIDE else contract


def random_checkpoint(architecture: Architecture) -> Checkpoint:
    """A network with random weights and batch norm folded: time and memory do not depend on the weights."""
    folded = architecture.with_options(folded=True)
    generator = np.random.default_rng(0)
    tensors = {
        name: (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in folded.tensors.items()
    }
    return Checkpoint(folded, default_preprocessing(folded), tensors)


def save_checkpoint(
    checkpoint: Checkpoint, path: str | os.PathLike[str], *, dtype: type[np.floating[Any]] = np.float32
) -> None:
    """Writes a checkpoint: whole or not at all. An older file of that name survives every failure.

    Args:
        checkpoint: what to write.
        path: file to write, by convention `*.safetensors`. Missing folders are made.
        dtype: `np.float32`, or `np.float16` for half the size. The integers of a quantised network stay what they are.

    Raises:
        ValueError: if float16 cannot hold a weight or is asked for of a quantised network, or JSON cannot hold a part
            of the provenance or the score.
        OSError: if the file cannot be written: no permission, no space left, a folder of that name.
    """
    write_atomically(Path(path), encode_checkpoint(checkpoint, dtype=dtype))


def encode_checkpoint(checkpoint: Checkpoint, *, dtype: type[np.floating[Any]] = np.float32) -> bytearray:
    """The bytes of a checkpoint's file; see `save_checkpoint`, also for what it raises."""
    quantisation = checkpoint.quantisation
    if quantisation is not None and dtype is not np.float32:
        raise ValueError("A quantised network is smaller than one in float16; it is written as it is.")
    tensors = {
        name: np.ascontiguousarray(values if values.dtype.kind in "iu" else _as_dtype(name, values, dtype))
        for name, values in checkpoint.tensors.items()
    }
    header = {
        "digest": "0" * DIGEST_LENGTH,
        "format": FLOAT_FORMAT if quantisation is None else FORMAT,
        "task": checkpoint.task,
        "architecture": options_of(checkpoint.architecture),
        "preprocessing": None if checkpoint.preprocessing is None else checkpoint.preprocessing.to_json(),
        "classes": None if checkpoint.classes is None else list(checkpoint.classes),
        "provenance": _plain("provenance", checkpoint.provenance),
        "score": _plain("score", checkpoint.score),
    } | ({} if quantisation is None else {"quantisation": quantisation.to_json()})
    from safetensors.numpy import save

    # ASCII only, so that the metadata is the same bytes whatever wrote it.
    document = json.dumps(header, separators=(",", ":"), allow_nan=False)
    content = bytearray(save(tensors, metadata={"linnet": document}))
    start = content.index(DIGEST_MARK) + len(DIGEST_MARK)
    content[start : start + DIGEST_LENGTH] = hashlib.sha256(content).hexdigest().encode()
    return content


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint, checks its digest and every tensor.

    float16 weights are widened to float32, integers stay what they are. Weights that are NaN or infinite give a
    warning.

    Raises:
        OSError: if the file is missing or may not be read.
        ValueError: if it is anything but a whole, unaltered linnet checkpoint of a format this version reads; the
            text names the file, what was found and what was expected.
    """
    path = _not_a_folder(path)
    content = path.read_bytes()
    document = _read_document(path, content)
    entries = _split_tensors(path, content)
    _check_digest(path, content, document)
    _check_format(path, document)
    try:
        classes, contract = document["classes"], document["preprocessing"]
        scheme = document.get("quantisation")
        checkpoint = Checkpoint(
            architecture=from_options(_mapping(document, "architecture")),
            preprocessing=None if contract is None else Preprocessing.from_json(contract),
            tensors=_read_tensors(entries, DTYPES if scheme is None else QUANTISED_DTYPES),
            classes=None if classes is None else tuple(classes),
            provenance=_mapping(document, "provenance"),
            score=_mapping(document, "score"),
            quantisation=None if scheme is None else Quantisation.from_json(scheme),
        )
        if document["task"] != checkpoint.task:
            raise ValueError(f"`task` (={document['task']!r}) must be {checkpoint.task!r}, as the architecture is.")
    except KeyError as error:
        raise ValueError(f"'{path}' is inconsistent: its header lacks {error}.") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"'{path}' is inconsistent: {error}") from None
    for name in _not_finite(checkpoint.tensors):
        warnings.warn(f"'{path}' holds weights that are not finite numbers, first in {name}.", stacklevel=2)
        break
    return checkpoint


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON document alone, without the weights and unverified: for listings.

    Raises:
        OSError: if the file is missing or may not be read.
        ValueError: if it is not a linnet checkpoint.
    """
    path = _not_a_folder(path)
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if length > path.stat().st_size:
            _refuse(path, start + file.read(LOOKED_AT))
        document = _read_document(path, start + file.read(length))
    _check_format(path, document)
    return document


def _not_a_folder(path: str | os.PathLike[str]) -> Path:
    if Path(path).is_dir():
        raise IsADirectoryError(f"'{path}' is a folder; a checkpoint file was expected.")
    return Path(path)


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _plain(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold, numpy's numbers made Python's."""

    def convert(value: object) -> object:
        if isinstance(value, np.generic):
            return value.item()
        raise ValueError(f"`{name}` holds a {type(value).__name__} ({value!r}), which JSON cannot. Make it a string.")

    try:
        plain = json.loads(json.dumps(dict(values), default=convert, allow_nan=False))
    except (ValueError, TypeError) as error:
        raise (
            error if f"`{name}`" in str(error) else ValueError(f"`{name}` holds what JSON cannot ({error}).")
        ) from None
    return dict(plain)


def _check_format(path: Path, document: dict[str, Any]) -> None:
    version = document.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"'{path}' has format {version!r}; linnet reads format {FORMAT}.")
    if version > FORMAT:
        raise ValueError(
            f"'{path}' has format {version}, written by a newer linnet; this one reads up to {FORMAT}. Update linnet."
        )


def _check_preprocessing(architecture: Architecture, contract: Preprocessing | None) -> None:
    if contract is None:
        if architecture.input_channels in (1, 3):
            raise ValueError(
                f"A network of {architecture.input_channels} channels takes pictures: it needs a preprocessing."
            )
        return
    channels = {"grey": 1}.get(contract.colours, 3)
    if channels != architecture.input_channels:
        raise ValueError(
            f"The preprocessing gives {channels} channels ({contract.colours}); the network takes "
            f"{architecture.input_channels}."
        )
    if architecture.whole_picture and contract.resize != "squash":
        raise ValueError(
            f"The preprocessing of a network for {architecture.task} must be 'squash', not {contract.resize!r}: what "
            "is cut off is not found."
        )
    if contract.size != architecture.input_size:
        raise ValueError(
            f"The preprocessing gives pictures of {_times(contract.size)} pixels; the network takes "
            f"{_times(architecture.input_size)}."
        )


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document[key]
    if not isinstance(value, dict):
        raise ValueError(f"`{key}` must be an object, not {type(value).__name__}.")
    return value


def _as_dtype(name: str, values: NDArray[np.floating[Any]], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    if dtype not in DTYPES.values():
        raise ValueError(f"`dtype` (={dtype!r}) must be np.float32 or np.float16.")
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if dtype is np.float16 and not np.array_equal(np.isfinite(converted), np.isfinite(values)):
        raise ValueError(f"{name} has values that float16 cannot hold (above 65504). Save it as float32.")
    return converted


def _read_document(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON under `linnet`, or a refusal that says what the file is instead."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > len(content) - 8:
        _refuse(path, content)
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        _refuse(path, content)
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get("linnet") if isinstance(metadata, dict) else None
    if text is None:
        raise ValueError(
            f"'{path}' is a safetensors file but not a linnet checkpoint: its metadata has no `linnet` entry. "
            "`linnet convert` reads other people's files."
        )
    try:
        document = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"'{path}' is damaged: its `linnet` entry is not a JSON document.")
    return document


def _refuse(path: Path, content: bytes) -> NoReturn:
    """Says what a file is that is not even the beginning of a safetensors file."""
    start = content[:LOOKED_AT]
    if wrong := misnamed(path, start):
        raise ValueError(f"'{path}' {wrong}.")
    if start[8:9] == b"{":
        found = "is cut off or damaged within its header"
    else:
        found = what_is(path, start) or looks(start) or "has no safetensors header"
        kind = kind_of(path, start)
        if kind is not None and found == f"is {kind.name}":
            described = " if it describes a network of TensorFlow.js or Keras" if kind.name == DOCUMENT else ""
            found += f", which `linnet convert` reads{described}"
    raise ValueError(f"'{path}' {found}; a linnet checkpoint (.safetensors) was expected.")


def _check_digest(path: Path, content: bytes, document: dict[str, Any]) -> None:
    length = 8 + int.from_bytes(content[:8], "little")
    mark = content.find(DIGEST_MARK, 0, length)
    start = mark + len(DIGEST_MARK)
    whole = hashlib.sha256(content[:start] + b"0" * DIGEST_LENGTH)
    whole.update(memoryview(content)[start + DIGEST_LENGTH :])
    if mark < 0 or whole.hexdigest() != document.get("digest"):
        raise ValueError(f"'{path}' was altered after it was written: its digest does not match. Get it again.")


def _split_tensors(path: Path, content: bytes) -> list[tuple[str, dict[str, Any]]]:
    from safetensors import SafetensorError, deserialize

    try:
        return list(deserialize(content))
    except SafetensorError as error:
        raise ValueError(f"'{path}' is damaged or incomplete: {error}.") from None


def _read_tensors(
    entries: list[tuple[str, dict[str, Any]]], kinds: Mapping[str, type[np.generic]]
) -> dict[str, NDArray[Any]]:
    tensors = {}
    for name, entry in entries:
        dtype = kinds.get(entry["dtype"])
        if dtype is None:
            raise ValueError(f"{name} is of type {entry['dtype']}; expected {' or '.join(kinds)}.")
        values: NDArray[Any] = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
        tensors[name] = values.astype(np.float32) if dtype is np.float16 else values
    return tensors


def _check_tensors(expected: dict[str, tuple[int, ...]], tensors: Tensors) -> None:
    problems = []
    for text, names in (
        ("missing", [name for name in expected if name not in tensors]),
        ("surplus", [name for name in tensors if name not in expected]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{text}: {', '.join(names[:3])}{more}")
    if problems:
        raise ValueError(f"The tensors do not fit the architecture ({'; '.join(problems)}).")
    for name, shape in expected.items():
        values = tensors[name]
        if values.dtype not in (np.float32, np.float16):
            raise ValueError(f"{name} is of type {values.dtype}; expected float32 or float16.")
        if values.shape != shape:
            raise ValueError(f"{name} has shape {list(values.shape)}; the architecture needs {list(shape)}.")


def _not_finite(tensors: Tensors) -> Iterator[str]:
    return (name for name, values in tensors.items() if values.dtype.kind == "f" and not np.isfinite(values).all())
