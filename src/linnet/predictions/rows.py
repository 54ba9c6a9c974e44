"""A picture's result as a row: `file`, `label`, `index`, `score`, `top`, `boxes` or `classes`, `error`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linnet.files import describe_failure
from linnet.results import Classification, Detections, Segmentation

if TYPE_CHECKING:
    import pyarrow as arrow

    from linnet.predictor import Result

TOP = 5
"""Classes of a picture that are kept, if not told otherwise."""

LISTS = {"classification": "top", "detection": "boxes", "segmentation": "classes"}
"""Task → the column of everything that was found; the other columns have the best of it, or the largest class, and as a
segmenter's score the mean probability of all places' best classes."""

Row = dict[str, Any]


def schema_of(task: str, metadata: dict[bytes, bytes] | None = None) -> arrow.Schema:
    """The columns of a task's results.

    Raises:
        ValueError: if a task's results are no rows.
        ModuleNotFoundError: without pyarrow.
    """
    import pyarrow as arrow

    if task not in LISTS:
        raise ValueError(f"Results of {task} are not written as rows; those of {' and '.join(LISTS)} are.")
    found = [("label", arrow.string()), ("index", arrow.int32()), ("score", arrow.float32())]
    inside = found + ([("box", arrow.list_(arrow.float32(), 4))] if task == "detection" else [])
    if task == "segmentation":
        inside = [*found[:2], ("share", arrow.float64())]
    columns = [
        ("file", arrow.string()),
        *found,
        (LISTS[task], arrow.list_(arrow.struct(inside))),
        ("error", arrow.string()),
    ]
    return arrow.schema(columns, metadata)


def row_of(name: str, result: Result | Exception, top: int | None) -> Row:
    """The row of a picture; of one that could not be read everything but its name and the error is empty.

    Args:
        name: of the picture.
        result: what `Predictor.stream` gave.
        top: entries of the list that are kept; None takes `TOP` classes, or all objects.
    """
    row: Row = {"file": name, "label": None, "index": None, "score": None, "error": None}
    if isinstance(result, Exception):
        return row | {"error": " ".join(describe_failure(result).split()) or type(result).__name__}
    if isinstance(result, Classification):
        column, listed = "top", [vars(found) for found in result.top(TOP if top is None else top)]
    else:
        column = "boxes" if isinstance(result, Detections) else "classes"
        listed = [vars(found) for found in result.top(top)]
    best = {key: listed[0].get(key) for key in ("label", "index", "score")} if listed else {}
    if isinstance(result, Segmentation):
        best["score"] = result.score
    return row | best | {column: listed}


def table_of(rows: list[Row], schema: arrow.Schema) -> arrow.Table:
    """Rows as a table. Names that are no Unicode, as files may have, are written with what stands for their bytes."""
    import pyarrow as arrow

    try:
        return arrow.Table.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:
        plain = [row | {key: row[key] and written_name(row[key]) for key in ("file", "error")} for row in rows]
        return arrow.Table.from_pylist(plain, schema=schema)


def written_name(name: str) -> str:
    """A picture's name as rows have it: of bytes that are no Unicode, digits that stand for them."""
    return name.encode("utf-8", "backslashreplace").decode()
