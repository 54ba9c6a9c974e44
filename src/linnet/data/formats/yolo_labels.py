"""Label files of YOLO: a line an object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linnet.data.flaws import Flaw
from linnet.data.reading import Annotation

LARGEST = 10_000_000
"""Bytes of a label file, or of the one that names the classes."""

LARGEST_NUMBER = 1e6
"""Of a coordinate, which is a share."""


def is_small(file: Path) -> bool:
    """Whether a file may be read whole."""
    return file.stat().st_size <= LARGEST


def objects_of(
    file: Path, picture: str, size: tuple[int, int] | None, count: int, key_points: int | None, flaws: list[Flaw]
) -> list[Annotation]:
    """The objects of a label file; their labels are still numbers."""
    if not is_small(file):
        flaws.append(Flaw("malformed", picture, f"its '{file.name}' has more than {LARGEST:,} bytes"))
        return []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        flaws.append(Flaw("malformed", picture, f"its '{file.name}' is no text"))
        return []
    # Of a picture that cannot be read, the check says so.
    width, height = size or (1, 1)
    objects = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        box, index = box_of(words[1:], key_points), class_of(words[0])
        if box is None or index is None:
            shown = line.strip()[:60]
            expected = "class, x, y, width, height" + f" and {key_points} numbers of key points" * bool(key_points)
            flaws.append(Flaw("malformed", picture, f"line {number} is not {expected}: {shown}"))
        elif index >= count:
            flaws.append(Flaw("unknown_category", picture, f"line {number} is of class {index} of {count:,}"))
        elif size is not None:
            x0, y0, x1, y1 = box
            objects.append(Annotation((x0 * width, y0 * height, x1 * width, y1 * height), str(index)))
    return objects


def class_of(word: str) -> int | None:
    """A class's number, also as `1.0` or `1.000e+00`."""
    try:
        value = float(word)
    except ValueError:
        return None
    return int(value) if 0 <= value < 1e9 and value == int(value) else None


def box_of(words: Sequence[str], key_points: int | None) -> tuple[float, float, float, float] | None:
    """x0, y0, x1, y1 as shares of the sides, of a line without its class: of a box, or around a polygon; else None."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    if not all(abs(value) <= LARGEST_NUMBER for value in values):
        return None
    if len(values) == 4 or (key_points and len(values) == 4 + key_points):
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if not key_points and len(values) >= 6 and len(values) % 2 == 0:
        return min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])
    return None
