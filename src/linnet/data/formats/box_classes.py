"""What the classes in tables of boxes are called, and in which order they come: told by tables beside them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from linnet.data.formats.rows import decode_text
from linnet.data.leftovers import class_names
from linnet.data.places import Place
from linnet.data.reading import Reading

NAME_TABLES = ("class-descriptions-boxable.csv", "class-descriptions.csv", "oidv7-class-descriptions-boxable.csv")
"""OpenImages' tables of what its names such as /m/01g317 mean."""

CLASS_TABLES = ("classes.csv", "class_list.csv", "class_mapping.csv")
"""RetinaNet's tables of classes and their numbers."""


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


def meanings_of(place: Place, files: Sequence[Path], reading: Reading) -> dict[str, str]:
    """What OpenImages' names of classes mean, where its table lies near."""
    path = _around(place, files, (*NAME_TABLES, "metadata/classes.csv"))
    if path is None:
        return {}
    found = {name: meaning for name, meaning in _pairs(path) if meaning and name.startswith("/")}
    reading.notes.append(f"'{path}' tells what the classes are called.")
    # Of two that mean the same, the names tell.
    counts = Counter(found.values())
    return {name: meaning if counts[meaning] == 1 else f"{meaning} ({name})" for name, meaning in found.items()}


def order_classes(place: Place, files: Sequence[Path], reading: Reading) -> None:
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
