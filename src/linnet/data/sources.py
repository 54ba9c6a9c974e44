"""Where the bytes of a picture come from: a file, a row of Parquet, a span of a shard; on a disk or behind http.

A source is small and can be pickled: worker processes get a million of them.
"""

from __future__ import annotations

import io
import os
import re
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from linnet.data.columns import read_table
from linnet.data.stores import Stored
from linnet.files import TIMEOUT_SECONDS, replacing
from linnet.images import count_pages, read_page

AHEAD = 1 << 18
"""Bytes that are read at once from a file: few enough that hundreds of shards can be read side by side."""

SKIPPED = 1 << 20
"""Bytes that are rather read and thrown away than jumped over by asking a server anew."""

WAITS = (1.0, 4.0, 16.0)
"""Seconds before each further attempt to read from a server."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A place behind http.

    Attributes:
        url: the whole of it.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Address:
        """What lies below it."""
        return Address(f"{self.url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def parent(self) -> Address:
        """What it lies in."""
        return Address(self.url.rstrip("/").rpartition("/")[0])


Location = Path | Address
"""Where something lies: on a disk or behind http."""


def locate(place: str | Path | Address) -> Location:
    """A path or an address, whatever it was given as: of `http://`, a `Path` has kept one slash only."""
    if isinstance(place, Address):
        return place
    text = place.as_posix() if isinstance(place, Path) else place
    if re.match(r"https?:/", text):
        return Address(re.sub(r"^(https?):/+", r"\1://", text))
    return Path(place)


class Source(Protocol):
    """What a picture's bytes are read from."""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        ...

    @property
    def picture(self) -> Path | bytes:
        """What `linnet.images.decode` takes."""
        ...

    @property
    def file(self) -> Location:
        """The file that holds the bytes, among others perhaps."""
        ...


@dataclass(frozen=True, slots=True)
class File:
    """A picture's own file.

    Attributes:
        name: its path. As text: a million paths would take a gigabyte.
    """

    name: str

    @property
    def picture(self) -> Path:
        """Its path."""
        return Path(self.name)

    @property
    def file(self) -> Path:
        """Its path."""
        return Path(self.name)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a TIFF file: a slice of a volume.

    Attributes:
        path: of the file.
        number: of the page, from 0.
    """

    path: str
    number: int

    @property
    def name(self) -> str:
        """File and page, counted from 1 as viewers do."""
        return f"{self.path}, page {self.number + 1}"

    @property
    def picture(self) -> bytes:
        """The page as a TIFF file of its own, read anew each time."""
        return read_page(self.path, self.number)

    @property
    def file(self) -> Path:
        """The TIFF file."""
        return Path(self.path)


def pages_of(path: str) -> list[File] | list[Page]:
    """The slices of a stack; of every other file only itself."""
    count = count_pages(path)
    return [Page(path, number) for number in range(count)] if count > 1 else [File(path)]


@dataclass(frozen=True, slots=True)
class ParquetRow:
    """A row of a Parquet file.

    Attributes:
        file: the Parquet file.
        row: its number, from 0.
    """

    file: Path
    row: int

    @property
    def name(self) -> str:
        """File and row."""
        return f"{self.file}, row {self.row}"

    @property
    def picture(self) -> bytes:
        """The encoded picture."""
        return read_table(self.file).picture(self.row)


@dataclass(frozen=True, slots=True)
class Linked:
    """A picture of its own behind http.

    Attributes:
        name: its address.
    """

    name: str

    @property
    def picture(self) -> bytes:
        """The encoded picture, read anew each time."""
        with open_file(Address(self.name)) as file:
            return file.read()

    @property
    def file(self) -> Address:
        """Its address."""
        return Address(self.name)


@dataclass(frozen=True, slots=True)
class Held:
    """A picture whose bytes have been read, in passing, from a file of many.

    Attributes:
        name: of the file, and which picture of it.
        file: that holds it.
        content: its bytes; nothing where there is no picture.
    """

    name: str
    file: Location | Stored
    content: bytes

    @property
    def picture(self) -> bytes:
        """The encoded picture; a ValueError if there is none."""
        if not self.content:
            raise ValueError(f"{self.name}: there is no picture.")
        return self.content


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a shard.

    Attributes:
        file: the shard.
        number: of the picture in it, from 0.
        offset: at which byte the picture begins.
        size: how many bytes it has.
    """

    file: Location
    number: int
    offset: int
    size: int

    @property
    def name(self) -> str:
        """Shard and number."""
        return f"{self.file}, picture {self.number}"

    @property
    def picture(self) -> bytes:
        """The encoded picture, read anew each time."""
        return read_span(self.file, self.offset, self.size)


