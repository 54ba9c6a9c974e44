"""Files that appear whole or not at all, and files behind http."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

TIMEOUT_SECONDS = 60.0
"""After which a server that says nothing counts as gone."""


def write_atomically(path: Path, content: bytes | bytearray) -> None:
    """Writes a file through a temporary one in the same folder, synchronised, then renamed.

    A link is followed, an existing file keeps its permissions, and nothing but a regular file is replaced.

    Raises:
        OSError: naming `path`, if it cannot be written; nothing of the attempt is left behind.
    """
    target = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder; a file name was expected.")
    if target.exists() and not target.is_file():
        raise OSError(f"'{path}' is no regular file; linnet does not replace it.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:
        raise _cannot_write(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
        _synchronise_folder(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from None
        raise


def _cannot_write(path: Path, error: OSError) -> OSError:
    return type(error)(error.errno, f"cannot write: {error.strerror}", str(path))


def _synchronise_folder(folder: Path) -> None:
    """Makes the rename itself durable, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a temporary file beside `path`, which takes its place once the block ends without an error.

    For what is too large to be held as bytes, or is written by a library that wants a file name; else see
    `write_atomically`. After an error nothing of the attempt is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fetch(
    url: str, *, most: int, without_network: str = "", missing: str = "", seconds: float = TIMEOUT_SECONDS
) -> bytes:
    """The first `most` bytes behind an http address.

    Args:
        url: the address.
        most: bytes to read at the most.
        without_network: a sentence to add where the address cannot be reached: what can be done instead.
        missing: a sentence to add where the server does not have the file (404).
        seconds: after which a server that says nothing counts as gone.

    Raises:
        OSError: if there is no answer, an error is answered, or the answer breaks off.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=seconds) as response:
            content = bytes(response.read(most))
            expected = response.headers.get("Content-Length")
    except HTTPError as error:
        error.close()
        hint = f" {missing}" if missing and error.code == 404 else ""
        raise OSError(f"{url} answered {error.code} ({error.reason}).{hint}") from None
    except (OSError, HTTPException, ValueError) as error:
        hint = f" {without_network}" if without_network else ""
        raise OSError(f"{url} cannot be fetched ({getattr(error, 'reason', error)}).{hint}") from None
    if expected is not None and expected.isdigit() and len(content) != min(int(expected), most):
        raise OSError(f"{url} broke off after {len(content)} of {expected} bytes. Try again.")
    return content


def describe_failure(error: Exception) -> str:
    """One sentence for an error that a picture gave."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"'{error.filename}': {error.strerror}."
    return str(error)
