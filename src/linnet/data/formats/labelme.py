"""Boxes of labelme: one json file a picture, beside it, with shapes."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from linnet.data.flaws import Flaw
from linnet.data.formats.format import Format
from linnet.data.formats.pictures import PictureList, find_pictures
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_of
from linnet.data.places import Folder, Place, list_folder
from linnet.data.reading import Annotated, Annotation, Reading
from linnet.data.sources import File

LARGEST = 200 << 20
"""Bytes of a file, which may hold its picture too."""

LOOKED_AT = 3
"""Files of a folder that are looked into, to tell whether they are labelme's."""


def recognise(place: Place) -> str | None:
    """A folder with json files that have `shapes`."""
    if place.folder is None:
        return None
    for level in place.folder.walk():
        for name in level.ending(".json")[:LOOKED_AT]:
            path = Path(level.join(name))
            document = _document(path) if _names_shapes(path) else None
            if isinstance(document, dict) and isinstance(document.get("shapes"), list):
                return f"{os.path.relpath(level.join(name), place.folder.path)} has shapes"
    return None


def _names_shapes(path: Path) -> bool:
    """Whether a file has the word in it: a COCO json of half a gigabyte is not read for nothing."""
    if not 0 < path.stat().st_size <= LARGEST:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b'"shapes"') >= 0


def read(place: Place) -> Reading:
    """Rectangles, and the boxes around all other shapes; a word of the path tells the part.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if not one picture is there.
    """
    reading, known = Reading(), list[Path]()
    documents: dict[str, dict[str, Any]] = {}
    groups: dict[tuple[str, Part | None], dict[Any, str]] = {}
    levels: dict[str, Folder] = {}
    for level in place.base.walk():
        words = os.path.relpath(level.path, place.base.path).split(os.sep)
        part = next((each for each in map(part_of, words) if each is not None), None)
        pictures = {os.path.splitext(name)[0]: name for name in level.pictures()}
        for name in level.ending(".json"):
            path = level.join(name)
            document = _document(Path(path))
            if isinstance(document, dict) and isinstance(document.get("shapes"), list):
                known.append(Path(path))
                documents[path], levels[level.path] = document, level
                groups.setdefault((level.path, part), {})[path] = _name_of(document, level, name, pictures)
            elif isinstance(document, str):
                reading.flaws.append(Flaw("malformed", path, document))
    some = any(part is not None for _, part in groups)
    left = [path for (_, part), names in groups.items() if some and part is None for path in names]
    if left:
        reading.notes.append(
            f"{len(left):,} json files lie in no folder of a part and are not read, such as '{left[0]}'."
        )
    lists = [
        # Of two that name one picture, the one that is called as it comes first.
        PictureList(
            Path(folder),
            part or "train",
            dict(sorted(names.items(), key=lambda pair: _stem(pair[0]) != _stem(pair[1]))),
            _folders_of(levels[folder], place),
        )
        for (folder, part), names in groups.items()
        if part is not None or not some
    ]
    if not lists:
        raise ValueError(f"'{place}' holds no json files with shapes, as labelme writes them.")
    find_pictures(lists, place)
    if not any(one.found for one in lists):
        lists[0].locate(reading.flaws)
    for one in lists:
        for path, picture in sorted(one.locate(reading.flaws).items() if one.found else _absent(one)):
            document = documents[path]
            sides = [document.get(f"image{side}") for side in ("Width", "Height")]
            whole = [side for side in sides if isinstance(side, int) and side > 0]
            size = (whole[0], whole[1]) if len(whole) == 2 else None
            objects = _objects(document["shapes"], picture, reading)
            reading.annotated.append(Annotated(File(picture), one.part, size, objects))
    omit_unlisted(place, reading, known)
    return reading


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _folders_of(level: Folder, place: Place) -> list[Folder]:
    return [level, place.base] if place.images is None else [list_folder(place.images)]


def _absent(one: PictureList) -> Iterator[tuple[str, str]]:
    """Files of a folder that has none of its pictures, and where they would be."""
    for path, name in one.names.items():
        yield path, os.path.join(one.file, os.path.basename(name.replace("\\", "/")) or name)


def _document(path: Path) -> Any:
    """The json of a file; a sentence on what is wrong where it is none."""
    try:
        if path.stat().st_size > LARGEST:
            return f"has more than {LARGEST:,} bytes"
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({str(error).splitlines()[0]})"


def _name_of(document: dict[str, Any], level: Folder, name: str, pictures: Mapping[str, str]) -> str:
    """The picture that is named, or else the one that is called as the json file: many are renamed together."""
    named, stem = document.get("imagePath"), os.path.splitext(name)[0]
    plain = named.replace("\\", "/").replace("\0", "") if isinstance(named, str) else ""
    there = plain and os.path.normpath(plain) in level.files
    return plain if there or ("/" in plain and stem not in pictures) else pictures.get(stem, plain or f"{stem}.jpg")


def _objects(shapes: list[Any], picture: str, reading: Reading) -> list[Annotation]:
    objects = []
    for number, shape in enumerate(shapes, start=1):
        label = shape.get("label") if isinstance(shape, dict) else None
        points = shape.get("points") if isinstance(shape, dict) else None
        try:
            x, y = zip(*((float(x), float(y)) for x, y in points or ()), strict=True)
        except (TypeError, ValueError):
            x = y = ()
        if not isinstance(label, str) or not label.strip() or not x:
            reading.flaws.append(Flaw("malformed", picture, f"shape {number} has no label, or no points"))
            continue
        if shape.get("shape_type") == "circle" and len(x) == 2:
            # Its centre, and a point on it.
            radius = ((x[0] - x[1]) ** 2 + (y[0] - y[1]) ** 2) ** 0.5
            x, y = (x[0] - radius, x[0] + radius), (y[0] - radius, y[0] + radius)
        objects.append(Annotation((min(x), min(y), max(x), max(y)), label.strip()))
    return objects


FORMAT = Format(
    "labelme",
    "labelme",
    "detection",
    recognise,
    read,
    (("A json file beside each picture", "1.jpg\n1.json\n2.jpg\n2.json"),),
    images=True,
)
