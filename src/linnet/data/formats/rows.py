"""Text with a delimiter between its columns, as spreadsheets, pandas and competitions write it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

ENDINGS = (".csv", ".tsv")

DELIMITERS = ",;\t|"

HEADER = 4096
"""Bytes of a file that are looked at, to tell what kind of table it is."""

FILE_COLUMNS = (
    *("file", "filename", "file_name", "image", "path", "filepath", "file_path", "image_path", "image_name", "img"),
    *("image_id", "imageid", "id"),
)
"""Columns that may tell the picture, in lower case, in the order in which they are looked for."""

SPLIT_COLUMNS = ("split", "set", "subset", "partition")


def first_row(text: str, delimiter: str) -> list[str]:
    """The cells of the first line; none of an empty text."""
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True), [])


def plain(name: str) -> str:
    """A column's name as it is compared."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def place_of(wanted: Sequence[str], names: Sequence[str]) -> int | None:
    """Where the first of the wanted columns stands that is there."""
    return next((names.index(name) for name in wanted if name in names), None)


def cell(entry: Sequence[str], place: int | None) -> str:
    """What a row has in a column; nothing where it ends before."""
    return entry[place] if place is not None and place < len(entry) else ""


def beginning(path: Path) -> str:
    """The first few thousand letters of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return decode_text(file.read(HEADER), whole=False)[0]
    except (UnicodeDecodeError, OSError):
        return ""


def decode_text(content: bytes, *, whole: bool = True) -> tuple[str, bool]:
    """Text in UTF-8, UTF-16, or else Windows-1252; and whether it had to be taken for the last."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        # Half a letter: a line end that another program has added.
        content = content[: len(content) // 2 * 2] if content.endswith(b"\n") or not whole else content
        return content.decode("utf-16"), False
    try:
        return content.decode("utf-8-sig"), False
    except UnicodeDecodeError as error:
        if not whole and error.start > len(content) - 4:
            # The piece that is looked at ends within a letter.
            return content[: error.start].decode("utf-8-sig"), False
        return content.decode("cp1252"), True
