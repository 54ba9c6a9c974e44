"""Parquet: the bytes of a picture and its class in each row."""

from __future__ import annotations

import os
from pathlib import Path

from linnet.data.columns import SUFFIX, read_table
from linnet.data.formats.format import Format
from linnet.data.leftovers import CLASS_FILE, class_names, omit_files, omit_folder
from linnet.data.parts import DESCRIBED, Part, part_of
from linnet.data.places import Folder, Place
from linnet.data.reading import Labelled, Reading
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
    if not reading.labelled:
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


FORMAT = Format(
    "parquet",
    "Parquet",
    "classification",
    recognise,
    read,
    (
        ("Pictures and classes in rows", "train.parquet\ntest.parquet"),
        ("As the datasets library has them", "data/train-00000-of-00001.parquet\ndata/test-00000-of-00001.parquet"),
    ),
)
