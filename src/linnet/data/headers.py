"""What a picture's first bytes tell, without decoding it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING

from linnet.images import formats

if TYPE_CHECKING:
    from PIL import Image

BEGINNING = 4096
"""Bytes of a file that are looked at for an orientation: of a JPEG, EXIF data come first."""

WHOLLY = (b"II*\0", b"MM\0*", b"RIFF")
"""How files begin whose EXIF data may stand anywhere: TIFF and WebP."""

PNG = b"\x89PNG"

EXIF = re.compile(rb"Exif\0\0(II|MM)")


def upright_size(file: Path | str | bytes) -> tuple[int, int] | None:
    """(width, height) of a picture as its header tells, turned upright; None where that cannot be read."""
    found = size_and_orientation(file)
    if found is None:
        return None
    (width, height), turn = found
    return (height, width) if turn in range(5, 9) else (width, height)


def size_and_orientation(file: Path | str | bytes) -> tuple[tuple[int, int], int] | None:
    """(width, height) of a picture before it is turned, and its EXIF orientation; None where that cannot be read."""
    from PIL import Image

    try:
        with _open(file) as opened:
            start = opened.read(64)
            opened.seek(0)
            image = Image.open(opened, formats=formats(start))
            # Pillow decodes a whole PNG to find out that it has no EXIF data.
            turn = orientation(image) if may_be_turned(file) else 1
            tags = getattr(image, "tag_v2", None)
            # Of TIFF files, Pillow gives the upright size.
            return image.size if tags is None else (int(tags[256]), int(tags[257])), turn
    except Exception:
        # Whether it can be read at all is for `decode` to say.
        return None


def may_be_turned(file: Path | str | bytes) -> bool:
    """Whether a file may have an EXIF orientation that turns it: told by its first bytes, so that few are opened."""
    try:
        with _open(file) as opened:
            start = opened.read(BEGINNING)
            if start.startswith(PNG) and len(start) == BEGINNING:
                # Some programs put them behind the pixels.
                opened.seek(max(opened.seek(0, 2) - BEGINNING, BEGINNING))
                start += opened.read(BEGINNING)
    except OSError:
        return False
    if start.startswith(b"\xff\xd8"):
        return EXIF.search(start) is not None
    return start.startswith(WHOLLY) or (start.startswith(PNG) and (b"eXIf" in start or b"Raw profile" in start))


def _open(file: Path | str | bytes) -> IO[bytes]:
    return io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb", buffering=BEGINNING)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    from PIL.ExifTags import Base

    try:
        found = image.getexif().get(Base.Orientation, 1)
    except Exception:
        return 1
    return found if found in range(1, 9) else 1
