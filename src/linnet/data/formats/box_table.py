"""Tables with a box in each row: TensorFlow's, RetinaNet's without a header, OpenImages', and of competitions."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from linnet.data.dataset import Flaw
from linnet.data.formats.pictures import PictureList, find_pictures, folders_for
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
from linnet.data.headers import upright_size
from linnet.data.leftovers import class_names, omit_unlisted
from linnet.data.parts import DESCRIBED, Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden, is_picture_name
from linnet.data.reading import Annotated, Annotation, Reading, find_one_off
from linnet.data.sources import File

Kind = Literal["corners", "sides", "centre"]

CLASS_COLUMNS = (
    "class",
    "class_name",
    "label",
    "labelname",
    "label_name",
    "category",
    "name",
    "class_id",
    "category_id",
)

KINDS: tuple[tuple[Kind, tuple[str, str, str, str]], ...] = (
    ("corners", ("xmin", "ymin", "xmax", "ymax")),
    ("corners", ("x_min", "y_min", "x_max", "y_max")),
    ("corners", ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax")),
    ("corners", ("x1", "y1", "x2", "y2")),
    ("corners", ("x0", "y0", "x1", "y1")),
    ("corners", ("left", "top", "right", "bottom")),
    ("centre", ("x_center", "y_center", "width", "height")),
    ("centre", ("xcenter", "ycenter", "width", "height")),
    ("centre", ("cx", "cy", "w", "h")),
    ("sides", ("x", "y", "w", "h")),
    ("sides", ("x", "y", "width", "height")),
    ("sides", ("xmin", "ymin", "width", "height")),
    ("sides", ("bbox_x", "bbox_y", "bbox_width", "bbox_height")),
    ("sides", ("bbox_x", "bbox_y", "bbox_w", "bbox_h")),
    ("sides", ("left", "top", "width", "height")),
)
"""Columns of four numbers, and what they are."""

SIZES = (("image_width", "image_height"), ("img_width", "img_height"), ("width", "height"))

NAME_TABLES = ("class-descriptions-boxable.csv", "class-descriptions.csv", "oidv7-class-descriptions-boxable.csv")
"""OpenImages' tables of what its names such as /m/01g317 mean."""

CLASS_TABLES = ("classes.csv", "class_list.csv", "class_mapping.csv")
"""RetinaNet's tables of classes and their numbers."""

LARGEST_NUMBER = 1e9

DEPTH = 3
"""Folders in which tables are looked for: FiftyOne has train/labels/detections.csv."""


@dataclass(frozen=True)
class Layout:
    """What the columns of a table of boxes are.

    Attributes:
        delimiter: what stands between two columns.
        header: whether the first row names them.
        file: place of the picture's column.
        kind: what the numbers of a box are: two corners, a corner and sides, or the centre and sides.
        box: places of the four numbers, or of the one column that holds them all.
        label: place of the class, if there is one.
        split: place of the part, if there is one.
        size: places of the picture's width and height, if they are there.
        group: place of OpenImages' mark of a box around several objects.
        identified: whether pictures are told without ending, as OpenImages' are, of which few people have all.
    """

    delimiter: str
    header: bool
    file: int
    kind: Kind
    box: tuple[int, ...]
    label: int | None
    split: int | None = None
    size: tuple[int, int] | None = None
    group: int | None = None
    identified: bool = False


def layout_of(path: Path) -> Layout | None:
    """The columns of a table of boxes, by its first lines; None of any other file."""
    text = beginning(path)
    for delimiter in DELIMITERS:
        try:
            names = first_row(text, delimiter)
        except csv.Error:
            return None
        if len(names) > 2 and (found := _named(names, delimiter) or _without_header(names, delimiter)) is not None:
            return found
    return None


