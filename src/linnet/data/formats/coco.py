"""Boxes of a COCO json, as COCO, Roboflow, CVAT and FiftyOne write it; or classes, as iNaturalist has them."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.formats.pictures import PictureList, find_pictures, folders_for
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import PARTS, Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden
from linnet.data.reading import Annotated, Annotation, Labelled, Reading, find_one_off
from linnet.data.sources import File

OTHER_TASKS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
"""How COCO's annotation files of other tasks begin."""

LARGEST = 4 << 30
"""Bytes. COCO's own training annotations have 450 MB, the largest sets of boxes a few times that."""

LARGEST_NUMBER = 1e9
"""Of a coordinate in pixels."""

DEPTH = 2
"""Folders below the place in which json files are looked for."""

Table = dict[str, Any]


def recognise(place: Place) -> str | None:
    """A json file, or a folder with one that has `images` and `annotations`."""
    if place.file is not None:
        return "it is a json file" if place.suffix == ".json" else None
    found = next(iter(_files_in(place)), None)
    return None if found is None else f"it has {os.path.relpath(found, str(place.path))}"


def _files_in(place: Place) -> list[Path]:
    """The json files of a folder that have both tables or COCO's own names, but for those of its other tasks."""
    if place.folder is None:
        return []
    found = []
    for folder in _levels(place.folder, DEPTH):
        for name in folder.ending(".json"):
            own = name.startswith("instances") or name.endswith(".coco.json")
            if not name.startswith(OTHER_TASKS) and (own or looks_like_coco(Path(folder.join(name)))):
                found.append(Path(folder.join(name)))
    return found


def _levels(folder: Folder, depth: int) -> Iterator[Folder]:
    yield folder
    for name, inside in folder.folders.items():
        if depth and not is_hidden(name):
            yield from _levels(inside, depth - 1)


