"""What a file is that is not what was expected: told by its first bytes, and by the ending that its name has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOOKED_AT = 4096
"""Bytes at the start of a file by which it is told."""

SHORTEST = 32
"""Bytes that a whole file of any network has."""

LFS = b"version https://git-lfs.github.com/spec/"
POINTER = "is a Git LFS pointer: the file itself was not fetched. `git lfs pull` fetches it"

TENSORFLOW = (
    "belongs to a checkpoint of TensorFlow, of which linnet reads none: freeze its graph (.pb) or convert it to "
    "TFLite. The archives of TensorFlow's zoo hold both"
)

SAVED_MODEL = "saved_model.pb"
SAVED_MODEL_MARK = b"\x08\x01\x12"
"""Version 1 of the format of a `saved_model.pb`, then a graph.

Files of ONNX' first version, of 2017, had none of what networks need.
"""

ONE_FILE = "of which linnet reads none: save_pretrained(FOLDER) writes one file, where max_shard_size is not given"
"""What to do with weights that lie in several files."""

SHARDS = f"is an index of weights that lie in several files, {ONE_FILE}"
SHARDS_MARK = b'"weight_map"'

DOCUMENT = "a JSON document"

STRANGERS: tuple[tuple[bytes, str], ...] = (
    (LFS, POINTER),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it first"),
    (b"BZh", "is compressed with bzip2: unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it first"),
    (b"\xff\xd8\xff", "is a picture (JPEG), and no weights"),
    (b"\x89PNG", "is a picture (PNG), and no weights"),
    (b"\x7fELF", "is a program, and no weights"),
    (b"\x93NUMPY", "is one numpy array, and no network"),
)
"""First bytes → what a file is that holds no network."""


CHECKPOINT = re.compile(r"\.data-\d{5}-of-\d{5}$|ckpt.*\.(index|meta)$")
"""Names of the files that TensorFlow's checkpoints are made of."""


OTHERS = {
    ".caffemodel": "Caffe",
    ".prototxt": "Caffe",
    ".mlmodel": "Core ML",
    ".param": "ncnn",
    ".pdparams": "PaddlePaddle",
    ".pdmodel": "PaddlePaddle",
    ".engine": "TensorRT",
    ".trt": "TensorRT",
    ".mnn": "MNN",
    ".rknn": "RKNN",
    ".dlc": "SNPE",
    ".pte": "ExecuTorch",
}
"""Endings of files whose libraries' networks are not read; linnet writes some of them."""


@dataclass(frozen=True)
class Kind:
    """A format of networks.

    Attributes:
        name: with its article.
        begins: whether a file that begins with these bytes can be one.
        endings: that names of such files have.
    """

    name: str
    begins: Callable[[bytes], bool]
    endings: tuple[str, ...] = ()


def _is_zip(start: bytes) -> bool:
    return start.startswith(b"PK")


def _is_pickle(start: bytes) -> bool:
    return start[:1] == b"\x80"


def _is_graph(start: bytes) -> bool:
    return start[:1] == b"\n" or start.startswith(SAVED_MODEL_MARK)


KINDS = (
    Kind("a TFLite file", lambda start: start[4:8] == b"TFL3", (".tflite", ".lite")),
    Kind("a Keras file", lambda start: start.startswith(b"\x89HDF"), (".h5", ".hdf5")),
    Kind("a Keras file", _is_zip, (".keras",)),
    Kind("a PyTorch file", lambda start: _is_zip(start) or _is_pickle(start), (".pth", ".pt", ".pth.tar")),
    # A protobuf has no mark: these two begin with their first field.
    Kind("an ONNX file", lambda start: start[:1] == b"\x08", (".onnx",)),
    Kind("a graph of TensorFlow", _is_graph, (".pb",)),
    Kind("a safetensors file", lambda start: start[8:9] == b"{", (".safetensors",)),
    Kind(DOCUMENT, lambda start: start.lstrip()[:1] in (b"{", b"["), (".json",)),
    Kind("a zip archive", _is_zip, (".zip",)),
)
"""By the ending: what a file should be."""

