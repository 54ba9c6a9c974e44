"""Files and folders that a reader leaves out: each is written down, with a reason."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from linnet.data.flaws import Omission
from linnet.data.places import Folder, Place, is_hidden, is_litter, is_picture_name
from linnet.data.reading import Reading

CLASS_FILE = "classes.txt"
"""Names of the classes, one a line, in the order of their indices."""

LABELS = (".csv", ".tsv", ".json", ".jsonl", ".xml", ".txt", ".parquet", ".xlsx", ".xls", ".yaml", ".yml", ".names")
"""Endings of files that may tell classes or boxes: that they are not read is worth a word."""

PAPERS = ("readme", "license", "licence", "copying", "changelog", "citation", "requirements", "sha256sums", "md5")
"""How the names of files begin that belong to no picture, in lower case."""

HIDDEN = "is hidden, or left behind by a program"


def omit_folder(folder: Folder, reading: Reading, reason: str, *, files: int | None = None) -> None:
    """A folder with everything in it; of a hidden one, that it is hidden is the reason."""
    count = folder.count() if files is None else files
    if is_hidden(folder.name):
        reading.omissions.append(Omission("hidden", folder.path, HIDDEN, count))
    elif not count or files == 0:
        reading.omissions.append(Omission("empty_folder", folder.path, "has no picture", count))
    else:
        reading.omissions.append(Omission("not_read", folder.path, reason, count))


def omit_files(
    folder: Folder, reading: Reading, reason: str, *, pictures: bool = True, known: Collection[str] = ()
) -> None:
    """The files directly in a folder: other files, and pictures too unless these are read; not those that are known."""
    for name in folder.files:
        if is_picture_name(name):
            if pictures:
                reading.omissions.append(Omission("not_read", folder.join(name), reason))
        elif name not in known:
            reading.omissions.append(omission_of(folder, name, reason, inside=not pictures))


def omission_of(folder: Folder, name: str, reason: str, *, inside: bool) -> Omission:
    """A file that is no picture: among pictures (`inside`), or beside their folders."""
    path = folder.join(name)
    if is_litter(name):
        return Omission("litter", path, HIDDEN)
    if inside:
        return Omission("no_picture", path, "is no picture by its name")
    lowered = name.lower()
    if lowered.endswith(LABELS) and not lowered.startswith(PAPERS):
        return Omission("not_read", path, reason)
    return Omission("litter", path, "belongs to no picture")


def omit_unlisted(place: Place, reading: Reading, read: Collection[Path]) -> None:
    """What lies in the folder of annotations and was not read: pictures beside the listed ones as `unlisted`.

    Args:
        place: what was read.
        reading: what was found; it gets the omissions.
        read: annotation files.
    """
    listed = {picture.source.name for picture in reading.annotated} | set(reading.unlisted)
    listed |= {picture.source.name for picture in reading.masked}
    used = {os.path.dirname(name) for name in listed}
    known = {str(file) for file in read}
    if place.folder is None:
        return
    for level in place.folder.walk():
        for name in level.files:
            path = level.join(name)
            if path in listed or path in known:
                continue
            if is_picture_name(name):
                if level.path in used or (level.path == "." and "" in used):
                    reading.unlisted.append(path)
                else:
                    reading.omissions.append(Omission("not_read", path, "is named by no annotation"))
        for name, hidden in level.folders.items():
            if is_hidden(name):
                omit_folder(hidden, reading, HIDDEN)


def class_names(folder: Folder) -> tuple[str, ...] | None:
    """The lines of classes.txt, if there is one and they differ."""
    file = folder.file(CLASS_FILE)
    if file is None:
        return None
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except UnicodeDecodeError:
        return None
    return names if len(set(names)) == len(names) else None


def omit_rest(folder: Folder, reading: Reading, known: Collection[str], reason: str) -> None:
    """Everything in a folder, at every level, that is neither among the pictures of a reading nor known.

    Args:
        folder: what was read.
        reading: what was found; it gets the omissions.
        known: paths of files that were read and are no pictures.
        reason: why a picture or a label file was not.
    """
    read = {one.source.name for one in reading.labelled} | {one.source.name for one in reading.annotated} | set(known)
    for level in folder.walk():
        for name in level.files:
            path = level.join(name)
            if path in read:
                continue
            if is_picture_name(name):
                reading.omissions.append(Omission("not_read", path, reason))
            else:
                reading.omissions.append(omission_of(level, name, reason, inside=False))
        for name, hidden in level.folders.items():
            if is_hidden(name):
                omit_folder(hidden, reading, HIDDEN)
