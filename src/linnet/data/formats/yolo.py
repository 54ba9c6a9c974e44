"""Boxes of YOLO: one text file a picture, one line an object: class, centre, width, height, as shares of the sides.

Where the pictures and their text files lie is said by a data.yaml (Ultralytics), by an obj.data (Darknet, CVAT), or by
folders: `images` and `labels` above or below the parts, or both side by side.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden, is_picture_name, list_folder
from linnet.data.reading import Annotated, Annotation, Reading, find_one_off
from linnet.data.sources import File

LARGEST = 10_000_000
"""Bytes of a label file, or of the one that names the classes."""

LARGEST_NUMBER = 1e6
"""Of a coordinate, which is a share."""

MOST_CLASSES = 100_000

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
"""Files of one class name a line."""

NO_LABELS = frozenset({*NAME_FILES, "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "requirements.txt"})
"""Text files that are no picture's."""

KEYS: tuple[tuple[str, Part], ...] = (
    ("train", "train"),
    ("val", "validation"),
    ("valid", "validation"),
    ("validation", "validation"),
    ("test", "test"),
)
"""Entries of a data.yaml or an obj.data that tell where the pictures of a part are."""

LOOKED_AT = 20
"""Text files that are looked into, before pictures with text files beside them are taken for YOLO's."""


@dataclass
class _Layout:
    """Where everything is.

    Attributes:
        pictures: paths, each with the part that it is for, in order.
        names: of the classes, and the file that tells them.
        key_points: numbers behind the box of each line, as `kpt_shape` tells; None where lines may be polygons.
        known: files that were read and are neither pictures nor labels.
        notes: sentences on how it was understood.
    """

    pictures: dict[str, Part] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    key_points: int | None = None
    known: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recognise(place: Place) -> str | None:
    """A data.yaml or an obj.data; `labels` with text files and `images`; or text files of numbers beside pictures."""
    if place.file is not None:
        known = place.suffix in (".yaml", ".yml") and _config_of(place.file) is not None
        return "it is a data.yaml" if known else None
    folder = place.folder
    if folder is None:
        return None
    for name in folder.ending(".yaml", ".yml"):
        if _config_of(Path(folder.join(name))) is not None:
            return f"it has {name}, which names classes or parts"
    if "obj.data" in folder.files or any(name.startswith("obj_") and name.endswith("_data") for name in folder.folders):
        return "it has obj.data or obj_train_data, as CVAT and Darknet write them"
    images = any(name.lower() == "images" for level in folder.walk() for name in level.folders)
    for level in folder.walk():
        texts = _label_names(level)
        if texts and "labels" in _parts_of(folder, level.path) and images:
            return f"it has {os.path.relpath(level.join(texts[0]), folder.path)} and images"
        if texts and _beside(level, texts):
            return f"{os.path.relpath(level.join(texts[0]), folder.path)} tells boxes of the picture beside it"
    return None


def _parts_of(folder: Folder, path: str) -> list[str]:
    return [part.lower() for part in os.path.relpath(path, folder.path).split(os.sep)]


def _label_names(folder: Folder) -> list[str]:
    # A picture may be called train.jpg.
    others = NAME_FILES if "labels" in folder.path.lower().split(os.sep) else NO_LABELS
    return [name for name in folder.ending(".txt") if name.lower() not in others]


def _beside(folder: Folder, texts: Sequence[str]) -> bool:
    """Whether text files have the names of pictures in the same folder, and numbers in them."""
    stems = {name.rpartition(".")[0] for name in folder.pictures()}
    named = [name for name in texts if name[:-4] in stems]
    for name in named[:LOOKED_AT]:
        file = Path(folder.join(name))
        lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n", 1) if _is_small(file) else []
        if lines and lines[0].strip():
            words = lines[0].split()
            return len(words) >= 5 and _class_of(words[0]) is not None and _box(words[1:], 0) is not None
    return False


def _is_small(file: Path) -> bool:
    return file.stat().st_size <= LARGEST


