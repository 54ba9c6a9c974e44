"""Files that appear whole or not at all, and files behind http."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

TIMEOUT_SECONDS = 60.0
"""After which a server that says nothing counts as gone."""


def write_atomically(path: Path, content: bytes | bytearray) -> None:
    """Writes a file through a temporary one in the same folder, synchronised, then renamed.

    A link is followed, an existing file keeps its permissions, and nothing but a regular file is replaced.

    Raises:
        OSError: naming `path`, if it cannot be written; nothing of the attempt is left behind.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes | bytearray]) -> None:
    """Writes files that belong together as `write_atomically` writes one: none is renamed before all are on the disk.

    Raises:
        OSError: naming the path that cannot be written; older files of these names are then as they were.
    """
    staged: list[tuple[Path, Path, Path]] = []
    try:
        for path, content in files.items():
            target = _target_of(path)
            temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
            staged.append((path, temporary, target))
            _write_staged(path, temporary, target, content)
        for path, temporary, target in staged:
            try:
                os.replace(temporary, target)
            except OSError as error:
                raise _cannot_write(path, error) from None
    except BaseException:
        for _, temporary, _ in staged:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise
    for folder in dict.fromkeys(target.parent for _, _, target in staged):
        _synchronise_folder(folder)


def _target_of(path: Path) -> Path:
    """The regular file, there already or not, that a path leads to."""
    target = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder; a file name was expected.")
    if target.exists() and not target.is_file():
        raise OSError(f"'{path}' is no regular file; linnet does not replace it.")
    return target


def _write_staged(path: Path, temporary: Path, target: Path, content: bytes | bytearray) -> None:
    """The content in a new temporary file, synchronised, with the permissions of what it will replace."""
    if target.parent.exists() and not target.parent.is_dir():
        raise _cannot_write(path, NotADirectoryError(errno.ENOTDIR, f"'{path.parent}' is no folder"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        raise _cannot_write(path, error) from None


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
    `write_atomically`. After an error nothing of the attempt is left behind. What takes the place is on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _synchronise_folder(path.parent)
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


Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes of the whole, None where the server does not say."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    most: int,
    progress: Progress = lambda done, total: None,
    without_network: str = "",
    seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Fetches a file, goes on where an earlier attempt broke off, and puts it in its place once it is the right one.

    Two processes that want one file wait for each other. Proxies are those of the environment (`https_proxy`).

    Args:
        url: the address.
        path: where the file goes.
        sha256: the file's digest in hexadecimal digits, or as many of the first ones as are known.
        most: bytes above which it is certainly another file.
        progress: hears how far it is.
        without_network: a sentence to add where the address cannot be reached: what can be done instead.
        seconds: after which a server that says nothing counts as gone.

    Raises:
        OSError: if there is no answer, an error is answered, or the answer breaks off; what has come is kept.
        ValueError: if another file comes; nothing of it is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        if path.is_file() and has_digest(path, sha256):
            return
        part = path.with_name(f".{path.name}.part")
        _receive(url, part, most, progress, without_network, seconds)
        if not has_digest(part, sha256):
            size, digest = part.stat().st_size, hashlib.sha256(part.read_bytes()).hexdigest()
            part.unlink()
            raise ValueError(f"{url} gave {size} bytes with SHA-256 {digest}; expected {sha256}. Nothing was kept.")
        os.replace(part, path)


def has_digest(path: Path, sha256: str) -> bool:
    """Whether a file's SHA-256 begins with these digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest().startswith(sha256)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Keeps other processes out while it is open; one that dies lets go. Some systems have no such locks.

    Raises:
        BlockingIOError: at once, without `wait`, if another process is in.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _receive(url: str, part: Path, most: int, progress: Progress, without_network: str, seconds: float) -> None:
    """Appends what is missing of a file to what is there of it."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    begun = part.stat().st_size if part.is_file() else 0
    request = Request(url, headers={"Range": f"bytes={begun}-"} if begun else {})
    done, total = begun, None
    try:
        with urlopen(request, timeout=seconds) as response:
            if response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
                # The server sends the whole.
                done = 0
            length = response.headers.get("Content-Length") or ""
            total = done + int(length) if length.isdigit() else None
            with part.open("ab" if done else "wb") as file:
                while chunk := response.read(1 << 16):
                    file.write(chunk)
                    done += len(chunk)
                    if done > most:
                        raise ValueError
                    progress(done, total)
    except HTTPError as error:
        error.close()
        if error.code == 416 and begun:
            # There is nothing behind what is there: it was of another file.
            part.unlink()
            return _receive(url, part, most, progress, without_network, seconds)
        raise OSError(f"{url} answered {error.code} ({error.reason}).") from None
    except ValueError:
        part.unlink(missing_ok=True)
        raise ValueError(f"{url} gives more than {most} bytes: it is another file. Nothing was kept.") from None
    except (OSError, HTTPException) as error:
        hint = f" {without_network}" if without_network else ""
        kept = f" {done} bytes are kept, and the next attempt goes on behind them." if done else ""
        raise OSError(f"{url} cannot be fetched ({getattr(error, 'reason', error)}).{kept}{hint}") from None
    if total is not None and done < total:
        raise OSError(f"{url} broke off after {done} of {total} bytes. Try again: it goes on behind them.")
    return None


def describe_failure(error: Exception) -> str:
    """One sentence for an error that a picture gave."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"'{error.filename}': {error.strerror}."
    return str(error)