MARKED = (
    *KINDS[:2],
    Kind("a pickle, as of PyTorch", _is_pickle),
    Kind("a zip archive, as of PyTorch or Keras", _is_zip),
)
"""By the first bytes alone, whatever the name says."""


def kind_of_name(path: Path) -> Kind | None:
    """What the ending of a name promises; None of an ending that is no format's."""
    name = path.name.lower()
    return next((kind for kind in KINDS if name.endswith(kind.endings)), None)


def kind_of(path: Path, start: bytes) -> Kind | None:
    """The format of a file that is one by its content, and perhaps by its name."""
    named = kind_of_name(path)
    if named is not None and named.begins(start):
        return named
    return next((kind for kind in MARKED if kind.begins(start)), None)


def what_is(path: Path, start: bytes) -> str | None:
    """What a file is that no reader takes, to stand behind its name; None where it can be anything.

    Args:
        path: of the file, whose ending is looked at.
        start: its first `LOOKED_AT` bytes, or all that it has.
    """
    if known := _stranger(start):
        return known
    if library := OTHERS.get(path.suffix.lower()):
        return f"is a file of {library} by its name, which linnet does not read: convert what it was made from"
    if known := misnamed(path, start):
        return known
    if CHECKPOINT.search(path.name):
        return TENSORFLOW
    found = kind_of(path, start)
    if found is None:
        return None
    whole = _is_document(start) if found.name == DOCUMENT else len(start) >= SHORTEST
    return f"is {found.name}" if whole else f"is {found.name} that breaks off: it is damaged"


def _is_document(start: bytes) -> bool:
    """Whether a JSON document is whole, as far as its first bytes tell: others are not looked at."""
    if len(start) >= LOOKED_AT:
        return True
    try:
        json.loads(start)
    except (ValueError, RecursionError):
        return False
    return True


def misnamed(path: Path, start: bytes) -> str | None:
    """What a file is that does not begin as its ending promises, to stand behind its name; None of any other file.

    What is no network whatever its name, such as a page or a pointer, counts as another file.
    """
    named = kind_of_name(path)
    if named is None or named.begins(start) or _stranger(start):
        return None
    ending = next(each for each in named.endings if path.name.lower().endswith(each))
    called = f"is called {named.name} ({ending})"
    if found := kind_of(path, start):
        return f"{called} but is {found.name}, which `linnet convert` reads by what is inside"
    said = looks(start) or "does not begin as one"
    return f"{called} but {said}: it is damaged, or something else has this name"


def looks(start: bytes) -> str | None:
    """What bytes are that no format begins with; None if they are like any others."""
    if not any(start):
        return "holds nothing but zeros"
    words = b"\0" not in start and all(byte > 126 or byte in b"\t\n\r\f" or byte > 31 for byte in start)
    return "is text" if words else None


def _stranger(start: bytes) -> str | None:
    """What a file is that holds no network, by whatever name."""
    if not start:
        return "is empty"
    for mark, text in STRANGERS:
        if start.startswith(mark):
            return text
    if start.lstrip()[:1] == b"{" and SHARDS_MARK in start:
        return SHARDS
    if start.startswith(b"model_checkpoint_path:"):
        return TENSORFLOW
    if start.startswith(b"node {"):
        return "is a graph of TensorFlow as text, which has no weights: the frozen graph is a .pb"
    if start[257:262] == b"ustar":
        return "is a tar archive: unpack it first"
    if start.lstrip()[:1] == b"<" and b"<net " in start:
        return "describes a network of OpenVINO, which linnet does not read: convert what it was made from"
    if start.lstrip()[:1] == b"<":
        return "is an HTML or XML page: a download probably went wrong"
    return None