def read(place: Place) -> Reading:
    """The pictures that data.yaml, obj.data or the folders tell, each with the objects of its text file.

    A picture without a text file has no objects. Of a polygon (a class and three points or more) the box around it is
    taken, of key points (`kpt_shape`) the box that stands before them.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if there are no pictures, or the names of the classes cannot be read.
    """
    assert isinstance(place.path, Path)
    if place.images is not None:
        raise ValueError(f"'{place}' is YOLO's: its pictures are looked for in `images` beside `labels` only.")
    layout = _layout_of(place)
    if not layout.pictures:
        raise ValueError(
            f"'{place}' has labels, but no pictures of theirs: they are looked for in images/train or train/images "
            "beside labels, beside the text files, and where data.yaml tells."
        )
    reading = Reading(names=layout.names, notes=layout.notes)
    count = MOST_CLASSES if reading.names is None else len(reading.names)
    highest = -1
    used: set[str] = set()
    shared: list[str] = []
    for picture, part in layout.pictures.items():
        label = _label_of(picture)
        if label is None:
            reading.unlisted.append(picture)
        else:
            shared += [label] if label in used else []
            used.add(label)
        size = upright_size(picture)
        objects = [] if label is None else _objects(Path(label), picture, size, count, layout.key_points, reading.flaws)
        highest = max([highest, *(int(thing.label) for thing in objects)])
        reading.annotated.append(Annotated(File(picture), part, size, objects))
    names = reading.names or tuple(str(number) for number in range(highest + 1))
    reading.names = names
    for one in reading.annotated:
        one.objects[:] = [thing._replace(label=names[int(thing.label)]) for thing in one.objects]
    if shared:
        text = "1 text file tells" if len(shared) == 1 else f"{len(shared):,} text files tell"
        reading.notes.append(f"{text} the boxes of two pictures of one name, such as '{shared[0]}': is one a copy?")
    _tell_orphans(place.base, used, reading)
    reading.flaws += find_one_off(reading.annotated, place.path)
    omit_unlisted(place, reading, layout.known)
    return reading


def _tell_orphans(base: Folder, used: set[str], reading: Reading) -> None:
    """Text files in the folders of used ones, or below a `labels`, that belong to no picture."""
    folders = {os.path.dirname(path) for path in used}
    for level in base.walk():
        if level.path in folders or "labels" in _parts_of(base, level.path):
            for name in _label_names(level):
                if level.join(name) not in used:
                    text = "there is no picture of this name that is read"
                    reading.flaws.append(Flaw("orphan", level.join(name), text))


def _label_of(picture: str) -> str | None:
    """The text file of a picture: below `labels` instead of the last `images`, or beside the picture."""
    stem, parts = os.path.splitext(picture)[0], picture.split(os.sep)
    places = [number for number, part in enumerate(parts[:-1]) if part.lower() == "images"]
    tried = []
    if places:
        for word in ("labels", "Labels"):
            moved = [*parts[: places[-1]], word, *parts[places[-1] + 1 :]]
            tried.append(os.path.splitext(os.sep.join(moved))[0] + ".txt")
    tried += [f"{stem}.txt", os.path.join(os.path.dirname(picture), "labels", os.path.basename(stem) + ".txt")]
    return next((path for path in tried if os.path.isfile(path)), None)


def _layout_of(place: Place) -> _Layout:
    folder = place.base
    yamls = [place.file] if place.file is not None else [Path(folder.join(n)) for n in folder.ending(".yaml", ".yml")]
    configs = [(file, found) for file in yamls if (found := _config_of(file)) is not None]
    layout = _Layout()
    if configs:
        file, config = configs[0]
        layout.known.append(file)
        if len(configs) > 1:
            others = ", ".join(other.name for other, _ in configs[1:])
            layout.notes.append(f"'{file}' tells the classes and parts; {others} would too.")
        _obey(config, file, folder, layout)
    elif "obj.data" in folder.files:
        file = Path(folder.join("obj.data"))
        layout.known.append(file)
        _obey(_darknet_of(file), file, folder, layout)
    if not layout.pictures:
        _look(folder, layout)
    if layout.names is None:
        _find_names(folder, layout)
    return layout


def _config_of(file: Path) -> dict[str, Any] | None:
    """What a data.yaml tells; None of a file that is none.

    Raises:
        ValueError: if it begins like one and is no YAML.
    """
    import yaml

    if not _is_small(file):
        return None
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return None
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if "names:" not in text:
            return None
        reason = " ".join(str(error).split())
        raise ValueError(f"'{file}' cannot be read as YAML ({reason}).") from None
    known = isinstance(document, dict) and any(key in document for key in ("names", "nc", "train", "val"))
    return document if known else None


