"""What a TFLite file says of itself: normalisation, label files, licence.

The metadata is a flatbuffer of its own (schema `metadata_schema.fbs`, identifier M001) for which no Python package is
kept up; only the few fields needed are read, by their places in the schema.
"""

from __future__ import annotations

from dataclasses import dataclass

import flatbuffers
from flatbuffers.number_types import Float32Flags, UOffsetTFlags
from flatbuffers.table import Table

NORMALIZATION_OPTIONS = 1
"""Number of that type in the union ProcessUnitOptions."""


@dataclass(frozen=True)
class Metadata:
    """Empty fields where the file is silent. `mean` and `std` are in pixel values from 0 to 255."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    label_files: tuple[str, ...] = ()
    licence: str = ""


def read_metadata(content: bytes) -> Metadata:
    """The metadata of a TFLite model; of an empty or foreign buffer an empty one."""
    if content[4:8] != b"M001":
        return Metadata()
    root = Table(content, flatbuffers.encode.Get(UOffsetTFlags.packer_type, content, 0))
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    files: list[str] = []
    for subgraph in _tables(root, 3):
        for tensor in _tables(subgraph, 2):
            for unit in _tables(tensor, 4):
                options = _table(unit, 1)
                if _byte(unit, 0) == NORMALIZATION_OPTIONS and options is not None:
                    mean, std = _floats(options, 0), _floats(options, 1)
        for tensor in _tables(subgraph, 3):
            files += [_text(file, 0) for file in _tables(tensor, 6)]
    return Metadata(mean, std, tuple(files), _text(root, 5))


def _offset(table: Table, place: int) -> int:
    """Where the field at a place of the schema lies in its table; 0 if it is absent."""
    return int(table.Offset(4 + 2 * place))


def _tables(table: Table, place: int) -> list[Table]:
    offset = _offset(table, place)
    if not offset:
        return []
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * number)) for number in range(table.VectorLen(offset))]


def _table(table: Table, place: int) -> Table | None:
    offset = _offset(table, place)
    return Table(table.Bytes, table.Indirect(offset + table.Pos)) if offset else None


def _byte(table: Table, place: int) -> int:
    offset = _offset(table, place)
    return int(table.Bytes[offset + table.Pos]) if offset else 0


def _floats(table: Table, place: int) -> tuple[float, ...]:
    offset = _offset(table, place)
    if not offset:
        return ()
    start = table.Vector(offset)
    return tuple(float(table.Get(Float32Flags, start + 4 * number)) for number in range(table.VectorLen(offset)))


def _text(table: Table, place: int) -> str:
    offset = _offset(table, place)
    return table.String(offset + table.Pos).decode(errors="replace") if offset else ""
