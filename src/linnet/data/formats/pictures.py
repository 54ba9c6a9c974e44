"""Which file is the picture that an annotation names: by its path, else by its name, and never one file for two."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import parse_qsl, unquote

from linnet.data.flaws import Flaw
from linnet.data.parts import Part, part_in, part_of
from linnet.data.places import Folder, Place, is_picture_name, list_folder

PICTURE_FOLDERS = ("images", "data", "imgs", "img", "JPEGImages")
"""Where pictures are looked for beside an annotation file and above it."""

MOST_ALIKE = 100
"""Files of one name that are compared with a path of this name: of more, none is taken."""


@dataclass
class PictureList:
    """The pictures that one annotation file names, or one part of it, and what was found of them.

    Attributes:
        file: the annotation file.
        part: what they are for.
        names: id → path, name or address, as the file has it.
        folders: where they are looked for, in this order.
        found: id → path of a file.
        refused: id → why a file that might be it is not.
    """

    file: Path
    part: Part
    names: Mapping[Any, str]
    folders: Sequence[Folder]
    found: dict[Any, str] = field(default_factory=dict)
    refused: dict[Any, str] = field(default_factory=dict)

    def locate(self, flaws: list[Flaw]) -> dict[Any, str]:
        """Id → the file, or where it would be if it were there, in the order of the names.

        What might be the file of an entry and is not taken is added to the flaws.

        Raises:
            ValueError: if not one is there.
        """
        if not self.found and self.names:
            number, name = next(iter(self.names.items()))
            looked = ", ".join(f"'{folder.path}'" for folder in self.folders)
            why = f" ({self.refused[number]})" if number in self.refused else ""
            raise ValueError(
                f"Not one picture of '{self.file}' was found, looked for in {looked}; the first is '{name}'{why}: "
                "--images FOLDER tells where they are."
            )
        located: dict[Any, str] = {}
        home = os.path.dirname(next(iter(self.found.values()), ""))
        for number, name in self.names.items():
            if number in self.found:
                located[number] = self.found[number]
                continue
            plain = _spellings(name)[-1].lstrip("/") or name
            tried = [os.path.join(home, each) for each in (os.path.basename(plain) or plain, plain)]
            # What is refused may lie there, and must not be read after all.
            absent = (path for path in tried if not os.path.lexists(path))
            located[number] = next(absent, f"{tried[0]} (picture {os.path.basename(str(number))} of {self.file.name})")
            if number in self.refused:
                text = f"is named '{name}' by '{self.file.name}', but {self.refused[number]}"
                flaws.append(Flaw("malformed", located[number], text))
        return located


def find_pictures(lists: Sequence[PictureList], place: Place) -> None:
    """Finds the files of all lists of a place, and writes them into `found` and `refused`.

    First by the written path, in one folder of the list after the other; then by the last name in these folders;
    then by the last name in any folder below, if only one file has it, or one whose path ends as it is written. A name
    fits however its letters are spelt. No two entries of a list get one file. Two lists may name one file by its path,
    unless it lies in a folder of the other's part: `images/Train/1.jpg` is never the `1.jpg` of validation too.
    """
    Search(lists, place).run()


class Search:
    """One run of `find_pictures`.

    Attributes:
        claims: path → the place of a list, and the id of an entry of it, that have it.
    """

    def __init__(self, lists: Sequence[PictureList], place: Place) -> None:
        self.lists = lists
        self.base = _base_of(place)
        self.parts = {one.part for one in lists}
        self.claims: dict[str, tuple[int, Any]] = {}
        self.spelt = [{number: _spellings(name) for number, name in one.names.items()} for one in lists]
        folders = {folder.path: folder for one in lists for folder in one.folders}
        self.known = {
            level.join(name) for one in folders.values() for level in one.walk(hidden=True) for name in level.files
        }
        self._inside: dict[str, dict[str, list[str]]] = {}
        self._anywhere: dict[str, list[str]] = {}
        self._named: dict[str, frozenset[Part]] = {}

    def run(self) -> None:
        """Each way of looking for the pictures of all lists, before the next one."""
        for foreign in (False, True):
            for place in range(len(self.lists)):
                self._claim_exact(place, foreign=foreign)
        for candidates in (self._by_last_name, self._below):
            self._propose(candidates)

    def _claim_exact(self, place: int, *, foreign: bool) -> None:
        one = self.lists[place]
        for number, spellings in self.spelt[place].items():
            if number in one.found:
                continue
            for path in self._exact(spellings, one.folders):
                if self._is_foreign(path, one.part) != foreign:
                    continue
                owner = self.claims.get(path)
                if owner is None or (owner[0] != place and not foreign):
                    self.claims.setdefault(path, (place, number))
                    one.found[number] = path
                    one.refused.pop(number, None)
                    break
                if owner[0] != place or owner[1] != number:
                    one.refused[number] = self._owned(path)

    def _propose(self, candidates: Callable[[str, PictureList], Iterator[str]]) -> None:
        """Takes what is found by name, where it can be the picture of one entry only."""
        proposals: dict[str, list[tuple[int, Any]]] = {}
        for place, one in enumerate(self.lists):
            for number, spellings in self.spelt[place].items():
                paths = (path for spelling in spellings for path in candidates(spelling, one))
                for path in dict.fromkeys(paths) if number not in one.found else ():
                    if self._is_foreign(path, one.part):
                        one.refused.setdefault(number, f"'{path}' lies in the folder of another part")
                    elif path in self.claims:
                        one.refused.setdefault(number, self._owned(path))
                    else:
                        proposals.setdefault(path, []).append((place, number))
                        break
        for path, entries in proposals.items():
            written = {self.spelt[place][number][0] for place, number in entries}
            for place, number in entries:
                one = self.lists[place]
                if len(written) > 1:
                    one.refused[number] = f"'{path}' may be any of {len(entries):,} that are named like it"
                elif self.claims.get(path, (None, None))[0] == place:
                    one.refused[number] = self._owned(path)
                else:
                    self.claims.setdefault(path, (place, number))
                    one.found[number] = path
                    one.refused.pop(number, None)

    def _owned(self, path: str) -> str:
        place, number = self.claims[path]
        return f"'{path}' belongs to the picture {number!r} of '{self.lists[place].file.name}'"

    def _exact(self, spellings: Sequence[str], folders: Sequence[Folder]) -> Iterator[str]:
        for name in spellings:
            if os.path.isabs(name):
                path = self._nearer(os.path.normpath(name))
                if path in self.known or os.path.isfile(path):
                    yield path
            plain = os.path.normpath(name) if "./" in name or "//" in name else name
            for folder in folders:
                path = folder.join(plain)
                if ".." in plain:
                    path = os.path.normpath(path)
                if path in self.known:
                    yield path

    def _nearer(self, path: str) -> str:
        """A whole path as the listing of the place has it, if it lies there."""
        whole = os.path.abspath(self.base)
        return os.path.join(self.base, path[len(whole) + 1 :]) if path.startswith(f"{whole}{os.sep}") else path

    def _by_last_name(self, name: str, one: PictureList) -> Iterator[str]:
        last = os.path.basename(name)
        for folder in one.folders:
            if folder.path not in self._inside:
                inside = self._inside[folder.path] = dict[str, list[str]]()
                for other in folder.pictures():
                    inside.setdefault(_folded(other), []).append(other)
            alike = self._inside[folder.path].get(_folded(last), [])
            if last in alike or len(alike) == 1:
                yield folder.join(last if last in alike else alike[0])

    def _below(self, name: str, one: PictureList) -> Iterator[str]:
        if not self._anywhere:
            for path in self.known:
                if is_picture_name(os.path.basename(path)):
                    self._anywhere.setdefault(_folded(os.path.basename(path)), []).append(path)
        found = self._anywhere.get(_folded(os.path.basename(name)), [])
        if len(found) > MOST_ALIKE:
            return iter(())
        own = [path for path in found if any(path.startswith(folder.join("")) for folder in one.folders)]
        end = os.sep + _folded(name).lstrip("/")
        exact = [path for path in own if _folded(path).endswith(end)]
        likely = [path for path in exact or own if not self._is_foreign(path, one.part)] or exact or own
        return iter(likely if len(likely) == 1 else ())

    def _is_foreign(self, path: str, part: Part) -> bool:
        """Whether a file lies in a folder of another part that the place has."""
        if len(self.parts) < 2:
            return False
        folder = os.path.dirname(path)
        if folder not in self._named:
            words = os.path.relpath(folder or ".", self.base).split(os.sep)
            parts = (part_of(word) or part_in(word) for word in words)
            self._named[folder] = frozenset(each for each in parts if each in self.parts)
        named = self._named[folder]
        return bool(named) and part not in named


def _base_of(place: Place) -> str:
    """The folder below which the names of folders tell parts."""
    if place.images is not None:
        return os.path.dirname(os.path.normpath(place.images)) or "."
    assert isinstance(place.path, Path)
    return str(place.path if place.folder is not None else place.path.parent)


def _spellings(name: str) -> list[str]:
    """A name as it stands, and as it was meant: with slashes, without an address around it, in both Unicode forms."""
    plain = name.replace("\\", "/")
    forms = [plain]
    if "%" in plain or "?" in plain or "://" in plain:
        path, _, query = plain.partition("?")
        if "://" in path:
            # The server's name tells no folder.
            path = path.partition("://")[2].partition("/")[2]
        forms += [unquote(plain), unquote(path), *(value for key, value in parse_qsl(query) if key in ("d", "path"))]
    if all(form.isascii() for form in forms):
        return list(dict.fromkeys(form for form in forms if form))
    composed = (each for form in forms if form for each in (form, normalize("NFC", form), normalize("NFD", form)))
    return list(dict.fromkeys(composed))


def _folded(name: str) -> str:
    return name.lower() if name.isascii() else normalize("NFC", name).casefold()


def folders_for(file: Path, word: str, place: Place) -> list[Folder]:
    """The folders where the pictures of an annotation file are looked for.

    First those that are called as the word, or tell the same part; then beside the file, and above it.

    Args:
        file: the annotation file.
        word: what the file calls its part: `train2017`, or `Train` of instances_Train.json.
        place: what was given to `find`.
    """
    if place.images is not None:
        whole = list_folder(place.images)
        return [*_called(whole, word), whole]
    bases = [_folder_at(file.parent, place)]
    if place.folder is None or str(file.parent) != place.folder.path or not place.folder.has_pictures():
        # What lies above a folder with pictures belongs to other data.
        bases.append(_folder_at(file.parent.parent, place))
    holders = [
        each for base in bases for each in (base, *(base.folders[n] for n in PICTURE_FOLDERS if n in base.folders))
    ]
    found = [inside for holder in holders for inside in _called(holder, word)]
    found += holders
    if place.folder is not None:
        found.append(place.folder)
    return list({folder.path: folder for folder in found}.values())


def _called(folder: Folder, word: str) -> list[Folder]:
    exact = [inside for name, inside in folder.folders.items() if name.lower() == word.lower()]
    part = part_of(word) or part_in(word)
    alike = [inside for name, inside in folder.folders.items() if part and (part_of(name) or part_in(name)) == part]
    return exact or alike


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