def _named(names: Sequence[str], delimiter: str) -> Layout | None:
    columns = [plain(name) for name in names]
    file = place_of(FILE_COLUMNS, columns)
    if file is None:
        return None
    kind: Kind = "sides"
    box: tuple[int, ...] = ()
    for told, sides in KINDS:
        if all(side in columns for side in sides):
            kind, box = told, tuple(columns.index(side) for side in sides)
            break
    else:
        if "bbox" not in columns:
            return None
        box = (columns.index("bbox"),)
    sizes = [(columns.index(w), columns.index(h)) for w, h in SIZES if w in columns and h in columns]
    size = next((pair for pair in sizes if not set(pair) & set(box)), None)
    label = place_of(CLASS_COLUMNS, columns)
    group = place_of(("isgroupof",), columns)
    identified = columns[file] == "imageid"
    return Layout(delimiter, True, file, kind, box, label, place_of(SPLIT_COLUMNS, columns), size, group, identified)


def _without_header(cells: Sequence[str], delimiter: str) -> Layout | None:
    """RetinaNet's: path, x1, y1, x2, y2, class; a picture without objects has the path alone."""
    if len(cells) != 6 or not is_picture_name(os.path.basename(cells[0].replace("\\", "/"))):
        return None
    box = [_number(each) for each in cells[1:5]]
    told = None not in box and cells[5].strip() and _number(cells[5]) is None
    empty = not any(each.strip() for each in cells[1:])
    return Layout(delimiter, False, 0, "corners", (1, 2, 3, 4), 5) if told or empty else None


def tables_of_boxes(place: Place) -> list[Path]:
    """The tables of boxes of a folder: those in it, or else those in the folders below it that are nearest to it."""
    if place.file is not None:
        return [place.file] if place.suffix in ENDINGS and layout_of(place.file) is not None else []
    folder = place.folder
    if folder is None:
        return []
    levels = [folder]
    for _ in range(DEPTH):
        found = [file for level in levels for file in _tables_in(level)]
        if found:
            return found
        levels = [inside for level in levels for name, inside in level.folders.items() if not is_hidden(name)]
    return []


def _tables_in(folder: Folder) -> list[Path]:
    files = [Path(folder.join(name)) for name in folder.ending(*ENDINGS)]
    return [file for file in files if layout_of(file) is not None]


@dataclass
class _Pictured:
    """What the rows of a table tell of one picture."""

    part: Part
    size: tuple[int, int] | None = None
    boxes: list[tuple[int, tuple[float, float, float, float], str, bool]] = field(default_factory=list)
    """Line, four numbers, class, and whether it is a group of objects."""


def read_boxes(place: Place, files: Sequence[Path]) -> Reading:
    """The boxes of the tables. A part is told by a column, by the name of a table's folder, or by its own name.

    Numbers that are all at most 1 are shares of the picture's sides. A row without numbers is of a picture without
    objects.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if two tables are of one part, or not one picture is there.
    """
    reading = Reading()
    parts = _parts_of(files, str(place.base.path))
    lists: list[PictureList] = []
    told: list[dict[str, _Pictured]] = []
    layouts: list[Layout] = []
    meanings = _meanings(place, files, reading)
    for file in files:
        layout = layout_of(file)
        if layout is None:
            raise ValueError(f"'{file}' is no table of boxes, as the others are.")
        pictures, left = _read_rows(file, layout, parts[file], meanings, reading)
        if left:
            reading.notes.append(f"{left:,} rows of '{file}' have no numbers and no file: they are not read.")
        for part in dict.fromkeys(one.part for one in pictures.values()):
            word = file.parent.name if part_of(file.parent.name) == part else part
            folders = folders_for(file, word, place)
            names = {name: _with_ending(name, folders) for name, one in pictures.items() if one.part == part}
            lists.append(PictureList(file, part, names, folders))
            told.append(pictures)
            layouts.append(layout)
    if not lists:
        raise ValueError(f"'{files[0]}' lists no pictures.")
    find_pictures(lists, place)
    for one, pictures, layout in zip(lists, told, layouts, strict=True):
        located, shares = one.locate(reading.flaws), _are_shares(pictures.values())
        absent = [name for name in located if name not in one.found] if layout.identified else []
        if absent:
            text = f"{len(absent):,} of {len(located):,} pictures that '{one.file}' names are not there: left out"
            reading.notes.append(f"{text}, such as '{absent[0]}'.")
        for name, path in located.items():
            if name in one.found or not layout.identified:
                there = name in one.found
                reading.annotated.append(_annotated(pictures[name], path, there, layout, shares, one.part, reading))
    reading.flaws += find_one_off(reading.annotated, place.path)
    _order_classes(place, files, reading)
    omit_unlisted(place, reading, files)
    return reading


