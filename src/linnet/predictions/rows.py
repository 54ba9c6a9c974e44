"""A picture's result as a row: `file`, `label`, `index`, `score`, `top`, `boxes` or `classes`, `error`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linnet.files import describe_failure
from linnet.results import Classification, Detections, Segmentation
from linnet.results import top as best

if TYPE_CHECKING:
    import pyarrow as arrow

    from linnet.results import Result

LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "classification": (Classification.column, ("label", "index", "score")),
    "detection": (Detections.column, ("label", "index", "score", "box")),
    "segmentation": (Segmentation.column, ("label", "index", "share")),
}
"""Task → the column of everything that was found, and what it has of each; the other columns have the best of it, or
the largest class, and as a segmenter's score the mean probability of all places' best classes."""

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
    kinds = {
        "file": arrow.string(),
        "label": arrow.string(),
        "index": arrow.int32(),
        "score": arrow.float32(),
        "share": arrow.float64(),
        "box": arrow.list_(arrow.float32(), 4),
        "error": arrow.string(),
    }
    column, entries = LISTS[task]
    kinds[column] = arrow.list_(arrow.struct([(name, kinds[name]) for name in entries]))
    names = ("file", "label", "index", "score", column, "error")
    return arrow.schema([(name, kinds[name]) for name in names], metadata)


def row_of(name: str, result: Result | Exception, top: int | None) -> Row:
    """The row of a picture; of one that could not be read everything but its name and the error is empty.

    Args:
        name: of the picture.
        result: what `Predictor.stream` gave.
        top: entries of the list that are kept; None takes five classes, or all objects.
    """
    row: Row = {"file": name, "label": None, "index": None, "score": None, "error": None}
    if isinstance(result, Exception):
        return row | {"error": " ".join(describe_failure(result).split()) or type(result).__name__}
    found = best(result, top)
    first = {"label": found[0].label, "index": found[0].index, "score": result.score} if found else {}
    return row | first | {result.column: [vars(each) for each in found]}


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
