"""Boxes of a COCO json, as COCO, Roboflow, CVAT and FiftyOne write it; or classes, as iNaturalist has them."""

from __future__ import annotations

import json
import mmap
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import PARTS, Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden, list_folder
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

PICTURE_FOLDERS = ("images", "data", "imgs", "img", "JPEGImages")
"""Where pictures are looked for beside an annotation file and above it."""

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
    """Whether a file has the words of both tables in it, wherever: they may stand in any order."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b'"images"') >= 0 and content.find(b'"annotations"') >= 0


def read(place: Place) -> Reading:
    """The parts that the json files of a place tell; see `read_coco`."""
    assert isinstance(place.path, Path)
    files: list[tuple[Path, Part]] = [(place.path, "train")] if place.file is not None else _parts_of(place)
    readings = [read_coco(file, part, place) for file, part in files]
    first = next((one for one, (_, part) in zip(readings, files, strict=True) if part == "train"), readings[0])
    reading = Reading(
        labelled=[picture for one in readings for picture in one.labelled],
        annotated=[picture for one in readings for picture in one.annotated],
        # The classes are training's, and what only other parts have comes to light as unknown.
        names=first.names,
        flaws=[flaw for one in readings for flaw in one.flaws],
        notes=list(dict.fromkeys(note for one in readings for note in one.notes)),
    )
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


def read_coco(path: Path, part: Part, place: Place | None = None) -> Reading:
    """The pictures and objects that a COCO json lists.

    Where the pictures are looked for: `_Pictures`. Polygons and masks without a box get the box around them. Of
    categories that share a name, each gets its id behind it; one that the others name as theirs above them and that
    nothing is of (Roboflow's root) is no class. Where not one annotation has a box or a mask, the categories are
    classes of whole pictures, as iNaturalist has them.

    Args:
        path: the file.
        part: what its pictures are for.
        place: what was given to `find`.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no COCO json of objects.
    """
    document = read_json(path)
    tables = {name: _table(document, name, path) for name in ("images", "annotations", "categories")}
    if not tables["images"]:
        raise ValueError(f"'{path}' lists no pictures: `images` is empty.")
    reading = Reading()
    categories = _without_root(tables["categories"], tables["annotations"], path, reading)
    names = _categories(categories, path, reading.flaws)
    reading.names = tuple(names.values())
    boxless = not any("bbox" in entry or "segmentation" in entry for entry in tables["annotations"])
    pictures = _pictures(tables["images"], path, part, place or Place(path), reading, sized=not boxless)
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
        elif (box := _box(entry, picture.size)) is None:
            without += 1
            told = {name: value for name, value in entry.items() if name in ("bbox", "segmentation")}
            reading.flaws.append(Flaw("malformed", where, f"{text} has no box of four numbers: {_short(told)}"))
        else:
            area = _number(entry.get("area"))
            crowd = entry.get("iscrowd") in (1, True, "1")
            picture.objects.append(Annotation(box, label, crowd, area if area and area > 0 else None))
    if without and without == len(tables["annotations"]):
        entry = tables["annotations"][0]
        told = {name: value for name, value in entry.items() if name in ("bbox", "segmentation")}
        raise ValueError(
            f"'{path}': not one annotation has a `bbox` of four numbers (x, y, width, height), or a mask; the first "
            f"has {_short(told)}."
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
    if isinstance(value, str) and value.isascii() and len(value) < 19:
        whole, _, rest = value.strip().partition(".")
        if whole.isdecimal() and not rest.strip("0"):
            return int(whole)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _without_root(table: Sequence[Table], annotations: Sequence[Table], path: Path, reading: Reading) -> list[Table]:
    """The categories but for one that others name as theirs above them, and that no annotation is of."""
    used = {_hashable(entry.get("category_id")) for entry in annotations}
    above = {entry.get("supercategory") for entry in table if entry.get("supercategory") != entry.get("name")}
    kept = []
    for entry in table:
        if entry.get("name") in above and _hashable(entry.get("id")) not in used:
            text = f"The category {entry['name']!r} of '{path}' only stands above the others: it is no class."
            reading.notes.append(text)
        else:
            kept.append(entry)
    return kept or list(table)


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


@dataclass
class _Pictures:
    """Where the pictures of an annotation file are.

    Attributes:
        folders: where they are looked for, in this order: first those of the file's own part.
        used: path → id of the entry that it belongs to: no two have one.
    """

    folders: list[Folder]
    used: dict[str, Any] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def find(self, name: str, number: Any) -> str | None:
        """The file of an entry: by its path, then by its last name in one folder after the other, then in any below."""
        spellings = _spellings(name)
        for find in (self._exact, self._by_last_name, self._anywhere):
            for spelling in spellings:
                for path in find(spelling):
                    if self.used.setdefault(path, number) == number:
                        return path
        return None

    def _exact(self, name: str) -> Iterator[str]:
        if os.path.isabs(name) and os.path.isfile(name):
            yield name
        inside, last = os.path.split(name)
        for folder in self.folders:
            parts = [part for part in inside.split("/") if part not in ("", ".")]
            found = folder.below("/".join(parts)) if parts else folder
            if found is not None and last in found.files:
                yield found.join(last)

    def _by_last_name(self, name: str) -> Iterator[str]:
        last = os.path.basename(name)
        return (folder.join(last) for folder in self.folders if last in folder.files)

    def _anywhere(self, name: str) -> Iterator[str]:
        """In any folder below, however the name is spelt, if there is but one."""
        if not self.names:
            for path in dict.fromkeys(path for folder in self.folders for path in folder.all_pictures()):
                self.names.setdefault(_folded(os.path.basename(path)), []).append(path)
        found = self.names.get(_folded(os.path.basename(name)), [])
        return iter(found if len(found) == 1 else ())


def _spellings(name: str) -> list[str]:
    """A name as it stands, and as it was meant: with slashes, without an address around it, in both Unicode forms."""
    plain = name.replace("\\", "/")
    forms = [plain]
    if "://" in plain or "?" in plain or "%" in plain:
        address = urlsplit(plain)
        query = address.query.rpartition("=")[2] if "?" in plain else ""
        forms += [unquote(plain), unquote(address.path.lstrip("/")), *([unquote(query)] if query else [])]
    return list(
        dict.fromkeys(form for each in forms if each for form in (each, normalize("NFC", each), normalize("NFD", each)))
    )


def _folded(name: str) -> str:
    return normalize("NFC", name).casefold()


def _folders_of(path: Path, part: Part, place: Place) -> list[Folder]:
    """The folders where a file's pictures are looked for: its part's own, then beside it, then above."""
    if place.images is not None:
        whole = list_folder(place.images)
        return [*_own(whole, path, part), whole]
    beside, above = _folder_at(path.parent, place), _folder_at(path.parent.parent, place)
    found: list[Folder] = []
    for base in (beside, above):
        holders = [base, *(base.folders[name] for name in PICTURE_FOLDERS if name in base.folders)]
        for holder in holders:
            found += _own(holder, path, part)
    for base in (beside, above):
        found += [base, *(base.folders[name] for name in PICTURE_FOLDERS if name in base.folders)]
    if place.folder is not None and place.folder is not above:
        found.append(place.folder)
    return list({folder.path: folder for folder in found}.values())


def _own(folder: Folder, path: Path, part: Part) -> list[Folder]:
    """The folders in one that are called as the file's part: `train2017`, `Train` of instances_Train.json."""
    own = path.stem.rsplit("_", 1)[-1].lower()
    exact = [inside for name, inside in folder.folders.items() if name.lower() == own]
    return exact or [inside for name, inside in folder.folders.items() if part_of(name) == part and own in ("", part)]


def _folder_at(path: Path, place: Place) -> Folder:
    """A folder, from the listing of the place if it is in that; of others only what is near is listed."""
    if place.folder is not None:
        inside = os.path.relpath(path, place.folder.path)
        if inside == ".":
            return place.folder
        if not inside.startswith("..") and (found := place.folder.below(inside.replace(os.sep, "/"))) is not None:
            return found
    near = Folder(str(path))
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if not entry.is_dir():
                near.files.append(entry.name)
            elif entry.name in PICTURE_FOLDERS or part_in(entry.name) is not None:
                near.folders[entry.name] = list_folder(near.join(entry.name))
    return near


def _pictures(
    table: Sequence[Table], path: Path, part: Part, place: Place, reading: Reading, *, sized: bool
) -> dict[Any, Annotated]:
    """Id → picture; of a missing one, where it would be."""
    told: dict[Any, tuple[str, tuple[int, int] | None]] = {}
    for entry in table:
        number, name = _hashable(entry.get("id")), entry.get("file_name") or entry.get("coco_url")
        if number is None or not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"'{path}': every picture must have an `id` and a `file_name`; one is {_short(entry)}.")
        if number in told:
            raise ValueError(f"'{path}' has two pictures with the id {number!r}.")
        width, height = (_number(entry.get(side)) for side in ("width", "height"))
        size = (int(width), int(height)) if width and height and min(width, height) >= 1 else None
        told[number] = name, size
    pictures = _Pictures(_folders_of(path, part, place))
    files = {number: pictures.find(name, number) for number, (name, _) in told.items()}
    home = next((os.path.dirname(file) for file in files.values() if file is not None), None)
    if home is None:
        looked = ", ".join(f"'{folder.path}'" for folder in pictures.folders)
        name = next(iter(told.values()))[0]
        raise ValueError(
            f"Not one picture of '{path}' was found, looked for in {looked}; the first is '{name}': --images FOLDER "
            "tells where they are."
        )
    result: dict[Any, Annotated] = {}
    claimed = set(pictures.used)
    for number, (name, size) in told.items():
        file = files[number]
        if file is None:
            last = os.path.basename(_spellings(name)[-1]) or name
            expected = os.path.join(home, last)
            if expected in claimed:
                owner = pictures.used[expected]
                text = f"the pictures {owner!r} and {number!r} of '{path.name}' ('{name}') would both be this file"
                reading.flaws.append(Flaw("malformed", expected, text))
                expected = os.path.join(home, f"{last} of picture {number}")
            file = expected
        elif size is None and sized:
            size = upright_size(file)
        result[number] = Annotated(File(file), part, size, [])
    return result


def _box(entry: Table, size: tuple[int, int] | None) -> tuple[float, float, float, float] | None:
    told = entry.get("bbox")
    if isinstance(told, dict):
        told = [told.get(side) for side in ("x", "y", "width", "height")]
    if isinstance(told, list) and told:
        values = [value for value in map(_number, told) if value is not None]
        if len(values) != 4 or len(told) != 4:
            return None
        x, y, width, height = values
        return x, y, x + width, y + height
    return _around(entry.get("segmentation"), size) if told is None or told == [] else None


def _around(segmentation: Any, size: tuple[int, int] | None) -> tuple[float, float, float, float] | None:
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
    if isinstance(value, str) and len(value) < 40:
        try:
            value = float(value)
        except ValueError:
            return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
    return float(value) if number else None


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
        ("Roboflow's", "train/_annotations.coco.json\ntrain/1.jpg\nvalid/_annotations.coco.json\nvalid/2.jpg"),
    ),
    images=True,
)
