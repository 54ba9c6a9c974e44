"""What a C file says of itself, in a comment at its end, and the file run again by what that says (`…shipped`)."""

from __future__ import annotations

import base64
import json
import math
import re
import textwrap
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.engine.program import zero_of
from linnet.export.microcontroller.checking import as_numbers, find_compiler, run_source
from linnet.export.microcontroller.layers import BYTE_ZERO
from linnet.images import grey_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.export.contract import Contract

BEGIN, END = "\n/* What linnet verify reads: JSON, compressed, in base 64.\n", "\n */\n"

LARGEST = 1 << 26
"""Bytes of a description that somebody may have changed."""


def comment(contract: Contract) -> str:
    """The comment. Base 64 has nothing that could end it."""
    packed = zlib.compress(json.dumps(contract.documents()).encode(), 9)
    return BEGIN + "\n".join(textwrap.wrap(base64.b64encode(packed).decode(), 116)) + END


def documents(path: Path) -> dict[str, str]:
    """What linnet wrote into a C file; nothing of a file without such a comment.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
    """
    _, begun, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    if not begun:
        return {}
    packed, _, _ = rest.partition(END)
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(packed), LARGEST)
        found: dict[str, str] = json.loads(content)
    except (ValueError, zlib.error):
        raise ValueError("the comment at its end is cut or changed") from None
    return found


class Network:
    """A C file, compiled; see `linnet.export.shipped.Network`."""

    def __init__(self, path: Path, contract: Contract, threads: int | None) -> None:
        self._path, self._contract = path, contract

    def prepare(self, pictures: NDArray[Any]) -> NDArray[np.uint8]:
        """See `linnet.export.shipped.Network`."""
        contract = self._contract.preprocessing
        return grey_of(pictures) if contract is not None and contract.colours == "grey" else pictures

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `linnet.export.shipped.Network`; a ValueError if it is not compiled or does not run."""
        network, scheme, compiler = self._contract.architecture, self._contract.quantisation, find_compiler()
        assert scheme is not None
        assert compiler is not None
        shapes = [network.graph.shape_of(name) for name in network.outputs]
        try:
            found = run_source(compiler, self._files(), [math.prod(shape) for shape in shapes], inputs)
        except ValueError as error:
            raise ValueError(f"'{self._path}' cannot be run here: {error}") from None
        # In the file all is int8.
        moved = zero_of(scheme.dtype) - BYTE_ZERO
        encodings = [scheme.encodings[name] for name in network.outputs]
        return tuple(
            as_numbers(values, each.scale, each.zero + moved).reshape(len(inputs), *shape)
            for values, each, shape in zip(found, encodings, shapes, strict=True)
        )

    def _files(self) -> dict[str, str]:
        """The C file, and the header that it includes."""
        code = self._path.read_text(encoding="utf-8")
        named = re.search(r'^#include "([^"/\\]+)"$', code, re.MULTILINE)
        header = self._path.with_name(named[1]) if named else self._path.with_suffix(".h")
        if not header.is_file():
            raise ValueError(f"its header, '{header.name}', does not lie beside it.")
        return {self._path.name: code, header.name: header.read_text(encoding="utf-8")}
