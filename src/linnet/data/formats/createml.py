"""Boxes of CreateML: one json list of pictures with centres, widths and heights in pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linnet.data.flaws import Flaw
from linnet.data.formats.format import Format
from linnet.data.formats.pictures import PictureList, find_pictures, folders_for
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import PARTS, Part, part_in, part_of
from linnet.data.places import Place
from linnet.data.reading import Annotated, Annotation, Reading
from linnet.data.sources import File

LARGEST = 1 << 30
"""Bytes of a file."""

SIDES = ("x", "y", "width", "height")


def recognise(place: Place) -> str | None:
    """A json file that is a list of pictures with annotations, or a folder with one in it or one level below."""
    found = next(iter(_files_in(place)), None)
    return None if found is None else f"{found.name} is a list of pictures with annotations"


def _files_in(place: Place) -> list[Path]:
    if place.file is not None:
        files = [place.file] if place.suffix == ".json" else []
    elif place.folder is not None:
        levels = [place.folder, *place.folder.folders.values()]
        files = [Path(level.join(name)) for level in levels for name in level.ending(".json")]
    else:
        files = []
    return [file for file in files if _begins_as_list(file) and _entries(file)]


def _begins_as_list(file: Path) -> bool:
    with file.open("rb") as opened:
        start = opened.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"[") and b'"annotations"' in start


def _entries(file: Path) -> list[dict[str, Any]]:
    """The pictures of a file; none where it is something else."""
    if file.stat().st_size > LARGEST:
        return []
    try:
        document = json.loads(file.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return []
    plain = isinstance(document, list) and all(isinstance(entry, dict) for entry in document)
    return document if plain and any("annotations" in entry for entry in document) else []


def read(place: Place) -> Reading:
    """The pictures of each file; the name of the file or of its folder tells the part.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if two files are of one part, or not one picture is there.
    """
    files = _files_in(place)
    parts: dict[Part, Path] = {}
    for file in files:
        part = part_of(file.parent.name) or part_in(file.stem)
        part = "train" if len(files) == 1 else part
        if part is None or part in parts:
            raise ValueError(f"The name of '{file}' tells no part of its own beside {len(files) - 1} others.")
        parts[part] = file
    order = [part for part in PARTS if part in parts]
    entries = {part: _entries(parts[part]) for part in order}
    lists = [
        PictureList(
            parts[part],
            part,
            {number: _name_of(entry) for number, entry in enumerate(entries[part])},
            folders_for(parts[part], parts[part].parent.name, place),
        )
        for part in order
    ]
    find_pictures(lists, place)
    reading = Reading()
    for one in lists:
        for number, path in one.locate(reading.flaws).items():
            objects = _objects(entries[one.part][number], path, reading)
            size = upright_size(path) if number in one.found else None
            reading.annotated.append(Annotated(File(path), one.part, size, objects))
    omit_unlisted(place, reading, files)
    return reading


def _name_of(entry: dict[str, Any]) -> str:
    values = (entry.get(key) for key in ("image", "imagefilename", "filename"))
    return next((name.replace("\0", "") for name in values if isinstance(name, str)), "")


def _objects(entry: dict[str, Any], picture: str, reading: Reading) -> list[Annotation]:
    objects = []
    annotations = entry.get("annotations")
    for number, one in enumerate(annotations if isinstance(annotations, list) else [], start=1):
        label = one.get("label") if isinstance(one, dict) else None
        sides = one.get("coordinates") if isinstance(one, dict) else None
        values = [sides.get(side) for side in SIDES] if isinstance(sides, dict) else []
        numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        if not isinstance(label, str) or not label.strip() or len(numbers) != len(SIDES):
            text = f"annotation {number} has no label, or no x, y, width and height"
            reading.flaws.append(Flaw("malformed", picture, text))
            continue
        x, y, width, height = numbers
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        objects.append(Annotation(box, label.strip()))
    return objects


FORMAT = Format(
    "createml",
    "CreateML",
    "detection",
    recognise,
    read,
    (("A json file of all pictures of a part", "train/_annotations.createml.json\ntrain/1.jpg"),),
    images=True,
)
