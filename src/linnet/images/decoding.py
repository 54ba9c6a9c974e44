"""Picture file → array: any format, upright, 8-bit RGB."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL import Image

    Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
    """A file's path, a file's bytes, a PIL image, or an RGB array (H, W, 3) uint8."""

LARGEST_PICTURE = 178_956_970
"""Pixels. Pillow's own limit against decompression bombs: half a gigabyte of RGB."""

QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
"""The filter of warnings for Pillow: it warns of what linnet allows (90 megapixels) or reads around (odd metadata)."""


def picture_name(picture: Picture) -> str:
    """What to call a picture in a message."""
    return f"'{picture}'" if isinstance(picture, str | Path) else "The picture"


class _TooLarge(ValueError):
    """A picture above `LARGEST_PICTURE`, which is not a damaged one."""


def decode(picture: Picture, *, shrink: Callable[[tuple[int, int]], int] | None = None) -> Image.Image:
    """Any picture as an upright 8-bit RGB image; of an animation the first frame.

    EXIF orientation is applied, transparency is laid on white, and 16-bit values are scaled to 8.

    Args:
        picture: what to decode.
        shrink: asked once for each JPEG file, before its pixels are decoded: given the upright (width, height), it
            answers with how many times smaller the image shall be: 1, 2, 4 or 8, at most the shorter side. Sides that
            this does not divide are rounded up; of a turned picture they would be padded at the wrong end, so that one
            comes whole. So does, unasked, everything that is no JPEG file.

    Raises:
        ValueError: if it is not a picture, is damaged, or is larger than `LARGEST_PICTURE`; the text names the file.
        OSError: if the file is missing or may not be read.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(picture, np.ndarray):
        return Image.fromarray(check_pixels(picture, dimensions=3))
    name = picture_name(picture)
    # Read whole: a lazily opened file keeps its descriptor, and 100,000 of those do not exist.
    content = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture
    if not isinstance(content, bytes | Image.Image):
        raise ValueError(f"A picture is a path, bytes, a PIL image or an array, not a {type(content).__name__}.")
    _silence_pillow()
    try:
        opened = content
        if isinstance(opened, bytes):
            # Only these formats: some of Pillow's other plugins start programs on what they are given.
            opened = Image.open(io.BytesIO(opened), formats=_formats())
        if not 0 < opened.width * opened.height <= LARGEST_PICTURE:
            raise _TooLarge(
                f"{name} has {opened.width} x {opened.height} pixels; linnet reads from 1 to {LARGEST_PICTURE:,}."
            )
        if shrink is not None and isinstance(content, bytes) and opened.format in ("JPEG", "MPO"):
            turn, (width, height) = _turn(opened), opened.size
            times = shrink((height, width) if turn in _sideways() else (width, height))
            if turn is None or width % times == height % times == 0:
                opened.draft(None, (width // times, height // times))
        return _to_rgb(_upright(opened))
    except _TooLarge:
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that linnet can read ({', '.join(_formats())}).") from None
    except Image.DecompressionBombError:
        raise _TooLarge(f"{name} has more than {LARGEST_PICTURE:,} pixels. Scale it down first.") from None
    except Exception as error:
        # Pillow's plugins answer damaged files with exceptions of any kind.
        raise ValueError(f"{name} is damaged and cannot be decoded ({_first_line(error)}).") from None


def _silence_pillow() -> None:
    """Puts `QUIET` first. `warnings.catch_warnings` would not do: pictures are decoded in several threads."""
    if not warnings.filters or warnings.filters[0] != QUIET:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says.

    `ImageOps.exif_transpose` also writes the data anew and fails on an odd entry in them.
    """
    image.load()
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; EXIF data that cannot be read turn nothing."""
    from PIL.ExifTags import Base
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(Base.Orientation, 1))
    except Exception:
        return None


def _sideways() -> set[Image.Transpose]:
    """The turns that swap width and height."""
    from PIL.Image import Transpose

    return {Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _formats() -> list[str]:
    """The formats that are read, by Pillow's names."""
    from PIL import features

    return ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"] + ["AVIF"] * bool(features.check("avif"))


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit grey (also as 32-bit integers) divided by 257; floats in [0, 1] times 255."""
    from PIL import Image

    values = np.asarray(image)
    divisor = 1.0
    if image.mode == "F":
        divisor = 1 / 255 if np.nanmax(values, initial=0) <= 1 else 1.0
    elif image.mode != "I" or values.max(initial=0) > 255:
        divisor = 257.0
    grey = np.empty(values.shape, np.uint8)
    # In strips: the whole in float64 would take many times the picture's memory.
    for start in range(0, len(values), 64):
        strip = values[start : start + 64] / np.float64(divisor)
        grey[start : start + 64] = np.clip(np.nan_to_num(strip).round(), 0, 255)
    return Image.fromarray(grey).convert("RGB")


def check_pixels(pixels: Any, *, dimensions: int) -> NDArray[np.uint8]:
    """The array if it is uint8 RGB with `dimensions` axes, the last of them 3 wide; else a ValueError."""
    expected = "(height, width, 3)" if dimensions == 3 else "(pictures, height, width, 3)"
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"Pixels must be a numpy array {expected} of uint8; this is a {type(pixels).__name__}.")
    if pixels.dtype != np.uint8 or pixels.ndim != dimensions or pixels.shape[-1] != 3 or 0 in pixels.shape[-3:]:
        shape = " x ".join(map(str, pixels.shape)) or "no axes"
        raise ValueError(f"Pixels must be an RGB array {expected} of uint8; this one is {shape} of {pixels.dtype}.")
    return pixels
