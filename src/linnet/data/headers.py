"""What a picture's first bytes tell, without decoding it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.images import SUFFIXES

if TYPE_CHECKING:
    from PIL import Image


def upright_size(file: Path | str) -> tuple[int, int] | None:
    """(width, height) of a picture as its header tells, turned upright; None where that cannot be read."""
    from PIL import Image

    try:
        with Image.open(file, formats=formats()) as opened:
            width, height = opened.size
            return (height, width) if orientation(opened) in range(5, 9) else (width, height)
    except Exception:
        # Whether it can be read at all is for `decode` to say.
        return None


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    from PIL.ExifTags import Base

    try:
        found = image.getexif().get(Base.Orientation, 1)
    except Exception:
        return 1
    return found if found in range(1, 9) else 1


@cache
def formats() -> list[str]:
    """Pillow's names of the formats that linnet reads."""
    from PIL import Image

    known = Image.registered_extensions()
    return sorted({known[suffix] for suffix in SUFFIXES if suffix in known})
