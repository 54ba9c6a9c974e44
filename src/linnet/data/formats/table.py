"""A table of files and classes, as spreadsheets, pandas and competitions write it."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

from linnet.data.formats.format import Format
from linnet.data.leftovers import CLASS_FILE, class_names, omit_rest
from linnet.data.parts import DESCRIBED, PARTS, Part, part_in, part_of
from linnet.data.places import Place, is_picture_name
from linnet.data.reading import Labelled, Reading
from linnet.data.sources import File

LABEL_FILE = "labels.csv"

ENDINGS = (".csv", ".tsv")

FILE_COLUMNS = (
    *("file", "filename", "file_name", "image", "path", "filepath", "file_path", "image_path", "image_name", "img"),
    *("image_id", "id"),
)
"""Columns that may tell the picture, in lower case, in the order in which they are looked for."""

NUMBER_COLUMNS = ("class_index", "class_id")
"""Columns of numbers that tell classes apart, where they are there."""

NAME_COLUMNS = ("label", "name", "class", "class_name", "category")
"""Columns that may hold a class's name."""

SPLIT_COLUMNS = ("split", "set", "subset", "partition")

BOX_COLUMNS = frozenset({"xmin", "xmax", "ymin", "ymax", "x_min", "x_max", "y_min", "y_max", "bbox"})

DELIMITERS = ",;\t|"

HEADER = 4096
"""Bytes of a file that are looked at, to tell whether it is such a table."""

FOLDERS = ("images", "imgs", "img", "data", *PARTS)
"""Folders beside the table in which a picture is looked for that is not where the row says."""


def recognise(place: Place) -> str | None:
    """A csv or tsv file, or a folder with a labels.csv, or others that have columns of files and of classes."""
    if place.suffix in ENDINGS:
        return f"it is a {place.suffix[1:]} file"
    if place.folder is not None and LABEL_FILE in place.folder.files:
        return f"it has a {LABEL_FILE}"
    found = _tables(place) or _tables_of_boxes(place)
    return f"it has {os.path.relpath(found[0], str(place.path))}" if found else None


def _tables(place: Place) -> list[Path]:
    """The tables directly in a folder that have both columns: labels.csv alone, where it is there."""
    if place.folder is None:
        return []
    named = place.folder.file(LABEL_FILE)
    files = [Path(place.folder.join(name)) for name in place.folder.ending(*ENDINGS)]
    return [named] if named is not None else [file for file in files if _Columns.of(file).complete]


def _tables_of_boxes(place: Place) -> list[Path]:
    """Tables of boxes in a folder and directly below it, which are not read."""
    levels = [] if place.folder is None else [place.folder, *place.folder.folders.values()]
    files = [Path(level.join(name)) for level in levels for name in level.ending(*ENDINGS)[:3]]
    return [file for file in files if _Columns.of(file).boxes]


def read(place: Place) -> Reading:
    """The rows of the table, and the pictures in its folder that it does not list.

    Of several tables, each has the part that its name tells.

    Raises:
        ValueError: if it has no column of files or of classes, or a row is wrong; with its line.
    """
    reading = Reading()
    files = [place.file] if place.file is not None else _tables(place)
    if not files:
        _refuse_boxes(_tables_of_boxes(place)[0] if _tables_of_boxes(place) else place.path)
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


def _refuse_boxes(path: object) -> None:
    raise ValueError(
        f"'{path}' is a table of boxes, which is not read: a COCO json and the files of Pascal VOC and YOLO are, and "
        "most tools that write such a table write them too."
    )


class _Columns:
    """Which column of a table tells what.

    Attributes:
        names: the columns as they are written.
        file, number, label, split: places of the columns; None for one that is not there.
        boxes: whether it tells boxes.
        delimiter: what stands between two columns.
    """

    def __init__(self, text: str) -> None:
        readings = [(mark, _first_row(text, mark)) for mark in DELIMITERS]
        # The usual one for the sentence on what is missing, where none of them gives columns that are known.
        self.delimiter, self.names = next(
            (
                (mark, names)
                for mark, names in readings
                if len(names) > 1 and any(_plain(name) in FILE_COLUMNS for name in names)
            ),
            readings[0],
        )
        plain = [_plain(name) for name in self.names]
        self.file = _place_of(FILE_COLUMNS, plain)
        self.number = _place_of(NUMBER_COLUMNS, plain)
        self.label = _place_of(NAME_COLUMNS, plain)
        self.split = _place_of(SPLIT_COLUMNS, plain)
        self.boxes = len(BOX_COLUMNS & set(plain)) >= 2 or "bbox" in plain
        rest = [number for number, name in enumerate(plain) if name and number not in (self.file, self.split)]
        if self.number is None and self.label is None and len(rest) == 1 and self.file is not None:
            # Only one column is left, such as `breed`: it is the class.
            self.label = rest[0]

    @classmethod
    def of(cls, path: Path) -> _Columns:
        """Of a file's first line; without columns where it cannot be read."""
        try:
            with path.open("rb") as file:
                text, _ = _decode(file.read(HEADER), whole=False)
            return cls(text)
        except (csv.Error, UnicodeDecodeError, OSError):
            return cls("")

    @property
    def complete(self) -> bool:
        """Whether it is a table of files and classes."""
        return self.file is not None and (self.number is not None or self.label is not None) and not self.boxes


def _first_row(text: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True), [])


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _place_of(accepted: Sequence[str], names: Sequence[str]) -> int | None:
    return next((names.index(name) for name in accepted if name in names), None)


def _decode(content: bytes, *, whole: bool = True) -> tuple[str, bool]:
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
        text, guessed = _decode(path.read_bytes())
        columns = _Columns(text)
        if columns.boxes:
            _refuse_boxes(path)
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
            file, name = _cell(entry, columns.file), _cell(entry, key).strip()
            if not file or not name:
                raise ValueError(f"{place}: there is no {'class' if file else 'file'}.")
            written = _cell(entry, columns.split)
            part = part_of(written or default)
            if part is None:
                raise ValueError(f"{place}: split is {written!r}; {DESCRIBED} was expected.")
            rows.append((files.find(file), part, name))
            if columns.label is not None:
                shown.setdefault(name, set()).add(_cell(entry, columns.label).strip())
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


def _cell(entry: Sequence[str], place: int | None) -> str:
    return entry[place] if place is not None and place < len(entry) else ""


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
    "classification",
    recognise,
    read,
    (
        ("A table of files and classes", "labels.csv\nimages/1.jpg\nimages/2.jpg"),
        ("A table for each part", "train.csv\ntest.csv\nimages/1.jpg\nimages/2.jpg"),
    ),
)
