"""Class folders: a folder of pictures for each class, in folders for the parts or without."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from linnet.data.formats.format import Format
from linnet.data.formats.mask_pairs import MASK_FOLDERS, PICTURE_FOLDERS
from linnet.data.formats.table import LABEL_FILE, read_rows
from linnet.data.leftovers import CLASS_FILE, class_names, omit_files, omit_folder
from linnet.data.parts import USUAL, Part, part_of, parts_among
from linnet.data.places import Folder, Place, is_hidden
from linnet.data.reading import Labelled, Reading
from linnet.data.sources import File

ANNOTATIONS = (".xml", ".txt", ".json", ".csv")
"""Endings of files that may tell what is on the picture of the same name."""

BESIDE = 0.5
"""Share of the pictures in a folder from which on files of the same names are annotations of them."""

GENERIC = frozenset(
    {
        "all", "archive", "classes", "data", "dataset", "datasets", "files", "images", "imgs", "input", "photos",
        "pictures", "raw", "root", "samples",
    }
)  # fmt: skip
"""Names of folders that are no class, in lower case: where one of them is alone, its folders are the classes."""


def recognise(place: Place) -> str | None:
    """Folders with pictures in them, but no annotations beside these."""
    if place.folder is None or annotation_beside(place.folder) is not None:
        return None
    base = find_base(place.folder)
    parts = find_parts(base)
    for folder in parts.values() if parts else (base,):
        inside = _with_pictures(find_base(folder))
        # A folder that is alone and called `images` is no class.
        if len(inside) > 1 or (inside and inside[0].name.lower() not in GENERIC):
            return f"it has pictures in folders such as '{inside[0].path}'"
    return None


def annotation_beside(folder: Folder) -> str | None:
    """A file that plainly tells what is on a picture, if the folder has such files: it has no classes then."""
    for inside in folder.walk():
        pictures = inside.pictures()
        if not pictures:
            continue
        others = [name for name in inside.files if name.lower().endswith(ANNOTATIONS)]
        if len(others) >= BESIDE * len(pictures):
            stems = {name.rpartition(".")[0] for name in pictures}
            named = [name for name in others if name.rpartition(".")[0] in stems]
            if len(named) >= BESIDE * len(stems):
                return inside.join(named[0])
    return None


def find_base(folder: Folder) -> Folder:
    """The folder whose folders are the parts or the classes: a single folder of a name that is no class is entered."""
    inside = _with_pictures(folder)
    while len(inside) == 1 and not folder.pictures():
        only = inside[0]
        known = only.name.lower() in GENERIC or (part_of(only.name) is None and only.name == folder.name)
        if not (find_parts(only) or (known and len(_with_pictures(only)) > 1)):
            break
        folder, inside = only, _with_pictures(only)
    return folder


def find_parts(folder: Folder) -> dict[str, Folder]:
    """The folders of the parts by their names; none where these are the classes.

    A folder called `train` with pictures of its own beside folders of other names is a class of this name.
    """
    inside = {one.name: one for one in _with_pictures(folder)}
    named = parts_among(inside)
    if not named or not any(_with_pictures(inside[name]) or _table(inside[name]) for name in named):
        if named and len(named) == len(inside):
            return {name: inside[name] for name in named}
        return {}
    return {name: inside[name] for name in named}


def _with_pictures(folder: Folder) -> list[Folder]:
    """The folders in it that hold pictures, or a table of them."""
    return [one for name, one in folder.folders.items() if not is_hidden(name) and (_table(one) or one.has_pictures())]


def _table(folder: Folder) -> bool:
    return LABEL_FILE in folder.files


def read(place: Place) -> Reading:
    """The pictures of class folders at every level, and by name everything else that lies there.

    Raises:
        ValueError: if there are no class folders with pictures.
    """
    folder = place.folder
    if folder is None:
        raise ValueError(f"'{place}' is no folder: class folders were expected.")
    base = find_base(folder)
    reading = Reading(names=class_names(folder) or class_names(base))
    if base is not folder:
        reading.notes.append(f"'{place}' is read from its folder '{base.path}': nothing else in it has pictures.")
        _omit_beside(folder, base, reading)
    parts = find_parts(base)
    if not parts:
        _read_classes(base, "train", reading)
        for name in (name for name in base.folders if part_of(name) is not None):
            if any(one.label == name for one in reading.labelled):
                reading.notes.append(f"The folder '{name}' is taken as a class: the folders beside it are classes too.")
    else:
        _read_parts(base, parts, reading)
    if not reading.labelled:
        shown = f" in {', '.join(parts)}" if parts else ""
        raise ValueError(
            f"'{place}' holds no labelled pictures{shown}: class folders with pictures in them were expected."
        )
    labels = sorted({str(one.label) for one in reading.labelled})
    if (names := _pictures_and_masks(labels)) is not None:
        raise ValueError(
            f"'{place}' has the folders '{names[0]}' and '{names[1]}', as pictures and masks are called, but no "
            "picture has a mask of the same name. Give both the same names; if these are two classes, rename the "
            "folders."
        )
    if all(label.isdecimal() and len(label) < 19 for label in labels) and labels != sorted(labels, key=int):
        first = next(one for one, other in zip(sorted(labels, key=int), labels, strict=True) if one != other)
        after = labels[sorted(labels, key=int).index(first)]
        reading.notes.append(f"The classes are numbers and stand in their order: {first} before {after}.")
    return reading


def _pictures_and_masks(labels: Sequence[str]) -> tuple[str, str] | None:
    """The names of two classes, if they are those of a folder of pictures and of one of masks."""
    if len(labels) != 2:
        return None
    pictures = [label for label in labels if label.lower() in PICTURE_FOLDERS]
    masks = [label for label in labels if label.lower() in MASK_FOLDERS]
    return (pictures[0], masks[0]) if len(pictures) == len(masks) == 1 else None


def _read_parts(base: Folder, parts: dict[str, Folder], reading: Reading) -> None:
    roles = parts_among(parts)
    for name, folder in parts.items():
        if part_of(name) is None or name.lower() not in USUAL:
            reading.notes.append(f"The folder '{name}' is taken as the {roles[name]} part.")
        inner = find_base(folder)
        if inner is folder and len(_with_pictures(folder)) == 1 and _with_pictures(folder)[0].name == name:
            # As Kaggle unpacks them: seg_train/seg_train.
            inner = _with_pictures(folder)[0]
        if inner is not folder:
            _omit_beside(folder, inner, reading)
        if _table(inner):
            read_rows(Path(inner.join(LABEL_FILE)), roles[name], reading)
        else:
            _read_classes(inner, roles[name], reading)
    for name, folder in base.folders.items():
        if name not in parts:
            omit_folder(folder, reading, f"lies beside the folders of the parts ({', '.join(parts)})")
    omit_files(base, reading, f"lies beside the folders of the parts ({', '.join(parts)})", known=(CLASS_FILE,))


def _read_classes(folder: Folder, part: Part, reading: Reading) -> None:
    for name, inside in folder.folders.items():
        if is_hidden(name):
            omit_folder(inside, reading, "")
            continue
        pictures = [Labelled(File(file), part, name) for file in inside.all_pictures()]
        reading.labelled += pictures
        for level in inside.walk():
            omit_files(level, reading, "is no picture by its name", pictures=False)
            for other, hidden in level.folders.items():
                if is_hidden(other):
                    omit_folder(hidden, reading, "")
        if not pictures:
            omit_folder(inside, reading, "has no picture", files=0)
    omit_files(folder, reading, "lies beside the class folders", known=(CLASS_FILE,))


def _omit_beside(folder: Folder, base: Folder, reading: Reading) -> None:
    """Everything in a folder but the one below it that is read."""
    omit_files(folder, reading, f"lies beside '{base.name}'", known=(CLASS_FILE,))
    for inside in folder.folders.values():
        if inside is base:
            continue
        if base.path.startswith(f"{inside.path}{os.sep}"):
            _omit_beside(inside, base, reading)
        else:
            omit_folder(inside, reading, f"lies beside '{base.name}'")


FORMAT = Format(
    "folders",
    "class folders",
    "classification",
    recognise,
    read,
    (
        ("A folder for each class", "hat/1.jpg\nhat/more/2.jpg\nshoe/1.jpg"),
        ("In folders for the parts", "train/hat/1.jpg\ntrain/shoe/1.jpg\ntest/hat/2.jpg\ntest/shoe/2.jpg"),
    ),
)
