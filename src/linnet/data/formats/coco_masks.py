"""Masks of a COCO json: its polygons and run lengths, drawn with one class a category and a background."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linnet.data.flaws import Flaw
from linnet.data.formats.coco_document import (
    Document,
    Table,
    hashable,
    number_of,
    open_documents,
    said_of_roots,
    shortened,
)
from linnet.data.formats.mask_coding import BACKGROUND, BACKGROUNDS, Scheme, finish
from linnet.data.headers import size_and_orientation
from linnet.data.leftovers import omit_unlisted
from linnet.data.masks.coding import IGNORED
from linnet.data.masks.shapes import Drawn, Shape
from linnet.data.names import plain
from linnet.data.places import Place
from linnet.data.reading import Masked, Reading
from linnet.data.sources import File


def read_masks(place: Place) -> Reading:
    """The pictures of the json files of a place, and a mask of the objects on each.

    Class 0 is the background, unless a category has this name. Crowds, and objects that have a box but no mask, are
    ignored. Where objects overlap, the smaller one lies on top.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is no COCO json, not one of its pictures is there, or not one object has a mask.
    """
    documents = open_documents(place)
    reading = Reading()
    learnt = next((one for one in documents if one.part == "train"), documents[0])
    names = list(learnt.classes(reading.flaws).values())
    background = next((name for name in names if plain(name) in BACKGROUNDS), None)
    if background is None:
        names = [BACKGROUND, *names]
        reading.notes.append(f"Pixels of no object are the class {BACKGROUND!r}, which has the index 0.")
    else:
        names = [background, *(name for name in names if name != background)]
        reading.notes.append(f"Pixels of no object are the category {background!r}, which has the index 0.")
    scheme = Scheme(list(names), {index: index for index in range(len(names))})
    finish(scheme, place.ignore, str(place))
    reading.names = tuple(scheme.names)
    reading.notes += scheme.notes
    indices = {name: scheme.values[index] for index, name in enumerate(names)}
    masked = 0
    for one in documents:
        masked += _read_document(one, indices, scheme.values[0], reading)
    if not masked:
        first = next((entry for one in documents for entry in one.annotations), {})
        raise ValueError(
            f"'{place}': not one annotation has a `segmentation` of polygons or run lengths; the first is "
            f"{shortened(first)}."
        )
    reading.notes += said_of_roots(documents)
    omit_unlisted(place, reading, [one.path for one in documents])
    return reading


def _read_document(document: Document, indices: Mapping[str, int], background: int, reading: Reading) -> int:
    """The masks of one file; gives how many objects have one."""
    names = document.classes([])
    shapes: dict[Any, list[tuple[float, Shape]]] = {number: [] for number in document.pictures.names}
    masked = 0
    located = document.pictures.locate(reading.flaws)
    sizes = {number: document.sizes[number] or _own_size(file) for number, file in located.items()}
    for number, entry in enumerate(document.annotations):
        text = f"annotation {entry.get('id', f'no. {number}')}"
        key, label = hashable(entry.get("image_id")), names.get(hashable(entry.get("category_id")))
        where = located.get(key, str(document.path))
        if key not in located:
            reading.flaws.append(Flaw("orphan", where, f"{text} is of the picture {entry.get('image_id')!r}"))
        elif label is None or label not in indices:
            what = "is of the category" if label is None else f"is of {label!r}, which training has not: category"
            reading.flaws.append(Flaw("unknown_category", where, f"{text} {what} {entry.get('category_id')!r}"))
        elif (size := sizes[key]) is not None:
            crowd = entry.get("iscrowd") in (1, True, "1")
            made = _shape(entry, IGNORED if crowd else indices[label], size)
            if isinstance(made, Shape):
                masked += 1
                shapes[key].append((_area(entry, made, crowd=crowd), made))
            else:
                reading.flaws.append(Flaw("malformed", where, f"{text} {made}"))
                if (box := _box(entry)) is not None:
                    shapes[key].append((np.inf, Shape(IGNORED, (box,))))
    for key, file in located.items():
        own = [shape for _, shape in sorted(shapes[key], key=lambda one: -one[0])]
        size = sizes[key]
        if background:
            # Class 0 is where nothing is drawn.
            width, height = size or (1, 1)
            own.insert(0, Shape(background, (_corners(0, 0, width, height),)))
        mask = Drawn(f"{file} in {Path(document.path).name}", tuple(own), size or (1, 1))
        reading.masked.append(Masked(File(file), document.part, mask))
    return masked


def _own_size(file: str) -> tuple[int, int] | None:
    found = size_and_orientation(file)
    if found is None:
        return None
    (width, height), turn = found
    return (height, width) if turn in range(5, 9) else (width, height)


def _shape(entry: Table, index: int, size: tuple[int, int]) -> Shape | str:
    """The pixels of an annotation, or what is wrong with it."""
    given = entry.get("segmentation")
    if isinstance(given, dict):
        counts, told = given.get("counts"), given.get("size")
        if told not in ([size[1], size[0]], (size[1], size[0])):
            return f"has run lengths for {told!r} (height, width), but the picture {size[0]} x {size[1]}"
        if isinstance(counts, list) and all(type(run) is int and run >= 0 for run in counts):
            return Shape(index, runs=tuple(counts))
        return Shape(index, runs=counts) if isinstance(counts, str) else "has run lengths that are no list and no text"
    if not isinstance(given, list) or not given:
        return "has no mask: its box is ignored" if entry.get("bbox") else "has no mask"
    lists = given if isinstance(given[0], list) else [given]
    outlines = []
    for outline in lists:
        values = [number_of(value) for value in outline] if isinstance(outline, list) else [None]
        known = [value for value in values if value is not None]
        if len(known) != len(values) or len(known) % 2:
            return f"has a polygon that is no list of x, y, x, y, …: {shortened({'segmentation': given})}"
        if len(known) >= 6:
            outlines.append(np.array(known, np.float32).reshape(-1, 2))
    return Shape(index, tuple(outlines)) if outlines else "has no polygon of three points or more"


def _area(entry: Table, shape: Shape, *, crowd: bool) -> float:
    """By which the larger is drawn before the smaller; crowds come first."""
    if crowd:
        return np.inf
    area = number_of(entry.get("area"))
    if area is None and shape.outlines:
        corners = np.concatenate(shape.outlines)
        area = float(np.prod(np.ptp(corners, axis=0)))
    return area or 0.0


def _box(entry: Table) -> Any:
    box = entry.get("bbox")
    values = [number_of(value) for value in box] if isinstance(box, list) else []
    if len(values) != 4 or None in values:
        return None
    x, y, width, height = (value or 0.0 for value in values)
    return _corners(x, y, x + width, y + height)


def _corners(x0: float, y0: float, x1: float, y1: float) -> Any:
    return np.array(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), np.float32)
