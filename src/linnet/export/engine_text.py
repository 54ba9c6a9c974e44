"""Numbers, names and texts as C has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def filled(text: str, fields: Mapping[str, Any]) -> str:
    """A text with `@name@` replaced; braces are C's."""
    for name, value in fields.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def number(value: float) -> str:
    """A whole number, or a single-precision one to the last bit."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{float(np.float32(value)).hex()}f"


def listed(values: Any, *, single: bool = False) -> str:
    """Numbers with commas, some a line."""
    words = [number(float(value)) if single else str(int(value)) for value in values]
    lines = [", ".join(words[start : start + 12]) for start in range(0, len(words), 12)]
    return ",\n    ".join(lines)


def quoted(name: str) -> str:
    """A string of C: its bytes in UTF-8, all but plain ones as octal digits, which always are three."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in name.encode())
    return f'"{"".join(plain)}"'
