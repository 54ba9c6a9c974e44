"""The numbers that a picture file stores, rather than how it looks: what masks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.images.decoding import read_opened, upright
from linnet.images.deep import mend_byte_order

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What a file stores of each pixel, upright.

    Attributes:
        values: (H, W) uint8, uint16 or int32 levels or places in a palette; or (H, W, 3) uint8 colours, black where
            they are wholly transparent. Three equal channels are one.
        palette: (N, 3) uint8 colours of the places; None where the values are no places.
        one_bit: whether the values are bits, which may stand for 0 and 1 or for 0 and 255.
        lossy: whether the file's format keeps values about as they were only: JPEG's.
        frames: pictures in the file; the first is taken.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    one_bit: bool = False
    lossy: bool = False
    frames: int = 1


def stored_values(picture: str | Path | bytes) -> Stored:
    """The values of a picture file, not made to colours of 8 bits as `decode` does.

    Raises:
        ValueError: if it is not a picture, is damaged, larger than `LARGEST_PICTURE`, or has fractions.
        OSError: if the file is missing or may not be read.
    """
    return read_opened(picture, _stored)


def _stored(opened: Image.Image, content: Any) -> Stored:
    lossy, frames = opened.format in ("JPEG", "MPO"), int(getattr(opened, "n_frames", 1))
    mend_byte_order(opened)
    opened.load()
    image = upright(opened)
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        values = np.asarray(image)
        return Stored(values if image.mode == "P" else values[..., 0], palette, frames=frames)
    if image.mode == "1":
        return Stored(np.asarray(image).astype(np.uint8), one_bit=True, frames=frames)
    if image.mode in ("LA", "La"):
        return Stored(np.asarray(image)[..., 0], lossy=lossy, frames=frames)
    if image.mode == "L" or image.mode.startswith("I"):
        return Stored(np.asarray(image), lossy=lossy, frames=frames)
    if image.mode == "F":
        fractions = np.asarray(image)
        whole = np.nan_to_num(fractions, nan=-1).round()
        if not np.array_equal(whole, fractions):
            raise ValueError("its values are fractions, where whole numbers tell classes")
        return Stored(whole.clip(-(2.0**31), 2.0**31 - 129).astype(np.int32), frames=frames)
    return Stored(_without_equal(_colours(image)), lossy=lossy, frames=frames)


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in ("RGBA", "RGBa"):
        layers = np.asarray(image.convert("RGBA"))
        return np.where(layers[..., 3:] > 0, layers[..., :3], 0).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def _without_equal(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One channel, if all three are the same everywhere."""
    first = colours[..., 0]
    if np.array_equal(first, colours[..., 1]) and np.array_equal(first, colours[..., 2]):
        return np.ascontiguousarray(first)
    return colours


def turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """An array (H, W, …) as an EXIF orientation of 1 to 8 makes it upright, as `decode` turns the picture."""
    if orientation in (3, 4, 7):
        array = array[::-1]
    if orientation in (2, 3, 7):
        array = array[:, ::-1]
    if orientation in (5, 7):
        return array.swapaxes(0, 1)
    return np.rot90(array, {6: -1, 8: 1}.get(orientation, 0))
