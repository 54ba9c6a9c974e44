"""One shard: a tar file of pictures in WebDataset's layout, on a disk or behind http.

In this layout the files of one picture share a name and differ in their endings: `00017.jpg` is the picture and
`00017.cls` its class. Where each picture lies in the file is known from an index or a scan, so a shard is read from any
place, forwards, and only what is wanted.
"""

from __future__ import annotations

import os
import re
import secrets
import tarfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from linnet.images import SUFFIXES

SUFFIX = ".tar"

AHEAD = 1 << 18
"""Bytes that are read at once from a file: few enough that hundreds of shards can be read side by side."""

SKIPPED = 1 << 20
"""Bytes that are rather read and thrown away than jumped over by asking a server anew."""

WAITS = (1.0, 4.0, 16.0)
"""Seconds before each further attempt to read from a server."""

TIMEOUT_SECONDS = 60


def is_remote(path: Path) -> bool:
    """Whether a path stands for an address; `Path` leaves one slash of `http://`."""
    return str(path).startswith(("http:/", "https:/"))


def address(path: Path) -> str:
    """What to call a file: the path, or the address that was made a path."""
    return re.sub(r"^(https?):/+", r"\1://", path.as_posix()) if is_remote(path) else str(path)


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


def open_shard(path: Path) -> Reader:
    """A reader for many pictures, one after the other."""
    return _RemoteFile(address(path)) if is_remote(path) else _LocalFile(path)


def read_span(path: Path, offset: int, size: int) -> bytes:
    """One picture from anywhere in a shard; see `Reader.read`."""
    reader = _RemoteFile(address(path)) if is_remote(path) else _LocalFile(path, ahead=0)
    with closing(reader):
        return reader.read(offset, size)


def fetch_shard(path: Path, target: Path, size: int) -> None:
    """Copies the first `size` bytes of a shard behind http into a file, which appears only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with closing(_RemoteFile(address(path))) as reader, temporary.open("xb") as file:
            for offset in range(0, size, SKIPPED):
                file.write(reader.read(offset, min(SKIPPED, size - offset)))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


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
                    raise OSError(f"{self.url} cannot be read: {reason}.") from None
            except (OSError, HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            self.close()
            if wait is not None:
                time.sleep(wait)
        raise OSError(
            f"{self.url} cannot be read: {reason}; {1 + len(WAITS)} attempts were made. When it is there again, "
            "--resume goes on."
        )

    def _read(self, offset: int, size: int) -> bytes:
        if self.response is None or not 0 <= offset - self.place <= SKIPPED:
            self._open(offset)
        while self.place < offset:
            self._take(min(offset - self.place, SKIPPED), offset + size)
        return self._take(size, offset + size)

    def _take(self, size: int, wanted: int) -> bytes:
        content: bytes = self.response.read(size)
        self.place += len(content)
        if len(content) < size:
            if self.end is not None and self.place >= self.end:
                raise _too_short(self.url, self.end, wanted)
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


def _too_short(name: str, end: int, wanted: int) -> ValueError:
    return ValueError(
        f"{name} ends at byte {end:,}, before byte {wanted:,}: the shard is damaged or newer than its index."
    )


@dataclass(frozen=True)
class Members:
    """What a shard holds, one entry a picture.

    Attributes:
        keys: their names without endings.
        labels: what their `.cls` files say.
        offsets: where their bytes begin in the shard.
        sizes: bytes of each.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def scan_shard(path: Path) -> Members:
    """Finds the pictures of a shard on a disk; of the pictures themselves nothing is read.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no tar file, or has a picture without a class.
    """
    places: dict[str, tuple[int, int]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, name = os.path.split(member.name)
                stem, _, ending = name.partition(".")
                key, ending = os.path.join(folder, stem), f".{ending.lower()}"
                if not member.isreg() or not stem:
                    continue
                if ending == ".cls":
                    content = tar.extractfile(member)
                    labels[key] = content.read(1000).decode().strip() if content else ""
                elif ending in SUFFIXES:
                    places.setdefault(key, (member.offset_data, member.size))
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as a tar file ({error}).") from None
    nameless = next((key for key in places if not labels.get(key)), None)
    if nameless is not None:
        raise ValueError(
            f"'{path}': the picture {nameless} has no class, no {os.path.basename(nameless)}.cls beside it."
        )
    if places and max(offset + size for offset, size in places.values()) > path.stat().st_size:
        raise ValueError(f"'{path}' is cut off: it is shorter than the tar file that it was.")
    return Members(
        tuple(places),
        tuple(labels[key] for key in places),
        tuple(offset for offset, _ in places.values()),
        tuple(size for _, size in places.values()),
    )
