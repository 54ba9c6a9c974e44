"""Boxes of labelme: one json file a picture, beside it, with shapes."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_of
from linnet.data.places import Place, is_picture_name
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
    if not path.stat().st_size:
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
    found: list[tuple[str, Part | None]] = []
    for level in place.base.walk():
        words = os.path.relpath(level.path, place.base.path).split(os.sep)
        part = next((told for told in map(part_of, words) if told is not None), None)
        found += [(level.join(name), part) for name in level.ending(".json")]
    some = any(part is not None for _, part in found)
    missing = 0
    for path, part in found:
        document = _document(Path(path))
        if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
            if isinstance(document, str):
                reading.flaws.append(Flaw("malformed", path, document))
            continue
        known.append(Path(path))
        if some and part is None:
            continue
        picture = _picture_of(path, document, place)
        missing += not os.path.isfile(picture)
        objects = _objects(document["shapes"], picture, reading)
        sides = [document.get(f"image{side}") for side in ("Width", "Height")]
        whole = [side for side in sides if isinstance(side, int) and side > 0]
        size = (whole[0], whole[1]) if len(whole) == 2 else None
        reading.annotated.append(Annotated(File(picture), part or "train", size, objects))
    if not reading.annotated or missing == len(reading.annotated):
        first = reading.annotated[0].source.name if reading.annotated else "none"
        raise ValueError(f"'{place}' has labelme's files, but not one of their pictures, such as '{first}'.")
    omit_unlisted(place, reading, known)
    return reading


def _document(path: Path) -> Any:
    """The json of a file; a sentence on what is wrong where it is none."""
    try:
        if path.stat().st_size > LARGEST:
            return f"has more than {LARGEST:,} bytes"
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({str(error).splitlines()[0]})"


def _picture_of(path: str, document: dict[str, Any], place: Place) -> str:
    folder, stem = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    told = document.get("imagePath")
    names = [told.replace("\\", "/")] if isinstance(told, str) and told and "\0" not in told else []
    bases = [str(place.images)] if place.images is not None else [folder]
    tried = [os.path.normpath(os.path.join(base, name)) for base in bases for name in names]
    tried += [os.path.join(base, os.path.basename(name)) for base in bases for name in names]
    for base in bases:
        if os.path.isdir(base):
            tried += [
                os.path.join(base, name)
                for name in sorted(os.listdir(base))
                if is_picture_name(name) and os.path.splitext(name)[0] == stem
            ]
    return next((name for name in tried if os.path.isfile(name)), tried[0] if tried else f"{stem}.jpg")


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
