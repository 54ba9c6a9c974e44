"""Boxes of CVAT for images: one annotations.xml with all pictures."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from linnet.data.flaws import Flaw
from linnet.data.formats.format import Format
from linnet.data.formats.pictures import PictureList, find_pictures, folders_for
from linnet.data.formats.voc import read_xml
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_in, part_of
from linnet.data.places import Folder, Place
from linnet.data.reading import Annotated, Annotation, Reading
from linnet.data.sources import File

LARGEST = 1 << 30
"""Bytes of a file, which tells all pictures."""

CORNERS = ("xtl", "ytl", "xbr", "ybr")


def recognise(place: Place) -> str | None:
    """An XML file whose root is `annotations`, with pictures in it; or a folder with one."""
    found = _file_of(place)
    return None if found is None else f"{found.name} has the pictures of CVAT for images"


def _file_of(place: Place) -> Path | None:
    if place.file is not None:
        files = [place.file] if place.suffix == ".xml" else []
    else:
        folder: Folder | None = place.folder
        files = [] if folder is None else [Path(folder.join(name)) for name in folder.ending(".xml")]
    return next((file for file in files if _begins_as_cvat(file)), None)


def _begins_as_cvat(file: Path) -> bool:
    with file.open("rb") as opened:
        return b"<annotations" in opened.read(4096)


def read(place: Place) -> Reading:
    """Boxes, and the boxes around polygons, polylines, points, ellipses and masks; `subset` or the path tells the part.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no XML, or not one picture is there.
    """
    file = _file_of(place)
    if file is None:
        raise ValueError(f"'{place}' holds no annotations.xml of CVAT.")
    root = read_xml(file, LARGEST)
    if isinstance(root, str):
        raise ValueError(f"'{file}' {root}.")
    images = list(root.iterfind("image"))
    if not images and root.find("track") is not None:
        raise ValueError(
            f"'{file}' has tracks of a film and no pictures (CVAT for video): export it as CVAT for images, or as COCO."
        )
    parts = [_part_of(image) for image in images]
    some = any(part is not None for part in parts)
    groups: dict[tuple[str, Part], list[int]] = {}
    for number, (image, part) in enumerate(zip(images, parts, strict=True)):
        if part is not None or not some:
            groups.setdefault((image.get("subset") or "", part or "train"), []).append(number)
    lists = [
        PictureList(
            file, part, {number: _name_of(images[number]) for number in numbers}, folders_for(file, subset, place)
        )
        for (subset, part), numbers in groups.items()
    ]
    if not lists:
        raise ValueError(f"'{file}' lists no pictures.")
    find_pictures(lists, place)
    reading = Reading()
    for one in lists:
        for number, path in one.locate(reading.flaws).items():
            sides = [_number(images[number].get(side)) for side in ("width", "height")]
            size = (int(sides[0]), int(sides[1])) if sides[0] and sides[1] else None
            reading.annotated.append(Annotated(File(path), one.part, size, _objects(images[number], path, reading)))
    left = len(images) - len(reading.annotated)
    if left:
        reading.notes.append(f"{left:,} pictures of '{file}' are of no part, while others are: they are not read.")
    if root.find("track") is not None:
        reading.notes.append(f"'{file}' has tracks of a film: only its pictures are read.")
    omit_unlisted(place, reading, [file])
    return reading


def _part_of(image: Element) -> Part | None:
    subset = image.get("subset") or ""
    words = (image.get("name") or "").replace("\\", "/").split("/")[:-1]
    return part_of(subset) or part_in(subset) or next((part for part in map(part_of, words) if part is not None), None)


def _name_of(image: Element) -> str:
    return (image.get("name") or "").replace("\0", "")


def _objects(image: Element, picture: str, reading: Reading) -> list[Annotation]:
    objects = []
    for number, shape in enumerate(image, start=1):
        if shape.tag == "tag":
            continue
        box, label = _box(shape), (shape.get("label") or "").strip()
        if box is None or not label:
            reading.flaws.append(
                Flaw("malformed", picture, f"shape {number} ({shape.tag}) has no label, or no corners")
            )
        else:
            objects.append(Annotation(box, label))
    return objects


def _box(shape: Element) -> tuple[float, float, float, float] | None:
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (_number(shape.get(key)) for key in ("cx", "cy", "rx", "ry"))
        known = cx is not None and cy is not None and rx is not None and ry is not None
        return (cx - rx, cy - ry, cx + rx, cy + ry) if known else None  # type: ignore[operator]
    if shape.tag == "mask":
        told = [_number(shape.get(key)) for key in ("left", "top", "width", "height")]
        sides = [value for value in told if value is not None]
        return (sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3]) if len(sides) == 4 else None
    if shape.tag == "box":
        values = [_number(shape.get(corner)) for corner in CORNERS]
    else:
        pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair.strip()]
        across, down = ([_number(pair[at]) if len(pair) == 2 else None for pair in pairs] for at in (0, 1))
        x, y = ([value for value in each if value is not None] for each in (across, down))
        values = [min(x), min(y), max(x), max(y)] if x and len(x) == len(y) == len(pairs) else [None]
    corners = [value for value in values if value is not None]
    return (corners[0], corners[1], corners[2], corners[3]) if len(corners) == 4 else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) <= 1e9 else None


FORMAT = Format(
    "cvat",
    "CVAT for images",
    "detection",
    recognise,
    read,
    (("One file of all pictures", "annotations.xml\nimages/1.jpg\nimages/2.jpg"),),
    images=True,
)
