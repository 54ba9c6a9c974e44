"""Where the pictures of a YOLO data set and the names of its classes are: by a data.yaml, an obj.data, or folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linnet.data.formats.yolo_labels import is_small
from linnet.data.parts import Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden, is_picture_name, list_folder

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


@dataclass
class Layout:
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


def words_of(folder: Folder, path: str) -> list[str]:
    """The names of the folders from one down to another, in lower case."""
    return [part.lower() for part in os.path.relpath(path, folder.path).split(os.sep)]


def label_names(folder: Folder) -> list[str]:
    """The text files directly in a folder that may be a picture's."""
    # A picture may be called train.jpg.
    others = NAME_FILES if "labels" in folder.path.lower().split(os.sep) else NO_LABELS
    return [name for name in folder.ending(".txt") if name.lower() not in others]


def layout_of(place: Place) -> Layout:
    """Looks for everything: what files tell goes before what folders do."""
    folder = place.base
    yamls = [place.file] if place.file is not None else [Path(folder.join(n)) for n in folder.ending(".yaml", ".yml")]
    configs = [(file, found) for file in yamls if (found := config_of(file)) is not None]
    layout = Layout()
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


def config_of(file: Path) -> dict[str, Any] | None:
    """What a data.yaml tells; None of a file that is none.

    Raises:
        ValueError: if it begins like one and is no YAML.
    """
    import yaml

    if not is_small(file):
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


def _obey(config: dict[str, Any], file: Path, folder: Folder, layout: Layout) -> None:
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


def _names_of(config: dict[str, Any], file: Path, layout: Layout) -> tuple[str, ...] | None:
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


def _pictures_in(path: str, layout: Layout) -> Iterator[str]:
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


def _look(folder: Folder, layout: Layout) -> None:
    """Pictures of folders: all below `images`, or beside text files; a word of the path tells the part."""
    found: dict[str, Part | None] = {}
    for level in folder.walk():
        words = words_of(folder, level.path)
        beside = {name[:-4] for name in label_names(level)}
        for name in level.pictures():
            if "images" in words or name.rpartition(".")[0] in beside or "labels" in level.folders:
                parts = (part_of(word) or _darknet_part(word) or part_in(word) for word in words)
                found[level.join(name)] = next((part for part in parts if part is not None), None)
    some = any(part is not None for part in found.values())
    layout.pictures = {path: part or "train" for path, part in found.items() if part is not None or not some}


def _darknet_part(word: str) -> Part | None:
    """`obj_train_data` is train."""
    return part_of(word.removeprefix("obj_").removesuffix("_data")) if word.startswith("obj_") else None


def _find_names(folder: Folder, layout: Layout) -> None:
    """Names from the file of names that is highest up."""
    for level in sorted(folder.walk(), key=lambda level: level.path.count(os.sep)):
        for name in level.files:
            if (name.lower() in NAME_FILES or name.endswith(".names")) and not is_hidden(name):
                file = Path(level.join(name))
                try:
                    lines = file.read_text(encoding="utf-8-sig").splitlines() if is_small(file) else []
                except UnicodeDecodeError:
                    raise ValueError(f"'{file}' cannot be read as text.") from None
                names = [line.strip() for line in lines if line.strip()]
                if names:
                    layout.known.append(file)
                    layout.names = _different(names, file)
                    return


def _different(names: Sequence[str], file: Path) -> tuple[str, ...]:
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise ValueError(
            f"'{file}' gives two classes the name {twice!r}: rename one, or merge them in the label files."
        )
    return tuple(names)