def _parts_of(files: Sequence[Path], base: str) -> dict[Path, Part]:
    parts: dict[Path, Part] = {}
    for file in files:
        folders = os.path.relpath(file.parent, base).split(os.sep)
        told = next((each for each in map(part_of, folders) if each is not None), None)
        part = told or part_of(file.stem) or part_in(file.stem)
        if len(files) == 1:
            part = "train"
        if part is None or part in parts.values():
            other = next((each for each, told in parts.items() if told == part), None)
            what = "no part" if other is None else f"the same part as that of '{other}'"
            raise ValueError(f"The name of '{file}' tells {what}, beside {len(files) - 1} other tables: name one file.")
        parts[file] = part
    return parts


def _read_rows(
    path: Path, layout: Layout, default: Part, meanings: dict[str, str], reading: Reading
) -> tuple[dict[str, _Pictured], int]:
    """Name of a picture → what the rows tell of it; and how many tell nothing."""
    pictures: dict[str, _Pictured] = {}
    left = 0
    try:
        text, guessed = decode_text(path.read_bytes())
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=layout.delimiter, skipinitialspace=True)
        if layout.header:
            next(reader)
        for entry in reader:
            if not entry:
                continue
            line, name = reader.line_num, cell(entry, layout.file).strip()
            if not name or "\0" in name:
                left += 1
                continue
            told = cell(entry, layout.split)
            part = part_of(told or default)
            if part is None:
                raise ValueError(f"'{path}', line {line}: split is {told!r}; {DESCRIBED} was expected.")
            picture = pictures.setdefault(name, _Pictured(part))
            if picture.part != part:
                raise ValueError(f"'{path}', line {line}: '{name}' is of {part}, and of {picture.part} before.")
            if layout.size is not None and picture.size is None:
                picture.size = _size(entry, layout.size)
            _add_box(entry, line, layout, picture, name, meanings, reading)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as CSV ({error}).") from None
    if guessed:
        reading.notes.append(f"'{path}' is no UTF-8: it is read as Windows-1252.")
    if layout.label is None:
        reading.notes.append(f"'{path}' tells no classes: all objects are of the class 'object'.")
    return pictures, left


def _add_box(
    entry: Sequence[str],
    line: int,
    layout: Layout,
    picture: _Pictured,
    name: str,
    meanings: dict[str, str],
    reading: Reading,
) -> None:
    cells = [cell(entry, place).strip() for place in layout.box]
    if len(cells) == 4 and layout.delimiter != ",":
        # Where commas stand in numbers, tables have another delimiter.
        cells = [each.replace(",", ".") for each in cells]
    label = "object" if layout.label is None else cell(entry, layout.label).strip()
    if not any(cells):
        # A class alone, as of a row that lost its numbers, is no picture without objects.
        if label and layout.label is not None and label.lower() not in ("none", "background", "nan"):
            reading.flaws.append(Flaw("malformed", name, f"line {line} has a class, but no box"))
        return
    numbers = [_number(each) for each in (re.findall(r"[^\s,;\[\]()]+", cells[0]) if len(cells) == 1 else cells)]
    known = [number for number in numbers if number is not None]
    if len(known) != 4 or len(numbers) != 4 or not label:
        what = "no class" if len(known) == len(numbers) == 4 else f"no box of four numbers: {' '.join(cells)[:60]}"
        reading.flaws.append(Flaw("malformed", name, f"line {line} has {what}"))
        return
    group = cell(entry, layout.group).strip() == "1"
    picture.boxes.append((line, (known[0], known[1], known[2], known[3]), meanings.get(label, label), group))


def _annotated(
    picture: _Pictured, path: str, there: bool, layout: Layout, shares: bool, part: Part, reading: Reading
) -> Annotated:
    size = picture.size or (upright_size(path) if there else None)
    width, height = size or (0, 0)
    objects: list[Annotation] = []
    for line, (a, b, c, d), label, group in picture.boxes:
        if shares:
            if size is None:
                text = f"line {line} tells shares of a picture whose size is not known"
                reading.flaws.append(Flaw("malformed", path, text))
                continue
            a, b, c, d = a * width, b * height, c * width, d * height
        if layout.kind == "sides":
            c, d = a + c, b + d
        elif layout.kind == "centre":
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        objects.append(Annotation((a, b, c, d), label, group))
    return Annotated(File(path), part, size, objects)


