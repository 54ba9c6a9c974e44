"""A table of files and classes, as spreadsheets, pandas and competitions write it."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

from linnet.data.formats.box_columns import layout_of
from linnet.data.formats.box_table import read_boxes, tables_of_boxes
from linnet.data.formats.format import Format
from linnet.data.formats.rows import (
    DELIMITERS,
    ENDINGS,
    FILE_COLUMNS,
    SPLIT_COLUMNS,
    beginning,
    cell,
    decode_text,
    first_row,
    place_of,
    plain,
)
from linnet.data.leftovers import CLASS_FILE, class_names, omit_rest
from linnet.data.parts import DESCRIBED, PARTS, Part, part_in, part_of
from linnet.data.places import Place, is_picture_name
from linnet.data.reading import Labelled, Reading
from linnet.data.samples import Task
from linnet.data.sources import File

LABEL_FILE = "labels.csv"

NUMBER_COLUMNS = ("class_index", "class_id")
"""Columns of numbers that tell classes apart, where they are there."""

NAME_COLUMNS = ("label", "name", "class", "class_name", "category")
"""Columns that may hold a class's name."""

FOLDERS = ("images", "imgs", "img", "data", *PARTS)
"""Folders beside the table in which a picture is looked for that is not where the row says."""


def recognise(place: Place) -> str | None:
    """A csv or tsv file, or a folder with a labels.csv, or others that have columns of files and classes, or boxes."""
    if place.suffix in ENDINGS:
        return f"it is a {place.suffix[1:]} file"
    if place.folder is not None and LABEL_FILE in place.folder.files:
        return f"it has a {LABEL_FILE}"
    found = _tables(place) or tables_of_boxes(place)
    return f"it has {os.path.relpath(found[0], str(place.path))}" if found else None


def _tables(place: Place) -> list[Path]:
    """The tables directly in a folder that have both columns: labels.csv alone, where it is there."""
    if place.folder is None:
        return []
    named = place.folder.file(LABEL_FILE)
    if named is not None and layout_of(named) is None:
        return [named]
    files = [Path(place.folder.join(name)) for name in place.folder.ending(*ENDINGS)]
    return [file for file in files if _is_complete(file)]


def _is_complete(file: Path) -> bool:
    try:
        return layout_of(file) is None and _Columns(beginning(file)).complete
    except csv.Error:
        return False


def _task(place: Place) -> Task:
    return "detection" if _has_boxes(place) else "classification"


def _has_boxes(place: Place) -> bool:
    """Whether the tables of a place tell boxes; of a folder with tables of both kinds, those of classes are read."""
    return not _tables(place) and bool(tables_of_boxes(place))


def read(place: Place) -> Reading:
    """The rows of the table, and the pictures in its folder that it does not list.

    Of several tables, each has the part that its name tells.

    Raises:
        ValueError: if it has no column of files or of classes, or a row is wrong; with its line.
    """
    if _has_boxes(place):
        return read_boxes(place, tables_of_boxes(place))
    reading = Reading()
    files = [place.file] if place.file is not None else _tables(place)
    if not files:
        raise ValueError(f"'{place}' holds no table of files and classes, or of boxes.")
    parts: dict[Part, Path] = {}
    for file in files:
        part = "train" if len(files) == 1 else part_of(file.stem) or part_in(file.stem)
        if part is None or part in parts:
            what = "no part" if part is None else f"the same part as that of '{parts[part]}'"
            raise ValueError(f"The name of '{file}' tells {what}, beside {len(files) - 1} other tables: name one file.")
        parts[part] = file
    for part, file in parts.items():
        read_rows(file, part, reading)
    if not reading.labelled:
        raise ValueError(f"'{files[0]}' lists no pictures.")
    reading.names = class_names(place.base)
    if place.folder is not None:
        listing = " or ".join(file.name for file in files)
        known = {*map(str, files), place.folder.join(CLASS_FILE)}
        omit_rest(place.folder, reading, known, f"is not listed in {listing}")
    return reading


class _Columns:
    """Which column of a table tells what.

    Attributes:
        names: the columns as they are written.
        file, number, label, split: places of the columns; None for one that is not there.
        delimiter: what stands between two columns.
    """

    def __init__(self, text: str) -> None:
        readings = [(mark, first_row(text, mark)) for mark in DELIMITERS]
        # The usual one for the sentence on what is missing, where none of them gives columns that are known.
        self.delimiter, self.names = next(
            (
                (mark, names)
                for mark, names in readings
                if len(names) > 1 and any(plain(name) in FILE_COLUMNS for name in names)
            ),
            readings[0],
        )
        columns = [plain(name) for name in self.names]
        self.file = place_of(FILE_COLUMNS, columns)
        self.number = place_of(NUMBER_COLUMNS, columns)
        self.label = place_of(NAME_COLUMNS, columns)
        self.split = place_of(SPLIT_COLUMNS, columns)
        rest = [number for number, name in enumerate(columns) if name and number not in (self.file, self.split)]
        if self.number is None and self.label is None and len(rest) == 1 and self.file is not None:
            # Only one column is left, such as `breed`: it is the class.
            self.label = rest[0]

    @property
    def complete(self) -> bool:
        """Whether it is a table of files and classes."""
        return self.file is not None and (self.number is not None or self.label is not None)


