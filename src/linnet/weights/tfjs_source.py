"""Where the parts of a TensorFlow.js model are: the file that describes it, and what lies beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from linnet.weights.found import LARGEST_TEXT, MODEL, OLD_MODEL
from linnet.weights.members import Members, is_own


def model_of(names: tuple[str, ...]) -> str | None:
    """The one file of a folder or archive that describes a model; None without one."""
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
        name = model_of(folder.names)
        if name is None:
            raise ValueError(f"it does not hold one {MODEL}")
        return cls(folder, name)

    @property
    def old(self) -> bool:
        """Whether the graph is a protobuf and its manifest a file of its own, as before TensorFlow.js 1.0."""
        return PurePosixPath(self.name).name == OLD_MODEL

    def content(self) -> bytes:
        """Of the file that describes the model."""
        return self.folder.read(self.name, LARGEST_TEXT)

    def beside(self, name: str, limit: int) -> bytes:
        """The content of a file that lies beside it."""
        return self.folder.read((PurePosixPath(self.name).parent / name).as_posix(), limit)


def is_manifest(content: bytes) -> bool:
    """Whether a file begins as the list of tensors that TensorFlow.js before 1.0 had beside a graph does."""
    text = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text[:1] == b"[" and all(mark in text for mark in (b'"weights"', b'"name"', b'"shape"', b'"dtype"'))


def is_graph(source: Source, content: bytes) -> bool:
    """Whether a file describes a graph of TensorFlow, and no layers of Keras."""
    if source.old or is_manifest(content):
        return True
    try:
        topology = read_json(content, MODEL).get("modelTopology")
    except ValueError:
        return False
    return isinstance(topology, dict) and "node" in topology


def _is_file(path: Path) -> bool:
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(2) != b"PK"


def read_json(text: bytes, name: str) -> dict[str, Any]:
    """The document of a file.

    Raises:
        ValueError: if it is none.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(f"its {name} is no JSON document")
    return document
