"""Boxes of a COCO json.

An annotation file may be anything: of one that is no JSON, only its head is read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import PARTS, Part, part_in
from linnet.data.places import Place
from linnet.data.reading import Annotated, Annotation, Reading, find_one_off
from linnet.data.sources import File

PATTERNS = ("annotations/*.json", "instances_*.json", "_annotations.coco.json", "*/_annotations.coco.json")
"""Where the files are, in the order of preference."""

OTHER_TASKS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
"""How COCO's annotation files of other tasks begin."""

HEAD = 1 << 16
"""Bytes of a file that are looked at before the whole is read."""

LARGEST = 4 << 30
"""Bytes. COCO's own training annotations have 450 MB, the largest sets of boxes a few times that."""

LARGEST_NUMBER = 1e9
"""Of a coordinate in pixels."""

TOKEN = re.compile(
    r'[\s,:{}\[\]]|"(?:[^"\\\x00-\x1f]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity'
)

BEGINNING = re.compile(r'\s*\{\s*("|\})')

Table = dict[str, Any]


def recognise(place: Place) -> str | None:
    """A json file, or a folder with one where COCO, Roboflow or CVAT have it, or of any name that begins as COCO's."""
    if place.file is not None:
        return "it is a json file" if place.suffix == ".json" else None
    if not isinstance(place.path, Path):
        return None
    found = next((file for pattern in PATTERNS for file in sorted(place.path.glob(pattern))), None)
    found = found or next(iter(_json_files(place.path)), None)
    return None if found is None else f"it has {found.relative_to(place.path)}"


def read(place: Place) -> Reading:
    """The parts that the json files of a place tell; see `read_coco`."""
    assert isinstance(place.path, Path)
    files: list[tuple[Path, Part]] = [(place.path, "train")] if place.file is not None else _coco_files(place.path)
    readings = [read_coco(file, part, place.images) for file, part in files]
    first = next((one for one in readings if one.annotated and one.annotated[0].part == "train"), readings[0])
    reading = Reading(
        annotated=[picture for one in readings for picture in one.annotated],
        # The classes are training's, and what only other parts have comes to light as unknown.
        names=first.names,
        flaws=[flaw for one in readings for flaw in one.flaws],
    )
    reading.flaws += find_one_off(reading.annotated, place.path)
    omit_unlisted(place, reading, [file for file, _ in files])
    return reading


def read_coco(path: Path, part: Part, images: Path | None = None) -> Reading:
    """The pictures and objects that a COCO json lists.

    Pictures are looked for in `images`, or else beside the file, in `images/` beside it, in `../images`, and where
    COCO itself keeps them (`../train2017` for `instances_train2017.json`). Polygons without a box get the box around
    them. Of categories that share a name, each gets its id behind it.

    Args:
        path: the file.
        part: what its pictures are for.
        images: the folder of the pictures.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no COCO json of objects.
    """
    document = read_json(path)
    tables = {name: _table(document, name, path) for name in ("images", "annotations", "categories")}
    if not tables["images"]:
        raise ValueError(f"'{path}' lists no pictures: `images` is empty.")
    reading = Reading()
    names = _categories(tables["categories"], path, reading.flaws)
    reading.names = tuple(names.values())
    pictures = _pictures(tables["images"], path, part, images)
    boxless = 0
    for number, entry in enumerate(tables["annotations"]):
        picture = pictures.get(_hashable(entry.get("image_id")))
        place = str(path) if picture is None else picture.source.name
        text = f"annotation {entry.get('id', f'no. {number}')}"
        if picture is None:
            reading.flaws.append(Flaw("orphan", place, f"{text} is of the picture {entry.get('image_id')!r}"))
        elif (label := names.get(_hashable(entry.get("category_id")))) is None:
            text = f"{text} is of the category {entry.get('category_id')!r}"
            reading.flaws.append(Flaw("unknown_category", place, text))
        elif (box := _box(entry)) is None:
            boxless += "segmentation" in entry
            reading.flaws.append(Flaw("malformed", place, f"{text} has no `bbox` of four numbers"))
        else:
            area = _number(entry.get("area"))
            crowd = entry.get("iscrowd") in (1, True)
            picture.objects.append(Annotation(box, label, crowd, area if area and area > 0 else None))
    if boxless and boxless == len(tables["annotations"]):
        raise ValueError(
            f"'{path}' has run-length segmentations only: give each annotation its `bbox` (x, y, width, height)."
        )
    reading.annotated = list(pictures.values())
    return reading