def _are_shares(pictures: Iterable[_Pictured]) -> bool:
    """Whether all numbers of a table are at most 1: boxes of one pixel are no objects."""
    numbers = [number for picture in pictures for _, box, _, _ in picture.boxes for number in box]
    return max(map(abs, numbers), default=2) <= 1


def _with_ending(name: str, folders: Sequence[Folder]) -> str:
    """A picture's name that lacks its ending, with the ending of the only file in the folders that is called so."""
    if is_picture_name(os.path.basename(name.replace("\\", "/"))):
        return name
    last = os.path.basename(name.replace("\\", "/"))
    found = {f"{last}{ending}" for folder in folders for ending in _endings(folder).get(last, ())}
    return name[: len(name) - len(last)] + found.pop() if len(found) == 1 else name


@lru_cache(maxsize=64)
def _endings_at(path: str, names: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        stem, ending = os.path.splitext(name)
        found.setdefault(stem, []).append(ending)
    return found


def _endings(folder: Folder) -> dict[str, list[str]]:
    """The pictures of a folder without their endings → these."""
    return _endings_at(folder.path, tuple(folder.pictures()))


def _around(place: Place, files: Sequence[Path], wanted: Sequence[str]) -> Path | None:
    """A file of one of the names, beside a table, above it, or in a folder of the place."""
    near = [folder / name for file in files for folder in (file.parent, file.parent.parent) for name in wanted]
    levels = [] if place.folder is None else [place.folder, *place.folder.folders.values()]
    near += [Path(level.join(name)) for level in levels for name in wanted]
    return next((path for path in near if path.is_file()), None)


def _pairs(path: Path) -> list[tuple[str, str]]:
    """The first two cells of each row."""
    text, _ = decode_text(path.read_bytes())
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    return [(row[0].strip(), row[1].strip()) for row in rows if len(row) >= 2]


def _meanings(place: Place, files: Sequence[Path], reading: Reading) -> dict[str, str]:
    """What OpenImages' names of classes mean, where its table lies near."""
    path = _around(place, files, (*NAME_TABLES, "metadata/classes.csv"))
    if path is None:
        return {}
    found = {name: meaning for name, meaning in _pairs(path) if meaning and name.startswith("/")}
    reading.notes.append(f"'{path}' tells what the classes are called.")
    # Of two that mean the same, the names tell.
    counts = Counter(found.values())
    return {name: meaning if counts[meaning] == 1 else f"{meaning} ({name})" for name, meaning in found.items()}


def _order_classes(place: Place, files: Sequence[Path], reading: Reading) -> None:
    """The classes in the order that a list beside the table tells, or by their numbers."""
    labels = {thing.label for one in reading.annotated for thing in one.objects}
    numbered = all(label.isascii() and label.isdecimal() and len(label) < 10 for label in labels)
    listed = class_names(place.base)
    path = _around(place, files, CLASS_TABLES)
    if path is not None and (pairs := [pair for pair in _pairs(path) if pair[1].isdecimal()]):
        listed = tuple(name for name, _ in sorted(pairs, key=lambda pair: int(pair[1])))
    if listed is None:
        if numbered and labels:
            learnt = {thing.label for one in reading.annotated if one.part == "train" for thing in one.objects}
            reading.names = tuple(sorted(learnt or labels, key=int))
    elif labels <= set(listed):
        reading.names = listed
    elif numbered and all(int(label) < len(listed) for label in labels):
        reading.names = listed
        for one in reading.annotated:
            one.objects[:] = [thing._replace(label=listed[int(thing.label)]) for thing in one.objects]


def _size(entry: Sequence[str], places: tuple[int, int]) -> tuple[int, int] | None:
    width, height = (_number(cell(entry, place)) for place in places)
    return (int(width), int(height)) if width and height and min(width, height) >= 1 else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER else None
