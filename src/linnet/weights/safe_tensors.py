"""safetensors files of other people: named tensors, and nothing that says what they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.conversion import Conversion, in_short
from linnet.weights.matching import NotOurs
from linnet.weights.named import Named, checked_content, convert_named, explaining

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_HEADER = 1 << 22
"""Bytes; that of MobileNetV2 has 30,000."""

REAL = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of real numbers → numpy's; bfloat16 is the upper half of a float32."""

WIDTHS = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of the other types, whose numbers are not read."""


def why_not(start: bytes) -> str | None:
    """None if a file begins as safetensors files do: the length of a JSON header, and that header."""
    return None if start[8:9] == b"{" else "not a safetensors file"


def convert(
    source: str | Path, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """Reads the tensors of a PyTorch library into a checkpoint, batch norm unfolded.

    Args:
        source: the file.
        labels: class names, one an output.
        licence: for the provenance.
        url: where the file was published.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged, is linnet's own, or is no MobileNet; the text says what it is instead.
    """
    path = Path(source)
    with explaining(path):
        return convert_named(read_named(path), labels=labels, licence=licence, url=url)


def read_named(path: Path) -> Named:
    """The tensors of a file.

    Raises:
        NotOurs: if it is a checkpoint of linnet.
        ValueError: if it is damaged.
    """
    content = checked_content(path)
    try:
        header, begin = read_header(content)
        tensors: dict[str, NDArray[np.float32]] = {}
        others: dict[str, str] = {}
        for name, entry in header.items():
            if name != "__metadata__":
                values = _values(memoryview(content)[begin:], entry)
                if values is None:
                    others[name] = str(entry["dtype"])
                else:
                    tensors[name] = values
        metadata = header.get("__metadata__")
    except Exception as error:
        # A damaged header leads its reader anywhere.
        raise ValueError(f"'{path}' is damaged: it cannot be read ({in_short(error)}).") from None
    if isinstance(metadata, dict) and "linnet" in metadata:
        raise NotOurs("it is linnet's own checkpoint already, and needs no conversion")
    return Named(path, hashlib.sha256(content).hexdigest(), tensors, others)


def read_header(content: bytes) -> tuple[dict[str, Any], int]:
    """The JSON header, and where the numbers begin."""
    length = int.from_bytes(content[:8], "little")
    if length > LARGEST_HEADER:
        raise ValueError(f"its header has {length} bytes, more than any MobileNet's")
    if length > len(content) - 8:
        raise ValueError("it is cut off within its header")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header, 8 + length


def _values(numbers: memoryview, entry: Any) -> NDArray[np.float32] | None:
    """The numbers of a tensor; None if they are no real ones."""
    kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not all(isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 1 << 40 for side in (*shape, last)):
        raise ValueError("a tensor has a senseless shape")
    count = int(np.prod(shape, dtype=object)) if shape else 1
    width = np.dtype(REAL[kind]).itemsize if kind in REAL else WIDTHS[kind]
    if not 0 <= first <= last <= len(numbers) or last - first != count * width or len(shape) > 8:
        raise ValueError("a tensor does not fit into the file: perhaps it is cut off")
    if kind not in REAL:
        return None
    values = np.frombuffer(numbers[first:last], REAL[kind]).reshape(shape)
    if kind == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
