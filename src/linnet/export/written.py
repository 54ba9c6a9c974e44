"""What an export wrote, and how it compares with linnet's own reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

InputKind = Literal["normalised", "pixels"]
Precision = Literal["float32", "int8"]


@dataclass(frozen=True)
class Export:
    """What was written. `difference` is relative to the largest output; None where the file could not be run here."""

    path: Path
    size_bytes: int
    operators: tuple[str, ...]
    difference: float | None
