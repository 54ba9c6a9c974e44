"""Boxes of YOLO: one text file a picture, one line an object: class, centre, width, height, as shares of the sides.

Where the pictures and their text files lie is said by a data.yaml (Ultralytics), by an obj.data (Darknet, CVAT), or by
folders: `images` and `labels` above or below the parts, or both side by side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from linnet.data.cleaning import find_one_off
from linnet.data.flaws import Flaw
from linnet.data.formats.format import Format
from linnet.data.formats.yolo_labels import box_of, class_of, is_small, objects_of
from linnet.data.formats.yolo_layout import MOST_CLASSES, config_of, label_names, layout_of, words_of
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.places import Folder, Place
from linnet.data.reading import Annotated, Reading
from linnet.data.sources import File

LOOKED_AT = 20
"""Text files that are looked into, before pictures with text files beside them are taken for YOLO's."""


def recognise(place: Place) -> str | None:
    """A data.yaml or an obj.data; `labels` with text files and `images`; or text files of numbers beside pictures."""
    if place.file is not None:
        known = place.suffix in (".yaml", ".yml") and config_of(place.file) is not None
        return "it is a data.yaml" if known else None
    folder = place.folder
    if folder is None:
        return None
    for name in folder.ending(".yaml", ".yml"):
        if config_of(Path(folder.join(name))) is not None:
            return f"it has {name}, which names classes or parts"
    if "obj.data" in folder.files or any(name.startswith("obj_") and name.endswith("_data") for name in folder.folders):
        return "it has obj.data or obj_train_data, as CVAT and Darknet write them"
    images = any(name.lower() == "images" for level in folder.walk() for name in level.folders)
    for level in folder.walk():
        texts = label_names(level)
        if texts and "labels" in words_of(folder, level.path) and images:
            return f"it has {os.path.relpath(level.join(texts[0]), folder.path)} and images"
        if texts and _beside(level, texts):
            return f"{os.path.relpath(level.join(texts[0]), folder.path)} tells boxes of the picture beside it"
    return None


def _beside(folder: Folder, texts: Sequence[str]) -> bool:
    """Whether text files have the names of pictures in the same folder, and numbers in them."""
    stems = {name.rpartition(".")[0] for name in folder.pictures()}
    named = [name for name in texts if name[:-4] in stems]
    for name in named[:LOOKED_AT]:
        file = Path(folder.join(name))
        lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n", 1) if is_small(file) else []
        if lines and lines[0].strip():
            words = lines[0].split()
            return len(words) >= 5 and class_of(words[0]) is not None and box_of(words[1:], 0) is not None
    return False


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
    layout = layout_of(place)
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
        objects = []
        if label is not None:
            objects = objects_of(Path(label), picture, size, count, layout.key_points, reading.flaws)
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
        if level.path in folders or "labels" in words_of(base, level.path):
            for name in label_names(level):
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