def read_json(path: Path) -> Table:
    """A JSON object from a file, refused early where it is none.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON object, or larger than `LARGEST`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(HEAD)
        problem = _problem(start, whole=size <= HEAD)
        if problem is None and size > LARGEST:
            problem = f"it has {size:,} bytes; at most {LARGEST:,} are read"
        content = b"" if problem is not None else start + file.read()
    if problem is None:
        try:
            document = json.loads(content.decode("utf-8-sig"))
            if isinstance(document, dict):
                return document
            problem = "it is no object"
        except (ValueError, RecursionError, MemoryError) as error:
            problem = (str(error) or "it is too large").splitlines()[0]
    raise ValueError(f"'{path}' cannot be read as a COCO json ({problem}).")


def looks_like_coco(path: Path) -> bool:
    """Whether a json file of any name begins as one of COCO's."""
    with path.open("rb") as file:
        start = file.read(HEAD)
    found = [word for word in (b'"images"', b'"annotations"', b'"categories"') if word in start]
    return bool(found) and _problem(start, whole=False) is None


def _problem(start: bytes, whole: bool) -> str | None:
    """What is wrong with the first bytes of a file, if they cannot begin a JSON object."""
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The head may end within a letter.
        if error.start < len(start) - 3 or whole:
            return f"byte {error.start:,} is no UTF-8"
        text = start[: error.start].decode("utf-8-sig")
    if not BEGINNING.match(text):
        return "it is empty" if not start else "it does not begin with an object"
    place = 0
    while match := TOKEN.match(text, place):
        place = match.end()
    # The head may end within a word, the longest of which are run-length codes.
    cut_off = not whole and len(text) - place < (HEAD // 2 if text[place : place + 1] == '"' else 40)
    return None if place == len(text) or cut_off else f"what stands at letter {place:,} is no JSON"


def _table(document: Table, name: str, path: Path) -> list[Table]:
    table = document.get(name)
    if table is None:
        found = ", ".join(list(document)[:8]) or "nothing"
        raise ValueError(f"'{path}' has no `{name}`: a COCO json of objects was expected; it has {found}.")
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        raise ValueError(f"'{path}': `{name}` must be a list of objects.")
    return table


def _hashable(value: Any) -> Any:
    """An id as a key; what cannot be one is no id. Numbers that are written as text are numbers."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _categories(table: Sequence[Table], path: Path, flaws: list[Flaw]) -> dict[Any, str]:
    """Id → name, by rising id; names are made to differ."""
    found: dict[Any, str] = {}
    for entry in table:
        number, name = _hashable(entry.get("id")), entry.get("name")
        if number is None or not isinstance(name, str) or not name.strip():
            raise ValueError(f"'{path}': every category must have an `id` and a `name`; one is {_short(entry)}.")
        if number in found:
            raise ValueError(f"'{path}' has two categories with the id {number!r}.")
        found[number] = name.strip()
    if not found:
        raise ValueError(f"'{path}' has no categories.")
    counts = Counter(found.values())
    for name, count in counts.items():
        if count > 1:
            numbers = [str(number) for number, other in found.items() if other == name]
            flaws.append(Flaw("category_names", str(path), f"{name!r} has the ids {', '.join(numbers)}"))
    ordered = sorted(found, key=lambda number: (isinstance(number, str), number))
    if ordered not in (list(range(len(ordered))), list(range(1, len(ordered) + 1))):
        shown = ", ".join(map(str, ordered[:12])) + " …" * (len(ordered) > 12)
        flaws.append(Flaw("category_ids", str(path), f"the ids are {shown}"))
    return {
        number: found[number] if counts[found[number]] == 1 else f"{found[number]} (id {number})" for number in ordered
    }


def _pictures(table: Sequence[Table], path: Path, part: Part, images: Path | None) -> dict[Any, Annotated]:
    beside = path.parent
    # COCO's own: annotations/instances_train2017.json beside train2017/.
    own = beside.parent / path.stem.rsplit("_", 1)[-1]
    folders = [images] if images is not None else [beside, beside / "images", beside.parent / "images", own]
    told: dict[Any, tuple[str, tuple[int, int] | None]] = {}
    for entry in table:
        number, name = _hashable(entry.get("id")), entry.get("file_name")
        if number is None or not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"'{path}': every picture must have an `id` and a `file_name`; one is {_short(entry)}.")
        if number in told:
            raise ValueError(f"'{path}' has two pictures with the id {number!r}.")
        width, height = (_number(entry.get(side)) for side in ("width", "height"))
        size = (int(width), int(height)) if width and height and min(width, height) >= 1 else None
        told[number] = name.replace("\\", "/"), size
    files = {number: _find(name, folders) for number, (name, _) in told.items()}
    home = next((file.parent for file in files.values() if file is not None), None)
    if home is None:
        looked = ", ".join(f"'{folder}'" for folder in folders)
        raise ValueError(
            f"Not one picture of '{path}' was found, looked for in {looked}: --images FOLDER tells where they are."
        )
    # Of a missing picture, where it would be.
    return {
        number: Annotated(
            File(str(files[number] or home / Path(name).name)), part, size or _own_size(files[number]), []
        )
        for number, (name, size) in told.items()
    }


def _own_size(file: Path | None) -> tuple[int, int] | None:
    return None if file is None else upright_size(file)


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    for folder in folders:
        # Some tools write the path that the file had with them.
        for file in (folder / name, folder / Path(name).name):
            if file.is_file():
                return file
    return None


def _box(entry: Table) -> tuple[float, float, float, float] | None:
    told = entry.get("bbox")
    numbers = [_number(value) for value in told] if isinstance(told, list) else []
    values = [value for value in numbers if value is not None]
    if len(numbers) == len(values) == 4:
        x, y, width, height = values
        return x, y, x + width, y + height
    return _around(entry.get("segmentation")) if told is None else None


def _around(segmentation: Any) -> tuple[float, float, float, float] | None:
    """The box around polygons, each x, y, x, y, …; run-length codes have none."""
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        return None
    across = [_number(value) for polygon in segmentation for value in polygon[0::2]]
    down = [_number(value) for polygon in segmentation for value in polygon[1::2]]
    x, y = ([value for value in values if value is not None] for values in (across, down))
    if not x or len(x) != len(across) or not y or len(y) != len(down):
        return None
    return min(x), min(y), max(x), max(y)


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
    return float(value) if number else None


def _short(entry: Table) -> str:
    text = json.dumps(entry, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _json_files(path: Path) -> list[Path]:
    """Files of any name that begin as a COCO json."""
    return [file for file in sorted(path.glob("*.json")) if file.is_file() and looks_like_coco(file)]


def _coco_files(path: Path) -> list[tuple[Path, Part]]:
    files = sorted({*path.glob("instances_*.json"), *path.glob("annotations/*.json")})
    files = [file for file in files if not file.name.startswith(OTHER_TASKS)]
    instances = [file for file in files if file.name.startswith("instances_")]
    roboflow = sorted({*path.glob("_annotations.coco.json"), *path.glob("*/_annotations.coco.json")})
    files = instances or files or roboflow or _json_files(path)
    named = [(file, part_in(file.parent.name if file in roboflow else file.stem)) for file in files]
    if len(named) == 1:
        return [(files[0], "train")]
    seen: dict[Part, Path] = {}
    for file, part in named:
        if part is None:
            raise ValueError(
                f"The name of '{file}' tells no part (train, val, test) beside {len(files) - 1} others: name one file."
            )
        if part in seen:
            raise ValueError(f"'{seen[part]}' and '{file}' are both for {part}: name one file.")
        seen[part] = file
    return [(seen[part], part) for part in PARTS if part in seen]


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
        ("Roboflow's", "train/_annotations.coco.json\ntrain/1.jpg\nvalid/_annotations.coco.json\nvalid/2.jpg"),
    ),
    images=True,
)
