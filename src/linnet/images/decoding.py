"""Picture file → array: any format, upright, 8-bit RGB."""

from __future__ import annotations

import io
import re
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from linnet.images.deep import Range, colours_of_deep, grey_of_deep, is_deep, is_deep_grey, mend_byte_order
from linnet.images.heif import HEIF, install_heif, is_heif
from linnet.images.mending import is_zero_filled, with_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL import Image

    Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
    """A file's path, a file's bytes, a PIL image, or an RGB array (H, W, 3) uint8."""

T = TypeVar("T")

LARGEST_PICTURE = 178_956_970
"""Pixels. Pillow's own limit against decompression bombs: half a gigabyte of RGB."""

QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
"""The filter of warnings for Pillow: it warns of what linnet allows (90 megapixels) or reads around (odd metadata)."""


def picture_name(picture: Picture) -> str:
    """What to call a picture in a message."""
    return f"'{picture}'" if isinstance(picture, str | Path) else "The picture"


class _UnreadError(ValueError):
    """A picture of too many pixels, or of a format that is not installed; told apart from a damaged one."""


def decode(
    picture: Picture,
    *,
    shrink: Callable[[tuple[int, int]], int] | None = None,
    most_pixels: int = LARGEST_PICTURE,
) -> Image.Image:
    """Any picture as an upright 8-bit RGB image; of an animation the first frame.

    EXIF orientation is applied, transparency is laid on white, and values of more than 8 bits are scaled by their range
    (`linnet.images.deep.range_of`). A JPEG file that lacks nothing but its end mark is read.

    Args:
        picture: what to decode.
        shrink: asked once for each JPEG file, before its pixels are decoded: given the upright (width, height), it
            answers with how many times smaller the image shall be: 1, 2, 4 or 8, at most the shorter side. Sides that
            this does not divide are rounded up; of a turned picture they would be padded at the wrong end, so that one
            comes whole. So does, unasked, everything that is no JPEG file.
        most_pixels: above which a picture is refused before its pixels are decoded; at most `LARGEST_PICTURE`.

    Raises:
        ValueError: if it is not a picture, is damaged, is larger than `most_pixels`, or is HEIC and pillow-heif is
            not installed; the text names the file.
        OSError: if the file is missing or may not be read.
    """
    return _decode(picture, shrink, [], min(most_pixels, LARGEST_PICTURE))


def _decode(
    picture: Picture,
    shrink: Callable[[tuple[int, int]], int] | None,
    scales: list[Range],
    most_pixels: int = LARGEST_PICTURE,
) -> Image.Image:
    from PIL import Image

    if isinstance(picture, np.ndarray):
        return Image.fromarray(check_pixels(picture, dimensions=3))

    def pixels(opened: Image.Image, content: bytes | Image.Image) -> Image.Image:
        if shrink is not None and isinstance(content, bytes) and opened.format in ("JPEG", "MPO"):
            turn, (width, height) = _turn(opened), opened.size
            times = shrink((height, width) if turn in _sideways() else (width, height))
            if turn is None or width % times == height % times == 0:
                opened.draft(None, (width // times, height // times))
        return _to_rgb(upright(_loaded(opened, content, scales)))

    return read_opened(picture, pixels, most_pixels)


def read_opened(
    picture: str | Path | bytes | Image.Image,
    read: Callable[[Image.Image, Any], T],
    most_pixels: int = LARGEST_PICTURE,
) -> T:
    """What `read` makes of a picture's opened file and its content; a JPEG that lacks its end mark gets one.

    Args:
        picture: what to open.
        read: gets the image, whose pixels are not loaded yet, and the file's bytes, or the image itself.
        most_pixels: above which the picture is refused before that.

    Raises:
        ValueError: as `decode`.
        OSError: as `decode`.
    """
    from PIL import Image, UnidentifiedImageError

    name = picture_name(picture)
    # Read whole: a lazily opened file keeps its descriptor, and 100,000 of those do not exist.
    content = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture
    if not isinstance(content, bytes | Image.Image):
        raise ValueError(f"A picture is a path, bytes, a PIL image or an array, not a {type(content).__name__}.")
    silence_pillow()
    try:
        opened = content
        if isinstance(opened, bytes):
            if is_heif(opened) and not install_heif():
                raise _UnreadError(f"{name} {HEIF}")
            if is_zero_filled(opened):
                raise ValueError("it was cut off, and its end is filled with zeros")
            opened = Image.open(io.BytesIO(opened), formats=formats(opened))
        if not 0 < opened.width * opened.height <= most_pixels:
            raise _UnreadError(
                f"{name} has {opened.width} x {opened.height} pixels; from 1 to {most_pixels:,} are read."
            )
        return read(opened, content)
    except _UnreadError:
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that linnet can read ({', '.join(formats())}).") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name} has more than {most_pixels:,} pixels. Scale it down first.") from None
    except Exception as error:
        if isinstance(content, bytes) and (whole := with_end(content)) is not None:
            return read_opened(whole, read, most_pixels)
        # Pillow's plugins answer damaged files with exceptions of any kind.
        raise ValueError(f"{name} is damaged and cannot be decoded ({first_line(error)}).") from None


def silence_pillow() -> None:
    """Puts `QUIET` first. `warnings.catch_warnings` would not do: pictures are decoded in several threads."""
    if not warnings.filters or warnings.filters[0] != QUIET:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)


