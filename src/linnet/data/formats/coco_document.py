"""A COCO json before anything is made of it: its tables, its pictures' files, its categories."""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linnet.data.flaws import Flaw
from linnet.data.formats.pictures import PictureList, find_pictures, folders_for
from linnet.data.parts import PARTS, Part, part_in, part_of
from linnet.data.places import Folder, Place, is_hidden

OTHER_TASKS = ("captions", "person_keypoints", "stuff", "panoptic", "image_info")
"""How COCO's annotation files of other tasks begin."""

LARGEST = 4 << 30
"""Bytes. COCO's own training annotations have 450 MB, the largest sets of boxes a few times that."""

LARGEST_NUMBER = 1e9
"""Of a coordinate in pixels."""

DEPTH = 2
"""Folders below the place in which json files are looked for."""

Table = dict[str, Any]


def files_in(place: Place) -> list[Path]:
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
class Document:
    """A file that was opened, and its pictures.

    Attributes:
        path: the file.
        part: what its pictures are for.
        tables: `images`, `annotations` and `categories`.
        sizes: id of a picture → (width, height), where the file tells it.
        pictures: where their files are.
        roots: names of categories that only stand above others: no classes.
    """

    path: Path
    part: Part
    tables: dict[str, list[Table]]
    sizes: dict[Any, tuple[int, int] | None]
    pictures: PictureList
    roots: list[str] = field(default_factory=list)

    @property
    def annotations(self) -> list[Table]:
        """The table."""
        return self.tables["annotations"]

    def classes(self, flaws: list[Flaw]) -> dict[Any, str]:
        """Id → name of the categories that are classes, by rising id; adds what is odd about them."""
        used = {hashable(entry.get("category_id")) for entry in self.annotations} if self.roots else set()
        table = self.tables["categories"]
        kept = [one for one in table if one.get("name") not in self.roots or hashable(one.get("id")) in used]
        return categories_of(kept, self.path, flaws)


def open_documents(place: Place) -> list[Document]:
    """The json files of a place, with the files of their pictures found.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if one is no COCO json of objects.
    """
    assert isinstance(place.path, Path)
    files: list[tuple[Path, Part]] = [(place.path, "train")] if place.file is not None else parts_of(place)
    documents = [open_document(file, part, place) for file, part in files]
    find_pictures([one.pictures for one in documents], place)
    used = {hashable(entry.get("category_id")) for one in documents for entry in one.annotations}
    for one in documents:
        one.roots = roots_of(one.tables["categories"], used)
    return documents


def said_of_roots(documents: Sequence[Document]) -> list[str]:
    """A sentence on each category that is no class."""
    names = dict.fromkeys(name for one in documents for name in one.roots)
    return [f"The category {name!r} only stands above the others: it is no class." for name in names]


def parts_of(place: Place) -> list[tuple[Path, Part]]:
    """Each file with its part, which its name or that of its folder tells."""
    files = files_in(place)
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


def open_document(path: Path, part: Part, place: Place) -> Document:
    """A file with its tables; its pictures are not looked for yet."""
    document = read_json(path)
    tables = {name: _table(document, name, path) for name in ("images", "annotations", "categories")}
    if not tables["images"]:
        raise ValueError(f"'{path}' lists no pictures: `images` is empty.")
    listed = _listed_pictures(tables["images"], path)
    words = path.stem.split("_")
    word = next((each for each in reversed(words) if part_in(each) is not None), words[-1])
    names = {number: name for number, (name, _) in listed.items()}
    pictures = PictureList(path, part, names, folders_for(path, word, place))
    return Document(path, part, tables, {number: size for number, (_, size) in listed.items()}, pictures)


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


def hashable(value: Any) -> Any:
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


def roots_of(table: Sequence[Table], used: Collection[Any]) -> list[str]:
    """Names of the categories that others name as theirs above them, and that no annotation is of."""
    above = {
        name for entry in table if isinstance(name := entry.get("supercategory"), str) and name != entry.get("name")
    }
    names = [entry.get("name") for entry in table if hashable(entry.get("id")) not in used]
    found = [name for name in names if isinstance(name, str) and name in above]
    return found if len(found) < len(table) else []


def categories_of(table: Sequence[Table], path: Path, flaws: list[Flaw]) -> dict[Any, str]:
    """Id → name, by rising id; names are made to differ."""
    found: dict[Any, str] = {}
    for entry in table:
        number, name = hashable(entry.get("id")), entry.get("name")
        if number is None or not isinstance(name, str) or not name.strip():
            raise ValueError(f"'{path}': every category must have an `id` and a `name`; one is {shortened(entry)}.")
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
        number, name = hashable(entry.get("id")), entry.get("file_name") or entry.get("coco_url")
        if number is None or not isinstance(name, str) or not name or "\0" in name:
            raise ValueError(f"'{path}': every picture must have an `id` and a `file_name`; one is {shortened(entry)}.")
        if number in listed:
            raise ValueError(f"'{path}' has two pictures with the id {number!r}.")
        width, height = (number_of(entry.get(side)) for side in ("width", "height"))
        size = (int(width), int(height)) if width and height and min(width, height) >= 1 else None
        listed[number] = name, size
    return listed


def number_of(value: Any) -> float | None:
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


def shortened(entry: Table) -> str:
    """The beginning of an entry, for a message."""
    text = json.dumps(entry, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"
