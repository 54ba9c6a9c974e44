"""Formats that are folders: what one says of itself lies in it, as `linnet.json`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.export.contract import PREFIX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.architecture import Architecture
    from linnet.export.contract import Contract

DESCRIPTION = "linnet.json"
"""What `linnet verify` reads."""


def description(contract: Contract, format: str) -> bytes:
    """The content of the file: the format's name, and the documents of the contract."""
    documents = {name.removeprefix(PREFIX): json.loads(text) for name, text in contract.documents().items()}
    return json.dumps({"format": format, **documents}).encode()


def format_name(folder: Path) -> str | None:
    """The format that a folder says that it is of; None of a folder that says nothing.

    Raises:
        ValueError: if what it says is damaged.
        OSError: if it cannot be read.
    """
    return None if not (folder / DESCRIPTION).is_file() else str(_read(folder).get("format"))


def check_format(folder: Path, format: str) -> None:
    """Raises a ValueError if a folder is an export of another format, whose description would be written over."""
    there = format_name(folder)
    if there not in (None, format):
        raise ValueError(f"'{folder}' holds an export of the format {there}. Name a new folder.")


def documents(folder: Path) -> dict[str, str]:
    """What linnet wrote into a folder beside its network.

    Raises:
        ValueError: if it is damaged.
        OSError: if it cannot be read.
    """
    return {f"{PREFIX}{name}": json.dumps(value) for name, value in _read(folder).items()}


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / DESCRIPTION).read_bytes())
    except ValueError:
        raise ValueError(f"'{folder / DESCRIPTION}' is damaged: it is no JSON.") from None
    if not isinstance(found, dict):
        raise ValueError(f"'{folder / DESCRIPTION}' is damaged: it says nothing of a network.")
    return found


def outputs_from(rows: NDArray[np.float32], network: Architecture) -> tuple[NDArray[np.float32], ...]:
    """Rows of all numbers that a network gives for some pictures, as its outputs, (N, …) each."""
    shapes = [network.graph.shape_of(name) for name in network.outputs]
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return tuple(
        np.ascontiguousarray(part).reshape(len(rows), *shape)
        for part, shape in zip(np.split(rows, ends, axis=1), shapes, strict=True)
    )
