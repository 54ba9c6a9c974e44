"""What a source of pictures without labels holds: folders, patterns, lists, Parquet, tar files, addresses, stores."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from linnet.data.columns import SUFFIX as PARQUET
from linnet.data.formats.shards import INDEX, read_index
from linnet.data.formats.shards import SUFFIX as TAR
from linnet.data.pieces import TOGETHER, Archive, Files, Piece, Place, name_of, parquet_groups
from linnet.data.places import list_folder
from linnet.data.sources import Address, locate, open_file
from linnet.data.stores import Stored, locate_stored
from linnet.images import SUFFIXES, find_pictures

LIST = ".txt"
"""Of a file that names a picture on each line."""

KINDS = (SUFFIXES, (PARQUET,), (TAR,))
"""What a folder is read for: the first of these of which it has any."""

SCHEME = re.compile(r"([a-z][a-z0-9+]+)://")
HTTP = ("http://", "https://")


@dataclass(frozen=True)
class Gathered:
    """The pictures of a source, in pieces and in a fixed order.

    Attributes:
        pieces: no file is in two of them.
        left: what lies in its folders and is not read, as sentences.
    """

    pieces: Sequence[Piece]
    left: Sequence[str] = ()

    @property
    def count(self) -> int | None:
        """How many pictures there are; None where only reading tells."""
        counts = [piece.count for piece in self.pieces]
        return None if None in counts else sum(filter(None, counts))


def gather(texts: Iterable[str]) -> Gathered:
    """The pictures of any number of sources.

    A source is a picture, a folder, a pattern (`photos/*.jpg`), a list (`pictures.txt`, a path or an address on each
    line, relative to the list's folder), a Parquet file with a column of encoded pictures, a tar file of pictures, or
    one of these behind http or in a store (`s3://bucket/folder`); behind http, which lists no folders, also a folder
    with an index of shards. A folder is read at every level: its pictures, or else its Parquet or tar files.

    Raises:
        FileNotFoundError: if there is no such thing.
        OSError: if it cannot be listed.
        ValueError: if it holds no pictures, or is damaged.
    """
    found = _Finding()
    for text in texts:
        found.add(text)
    return Gathered(tuple(found.pieces()), tuple(found.left))


class _Finding:
    """Files by what they are, each once, in the order in which they came."""

    def __init__(self) -> None:
        self.found: dict[tuple[str | None, str], None] = {}
        self.left: list[str] = []

    def add(self, text: str) -> None:
        """All that a source names."""
        if text.startswith(HTTP):
            self._add_address(Address(text))
        elif SCHEME.match(text):
            place = locate_stored(text)
            inside = place.listed()
            if inside == [place]:
                self._add_one(place.root, place.path)
            else:
                self._add_inside(place.name, [each.path for each in inside], place.root)
        elif Path(text).is_dir():
            # Everything in the order of `find_pictures`; the names of pictures alone, of which there may be a million.
            folder = list_folder(Path(text))
            others = (inner.join(name) for inner in folder.walk() for name in inner.ending(PARQUET, TAR))
            self._add_inside(text, [*folder.all_pictures(), *sorted(others)])
        else:
            paths = find_pictures([text])
            # A typing error is no picture that cannot be read.
            if paths == [Path(text)] and not paths[0].exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
            for path in paths:
                self._add_one(None, str(path))

    def _add_address(self, address: Address) -> None:
        if address.name == INDEX or not Path(address.name).suffix:
            shards = read_index(address).parts.values()
            self.found |= {(None, str(shard.file)): None for part in shards for shard in part}
        else:
            self._add_one(None, address.url)

    def _add_inside(self, source: str, files: Sequence[str], root: str | None = None) -> None:
        """Of the files of a folder those of the first kind of which there are any."""
        shown = [file for file in files if not os.path.basename(file).startswith((".", "_"))]
        by_kind = [[file for file in shown if file.lower().endswith(kind)] for kind in KINDS]
        chosen = next(filter(None, by_kind), None)
        if chosen is None:
            raise ValueError(
                f"'{source}' holds no pictures ({', '.join(SUFFIXES)}), Parquet files ({PARQUET}) or tar files ({TAR})."
            )
        for inside in by_kind[by_kind.index(chosen) + 1 :]:
            if inside:
                more = f" and {len(inside) - 1:,} more" * (len(inside) > 1)
                self.left.append(
                    f"'{inside[0]}'{more} not read, since there are pictures of another kind. Name what is to be read."
                )
        for file in chosen:
            self._add_one(root, file)

    def _add_one(self, root: str | None, name: str) -> None:
        if name.lower().endswith(LIST):
            for line in _lines_of(_place(root, name)):
                self._add_listed(line)
        else:
            self.found[root, name] = None

    def _add_listed(self, line: str) -> None:
        """A picture, or a file of many, that a list names; it is not looked for here: there may be a million."""
        if line.lower().endswith(LIST):
            raise ValueError(f"A list names a list, '{line}'. Name it as a source of its own.")
        if SCHEME.match(line) and not line.startswith(HTTP):
            stored = locate_stored(line)
            self._add_one(stored.root, stored.path)
        else:
            self._add_one(None, line)

    def pieces(self) -> Iterable[Piece]:
        """All of it, pictures of their own put together."""
        loose: list[str] = []
        store: str | None = None
        for root, name in self.found:
            lowered = name.lower()
            whole = lowered.endswith((PARQUET, TAR))
            if loose and (whole or root != store or len(loose) == TOGETHER):
                yield Files(tuple(loose), store)
                loose = []
            if lowered.endswith(PARQUET):
                yield from parquet_groups(_place(root, name))
            elif whole:
                yield Archive(_place(root, name))
            else:
                store = root
                loose.append(name)
        if loose:
            yield Files(tuple(loose), store)


def _place(root: str | None, name: str) -> Place:
    return locate(name) if root is None else Stored(root, name)


def _lines_of(place: Place) -> list[str]:
    """What a list names; paths as they are to be opened."""
    with open_file(place) as file:
        try:
            text = bytes(file.read()).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(f"'{name_of(place)}' is no list of pictures: it is no text in UTF-8.") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"'{name_of(place)}' names no picture: it is empty.")
    folder = place.parent if isinstance(place, Path) else None
    if folder is None:
        return lines
    return [line if "://" in line or Path(line).is_absolute() else str(folder / line) for line in lines]
