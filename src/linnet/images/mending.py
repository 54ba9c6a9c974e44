"""A JPEG file that breaks off behind its last pixel: what is missing is its end mark alone."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

START, END = b"\xff\xd8", b"\xff\xd9"

MARKER = re.compile(rb"\xff+([\x01-\xd7\xda-\xfe])", re.DOTALL)

FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
"""Marks of the headers that tell the components: sequential and progressive, Huffman and arithmetic coding."""

SCAN, FIRST_RESTART, LAST_RESTART = 0xDA, 0xD0, 0xD7

COEFFICIENTS = 64

NOISE = 96
"""Bytes that would be taken for pixels if any were missing."""


def with_end(content: bytes) -> bytes | None:
    """A JPEG file without an end mark, with one; None of a file that has one, or whose pixels are not all there.

    Bytes that mean nothing are put behind the last ones, and then others: if that changes a pixel, then pixels are
    missing.
    """
    # Zeros at the end are what a broken copy fills a file with; one belongs to the byte 255 before it.
    cut = content.rstrip(b"\0") if content.endswith(b"\0\0") else content
    if not content.startswith(START) or END in cut[-64:]:
        return None
    cut = cut if cut.endswith(b"\xff\0") else cut.rstrip(b"\xff")
    restart = _restart_after(cut)
    if restart is None:
        return None
    generator = np.random.default_rng(0xE0F)
    tails = []
    for _ in range(2):
        # Where a part between two restart marks is missing, the next mark makes the decoder go on.
        parts = [
            generator.integers(1, 255, NOISE, np.uint8).tobytes()
            + bytes((0xFF, FIRST_RESTART + (restart + number) % 8))
            for number in range(8)
        ]
        tails.append(cut + b"".join(parts) + END)
    first, second = map(_pixels, tails)
    return None if first is None or second is None or not np.array_equal(first, second) else cut + END


def is_zero_filled(content: bytes) -> bool:
    """Whether a JPEG file ends in zeros instead of its end mark: they would be decoded as if they were pixels."""
    filled = content.endswith(b"\0\0") and content.startswith(START)
    return filled and content.rfind(END) < content.rfind(b"\xff\xda")


def _pixels(content: bytes) -> NDArray[np.uint8] | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as opened:
            return np.asarray(opened)
    except Exception:
        return None


def _restart_after(content: bytes) -> int | None:
    """The restart mark that would come next, 0 to 7; None where a scan is missing, or there is no picture at all."""
    place, restart, scanned = 2, 0, False
    missing: dict[int, set[int]] = {}
    while (found := MARKER.search(content, place)) is not None:
        mark, place = found[1][0], found.end()
        if FIRST_RESTART <= mark <= LAST_RESTART or mark == 1:
            restart = (mark - FIRST_RESTART + 1) % 8 if mark != 1 else restart
            continue
        size = int.from_bytes(content[place : place + 2])
        entry = content[place + 2 : place + size]
        if size < 2 or len(entry) < size - 2:
            return None
        if mark in FRAMES:
            missing = {entry[6 + 3 * number]: set(range(COEFFICIENTS)) for number in range(_count(entry, 5, 6, 3))}
        elif mark == SCAN:
            scanned, restart, count = True, 0, _count(entry, 0, 1, 2)
            first, last, exactness = (*entry[1 + 2 * count :], 0, 0, 0)[:3]
            for number in range(count):
                # Progressive scans tell a range of coefficients, and how many of their last bits are still to come.
                if exactness & 15 == 0:
                    missing.get(entry[1 + 2 * number], set()).difference_update(range(first, last + 1))
        place += size
    return restart if scanned and missing and not any(missing.values()) else None


def _count(entry: bytes, place: int, start: int, each: int) -> int:
    """How many components an entry tells, which it has room for."""
    return min(entry[place] if len(entry) > place else 0, max(len(entry) - start, 0) // each)
