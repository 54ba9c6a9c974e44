"""A place that may hold a data set, and everything that lies in it, listed once for all who look at it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from linnet.data.sources import Address, Location, locate
from linnet.images import HEIF_SUFFIXES, INSTALL, SUFFIXES

LITTER_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
"""What file managers leave behind, in lower case."""

LITTER_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "__pycache__"})
"""Folders that file managers and archivers leave behind, in lower case."""


@dataclass(slots=True)
class Folder:
    """A folder, as it was when it was listed; links to folders are followed, but never in a circle.

    Attributes:
        path: as text.
        files: names, sorted.
        folders: name → folder, sorted by name; hidden ones are among them.
    """

    path: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.path)

    def join(self, name: str) -> str:
        """The path of something in it, as `Path` writes it."""
        return name if self.path == "." else os.path.join(self.path, name)

    def file(self, name: str) -> Path | None:
        """A file in it, if there is one of this name."""
        return Path(self.join(name)) if name in self.files else None

    def below(self, path: str) -> Folder | None:
        """A folder below it, such as `images/train`, if there is one."""
        found: Folder | None = self
        for name in path.split("/"):
            found = found.folders.get(name) if found is not None else None
        return found

    def pictures(self) -> list[str]:
        """Names of the files directly in it that count as pictures."""
        return [name for name in self.files if is_picture_name(name)]

    def ending(self, *suffixes: str) -> list[str]:
        """Names of the files directly in it that end so, and are not hidden; suffixes are in lower case."""
        return [name for name in self.files if name.lower().endswith(suffixes) and not name.startswith(".")]

    def walk(self, *, hidden: bool = False) -> Iterator[Folder]:
        """This folder and all below it, in the order of their names; of those that are hidden or litter, none."""
        yield self
        for name, folder in self.folders.items():
            if hidden or not is_hidden(name):
                yield from folder.walk(hidden=hidden)

    def all_pictures(self) -> Iterator[str]:
        """Paths of the pictures at every level, but for hidden folders, in the order of `sorted(Path.rglob(…))`.

        Splits depend on it: the same seed shall keep the same pictures for ever.
        """
        if not self.folders:
            yield from map(self.join, self.pictures())
            return
        for name in sorted((*self.files, *self.folders)):
            if name in self.folders:
                if not is_hidden(name):
                    yield from self.folders[name].all_pictures()
            elif is_picture_name(name):
                yield self.join(name)

    def count(self) -> int:
        """Files at every level, hidden ones too."""
        return sum(len(folder.files) for folder in self.walk(hidden=True))

    def has_pictures(self) -> bool:
        """Whether there is a picture at any level, but for hidden folders."""
        return any(is_picture_name(name) for folder in self.walk() for name in folder.files)


def list_folder(path: str | Path) -> Folder:
    """Lists a folder at every level.

    Raises:
        PermissionError: if a folder may not be read. Passing over it would lose pictures and say nothing.
        OSError: if it cannot be read.
    """
    return _list(str(path), frozenset())


def _list(path: str, above: frozenset[tuple[int, int]]) -> Folder:
    found = Folder(path)
    inside: list[str] = []
    try:
        status = os.stat(path)
        place = (status.st_dev, status.st_ino)
        if place in above:
            # A link to a folder that it lies in.
            return found
        with os.scandir(path) as entries:
            for entry in entries:
                # One call of the system for each file would take most of the time; only links need one.
                (inside if entry.is_dir() else found.files).append(entry.name)
    except PermissionError as error:
        raise PermissionError(f"The folder '{path}' cannot be read ({error.strerror}).") from None
    found.files.sort()
    for name in sorted(inside):
        found.folders[name] = _list(found.join(name), above | {place})
    return found


def is_hidden(name: str) -> bool:
    """Whether a folder is hidden, or left behind by a program."""
    return name.startswith(".") or name.lower() in LITTER_FOLDERS


def is_litter(name: str) -> bool:
    """Whether a file was left behind by a program: no picture that somebody might miss."""
    lowered = name.lower()
    return lowered in LITTER_FILES or name.startswith("._") or (name.startswith(".") and not lowered.endswith(SUFFIXES))


def is_picture_name(name: str) -> bool:
    """Whether a file found in a folder is to be read as a picture."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


OTHER_PICTURES = (
    *(".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".tga", ".ico", ".svg", ".psd"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw", ".exr", ".hdr", ".dcm"),
)
"""Endings of pictures that are not read, in lower case; HEIC where it is not installed."""


def unread_pictures(path: Path) -> list[str]:
    """Files in a folder, at every level, that are pictures by their names, but of no format that is read."""
    unread = tuple(ending for ending in OTHER_PICTURES if ending not in SUFFIXES)
    return [folder.join(name) for folder in list_folder(path).walk() for name in folder.ending(*unread)]


def how_to_read(names: Iterable[str]) -> str:
    """A sentence on what has to be installed for some files that are not read; nothing where nothing would help."""
    if any(name.lower().endswith(HEIF_SUFFIXES) for name in names) and not set(HEIF_SUFFIXES) & set(SUFFIXES):
        return f"HEIC needs pillow-heif: {INSTALL}."
    return ""


class Place:
    """What `find` was given: a file, a folder, or an address.

    Attributes:
        path: where it is.
        images: where the pictures of annotations are, if that was given.
        ignore: of masks, a value or a class that is neither learnt nor counted, beside 255.
    """

    def __init__(self, path: str | Path | Address, images: Path | None = None, ignore: str | None = None) -> None:
        self.path: Location = locate(path)
        self.images = images
        self.ignore = ignore

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def file(self) -> Path | None:
        """The path, if it is a file's."""
        return self.path if isinstance(self.path, Path) and self.path.is_file() else None

    @cached_property
    def folder(self) -> Folder | None:
        """What is in it, if it is a folder."""
        return list_folder(self.path) if isinstance(self.path, Path) and self.path.is_dir() else None

    @property
    def suffix(self) -> str:
        """Of a file, its ending in lower case; else nothing."""
        return self.file.suffix.lower() if self.file is not None else ""

    @cached_property
    def base(self) -> Folder:
        """The folder itself, or the one that the file lies in.

        Raises:
            ValueError: of an address, which cannot be listed.
        """
        if self.folder is not None:
            return self.folder
        if not isinstance(self.path, Path):
            raise ValueError(f"'{self.path}' is an address: what lies there cannot be listed.")
        return list_folder(self.path.parent)