def looks_like_coco(path: Path) -> bool:
    """Whether a file begins both tables somewhere: they may stand in any order, and numbers of these names are none."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(re.search(rb'"%s"\s*:\s*\[' % name, content) is not None for name in (b"images", b"annotations"))


@dataclass
class _Document:
    """A file that was opened, and its pictures."""

    path: Path
    part: Part
    tables: dict[str, list[Table]]
    sizes: dict[Any, tuple[int, int] | None]
    pictures: PictureList


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
    assert isinstance(place.path, Path)
    files: list[tuple[Path, Part]] = [(place.path, "train")] if place.file is not None else _parts_of(place)
    documents = [_open(file, part, place) for file, part in files]
    find_pictures([one.pictures for one in documents], place)
    used = {_hashable(entry.get("category_id")) for one in documents for entry in one.tables["annotations"]}
    roots = [_roots(one.tables["categories"], used) for one in documents]
    readings = [_read_document(one, above) for one, above in zip(documents, roots, strict=True)]
    first = next((one for one, (_, part) in zip(readings, files, strict=True) if part == "train"), readings[0])
    reading = Reading(
        labelled=[picture for one in readings for picture in one.labelled],
        annotated=[picture for one in readings for picture in one.annotated],
        # The classes are training's, and what only other parts have comes to light as unknown.
        names=first.names,
        flaws=[flaw for one in readings for flaw in one.flaws],
        notes=[
            f"The category {name!r} only stands above the others: it is no class."
            for name in dict.fromkeys(each for one in roots for each in one)
        ],
    )
    reading.notes += [note for one in readings for note in one.notes]
    reading.flaws += find_one_off(reading.annotated, place.path)
    omit_unlisted(place, reading, [file for file, _ in files])
    return reading


def _parts_of(place: Place) -> list[tuple[Path, Part]]:
    """Each file with its part, which its name or that of its folder tells."""
    files = _files_in(place)
    instances = [file for file in files if file.name.startswith("instances_")]
    files = instances or files
    if not files:
        raise ValueError(f"'{place}' holds no json with `images` and `annotations`.")
    if len(files) == 1:
        return [(files[0], "train")]
    seen: dict[Part, Path] = {}
    for file in files:
        part = part_of(file.parent.name) or part_in(file.stem)
        if part is None:
            raise ValueError(
                f"The name of '{file}' tells no part (train, val, test) beside {len(files) - 1} others: name one file."
            )
        if part in seen:
            raise ValueError(f"'{seen[part]}' and '{file}' are both for {part}: name one file.")
        seen[part] = file
    return [(seen[part], part) for part in PARTS if part in seen]


def _open(path: Path, part: Part, place: Place) -> _Document:
    document = read_json(path)
    tables = {name: _table(document, name, path) for name in ("images", "annotations", "categories")}
    if not tables["images"]:
        raise ValueError(f"'{path}' lists no pictures: `images` is empty.")
    listed = _listed_pictures(tables["images"], path)
    words = path.stem.split("_")
    word = next((each for each in reversed(words) if part_in(each) is not None), words[-1])
    names = {number: name for number, (name, _) in listed.items()}
    pictures = PictureList(path, part, names, folders_for(path, word, place))
    return _Document(path, part, tables, {number: size for number, (_, size) in listed.items()}, pictures)


def _read_document(document: _Document, roots: Collection[str]) -> Reading:
    """What a file tells of its pictures, whose files are found; categories of the names `roots` are no classes."""
    path, part, tables = document.path, document.part, document.tables
    reading = Reading()
    used = {_hashable(entry.get("category_id")) for entry in tables["annotations"]} if roots else set()
    categories = [
        entry for entry in tables["categories"] if entry.get("name") not in roots or _hashable(entry.get("id")) in used
    ]
    names = _categories(categories, path, reading.flaws)
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
        picture = pictures.get(_hashable(entry.get("image_id")))
        where = str(path) if picture is None else picture.source.name
        text = f"annotation {entry.get('id', f'no. {number}')}"
        if picture is None:
            reading.flaws.append(Flaw("orphan", where, f"{text} is of the picture {entry.get('image_id')!r}"))
        elif (label := names.get(_hashable(entry.get("category_id")))) is None:
            text = f"{text} is of the category {entry.get('category_id')!r}"
            reading.flaws.append(Flaw("unknown_category", where, text))
        elif (box := _box(entry)) is None:
            without += 1
            given = {name: value for name, value in entry.items() if name in ("bbox", "segmentation")}
            reading.flaws.append(Flaw("malformed", where, f"{text} has no box of four numbers: {_short(given)}"))
        else:
            area = _number(entry.get("area"))
            crowd = entry.get("iscrowd") in (1, True, "1")
            picture.objects.append(Annotation(box, label, crowd, area if area and area > 0 else None))
    if without and without == len(tables["annotations"]):
        entry = tables["annotations"][0]
        given = {name: value for name, value in entry.items() if name in ("bbox", "segmentation")}
        raise ValueError(
            f"'{path}': not one annotation has a `bbox` of four numbers (x, y, width, height), or a mask; the first "
            f"has {_short(given)}."
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
        picture, label = pictures.get(_hashable(entry.get("image_id"))), names.get(_hashable(entry.get("category_id")))
        if picture is None or label is None:
            what = "picture" if picture is None else "category"
            value = entry.get("image_id" if picture is None else "category_id")
            raise ValueError(f"'{path}': annotation no. {number} is of the {what} {value!r}, which is not listed.")
        if picture.source.name in taken:
            raise ValueError(f"'{path}' gives '{picture.source.name}' two classes: a picture of a classifier has one.")
        taken.add(picture.source.name)
        reading.labelled.append(Labelled(picture.source, part, label))
    reading.notes.append(f"'{path}' has no boxes: its categories are taken as classes of whole pictures.")


def read_json(path: Path) -> Table:
    """A JSON object from a file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON object, or larger than `LARGEST`.
    """
    size = path.stat().st_size
    problem: str | None = "it is empty" if not size else f"it has {size:,} bytes; at most {LARGEST:,} are read"
    if 0 < size <= LARGEST and (problem := _no_text(path)) is None:
        try:
            document = json.loads(path.read_bytes().decode("utf-8-sig"))
            if isinstance(document, dict):
                return document
            problem = "it is no object"
        except UnicodeDecodeError as error:
            problem = f"byte {error.start:,} is no UTF-8"
        except (ValueError, RecursionError, MemoryError) as error:
            problem = (str(error) or "it is too large").splitlines()[0]
    raise ValueError(f"'{path}' cannot be read as a COCO json ({problem}).")


def _no_text(path: Path) -> str | None:
    """What tells at once that a file of any size is no JSON object."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if (zero := content.find(b"\0")) >= 0:
            return f"byte {zero:,} is zero"
        start = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
        return None if start.startswith(b"{") or not start else "it does not begin with an object"