def read_rows(path: Path, default: Part, reading: Reading) -> None:
    """Adds the rows of one table: a file, a class by its name or number, and perhaps a part.

    Columns may stand in any order, under any of their usual names, in capitals or not, with `,`, `;`, `|` or tabs
    between them. A file is looked for where the row says; if it is not there, with slashes for backslashes, with the
    ending of a picture, and in folders such as `images`.

    Raises:
        OSError: if the file cannot be read.
        ValueError: as `read`.
    """
    rows: list[tuple[str, Part, str]] = []
    shown: dict[str, set[str]] = {}
    files = _Files(str(path.parent))
    try:
        text, guessed = decode_text(path.read_bytes())
        columns = _Columns(text)
        if not columns.complete or columns.file is None:
            raise ValueError(
                f"'{path}' must have the columns file and label (or class_index); it has "
                f"{', '.join(columns.names) or 'nothing'}."
            )
        key = columns.number if columns.number is not None else columns.label
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=columns.delimiter, skipinitialspace=True)
        next(reader)
        for entry in reader:
            if not entry:
                continue
            place = f"'{path}', line {reader.line_num}"
            file, name = cell(entry, columns.file), cell(entry, key).strip()
            if not file or not name:
                raise ValueError(f"{place}: there is no {'class' if file else 'file'}.")
            written = cell(entry, columns.split)
            part = part_of(written or default)
            if part is None:
                raise ValueError(f"{place}: split is {written!r}; {DESCRIBED} was expected.")
            rows.append((files.find(file), part, name))
            if columns.label is not None:
                shown.setdefault(name, set()).add(cell(entry, columns.label).strip())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as CSV ({error}).") from None
    if guessed:
        reading.notes.append(f"'{path}' is no UTF-8: it is read as Windows-1252.")
    _add(rows, shown, numbers=columns.number is not None, reading=reading)


def _add(rows: list[tuple[str, Part, str]], shown: dict[str, set[str]], *, numbers: bool, reading: Reading) -> None:
    whole = re.compile(r"[0-9]{1,9}(\.0+)?")
    numbered = numbers and all(whole.fullmatch(key) for _, _, key in rows)
    if numbered:
        # pandas writes 1.0 where any row of the column was empty; 01 and 1 are one class.
        rows = [(file, part, str(int(key.partition(".")[0]))) for file, part, key in rows]
        merged: dict[str, set[str]] = {}
        for key, values in shown.items():
            merged.setdefault(str(int(key.partition(".")[0])), set()).update(values)
        shown = merged
    names = {key: next(iter(values)) for key, values in shown.items() if len(values) == 1}
    # Two classes may share a name (ImageNet has two cranes): then the numbers tell them apart.
    if not names or len(set(names.values())) < len(shown) or not all(names.values()):
        names = {key: key for _, _, key in rows}
    if numbered:
        reading.numbers |= {name: int(key) for key, name in names.items()}
    reading.labelled += [Labelled(File(file), part, names[key]) for file, part, key in rows]


class _Files:
    """Where the pictures of a table are; each folder is listed once."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._names: dict[str, frozenset[str]] = {}
        self._stems: dict[str, dict[str, str]] = {}

    def find(self, written: str) -> str:
        """The path of a picture; as it was written where it is not found."""
        exact = str(Path(self.folder, written))
        if self._has(exact):
            return exact
        plain = written.replace("\\", "/")
        tried = [Path(self.folder, below, plain) for below in ("", *FOLDERS)]
        return next((found for path in tried if (found := self._like(str(path))) is not None), exact)

    def _like(self, path: str) -> str | None:
        if self._has(path):
            return path
        folder, name = os.path.split(path)
        if folder not in self._stems:
            pictures = filter(is_picture_name, sorted(self._listed(folder), reverse=True))
            self._stems[folder] = {os.path.splitext(each)[0]: each for each in pictures}
        found = self._stems[folder].get(name)
        return None if found is None else os.path.join(folder, found)

    def _has(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return name in self._listed(folder)

    def _listed(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder or "."))
            except (OSError, ValueError):
                self._names[folder] = frozenset()
        return self._names[folder]


FORMAT = Format(
    "table",
    "table",
    _task,
    recognise,
    read,
    (
        ("A table of files and classes", "labels.csv\nimages/1.jpg\nimages/2.jpg"),
        ("A table for each part", "train.csv\ntest.csv\nimages/1.jpg\nimages/2.jpg"),
        ("A table of boxes (TensorFlow, RetinaNet, OpenImages, x, y, w, h)", "boxes.csv\nimages/1.jpg\nimages/2.jpg"),
        (
            "A table of boxes beside the pictures of each part",
            "train/_annotations.csv\ntrain/1.jpg\nvalid/_annotations.csv\nvalid/2.jpg",
        ),
    ),
    images=True,
)
