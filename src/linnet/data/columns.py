"""The columns of Parquet files: the bytes of a picture, and its class or the objects on it, in each row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

SUFFIX = ".parquet"
LABELS = ("label", "labels", "class_index", "class", "fine_label", "target")
"""Column names that hold the class, in the order in which they are looked for."""


OBJECTS = ("objects", "object", "annotations")
"""Column names that hold the objects of a picture, in the order in which they are looked for."""

BOX_KEYS = ("bbox", "bboxes", "box", "boxes")
CLASS_KEYS = ("category", "categories", "label", "labels", "class", "classes", "category_id", "class_id", "name")
"""What a picture's objects may call their boxes and their classes."""


@dataclass(frozen=True, eq=False)
class Table:
    """A Parquet file of labelled pictures.

    Attributes:
        path: the file.
        pictures: column of encoded pictures; it is kept in memory, and its bytes are shared with worker processes.
        labels: the class of each row, a number or a name; none where there are objects.
        names: class names that the file itself tells; None where it does not.
    """

    path: Path
    pictures: Any
    labels: tuple[int | str, ...]
    names: tuple[str, ...] | None
    objects: tuple[Any, ...] | None = None
    """Of each row what its column of objects has: an object of lists, or a list of objects."""
    sizes: tuple[tuple[Any, Any], ...] | None = None
    """Width and height of each row, where there are such columns."""

    def picture(self, row: int) -> bytes:
        """The encoded picture of a row; a ValueError if there is none."""
        content = self.pictures[row].as_py() if 0 <= row < len(self.pictures) else None
        if not content:
            raise ValueError(f"'{self.path}', row {row}: there is no picture.")
        return bytes(content)


def read_table(path: Path) -> Table:
    """Reads a Parquet file with a column of encoded pictures and one of classes or of objects.

    The pictures are a binary column, or a struct with the field `bytes` as the datasets library writes it. Read once
    and kept, until the file changes.

    Raises:
        OSError: if the file is missing or may not be read.
        ValueError: if it is no Parquet file or has no such columns.
        ModuleNotFoundError: without pyarrow.
    """
    stamp = path.stat()
    return _read(path.resolve(), stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, modified: int, size: int) -> Table:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"'{path}' needs pyarrow: pip install 'linnet[train]'.", name="pyarrow") from None
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"'{path}' cannot be read as Parquet ({str(error).splitlines()[0]}).") from None
    pictures = _pictures(table)
    if pictures is not None and (column := objects_column(table.schema)) is not None:
        sides = [table.column(side).to_pylist() for side in ("width", "height") if side in table.column_names]
        sizes = tuple(zip(*sides, strict=True)) if len(sides) == 2 else None
        names = _names_of_objects(table.schema.metadata or {}, column)
        return Table(path, pictures, (), names, tuple(table.column(column).to_pylist()), sizes)
    label = next((name for name in LABELS if name in table.column_names), None)
    if pictures is None or label is None:
        raise ValueError(
            f"'{path}' must have a column of encoded pictures (binary) and one of classes ({', '.join(LABELS)}); it "
            f"has {', '.join(f'{field.name} ({field.type})' for field in table.schema) or 'none'}."
        )
    labels = tuple(table.column(label).to_pylist())
    if any(not isinstance(value, int | str) or isinstance(value, bool) for value in labels):
        raise ValueError(f"'{path}': the column {label} must hold numbers or names of classes in every row.")
    return Table(path, pictures, labels, _class_names(table.schema.metadata or {}, label))


def objects_column(schema: Any) -> str | None:
    """The column that holds the objects of a picture with their boxes, if there is one."""
    for name in OBJECTS:
        if name in schema.names and any(f"{key}:" in str(schema.field(name).type) for key in BOX_KEYS):
            return name
    return None


def has_objects(path: Path) -> bool:
    """Whether a Parquet file has a column of objects, as its schema tells; False where it cannot be read."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        return False
    try:
        return objects_column(parquet.read_schema(path)) is not None
    except (arrow.ArrowException, OSError):
        return False


def _pictures(table: Any) -> Any:
    found = picture_column(table.schema)
    if found is None:
        return None
    name, inside = found
    column = table.column(name).combine_chunks()
    return column.field(inside) if inside else column


def picture_column(schema: Any) -> tuple[str, str | None] | None:
    """The column that holds encoded pictures, and the field in it where it is a struct; None where there is none."""
    import pyarrow as arrow

    for field in schema:
        if arrow.types.is_binary(field.type) or arrow.types.is_large_binary(field.type):
            return field.name, None
        if arrow.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return field.name, "bytes"
    return None


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Names in the schema: under `class_names`, or as the datasets library describes its features."""
    try:
        if b"class_names" in metadata:
            names = json.loads(metadata[b"class_names"])
        else:
            names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _names_of_objects(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """Names of the classes of objects: the datasets library has them at several depths, by its version."""
    try:
        if b"class_names" in metadata:
            names = json.loads(metadata[b"class_names"])
        else:
            names = _find_names(json.loads(metadata[b"huggingface"])["info"]["features"][column])
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _find_names(features: Any) -> Any:
    """The list `names` below one of the keys of classes, wherever that stands."""
    inside = features if isinstance(features, list) else list(features.values()) if isinstance(features, dict) else []
    if isinstance(features, dict) and isinstance(features.get("names"), list):
        return features["names"]
    ordered = [features[key] for key in CLASS_KEYS if key in features] if isinstance(features, dict) else []
    return next((names for each in (*ordered, *inside) if (names := _find_names(each)) is not None), None)