def _table(document: Table, name: str, path: Path) -> list[Table]:
    table = document.get(name)
    if table is None:
        found = ", ".join(list(document)[:8]) or "nothing"
        raise ValueError(f"'{path}' has no `{name}`: a COCO json of objects was expected; it has {found}.")
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        raise ValueError(f"'{path}': `{name}` must be a list of objects.")
    return table


def _hashable(value: Any) -> Any:
    """An id as a key; what cannot be one is no id. 1, 1.0, "1" and "1.0" are one id."""
    if type(value) is int:
        return value
    if isinstance(value, str) and value.isascii() and len(value) < 19:
        whole, _, rest = value.strip().partition(".")
        if whole.isdecimal() and not rest.strip("0"):
            return int(whole)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _roots(table: Sequence[Table], used: Collection[Any]) -> list[str]:
    """Names of the categories that others name as theirs above them, and that no annotation is of."""
    above = {
        name for entry in table if isinstance(name := entry.get("supercategory"), str) and name != entry.get("name")
    }
    names = [entry.get("name") for entry in table if _hashable(entry.get("id")) not in used]
    found = [name for name in names if isinstance(name, str) and name in above]
    return found if len(found) < len(table) else []


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
    numbered = all(isinstance(number, int) for number in ordered)
    if numbered and ordered not in (list(range(len(ordered))), list(range(1, len(ordered) + 1))):
        shown = ", ".join(map(str, ordered[:12])) + " …" * (len(ordered) > 12)
        flaws.append(Flaw("category_ids", str(path), f"the ids are {shown}"))
    return {
        number: found[number] if counts[found[number]] == 1 else f"{found[number]} (id {number})" for number in ordered
    }


def _listed_pictures(table: Sequence[Table], path: Path) -> dict[Any, tuple[str, tuple[int, int] | None]]:
    """Id → its name in the list, and the size (width, height)."""
    listed: dict[Any, tuple[str, tuple[int, int] | None]] = {}
    for entry in table:
        number, name = _hashable(entry.get("id")), entry.get("file_name") or entry.get("coco_url")
        if number is None or not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"'{path}': every picture must have an `id` and a `file_name`; one is {_short(entry)}.")
        if number in listed:
            raise ValueError(f"'{path}' has two pictures with the id {number!r}.")
        width, height = (_number(entry.get(side)) for side in ("width", "height"))
        size = (int(width), int(height)) if width and height and min(width, height) >= 1 else None
        listed[number] = name, size
    return listed


def _box(entry: Table) -> tuple[float, float, float, float] | None:
    box = entry.get("bbox")
    if isinstance(box, dict):
        box = [box.get(side) for side in ("x", "y", "width", "height")]
    if isinstance(box, list) and box:
        values = [value for value in map(_number, box) if value is not None]
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
    across = [_number(value) for polygon in segmentation for value in polygon[0::2]]
    down = [_number(value) for polygon in segmentation for value in polygon[1::2]]
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


def _number(value: Any) -> float | None:
    """A number, also one that is written as text."""
    if type(value) is float or type(value) is int:
        # Most are, of millions.
        return float(value) if -LARGEST_NUMBER <= value <= LARGEST_NUMBER else None
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            return None
        return value if abs(value) <= LARGEST_NUMBER else None
    return None


def _short(entry: Table) -> str:
    text = json.dumps(entry, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


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
)
