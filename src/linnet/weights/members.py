"""Files of a folder or of a zip archive, read one by one with a limit to each."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from linnet.weights.conversion import LARGEST_LABELS, numbered_labels
from linnet.weights.found import check_fetched

MOST_FILES = 20_000

LABELS = "labels.txt"
"""Teachable Machine's list of class names."""


@dataclass(frozen=True)
class Members:
    """What a folder or an archive holds. Nothing outside it is ever opened.

    Attributes:
        path: of the folder or archive.
    """

    path: Path

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all files, with `/` between parts, without what operating systems add."""
        if self.path.is_dir():
            found = (each for each in self.path.rglob("*") if each.is_file())
            names = [each.relative_to(self.path).as_posix() for each in islice(found, MOST_FILES)]
        else:
            with zipfile.ZipFile(self.path) as archive:
                names = [each.filename for each in archive.infolist() if not each.is_dir()]
        return tuple(sorted(name for name in names if is_own(name)))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, however many there are."""
        return (self.path / name).is_file() if self.path.is_dir() else name in self.names

    def labels(self) -> tuple[str, ...] | None:
        """The class names of the one `labels.txt` in it; None without one, or with several."""
        texts = [name for name in self.names if PurePosixPath(name).name == LABELS]
        return numbered_labels(self.read(texts[0], LARGEST_LABELS)) if len(texts) == 1 else None

    def read(self, name: str, limit: int) -> bytes:
        """The content of one of the files.

        Args:
            name: with `/` between parts.
            limit: bytes that it may have.

        Raises:
            ValueError: if there is no such file, it is larger, or it is damaged.
            OSError: if it cannot be read, or is only a pointer of Git LFS.
        """
        if self.path.is_dir():
            parts = PurePosixPath(name).parts
            place = self.path.joinpath(*parts)
            if not parts or ".." in parts or "\\" in name or "\0" in name or PurePosixPath(name).is_absolute():
                raise ValueError(f"it names a file that lies outside its folder, {name!r}")
            if not place.is_file():
                raise ValueError(f"its file '{name}' is missing")
            if place.stat().st_size > limit:
                raise ValueError(f"its file '{name}' is larger than {limit:,} bytes")
            content = place.read_bytes()
            check_fetched(place, content)
            return content
        if name not in self.names:
            raise ValueError(f"its file '{name}' is missing")
        try:
            with zipfile.ZipFile(self.path) as archive:
                # What it says is what is unpacked at most.
                if archive.getinfo(name).file_size > limit:
                    raise ValueError(f"its file '{name}' is larger than {limit:,} bytes")
                content = archive.read(name)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError) as error:
            raise ValueError(f"its file '{name}' cannot be unpacked ({error})") from None
        return content


def is_own(name: str) -> bool:
    """Whether a file was put there by whoever made the folder, and not by an operating system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and "__MACOSX" not in parts and not parts[-1].startswith("._") and parts[-1] != ".DS_Store"