def decode_deep(content: bytes) -> tuple[Image.Image, Range | None]:
    """A file of more than 8 bits a channel as `decode` gives it, and the values that became black and white.

    None for those where they are the ends of all 16 bits.

    Raises:
        ValueError: as `decode`.
    """
    scales: list[Range] = []
    image = _decode(content, None, scales)
    return image, next((scale for scale in scales if scale != (0, 65_535)), None)


def _loaded(image: Image.Image, content: object, scales: list[Range]) -> Image.Image:
    """The image with its pixels, deep ones in 8 bits; adds the range that these were made of."""
    if not is_deep(image):
        image.load()
        return image
    mend_byte_order(image)
    turn, found = _turn(image), None
    if is_deep_grey(image):
        image.load()
        found = grey_of_deep(image)
    elif isinstance(content, bytes):
        found = colours_of_deep(content, image)
    image.load()
    if found is None:
        return image
    scales.append(found[1])
    # Of a TIFF file, Pillow turns what it loads itself.
    return found[0] if turn is None or image.format == "TIFF" else found[0].transpose(turn)


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says.

    `ImageOps.exif_transpose` also writes the data anew and fails on an odd entry in them.
    """
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


def first_line(error: BaseException) -> str:
    """What an exception says, without a full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def formats(content: bytes = b"") -> list[str]:
    """The formats that are read, by Pillow's names: HEIC among them for a file that begins like it, if it can be read.

    Pillow's other plugins are never tried: some of them start programs on what they are given.
    """
    return [*_usual_formats(), *(["HEIF"] if is_heif(content) and install_heif() else [])]


@cache
def _usual_formats() -> list[str]:
    from PIL import features

    return ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"] + ["AVIF"] * bool(features.check("avif"))


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def check_pixels(pixels: Any, *, dimensions: int) -> NDArray[np.uint8]:
    """The array if it is uint8 RGB with `dimensions` axes, the last of them 3 wide; else a ValueError."""
    expected = "(height, width, 3)" if dimensions == 3 else "(pictures, height, width, 3)"
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"Pixels must be a numpy array {expected} of uint8; this is a {type(pixels).__name__}.")
    if pixels.dtype != np.uint8 or pixels.ndim != dimensions or pixels.shape[-1] != 3 or 0 in pixels.shape[-3:]:
        shape = " x ".join(map(str, pixels.shape)) or "no axes"
        raise ValueError(f"Pixels must be an RGB array {expected} of uint8; this one is {shape} of {pixels.dtype}.")
    return pixels
