"""Parquet: the bytes of a picture, and its class or the objects on it, in each row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from linnet.data.columns import BOX_KEYS, CLASS_KEYS, SUFFIX, Table, has_objects, read_table
from linnet.data.flaws import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import CLASS_FILE, class_names, omit_files, omit_folder
from linnet.data.parts import DESCRIBED, Part, part_of
from linnet.data.places import Folder, Place
from linnet.data.reading import Annotated, Annotation, Labelled, Reading
from linnet.data.samples import Task
from linnet.data.sources import ParquetRow


def recognise(place: Place) -> str | None:
    """A Parquet file, or a folder with some in it, or in `data` as the datasets library has them."""
    if place.suffix == SUFFIX:
        return "it is a Parquet file"
    folder = _folder(place)
    if folder is None:
        return None
    return f"it has {os.path.relpath(folder.join(folder.ending(SUFFIX)[0]), str(place.path))}"


def _folder(place: Place) -> Folder | None:
    """The folder that the files lie in."""
    levels = [] if place.folder is None else [place.folder, *filter(None, [place.folder.below("data")])]
    return next((level for level in levels if level.ending(SUFFIX)), None)


def read(place: Place) -> Reading:
    """The rows of one file, or of several whose names begin with their parts.

    Raises:
        ValueError: if a name tells no part, or a file has no such columns.
    """
    reading = Reading()
    files: list[tuple[Path, Part]] = [(place.file, "train")] if place.file is not None else _files(place)
    for file, part in files:
        _read_rows(file, part, reading)
    if not reading.labelled and not reading.annotated:
        raise ValueError(f"'{place}' holds no pictures.")
    if place.folder is not None:
        reading.names = reading.names or class_names(place.folder)
        own = _folder(place)
        known = {file.name for file, _ in files} | {CLASS_FILE}
        for level in (place.folder, own) if own is not None and own is not place.folder else (place.folder,):
            omit_files(level, reading, "lies beside the Parquet files", known=known)
            for folder in level.folders.values():
                if folder is not own:
                    omit_folder(folder, reading, "lies beside the Parquet files")
    elif place.file is not None:
        reading.names = reading.names or class_names(place.base)
    return reading


def _files(place: Place) -> list[tuple[Path, Part]]:
    folder = _folder(place) or place.base
    names = folder.ending(SUFFIX)
    if len(names) == 1:
        return [(Path(folder.join(names[0])), "train")]
    found: list[tuple[Path, Part]] = []
    for name in names:
        part = _part_of_name(name)
        if part is None:
            raise ValueError(f"'{place}': the name of {name} does not begin with a part ({DESCRIBED}).")
        found.append((Path(folder.join(name)), part))
    return found


def _part_of_name(name: str) -> Part | None:
    stem = name.lower().removesuffix(SUFFIX)
    return part_of(stem) or part_of(stem.partition("-")[0]) or part_of(stem.partition("_")[0])


def _read_rows(path: Path, part: Part, reading: Reading) -> None:
    table = read_table(path)
    if table.objects is not None:
        _read_objects(table, table.objects, part, reading)
        return
    names = table.names
    distinct = names is not None and len(set(names)) == len(names)
    for number, label in enumerate(table.labels):
        name = str(label)
        if isinstance(label, int):
            if names is not None and not 0 <= label < len(names):
                raise ValueError(f"'{path}', row {number}: the class is {label}; the file names {len(names)}.")
            # Of two classes that share a name, the numbers tell.
            name = names[label] if names is not None and distinct else name
            reading.numbers[name] = label
        reading.labelled.append(Labelled(ParquetRow(path, number), part, name))
    if reading.names is None and names is not None and distinct:
        reading.names = names


def _read_objects(table: Table, rows: Sequence[Any], part: Part, reading: Reading) -> None:
    """The objects of each row: x, y, width and height in pixels, as COCO and the datasets of the hub have them."""
    path, names = table.path, table.names
    if names is not None and len(set(names)) < len(names):
        raise ValueError(f"'{path}' gives two classes of objects one name.")
    annotated: list[Annotated] = []
    for number, row in enumerate(rows):
        source = ParquetRow(path, number)
        told = table.sizes[number] if table.sizes is not None else (None, None)
        whole = [side for side in told if isinstance(side, int) and side > 0]
        size = (whole[0], whole[1]) if len(whole) == 2 else _size_of(source)
        objects = []
        for place, one in enumerate(_each(row), start=1):
            box, label = _numbers(_first(one, BOX_KEYS)), _first(one, CLASS_KEYS)
            if isinstance(label, int) and not isinstance(label, bool) and names is not None:
                if not 0 <= label < len(names):
                    text = f"object {place} is of the class {label}; the file names {len(names)}"
                    reading.flaws.append(Flaw("unknown_category", source.name, text))
                    continue
                label = names[label]
            if box is None or label is None or str(label) == "":
                what = "no class" if box is not None else "no box of four numbers"
                reading.flaws.append(Flaw("malformed", source.name, f"object {place} has {what}"))
                continue
            area, crowd = one.get("area"), one.get("iscrowd") in (1, True)
            known = float(area) if isinstance(area, int | float) and area > 0 else None
            objects.append(Annotation(box, str(label), crowd, known))
        annotated.append(Annotated(source, part, size, objects))
    _put_in_pixels(annotated, path, reading)
    reading.annotated += annotated
    if reading.names is None and names is not None:
        reading.names = names


def _size_of(source: ParquetRow) -> tuple[int, int] | None:
    try:
        return upright_size(source.picture)
    except ValueError:
        # Of an empty row, the check says so.
        return None


def _each(row: Any) -> Iterator[dict[str, Any]]:
    """The objects of a row, which has them one by one, or as lists of what each of them has."""
    if isinstance(row, dict):
        lists = {key: values for key, values in row.items() if isinstance(values, list)}
        for number in range(max(map(len, lists.values()), default=0)):
            yield {key: values[number] for key, values in lists.items() if number < len(values)}
    elif isinstance(row, list):
        yield from (one for one in row if isinstance(one, dict))


def _first(one: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((one[key] for key in keys if one.get(key) is not None), None)


def _numbers(box: Any) -> tuple[float, float, float, float] | None:
    values = [float(value) for value in box if isinstance(value, int | float)] if isinstance(box, list) else []
    return (values[0], values[1], values[2], values[3]) if len(values) == 4 == len(box) else None


def _put_in_pixels(annotated: list[Annotated], path: Path, reading: Reading) -> None:
    """Makes corners of x, y, width and height; of shares, or of corners, where the numbers can be nothing else."""
    told = [(one.size, thing.box) for one in annotated if one.size is not None for thing in one.objects]
    numbers = [number for _, box in told for number in box]
    shares = max(map(abs, numbers), default=2) <= 1
    slack = 1.001 if shares else 1.0
    sides = [((1, 1) if shares else size, box) for size, box in told]
    beyond = sum(x + w > width * slack + 1 or y + h > height * slack + 1 for (width, height), (x, y, w, h) in sides)
    ordered = all(x < x1 <= w + 1 and y < y1 <= h + 1 for (w, h), (x, y, x1, y1) in sides)
    # Of corners, most are further than their picture if they are taken for sides.
    corners = ordered and beyond > len(told) / 5
    if corners:
        reading.notes.append(f"'{path}': boxes are read as two corners; as x, y, width and height, {beyond:,} leave.")
    if shares:
        reading.notes.append(f"'{path}': boxes are read as shares of the sides: no number is above 1.")
    for one in annotated:
        width, height = one.size if shares and one.size is not None else (1, 1)
        for place, thing in enumerate(one.objects):
            a, b, c, d = thing.box
            if not corners:
                c, d = a + c, b + d
            one.objects[place] = thing._replace(box=(a * width, b * height, c * width, d * height))


def _task(place: Place) -> Task:
    folder = _folder(place)
    files = [place.file] if place.file is not None else []
    if folder is not None:
        files = [Path(folder.join(name)) for name in folder.ending(SUFFIX)[:1]]
    return "detection" if any(has_objects(file) for file in files) else "classification"


FORMAT = Format(
    "parquet",
    "Parquet",
    _task,
    recognise,
    read,
    (
        ("Pictures and classes in rows", "train.parquet\ntest.parquet"),
        (
            "As the datasets library has them, with classes or objects",
            "data/train-00000-of-00001.parquet\ndata/test-00000-of-00001.parquet",
        ),
    ),
)