class Reader(Protocol):
    """A shard that is read at rising places."""

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from a place on.

        Raises:
            OSError: if they cannot be had.
            ValueError: if the shard ends before.
        """
        ...

    def close(self) -> None:
        """Ends the connection, if there is one; reading opens it again."""
        ...


def open_shard(place: Location) -> Reader:
    """A reader for many pictures, one after the other."""
    return _RemoteFile(place.url) if isinstance(place, Address) else _LocalFile(place)


def read_span(place: Location, offset: int, size: int) -> bytes:
    """One picture from anywhere in a shard; see `Reader.read`."""
    reader = _RemoteFile(place.url) if isinstance(place, Address) else _LocalFile(place, ahead=0)
    with closing(reader):
        return reader.read(offset, size)


def open_file(place: Location | Stored) -> IO[bytes]:
    """A file to be read from anywhere in it, wherever it lies.

    Raises:
        OSError: if it cannot be had.
    """
    if isinstance(place, Stored):
        stored: IO[bytes] = place.open()
        return stored
    return io.BufferedReader(_Seekable(place.url), AHEAD) if isinstance(place, Address) else place.open("rb")


class _Seekable(io.RawIOBase):
    """A file behind http, of which what is asked for is read."""

    def __init__(self, url: str) -> None:
        self._file = _RemoteFile(url)
        self._file.read(0, 0)
        self._place, self._size = 0, self._file.end
        if self._size is None:
            raise OSError(f"{url} cannot be read: the server does not say how long it is.")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size or 0}
        self._place = max(starts[whence] + offset, 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        size = max(min(len(buffer), (self._size or 0) - self._place), 0)
        buffer[:size] = self._file.read(self._place, size) if size else b""
        self._place += size
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def fetch_shard(address: Address, target: Path, size: int) -> None:
    """Copies the first `size` bytes of a shard behind http into a file, which appears only when it is whole."""
    with replacing(target) as temporary, closing(_RemoteFile(address.url)) as reader, temporary.open("xb") as file:
        for offset in range(0, size, SKIPPED):
            file.write(reader.read(offset, min(SKIPPED, size - offset)))


class _LocalFile:
    """Keeps no file open: there may be more shards than a process may open files."""

    def __init__(self, path: Path, ahead: int = AHEAD) -> None:
        self.path, self.ahead = path, ahead
        self.start, self.block = 0, b""

    def read(self, offset: int, size: int) -> bytes:
        end = offset + size
        if not self.start <= offset <= end <= self.start + len(self.block):
            kept = self.block[offset - self.start :] if self.start <= offset else b""
            with self.path.open("rb", buffering=0) as file:
                file.seek(offset + len(kept))
                self.block = kept + file.read(max(size, self.ahead) - len(kept))
            self.start = offset
        content = self.block[offset - self.start : end - self.start]
        if len(content) < size:
            raise _too_short(str(self.path), self.path.stat().st_size, end)
        return content

    def close(self) -> None:
        self.block = b""


class _RemoteFile:
    """One connection that delivers a shard from some place on, opened again where it broke off."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.response: Any = None
        self.place = 0
        self.end: int | None = None

    def read(self, offset: int, size: int) -> bytes:
        from http.client import HTTPException
        from urllib.error import HTTPError

        for wait in (*WAITS, None):
            try:
                return self._read(offset, size)
            except HTTPError as error:
                error.close()
                reason = f"it answered {error.code}, {error.reason}"
                if error.code == 416:
                    raise _too_short(self.url, offset, offset + size) from None
                if error.code < 500 and error.code not in (408, 425, 429):
                    kind = {404: FileNotFoundError, 410: FileNotFoundError, 403: PermissionError, 401: PermissionError}
                    raise kind.get(error.code, OSError)(f"{self.url} cannot be read: {reason}.") from None
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            self.close()
            if wait is not None:
                time.sleep(wait)
        raise OSError(
            f"{self.url} cannot be read: {reason}; {1 + len(WAITS)} attempts were made. When it is there again, the "
            "same command goes on (a training with --resume)."
        )

    def _read(self, offset: int, size: int) -> bytes:
        if self.response is None or not 0 <= offset - self.place <= SKIPPED:
            self._open(offset)
        while self.place < offset:
            self._take(min(offset - self.place, SKIPPED), offset + size)
        return self._take(size, offset + size)

    def _take(self, size: int, needed: int) -> bytes:
        content: bytes = self.response.read(size)
        self.place += len(content)
        if len(content) < size:
            if self.end is not None and self.place >= self.end:
                raise _too_short(self.url, self.end, needed)
            raise OSError(f"the connection broke off at byte {self.place:,}")
        return content

    def _open(self, offset: int) -> None:
        from urllib.request import Request, urlopen

        self.close()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        self.response = urlopen(Request(self.url, headers=headers), timeout=TIMEOUT_SECONDS)
        # A server that knows no ranges begins at the beginning.
        self.place = offset if self.response.status == 206 else 0
        length = self.response.headers.get("Content-Length") or ""
        self.end = self.place + int(length) if length.isdecimal() else None

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
        self.response = None


def _too_short(name: str, end: int, needed: int) -> ValueError:
    return ValueError(
        f"{name} ends at byte {end:,}, before byte {needed:,}: the shard is damaged or newer than its index."
    )
