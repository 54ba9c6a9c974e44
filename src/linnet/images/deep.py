"""Pictures of more than 8 bits a channel: the range of their values becomes the range of 8 bits."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Range = tuple[float, float]
"""The values that become 0 and 255."""

BITS = (8, 10, 12, 14, 16)
"""Of cameras and scanners, which keep so many in 16."""

BRIGHT = 64
"""Of the upper 8 bits of 16: from there on all 16 are in use."""

BELOW, ABOVE = 0.05, 1.25
"""Shares by which enlarging and filtering leave the range at its ends: that is cut off, and moves nothing."""

LEAST_LEVELS = 8
"""Floats above 1 and below this are neither shares of 1 nor levels to 255."""


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has more than 8 bits a channel, as its header tells."""
    return is_deep_grey(image) or _is_deep_colour(image)


def is_deep_grey(image: Image.Image) -> bool:
    """The same of one channel, which Pillow decodes to its values."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def grey_of_deep(image: Image.Image) -> tuple[Image.Image, Range]:
    """A deep grey picture in 8 bits, and the range of values that it was made of."""
    from PIL import Image

    values = np.asarray(image)
    scale = range_of(values)
    return Image.fromarray(_scaled(values, scale)), scale


def colours_of_deep(content: bytes, opened: Image.Image) -> tuple[Image.Image, Range] | None:
    """A picture with 16 bits a colour whose upper 8 bits are hardly used, in 8 bits; None of every other.

    Pillow keeps the upper 8 bits alone, and 12 bits of a camera would be left as 4.

    Args:
        content: the file.
        opened: the same, opened and perhaps loaded.
    """
    from PIL import Image

    if not _is_deep_colour(opened) or "LA" in opened.mode:
        return None
    swapped: Any = Image.open(io.BytesIO(content), formats=[opened.format or ""])
    tiles: list[Any] = list(swapped.tile)
    upper = np.asarray(opened)
    if upper[..., :3].max(initial=0) >= BRIGHT:
        return None
    # The lower 8 bits are what a reader of the other byte order takes for the upper ones.
    swapped.tile = [_with_rawmode(tile, _other_order(_rawmode(tile))) for tile in tiles]
    values = upper.astype(np.uint16) << 8 | np.asarray(swapped)
    scale = range_of(values[..., :3])
    scaled = _scaled(values[..., :3], scale)
    if opened.mode == "RGB":
        return Image.fromarray(scaled), scale
    return Image.fromarray(np.concatenate([scaled, upper[..., 3:]], axis=2), "RGBA"), scale


def mend_byte_order(image: Image.Image) -> None:
    """Of a compressed big-endian TIFF: libtiff has put its numbers into the machine's order, which Pillow overlooks."""
    tiles: list[Any] = list(getattr(image, "tile", []))
    if tiles and tiles[0][0] == "libtiff" and _rawmode(tiles[0]) in ("I;16BS", "I;32B", "I;32BS", "F;32BF"):
        image.tile = [_with_rawmode(tile, _rawmode(tile).replace("B", "N")) for tile in tiles]  # type: ignore[attr-defined]


def range_of(values: NDArray[Any]) -> Range:
    """What becomes 0 and 255: 0 and the least usual depth that holds all values; else the least and the largest value.

    Floats up to 1 are shares of 1, further ones levels as of whole numbers. Where values lie below 0, or above what 16
    bits hold, no depth is usual.
    """
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not known.size:
        return 0.0, 255.0
    low, high = float(known.min()), float(known.max())
    if low >= -BELOW * high:
        is_float = values.dtype.kind == "f"
        if is_float and high <= ABOVE:
            return 0.0, 1.0
        if not is_float or high >= LEAST_LEVELS:
            most = (2.0**bits - 1 for bits in BITS)
            tolerated = ABOVE if is_float else 1.0
            found = next((top for top in most if high <= top * (tolerated if top == 255 else 1)), None)
            if found is not None:
                return 0.0, found
    return low, high if high > low else low + 1


def _scaled(values: NDArray[Any], scale: Range) -> NDArray[np.uint8]:
    low, high = scale
    scaled = np.empty(values.shape, np.uint8)
    # In strips: the whole in float64 would take many times the picture's memory.
    for start in range(0, len(values), 64):
        strip = (values[start : start + 64].astype(np.float64) - low) * 255 / (high - low)
        # No value is black, an endless one white.
        scaled[start : start + 64] = np.nan_to_num(strip, posinf=255.0, neginf=0.0).round().clip(0, 255)
    return scaled


def _is_deep_colour(image: Image.Image) -> bool:
    """Of several channels: Pillow tells their 16 bits with the bytes that are still to be read only."""
    tiles: list[Any] = list(getattr(image, "tile", []))
    return bool(tiles) and image.mode in ("RGB", "RGBA", "LA", "RGBa") and ";16" in _rawmode(tiles[0])


def _rawmode(tile: Any) -> str:
    argument = tile[3][0] if isinstance(tile[3], tuple | list) and tile[3] else tile[3]
    return argument if isinstance(argument, str) else ""


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    argument = (rawmode, *tile[3][1:]) if isinstance(tile[3], tuple | list) else rawmode
    # Older versions of Pillow have plain tuples.
    return tile._replace(args=argument) if hasattr(tile, "_replace") else (*tile[:3], argument)


def _other_order(rawmode: str) -> str:
    kind, order = rawmode[:-1], rawmode[-1]
    little = order == "L" or (order == "N" and sys.byteorder == "little")
    return kind + ("B" if little else "L")
