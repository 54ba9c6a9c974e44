"""A table of files and classes: labels.csv."""

from __future__ import annotations

import csv
from pathlib import Path

from linnet.data.formats.format import Format
from linnet.data.leftovers import CLASS_FILE, class_names, omit_rest
from linnet.data.parts import DESCRIBED, Part, part_of
from linnet.data.places import Place
from linnet.data.reading import Labelled, Reading
from linnet.data.sources import File

LABEL_FILE = "labels.csv"

NAME_COLUMNS = ("label", "name", "class")
"""Columns that may hold a class's name; `class_index` tells classes apart where it is there."""


def recognise(place: Place) -> str | None:
    """A csv file, or a folder with a labels.csv in it."""
    if place.suffix == ".csv":
        return "it is a csv file"
    if place.folder is not None and LABEL_FILE in place.folder.files:
        return f"it has a {LABEL_FILE}"
    return None


def read(place: Place) -> Reading:
    """The rows of the table, and the pictures in its folder that it does not list.

    Raises:
        ValueError: if it has no column of files or of classes, or a row is wrong; with its line.
    """
    reading = Reading()
    path = place.file or Path(place.base.join(LABEL_FILE))
    read_rows(path, "train", reading)
    if not reading.labelled:
        raise ValueError(f"'{path}' lists no pictures.")
    reading.names = class_names(place.base)
    if place.folder is not None:
        omit_rest(place.folder, reading, {str(path), place.folder.join(CLASS_FILE)}, f"is not listed in {path.name}")
    return reading


def read_rows(path: Path, default: Part, reading: Reading) -> None:
    """Adds the rows of one table: `file`, one of `label`, `name`, `class` or `class_index`, and perhaps `split`."""
    rows: list[tuple[str, Part, str]] = []
    shown: dict[str, set[str]] = {}
    folder = str(path.parent)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = reader.fieldnames or ()
            label = next((name for name in ("class_index", *NAME_COLUMNS) if name in columns), None)
            display = next((name for name in NAME_COLUMNS if name in columns), None)
            if "file" not in columns or label is None:
                raise ValueError(
                    f"'{path}' must have the columns file and label (or class_index); it has "
                    f"{', '.join(columns) or 'nothing'}."
                )
            for entry in reader:
                place = f"'{path}', line {reader.line_num}"
                if not entry["file"] or not (entry[label] or "").strip():
                    raise ValueError(f"{place}: there is no {'class' if entry['file'] else 'file'}.")
                part = part_of(entry.get("split") or default)
                if part is None:
                    raise ValueError(f"{place}: split is {entry['split']!r}; {DESCRIBED} was expected.")
                name = entry[label].strip()
                rows.append((str(Path(folder, entry["file"])), part, name))
                if display is not None:
                    shown.setdefault(name, set()).add((entry[display] or "").strip())
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as CSV ({error}).") from None
    names = {key: next(iter(values)) for key, values in shown.items() if len(values) == 1}
    numbered = label == "class_index" and all(_is_number(key) for _, _, key in rows)
    # Two classes may share a name (ImageNet has two cranes): then the numbers tell them apart.
    if not names or len(set(names.values())) < len(shown) or not all(names.values()):
        names = {key: key for _, _, key in rows}
    if numbered:
        names = {key: str(int(key)) if name == key else name for key, name in names.items()}
        reading.numbers |= {name: int(key) for key, name in names.items()}
    reading.labelled += [Labelled(File(name), part, names[key]) for name, part, key in rows]


def _is_number(text: str) -> bool:
    """Whether this can be a class's number: none has that many digits, and Python refuses to read thousands."""
    return text.isascii() and text.isdecimal() and len(text) < 10


FORMAT = Format(
    "table",
    "table",
    "classification",
    recognise,
    read,
    (("A table of files and classes", "labels.csv\nimages/1.jpg\nimages/2.jpg"),),
)
