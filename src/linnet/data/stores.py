"""Files in stores that pyarrow's file systems open, such as `s3://bucket/folder` and `gs://bucket/folder`.

What a store needs to know stands in the address (`s3://bucket/folder?region=eu-west-1`); credentials stand in the
environment, where the vendor's own programs look for them, and never in a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

BUCKETS = ("s3", "gs", "gcs", "file")
"""Schemes whose file systems call a file by everything behind `://`; others by what follows the host."""

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials; a public bucket is "
    "`s3://anonymous@BUCKET/…`",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; a public bucket is `gs://anonymous@BUCKET/…`",
}

ANONYMOUS = "anonymous"
"""The only user that an address may name."""

PATIENCE = "retry_limit_seconds=30"
"""Of Google's client, which else asks for a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file or a folder in a store.

    Attributes:
        root: the address of the store, with what it needs to know.
        path: in it, as its file system calls it.
    """

    root: str
    path: str

    @property
    def name(self) -> str:
        """The address, without what only the store needs."""
        return f"{urlsplit(self.root).scheme}://{self.path}"

    @property
    def picture(self) -> bytes:
        """All of its bytes, read anew each time.

        Raises:
            OSError: if they cannot be had.
        """
        with self.open() as file:
            return bytes(file.read())

    def open(self) -> Any:
        """The file, to be read from anywhere in it; an OSError if it cannot be."""
        with _said(self.name):
            return _file_system(self.root).open_input_file(self.path)

    def listed(self) -> list[Stored]:
        """Itself, if it is a file; the files in it at every level if it is a folder, in the order of their names.

        Raises:
            FileNotFoundError: if there is neither.
            OSError: if it cannot be listed.
        """
        from pyarrow.fs import FileSelector, FileType

        with _said(self.name):
            system = _file_system(self.root)
            kind = system.get_file_info(self.path).type
            if kind == FileType.File:
                return [self]
            if kind == FileType.NotFound:
                raise FileNotFoundError(f"There is nothing at '{self.name}'.")
            inside = system.get_file_info(FileSelector(self.path, recursive=True))
        return [Stored(self.root, path) for path in sorted(each.path for each in inside if each.type == FileType.File)]


def locate_stored(url: str) -> Stored:
    """What an address of a store names.

    Raises:
        ValueError: if it tells a secret.
    """
    parts = urlsplit(url)
    user, host = parts.username, parts.netloc.rpartition("@")[2]
    if parts.password is not None or user not in (None, ANONYMOUS):
        raise ValueError(
            f"'{parts.scheme}://…@{host}' holds credentials, which would get into results and logs. Put them into the "
            f"environment ({CREDENTIALS.get(parts.scheme, 'see the store')})."
        )
    query = f"?{parts.query}" if parts.query else ""
    path = f"{host}{parts.path}" if parts.scheme in BUCKETS else parts.path
    return Stored(f"{parts.scheme}://{parts.netloc}{query}", path.rstrip("/"))


@lru_cache(maxsize=32)
def _file_system(root: str) -> Any:
    """The file system of a store; its connections are kept."""
    try:
        from pyarrow.fs import FileSystem
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"'{root}' needs pyarrow: pip install 'linnet[cluster]'.", name="pyarrow") from None
    address, parts = root, urlsplit(root)
    if parts.scheme == "s3" and parts.username == ANONYMOUS:
        from pyarrow.fs import S3FileSystem

        # An address has no word for it: there the user would be taken for a key.
        return S3FileSystem(anonymous=True, **dict(parse_qsl(parts.query)))
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in root:
        address += ("&" if "?" in root else "?") + PATIENCE
    return FileSystem.from_uri(address if not address.startswith("file:") else "file:///")[0]


@contextmanager
def _said(name: str) -> Iterator[None]:
    """What goes wrong in a store as a sentence that names the file and what to look at."""
    import pyarrow as arrow

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(str(error) if name in str(error) else f"There is nothing at '{name}'.") from None
    except (OSError, arrow.ArrowException) as error:
        where = CREDENTIALS.get(name.partition("://")[0].replace("gcs", "gs"))
        hint = f" Credentials are looked for in {where}." if where else ""
        raise OSError(f"'{name}' cannot be read ({' '.join(str(error).split()).rstrip('.')}).{hint}") from None
