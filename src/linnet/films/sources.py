"""What is a film: by name, inside folders, behind glob patterns; and cameras by number."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2ts", ".mts", ".ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".mjpeg", ".y4m"),
)
"""File names that count as films."""

NAMED = "camera:"
"""In front of a camera's number."""

CAMERA = re.compile(NAMED + r"(\d{1,3})")

CAMERAS = {
    "linux": ("/dev/video{}", "v4l2"),
    "darwin": ("{}", "avfoundation"),
    "win32": ("video={}", "dshow"),
}
"""Platform → what its system calls a camera, and the way in which FFmpeg reads it."""


@dataclass(frozen=True)
class Source:
    """A film or a camera.

    Attributes:
        name: as it was named.
        address: what is opened.
        way: of a camera, the way in which FFmpeg reads it; None of a file.
    """

    name: str
    address: str
    way: str | None = None

    @property
    def live(self) -> bool:
        """Whether it goes on until it is stopped."""
        return self.way is not None

    @property
    def stem(self) -> str:
        """What its copies are called."""
        return self.name.replace(":", "-") if self.live else Path(self.name).stem


def is_filmed(text: str) -> bool:
    """Whether this names a film or a camera, and not a picture, a folder or a pattern."""
    return text.startswith(NAMED) or (_is_film(Path(text)) and not Path(text).is_dir())


def split_sources(texts: Sequence[str]) -> tuple[list[str], list[Source]]:
    """What names pictures, as it was given, and the films and cameras among it.

    A folder and a pattern may hold both; a folder of films alone names no pictures.

    Raises:
        ValueError: if cameras cannot be read on this system.
    """
    pictures: list[str] = []
    films: list[Source] = []
    for text in texts:
        if (camera := CAMERA.fullmatch(text)) is not None:
            films.append(_camera(text, camera[1]))
            continue
        if text.startswith(NAMED) and not Path(text).exists():
            raise ValueError(f"'{text}' is no camera: they are named by their numbers, as in camera:0.")
        path = Path(text)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if _is_film(file) and file.is_file())
            films += [Source(str(file), str(file)) for file in inside]
            pictures += [text] * (not inside or any(map(_is_picture, path.rglob("*"))))
        elif not path.exists() and any(letter in text for letter in "*?["):
            matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
            found = [match for match in matches if _is_film(match) and match.is_file()]
            films += [Source(str(file), str(file)) for file in found]
            pictures += [text] if not found else [str(match) for match in matches if match not in found]
        elif _is_film(path):
            films.append(Source(text, text))
        else:
            pictures.append(text)
    return pictures, films


def _is_film(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _is_picture(path: Path) -> bool:
    from linnet.images import is_picture

    return is_picture(path)


def _camera(name: str, number: str) -> Source:
    if sys.platform not in CAMERAS:
        raise ValueError(f"'{name}': cameras cannot be read on {sys.platform}; films can.")
    address, way = CAMERAS[sys.platform]
    return Source(name, address.format(int(number)), way)