def _darknet_of(file: Path) -> dict[str, Any]:
    """The entries `train = data/train.txt` of an obj.data."""
    lines = (line.partition("=") for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines())
    return {key.strip(): value.strip() for key, sign, value in lines if sign and key.strip() in dict(KEYS)}


def _obey(config: dict[str, Any], file: Path, folder: Folder, layout: _Layout) -> None:
    """Takes names, key points and the pictures of each part from a data.yaml or an obj.data."""
    layout.names = _names_of(config, file, layout)
    shape = config.get("kpt_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape):
        layout.key_points = shape[0] * shape[1]
    bases = [os.path.dirname(str(file)) or "."]
    if isinstance(config.get("path"), str):
        bases.insert(0, os.path.join(bases[0], config["path"]))
    for key, part in KEYS:
        entries = config.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str) or not entry.strip():
                continue
            found = _resolve(entry.strip().replace("\\", "/"), bases, folder)
            if found is None:
                layout.notes.append(f"'{file}' names '{entry}' as {key}, which is not there: it is not read.")
                continue
            taken = list(_pictures_in(found, layout))
            twice = [picture for picture in taken if layout.pictures.setdefault(picture, part) != part]
            if twice:
                first = layout.pictures[twice[0]]
                text = f"{len(twice):,} pictures that '{file}' names as {key} are {first} already, and stay there"
                layout.notes.append(f"{text}: '{twice[0]}' is the first.")
            if not taken:
                layout.notes.append(f"'{found}', which '{file}' names as {key}, has no pictures.")


def _names_of(config: dict[str, Any], file: Path, layout: _Layout) -> tuple[str, ...] | None:
    names, count = config.get("names"), config.get("nc")
    if isinstance(names, str):
        return None
    if isinstance(names, dict):
        numbers = [int(key) if str(key).isdecimal() else -1 for key in names]
        if sorted(numbers) != list(range(len(numbers))):
            raise ValueError(f"'{file}': the classes under `names` must be numbered 0, 1, 2 …")
        names = [names[key] for _, key in sorted(zip(numbers, names, strict=True), key=lambda pair: pair[0])]
    if not isinstance(names, list) or not names:
        return tuple(map(str, range(count))) if isinstance(count, int) and 0 < count <= MOST_CLASSES else None
    if isinstance(count, int) and count != len(names):
        layout.notes.append(f"'{file}' tells {count} classes (nc) and names {len(names)}: the names are taken.")
    # YAML reads `no` as false and 1 as a number.
    return _different([str(name).strip() for name in names], file)


def _resolve(entry: str, bases: Sequence[str], folder: Folder) -> str | None:
    """What an entry names: below one of the bases, or with parts of it left away at the front, as it was elsewhere."""
    tried = [entry] if os.path.isabs(entry) else [os.path.join(base, entry) for base in bases]
    parts = [part for part in entry.split("/") if part not in ("", ".", "..")]
    tried += [os.path.join(folder.path, *parts[start:]) for start in range(len(parts))]
    return next((os.path.normpath(path) for path in tried if os.path.exists(path)), None)


def _pictures_in(path: str, layout: _Layout) -> Iterator[str]:
    """Pictures in a folder at every level, or those that a list file names, one a line."""
    if os.path.isdir(path):
        yield from (str(Path(picture)) for picture in list_folder(path).all_pictures())
        return
    if is_picture_name(os.path.basename(path)):
        yield str(Path(path))
        return
    layout.known.append(Path(path))
    base, missing = os.path.dirname(path) or ".", 0
    folder = Folder(base)
    first = ""
    for line in Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if not (entry := line.strip().replace("\\", "/")):
            continue
        found = _resolve(entry, [base], folder)
        if found is None or not os.path.isfile(found):
            missing, first = missing + 1, first or entry
        else:
            yield str(Path(found))
    if missing:
        layout.notes.append(f"'{path}' lists {missing:,} pictures that are not there, such as '{first}'.")


