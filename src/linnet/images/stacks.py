"""Stacks: TIFF files whose pages are slices of a volume, as microscopes write them."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.images.decoding import LARGEST_PICTURE, first_line, silence_pillow
from linnet.images.deep import mend_byte_order

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES_OF_STACKS = (".tif", ".tiff")

SPLIT = (
    "python -c \"from PIL import Image, ImageSequence; [page.save(f'slice{n:04}.png') "
    "for n, page in enumerate(ImageSequence.Iterator(Image.open('{name}')))]\""
)
"""A command that writes each page as a PNG file into the folder where it is run."""


def how_to_split(name: str) -> str:
    """A sentence with the command that makes a picture of each page of a stack."""
    return f"A picture of each page comes by: {SPLIT.replace('{name}', name)}"


def count_pages(file: str | Path) -> int:
    """Pages of a TIFF file that are slices: all of one size and kind of numbers.

    1 of any other file, and of one whose pages differ: a preview or a picture in several sizes is no volume.
    """
    from PIL import Image

    if not str(file).lower().endswith(SUFFIXES_OF_STACKS) or not has_more_pages(Path(file)):
        return 1
    silence_pillow()
    try:
        with Image.open(file, formats=["TIFF"]) as opened:
            count = int(getattr(opened, "n_frames", 1))
            kinds = set()
            for number in range(count):
                opened.seek(number)
                kinds.add((opened.size, opened.mode))
            return count if len(kinds) == 1 else 1
    except Exception:
        # Whether it can be read at all is for `decode` to say.
        return 1


def read_page(file: str | Path, number: int) -> bytes:
    """One page of a TIFF file, from 0 on, as a TIFF file of its own; its numbers are those of the page.

    Raises:
        ValueError: if it is damaged, or larger than `LARGEST_PICTURE`.
        OSError: if the file is missing or may not be read.
    """
    from PIL import Image

    silence_pillow()
    with Path(file).open("rb") as content:
        try:
            with Image.open(content, formats=["TIFF"]) as opened:
                opened.seek(number)
                if opened.width * opened.height > LARGEST_PICTURE:
                    raise ValueError(f"it has {opened.width} x {opened.height} pixels")
                return _alone(opened)
        except Exception as error:
            # Pillow's plugins answer damaged files with exceptions of any kind.
            raise ValueError(
                f"'{file}', page {number + 1}, is damaged and cannot be decoded ({first_line(error)})."
            ) from None


def _alone(page: Image.Image) -> bytes:
    mend_byte_order(page)
    page.load()
    written = io.BytesIO()
    # Without the page's tags: its orientation has been followed, and its compression is none any more.
    page.copy().save(written, "TIFF", tiffinfo={}, compression=None)
    return written.getvalue()


def has_more_pages(file: Path | bytes) -> bool:
    """Whether a TIFF file has a second page, of whatever kind: told by a few bytes, as there may be many files."""
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as opened:
            start = opened.read(16)
            order = {b"II": "<", b"MM": ">"}.get(start[:2])
            if order is None or len(start) < 16:
                return False
            big = struct.unpack(order + "H", start[2:4])[0] == 43
            place = struct.unpack(order + ("Q" if big else "I"), start[8:16] if big else start[4:8])[0]
            opened.seek(place)
            counted = opened.read(8 if big else 2)
            entries = struct.unpack(order + ("Q" if big else "H"), counted)[0]
            opened.seek(entries * (20 if big else 12), 1)
            following = opened.read(8 if big else 4)
            return any(following)
    except (OSError, OverflowError, ValueError, struct.error):
        return False
