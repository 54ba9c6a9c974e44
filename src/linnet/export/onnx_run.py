"""An ONNX file in onnxruntime, as numbers in and numbers out; and one of linnet's as a network (`…export.shipped`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import INPUT
from linnet.export.contract import PREFIX
from linnet.export.vectors import as_fed
from linnet.weights.onnx_session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from linnet.export.contract import Contract

PROPERTIES = 14
"""Number of `metadata_props` in an ONNX model."""


def run_onnx(model: Path | bytes, inputs: Mapping[str, NDArray[Any]], *, threads: int = 0) -> list[NDArray[Any]]:
    """The outputs of an ONNX file, or of its bytes, in onnxruntime on the CPU."""
    return [np.asarray(output) for output in session_of(model, threads=threads).run(None, dict(inputs))]


def documents(path: Path) -> dict[str, str]:
    """What linnet wrote into a file beside its graph. Needs no package: `metadata_props` are found by their number.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no protobuf.
    """
    found: dict[str, str] = {}
    for number, content in _fields(path.read_bytes()):
        if number == PROPERTIES:
            entry = dict(_fields(content))
            name = entry.get(1, b"").decode()
            if name.startswith(PREFIX):
                found[name] = entry.get(2, b"").decode()
    return found


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field of a protobuf message that has one of some length; others are passed over."""
    place = 0
    while place < len(content):
        key, place = _number(content, place)
        kind = key & 7
        if kind == 0:
            _, place = _number(content, place)
        elif kind == 2:
            length, place = _number(content, place)
            if place + length > len(content):
                raise ValueError("it breaks off")
            yield key >> 3, content[place : place + length]
            place += length
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError("it is no protobuf")


def _number(content: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it."""
    number = shift = 0
    while place < len(content) and shift < 64:
        byte = content[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return number, place
    raise ValueError("it breaks off")


def as_taken(pictures: NDArray[Any], contract: Contract) -> NDArray[Any]:
    """Pictures as a file takes them: (N, H, W, 3) uint8, or (N, C, H, W) float32."""
    if contract.inputs == "pixels":
        return pictures
    return np.ascontiguousarray(as_fed(pictures, contract.preprocessing).transpose(0, 3, 1, 2))


class Network:
    """A file that linnet exported; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._contract, self._session = contract, session_of(path, threads=threads or 0)

    def prepare(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """See `linnet.export.shipped.Network`."""
        return as_taken(pictures, self._contract)

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`; detections as TFLite's files give them, one picture at a time."""
        if self._contract.ends != "detections":
            outputs = [np.asarray(output) for output in self._session.run(None, {INPUT: inputs})]
            # Maps have their channels first there.
            return tuple(each.transpose(0, 2, 3, 1) if each.ndim == 4 else each for each in outputs)
        rows = [self._session.run(None, {INPUT: inputs[number : number + 1]}) for number in range(len(inputs))]
        return tuple(np.concatenate(column) for column in zip(*rows, strict=True))
