"""Boxes of a COCO json, as COCO, Roboflow, CVAT and FiftyOne write it; or classes, as iNaturalist has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linnet.data.cleaning import find_one_off
from linnet.data.flaws import Flaw
from linnet.data.formats.coco_document import (
    Document,
    Table,
    files_in,
    hashable,
    number_of,
    open_documents,
    said_of_roots,
    shortened,
)
from linnet.data.formats.coco_masks import read_masks
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part
from linnet.data.places import Place
from linnet.data.reading import Annotated, Annotation, Labelled, Reading
from linnet.data.sources import File


def recognise(place: Place) -> str | None:
    """A json file, or a folder with one that has `images` and `annotations`."""
    if place.file is not None:
        return "it is a json file" if place.suffix == ".json" else None
    found = next(iter(files_in(place)), None)
    return None if found is None else f"it has {os.path.relpath(found, str(place.path))}"


def read(place: Place) -> Reading:
    """The pictures and objects that the json files of a place list.

    Where the pictures are looked for: `find_pictures`. Polygons and masks without a box get the box around them. Of
    categories that share a name, each gets its id behind it; one that the others name as theirs above them and that
    nothing is of (Roboflow's root) is no class. Where not one annotation has a box or a mask, the categories are
    classes of whole pictures, as iNaturalist has them.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is no COCO json of objects, or not one of its pictures is there.
    """
    documents = open_documents(place)
    readings = [_read_document(one) for one in documents]
    first = next((one for one, document in zip(readings, documents, strict=True) if document.part == "train"), None)
    reading = Reading(
        labelled=[picture for one in readings for picture in one.labelled],
        annotated=[picture for one in readings for picture in one.annotated],
        # The classes are training's, and what only other parts have comes to light as unknown.
        names=(first or readings[0]).names,
        flaws=[flaw for one in readings for flaw in one.flaws],
        notes=said_of_roots(documents),
    )
    reading.notes += [note for one in readings for note in one.notes]
    reading.flaws += find_one_off(reading.annotated, place.path)
    omit_unlisted(place, reading, [one.path for one in documents])
    return reading


def _read_document(document: Document) -> Reading:
    """What a file tells of its pictures, whose files are found."""
    path, part, tables = document.path, document.part, document.tables
    reading = Reading()
    names = document.classes(reading.flaws)
    reading.names = tuple(names.values())
    boxless = not any("bbox" in entry or "segmentation" in entry for entry in tables["annotations"])
    pictures: dict[Any, Annotated] = {}
    found = document.pictures.found
    for number, file in document.pictures.locate(reading.flaws).items():
        size = document.sizes[number]
        if size is None and not boxless and number in found:
            size = upright_size(file)
        pictures[number] = Annotated(File(file), part, size, [])
    if boxless and tables["annotations"]:
        _read_classes(tables["annotations"], pictures, names, path, part, reading)
        return reading
    without = 0
    for number, entry in enumerate(tables["annotations"]):
        picture = pictures.get(hashable(entry.get("image_id")))
        where = str(path) if picture is None else picture.source.name
        text = f"annotation {entry.get('id', f'no. {number}')}"
        if picture is None:
            reading.flaws.append(Flaw("orphan", where, f"{text} is of the picture {entry.get('image_id')!r}"))
        elif (label := names.get(hashable(entry.get("category_id")))) is None:
            text = f"{text} is of the category {entry.get('category_id')!r}"
            reading.flaws.append(Flaw("unknown_category", where, text))
        elif (box := _box(entry)) is None:
            without += 1
            given = {name: value for name, value in entry.items() if name in ("bbox", "segmentation")}
            reading.flaws.append(Flaw("malformed", where, f"{text} has no box of four numbers: {shortened(given)}"))
        else:
            area = number_of(entry.get("area"))
            crowd = entry.get("iscrowd") in (1, True, "1")
            picture.objects.append(Annotation(box, label, crowd, area if area and area > 0 else None))
    if without and without == len(tables["annotations"]):
        entry = tables["annotations"][0]
        given = {name: value for name, value in entry.items() if name in ("bbox", "segmentation")}
        raise ValueError(
            f"'{path}': not one annotation has a `bbox` of four numbers (x, y, width, height), or a mask; the first "
            f"has {shortened(given)}."
        )
    reading.annotated = list(pictures.values())
    return reading


def _read_classes(
    table: Sequence[Table],
    pictures: dict[Any, Annotated],
    names: dict[Any, str],
    path: Path,
    part: Part,
    reading: Reading,
) -> None:
    """One category for each picture."""
    taken: set[Any] = set()
    for number, entry in enumerate(table):
        picture, label = pictures.get(hashable(entry.get("image_id"))), names.get(hashable(entry.get("category_id")))
        if picture is None or label is None:
            what = "picture" if picture is None else "category"
            value = entry.get("image_id" if picture is None else "category_id")
            raise ValueError(f"'{path}': annotation no. {number} is of the {what} {value!r}, which is not listed.")
        if picture.source.name in taken:
            raise ValueError(f"'{path}' gives '{picture.source.name}' two classes: a picture of a classifier has one.")
        taken.add(picture.source.name)
        reading.labelled.append(Labelled(picture.source, part, label))
    reading.notes.append(f"'{path}' has no boxes: its categories are taken as classes of whole pictures.")


def _box(entry: Table) -> tuple[float, float, float, float] | None:
    box = entry.get("bbox")
    if isinstance(box, dict):
        box = [box.get(side) for side in ("x", "y", "width", "height")]
    if isinstance(box, list) and box:
        values = [value for value in map(number_of, box) if value is not None]
        if len(values) != 4 or len(box) != 4:
            return None
        x, y, width, height = values
        return x, y, x + width, y + height
    return _around(entry.get("segmentation")) if box is None or box == [] else None


def _around(segmentation: Any) -> tuple[float, float, float, float] | None:
    """The box around polygons, each x, y, x, y, …, or around a mask of run lengths."""
    if isinstance(segmentation, dict):
        return _around_mask(segmentation)
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        return None
    across = [number_of(value) for polygon in segmentation for value in polygon[0::2]]
    down = [number_of(value) for polygon in segmentation for value in polygon[1::2]]
    x, y = ([value for value in values if value is not None] for values in (across, down))
    if not x or len(x) != len(across) or not y or len(y) != len(down):
        return None
    return min(x), min(y), max(x), max(y)


def _around_mask(mask: Table) -> tuple[float, float, float, float] | None:
    from faster_coco_eval.core import mask as masks

    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        return None
    try:
        if isinstance(counts, list):
            # The library trusts what it is given.
            if not all(isinstance(run, int) and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
                return None
            mask = masks.frPyObjects(mask, *size)
        elif not isinstance(counts, str) or not counts.isascii():
            return None
        x, y, width, height = (float(side) for side in masks.toBbox(mask))
    except (RuntimeError, ValueError, TypeError):
        return None
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


FORMAT = Format(
    "coco",
    "COCO",
    "detection",
    recognise,
    read,
    (
        (
            "COCO's own",
            "annotations/instances_train2017.json\nannotations/instances_val2017.json\ntrain2017/1.jpg\nval2017/2.jpg",
        ),
        (
            "CVAT's",
            "annotations/instances_Train.json\nannotations/instances_Validation.json\nimages/Train/1.jpg\n"
            "images/Validation/1.jpg",
        ),
        ("FiftyOne's", "labels.json\ndata/1.jpg"),
        ("Roboflow's", "train/_annotations.coco.json\ntrain/1.jpg\nvalid/_annotations.coco.json\nvalid/2.jpg"),
    ),
    images=True,
    also={"segmentation": read_masks},
)
