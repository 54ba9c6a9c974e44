"""Any number of pictures in pieces: each is small, can be pickled, and gives its pictures in a fixed order.

A piece is what one process works on at a time. What it does not need to hold it reads while it goes.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from linnet.data.columns import picture_column
from linnet.data.sources import Held, Linked, Location, open_file, pages_of
from linnet.data.stores import Stored
from linnet.images import SUFFIXES, SUFFIXES_OF_STACKS

TOGETHER = 1000
"""Files of their own in a piece."""

ROWS = 32
"""Of a Parquet file, read at once."""

Wanted = Callable[[str], bool]
"""Whether the picture of a name is to be read at all."""

Place = Location | Stored
"""Where a file of many pictures lies."""


class Readable(Protocol):
    """A picture: what to call it, and what `linnet.images.decode` takes."""

    @property
    def name(self) -> str:
        """What to call it; no other picture is called so."""
        ...

    @property
    def picture(self) -> Path | bytes:
        """Its file, or its bytes, which may be read now."""
        ...


class Piece(Protocol):
    """Some pictures.

    Attributes:
        count: how many; None where only reading tells.
    """

    @property
    def count(self) -> int | None:
        """How many pictures it has; None where only reading tells."""
        ...

    def sources(self, wanted: Wanted) -> Iterator[Readable]:
        """The pictures that are wanted, in a fixed order, no name twice.

        Raises:
            OSError: if the file that holds them cannot be read.
            ValueError: if it is damaged.
        """
        ...


@dataclass(frozen=True)
class Files:
    """Pictures that are files of their own, on a disk, behind http or in a store; of stacks on a disk each page.

    Attributes:
        names: paths or addresses; in a store the paths there.
        root: of the store; None elsewhere.
    """

    names: tuple[str, ...]
    root: str | None = None

    @property
    def count(self) -> int | None:
        """See `Piece`. How many pages TIFF files have, only opening each of them tells."""
        return None if any(name.lower().endswith(SUFFIXES_OF_STACKS) for name in self.names) else len(self.names)

    def sources(self, wanted: Wanted) -> Iterator[Readable]:
        """See `Piece`."""
        for name in self.names:
            for source in self._pictures(name):
                if wanted(source.name):
                    yield source

    def _pictures(self, name: str) -> Sequence[Readable]:
        if self.root is not None:
            return [Stored(self.root, name)]
        return [Linked(name)] if urlsplit(name).scheme in ("http", "https") else pages_of(name)


@dataclass(frozen=True)
class Rows:
    """A group of rows of a Parquet file.

    Attributes:
        file: that holds them.
        group: its number in the file.
        first: number of its first row in the file.
        count: of its rows.
    """

    file: Place
    group: int
    first: int
    count: int

    def sources(self, wanted: Wanted) -> Iterator[Readable]:
        """See `Piece`. Some rows at a time are read, and of them the pictures alone."""
        names = [f"{name_of(self.file)}, row {self.first + number}" for number in range(self.count)]
        asked = [wanted(name) for name in names]
        if not any(asked):
            return
        with parquet_file(self.file) as parquet:
            found = picture_column(parquet.schema_arrow)
            assert found is not None
            column = ".".join(filter(None, found))
            done = 0
            for batch in parquet.iter_batches(ROWS, row_groups=[self.group], columns=[column]):
                values = batch.column(0).field(found[1]) if found[1] else batch.column(0)
                for number, value in enumerate(values, start=done):
                    if asked[number]:
                        yield Held(names[number], self.file, bytes(value.as_py() or b""))
                done += len(values)


@dataclass(frozen=True)
class Archive:
    """A tar file of pictures, such as a shard of WebDataset; what else is in it does not matter.

    Attributes:
        file: the tar file.
        count: of its pictures, if an index tells.
    """

    file: Place
    count: int | None = None

    def sources(self, wanted: Wanted) -> Iterator[Readable]:
        """See `Piece`. Numbers of pictures are those of `linnet.data.sources.Span`."""
        name = name_of(self.file)
        try:
            with open_file(self.file) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for number, member in enumerate(picture_members(tar)):
                    if wanted(title := f"{name}, picture {number}"):
                        content = tar.extractfile(member)
                        assert content is not None
                        yield Held(title, self.file, content.read())
        except tarfile.TarError as error:
            raise ValueError(f"'{name}' cannot be read as a tar file ({error}).") from None


def picture_members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The pictures of an archive in its order; of files of one name with several endings, the first."""
    seen: set[str] = set()
    while (member := tar.next()) is not None:
        # Else the headers of all members would be kept.
        tar.members = []  # type: ignore[attr-defined]
        key, ending = member_key(member.name)
        if member.isreg() and key and ending in SUFFIXES and key not in seen:
            seen.add(key)
            yield member


def member_key(name: str) -> tuple[str, str]:
    """What the files of one picture have in common, which is nothing for a hidden file; and the ending, lowered."""
    folder, base = os.path.split(name)
    stem, _, ending = base.partition(".")
    return (os.path.join(folder, stem) if stem else ""), f".{ending.lower()}"


def parquet_groups(file: Place) -> list[Rows]:
    """The groups of rows of a Parquet file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no Parquet file, or holds no pictures.
        ModuleNotFoundError: without pyarrow.
    """
    with parquet_file(file) as parquet:
        if picture_column(parquet.schema_arrow) is None:
            columns = ", ".join(f"{field.name} ({field.type})" for field in parquet.schema_arrow) or "none"
            raise ValueError(f"'{name_of(file)}' must have a column of encoded pictures (binary); it has {columns}.")
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
    firsts = [sum(sizes[:group]) for group in range(len(sizes))]
    return [Rows(file, group, first, size) for group, (first, size) in enumerate(zip(firsts, sizes, strict=True))]


def name_of(file: Place) -> str:
    """What to call a file in a message, and in the names of its pictures."""
    return file.name if isinstance(file, Stored) else str(file)


@contextmanager
def parquet_file(file: Place) -> Iterator[Any]:
    """A Parquet file to read from; see `parquet_groups` for what it raises."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        name = name_of(file)
        raise ModuleNotFoundError(f"'{name}' needs pyarrow: pip install 'linnet[train]'.", name="pyarrow") from None
    with open_file(file) as opened:
        try:
            found = parquet.ParquetFile(opened)
        except arrow.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"'{name_of(file)}' cannot be read as Parquet ({reason}).") from None
        yield found