def _look(folder: Folder, layout: _Layout) -> None:
    """Pictures of folders: all below `images`, or beside text files; a word of the path tells the part."""
    found: dict[str, Part | None] = {}
    for level in folder.walk():
        words = _parts_of(folder, level.path)
        beside = {name[:-4] for name in _label_names(level)}
        for name in level.pictures():
            if "images" in words or name.rpartition(".")[0] in beside or "labels" in level.folders:
                parts = (part_of(word) or _darknet_part(word) or part_in(word) for word in words)
                found[level.join(name)] = next((part for part in parts if part is not None), None)
    some = any(part is not None for part in found.values())
    layout.pictures = {path: part or "train" for path, part in found.items() if part is not None or not some}


def _darknet_part(word: str) -> Part | None:
    """`obj_train_data` is train."""
    return part_of(word.removeprefix("obj_").removesuffix("_data")) if word.startswith("obj_") else None


def _find_names(folder: Folder, layout: _Layout) -> None:
    """Names from the file of names that is highest up."""
    for level in sorted(folder.walk(), key=lambda level: level.path.count(os.sep)):
        for name in level.files:
            if (name.lower() in NAME_FILES or name.endswith(".names")) and not is_hidden(name):
                file = Path(level.join(name))
                try:
                    lines = file.read_text(encoding="utf-8-sig").splitlines() if _is_small(file) else []
                except UnicodeDecodeError:
                    raise ValueError(f"'{file}' cannot be read as text.") from None
                names = [line.strip() for line in lines if line.strip()]
                if names:
                    layout.known.append(file)
                    layout.names = _different(names, file)
                    return


def _objects(
    file: Path, picture: str, size: tuple[int, int] | None, count: int, key_points: int | None, flaws: list[Flaw]
) -> list[Annotation]:
    """The objects of a label file; their labels are still numbers."""
    if not _is_small(file):
        flaws.append(Flaw("malformed", picture, f"its '{file.name}' has more than {LARGEST:,} bytes"))
        return []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        flaws.append(Flaw("malformed", picture, f"its '{file.name}' is no text"))
        return []
    # Of a picture that cannot be read, the check says so.
    width, height = size or (1, 1)
    objects = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        box, index = _box(words[1:], key_points), _class_of(words[0])
        if box is None or index is None:
            shown = line.strip()[:60]
            expected = "class, x, y, width, height" + f" and {key_points} numbers of key points" * bool(key_points)
            flaws.append(Flaw("malformed", picture, f"line {number} is not {expected}: {shown}"))
        elif index >= count:
            flaws.append(Flaw("unknown_category", picture, f"line {number} is of class {index} of {count:,}"))
        elif size is not None:
            x0, y0, x1, y1 = box
            objects.append(Annotation((x0 * width, y0 * height, x1 * width, y1 * height), str(index)))
    return objects


def _class_of(word: str) -> int | None:
    """A class's number, also as `1.0` or `1.000e+00`."""
    try:
        value = float(word)
    except ValueError:
        return None
    return int(value) if 0 <= value < 1e9 and value == int(value) else None


def _box(words: Sequence[str], key_points: int | None) -> tuple[float, float, float, float] | None:
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    if not all(abs(value) <= LARGEST_NUMBER for value in values):
        return None
    if len(values) == 4 or (key_points and len(values) == 4 + key_points):
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if not key_points and len(values) >= 6 and len(values) % 2 == 0:
        return min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])
    return None


def _different(names: Sequence[str], file: Path) -> tuple[str, ...]:
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise ValueError(
            f"'{file}' gives two classes the name {twice!r}: rename one, or merge them in the label files."
        )
    return tuple(names)


FORMAT = Format(
    "yolo",
    "YOLO",
    "detection",
    recognise,
    read,
    (
        (
            "Parts below images and labels",
            "data.yaml\nimages/train/1.jpg\nlabels/train/1.txt\nimages/val/2.jpg\nlabels/val/2.txt",
        ),
        ("Images and labels below the parts", "data.yaml\ntrain/images/1.jpg\ntrain/labels/1.txt"),
        ("Parts as data.yaml tells them", "data.yaml\nimages/2023/1.jpg\nlabels/2023/1.txt\nimages/2024/2.jpg"),
        ("Text files beside the pictures", "classes.txt\ntrain/1.jpg\ntrain/1.txt\nvalid/2.jpg\nvalid/2.txt"),
        ("CVAT's YOLO 1.1", "obj.data\nobj.names\nobj_train_data/1.jpg\nobj_train_data/1.txt\ntrain.txt"),
    ),
)
