"""Numpy arrays as constants of C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW = 64
"""Bytes of a line of weights. Compilers read strings twenty times as fast as lists of numbers."""

OCTAL = np.frombuffer("".join(f"\\{value:03o}" for value in range(256)).encode(), np.uint8).reshape(256, 4)
"""Each byte as C writes it in a string."""


def bytes_array(name: str, values: NDArray[np.int8]) -> str:
    """`static const int8_t name[][ROW]`: the values one after the other, and zeros up to the end of the last row."""
    flat = values.ravel().view(np.uint8)
    rows = -(-flat.size // ROW)
    padded = np.zeros(rows * ROW, np.uint8)
    padded[: flat.size] = flat
    lines = np.empty((rows, 4 * ROW + 6), np.uint8)
    lines[:, :3] = np.frombuffer(b'  "', np.uint8)
    lines[:, 3:-3] = OCTAL[padded].reshape(rows, -1)
    lines[:, -3:] = np.frombuffer(b'",\n', np.uint8)
    return f"static const int8_t {name}[{rows}][{ROW}] = {{\n{lines.tobytes().decode()}}};\n"


def byte_rows(size: int) -> int:
    """Bytes of flash of an array of so many."""
    return -(-size // ROW) * ROW


def numbers_array(kind: str, name: str, values: NDArray[Any]) -> str:
    """`static const kind name[]` of whole numbers or of float32, each exactly."""
    texts = [number(value) for value in values.tolist()]
    return f"static const {kind} {name}[{len(texts)}] = {{\n{_wrapped(texts)}}};\n"


def pairs_array(kind: str, name: str, first: NDArray[Any], second: NDArray[Any]) -> str:
    """The same of structures of two whole numbers."""
    texts = [f"{{{one}, {other}}}" for one, other in zip(first.tolist(), second.tolist(), strict=True)]
    return f"static const {kind} {name}[{len(texts)}] = {{\n{_wrapped(texts)}}};\n"


def number(value: float) -> str:
    """A whole number, or a float32 with nine digits: those say which one it is."""
    if isinstance(value, int):
        # The least number of 32 bits cannot be written as one of them.
        return str(value) if value > -(2**31) else "(-2147483647 - 1)"
    return f"{value:.8e}f"


def _wrapped(texts: list[str]) -> str:
    lines, line = [], " "
    for text in texts:
        if len(line) + len(text) + 2 > 120:
            lines.append(line)
            line = " "
        line += f" {text},"
    return "\n".join([*lines, line, ""])
