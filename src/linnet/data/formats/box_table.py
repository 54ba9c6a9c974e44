"""Tables with a box in each row: TensorFlow's, RetinaNet's without a header, OpenImages', and of competitions."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from linnet.data.cleaning import find_one_off
from linnet.data.flaws import Flaw
from linnet.data.formats.box_classes import meanings_of, order_classes
from linnet.data.formats.box_columns import Layout, layout_of, number_of
from linnet.data.formats.pictures import PictureList, find_pictures, folders_for
from linnet.data.formats.rows import (
    ENDINGS,
    cell,
    decode_text,
)
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import DESCRIBED, Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden, is_picture_name
from linnet.data.reading import Annotated, Annotation, Reading
from linnet.data.sources import File

DEPTH = 3
"""Folders in which tables are looked for: FiftyOne has train/labels/detections.csv."""


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
    meanings = meanings_of(place, files, reading)
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
    order_classes(place, files, reading)
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
    numbers = [number_of(each) for each in (re.findall(r"[^\s,;\[\]()]+", cells[0]) if len(cells) == 1 else cells)]
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


def _size(entry: Sequence[str], places: tuple[int, int]) -> tuple[int, int] | None:
    width, height = (number_of(cell(entry, place)) for place in places)
    return (int(width), int(height)) if width and height and min(width, height) >= 1 else None
