"""Pictures from anywhere through a predictor into results."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from linnet.data.gathering import Gathered
from linnet.data.pieces import Archive, Piece, Readable, Rows, Wanted, name_of
from linnet.data.sources import File
from linnet.predictions.results import Results
from linnet.predictions.rows import row_of
from linnet.predictor import Predictor
from linnet.results import Result

GONE = (
    *(errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV),
    *(errno.ENXIO, errno.ENETDOWN, errno.ENETUNREACH),
)
"""What a disk or a server says that is no longer there."""

WAITING_READERS = 16
"""Threads that read pictures that are far, and mostly wait."""


class SourceGoneError(OSError):
    """What held the pictures is no longer there."""


@dataclass(frozen=True)
class Broken:
    """A file of many pictures that gives no more of them: it gets a row of its own.

    Attributes:
        name: of the file.
        error: why.
    """

    name: str
    error: Exception

    @property
    def picture(self) -> Path:
        """Raises the error."""
        raise self.error


def predict_into(
    results: Results,
    predictor: Predictor,
    gathered: Gathered,
    *,
    top: int | None = None,
    batch: int = 8,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Gives every picture that has none a row, in the order of the source.

    Args:
        results: opened; they are not finished here.
        predictor: of the model whose results they are.
        gathered: the pictures.
        top: entries of the list of each picture; see `row_of`.
        batch: pictures a forward pass.
        progress: called with the number of rows.

    Raises:
        SourceGoneError: if the source vanishes half-way.
        ValueError: if the network has no classifier or takes no pictures.
    """
    near = not any(_is_far(piece) for piece in gathered.pieces)
    for source, result in predicted(
        predictor, pictures_of(gathered.pieces, results.done.__contains__), batch, None if near else WAITING_READERS
    ):
        results.add(row_of(source.name, result, top))
        progress(results.count)


def pictures_of(pieces: Iterable[Piece], done: Callable[[str], bool]) -> Iterator[Readable]:
    """The pictures of pieces that are not done; a file of many that is damaged comes as `Broken`."""

    def wanted(name: str) -> bool:
        return not done(name)

    for piece in pieces:
        yield from _pictures_in(piece, wanted)


def _pictures_in(piece: Piece, wanted: Wanted) -> Iterator[Readable]:
    try:
        yield from piece.sources(wanted)
    except (ValueError, OSError) as error:
        if not isinstance(piece, Rows | Archive):
            raise
        if isinstance(error, OSError) and not isinstance(error, PermissionError):
            raise _gone(name_of(piece.file), error) from None
        if wanted(name_of(piece.file)):
            yield Broken(name_of(piece.file), error)


def predicted(
    predictor: Predictor, pictures: Iterable[Readable], batch: int, readers: int | None, *, elsewhere: bool = False
) -> Iterator[tuple[Readable, Result | Exception]]:
    """`Predictor.stream_of` of pictures, which ends with an error where their source vanishes.

    Where it was listed `elsewhere`, on another machine, it also ends if not even the first picture's folder is here.
    """
    last: str | None = None
    for source, result in predictor.stream_of(pictures, _read, batch=batch, readers=readers):
        if isinstance(result, OSError):
            if _has_gone(source, result, last) or (elsewhere and last is None and _is_nowhere(source)):
                raise _gone(source.name, result)
        elif isinstance(source, File) and not isinstance(result, Exception):
            last = source.name
        yield source, result


def _read(source: Readable) -> Path | bytes:
    return source.picture


def _has_gone(source: Readable, error: OSError, last: str | None) -> bool:
    """Whether an error is of the whole source and not of one picture; `last` is a file that could be read."""
    if isinstance(source, File):
        # One file may be lost or on a bad spot of the disk. What could be read a moment ago tells; where a disk was, an
        # empty folder may be left.
        lost = isinstance(error, FileNotFoundError) or error.errno in GONE
        return lost and last is not None and not _can_be_read(last)
    return not isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)


def _is_nowhere(source: Readable) -> bool:
    return isinstance(source, File) and not source.file.parent.is_dir()


def _can_be_read(name: str) -> bool:
    try:
        with open(name, "rb", buffering=0) as file:
            file.read(1)
    except OSError:
        return False
    return True


def _gone(name: str, error: OSError) -> SourceGoneError:
    reason = error.strerror if error.strerror and error.filename else str(error)
    return SourceGoneError(
        f"The source has vanished half-way, at '{name}': {reason.rstrip('.')}. What was predicted is kept; when the "
        "source is there again, the same command goes on."
    )


def _is_far(piece: Piece) -> bool:
    names: Sequence[str] = getattr(piece, "names", ())
    return getattr(piece, "root", None) is not None or any("://" in name for name in names[:1])
