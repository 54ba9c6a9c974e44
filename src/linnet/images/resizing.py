"""Picture → a network's input: resized and normalised as its contract says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.images.contract import Preprocessing
from linnet.images.decoding import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from linnet.images.decoding import Picture

LARGEST_RESIZED = 50_000_000
"""Pixels. A thin picture, scaled until its shorter side covers the input, can have any number of them: of a larger one
only what is cut out is made."""

GREY_WEIGHTS = (19595, 38470, 7471)
"""Of red, green and blue in 65,536ths: Pillow's (ITU-R 601). No sum of weighted bytes and a half reaches 2^24, so that
float32 holds it without rounding."""


def prepare(picture: Picture, contract: Preprocessing) -> NDArray[np.uint8]:
    """A picture at a network's size, not yet normalised: (H, W, 3) uint8 RGB.

    With `shorter_side`, `bilinear` and `antialias` this equals torchvision's Resize and CenterCrop to the last bit.

    Raises:
        ValueError: if the picture cannot be decoded.
        OSError: if the file is missing or may not be read.
    """
    return fit(decode(picture), contract)


def fit(image: Image.Image, contract: Preprocessing) -> NDArray[np.uint8]:
    """What `prepare` does with a decoded image."""
    height, width = contract.size
    if contract.resize == "shorter_side":
        whole = _covering_size(image.size, contract)
        window = (_centre(whole[0], width), _centre(whole[1], height), width, height)
        return np.asarray(_resize(image, whole, contract, window))
    if contract.resize == "central_crop":
        image = image.crop(_central_box(image.size, contract))
    return np.asarray(_resize(image, (width, height), contract, (0, 0, width, height)))


def seen_box(size: tuple[int, int], contract: Preprocessing) -> tuple[float, float, float, float]:
    """The part x0, y0, x1, y1 of a picture of (width, height) pixels that `fit` shows a network."""
    if contract.resize == "central_crop":
        return _central_box(size, contract)
    if contract.resize == "squash":
        return (0, 0, *size)
    whole = _covering_size(size, contract)
    across, down = size[0] / whole[0], size[1] / whole[1]
    left, top = _centre(whole[0], contract.size[1]), _centre(whole[1], contract.size[0])
    return left * across, top * down, (left + contract.size[1]) * across, (top + contract.size[0]) * down


def _central_box(size: tuple[int, int], contract: Preprocessing) -> tuple[int, int, int, int]:
    # As tf.image.central_crop: whole pixels, the same number off both ends.
    left, top = (int((side - side * contract.crop) / 2) for side in size)
    return left, top, size[0] - left, size[1] - top


def _covering_size(size: tuple[int, int], contract: Preprocessing) -> tuple[int, int]:
    """(width, height) that just covers the network's size divided by the crop, aspect kept."""
    high, wide = (max(round(side / contract.crop), side) for side in contract.size)
    width, height = size
    # The side that is shorter, relative to what it must cover, is met exactly; the other one is truncated, as
    # torchvision does it, but never below what is cut out of it.
    if width * high <= height * wide:
        return wide, max(int(wide * height / width), contract.size[0])
    return max(int(high * width / height), contract.size[1]), high


def _centre(length: int, target: int) -> int:
    # Python rounds halves to even, and so does torchvision's CenterCrop.
    return round((length - target) / 2.0)


def _resize(
    image: Image.Image, size: tuple[int, int], contract: Preprocessing, window: tuple[int, int, int, int]
) -> Image.Image:
    """The window (left, top, width, height) of the image resized to (width, height) `size`."""
    from PIL import Image

    left, top, width, height = window
    if not contract.antialias and image.size != size:
        return Image.fromarray(_sample_bilinear(np.asarray(image), size, window))
    resampling = Image.Resampling[contract.interpolation.upper()]
    if size[0] * size[1] > LARGEST_RESIZED:
        # The same but for the rounding of the filter's weights.
        across, down = image.width / size[0], image.height / size[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return image.resize((width, height), resampling, box)
    if image.size != size:
        image = image.resize(size, resampling)
    return image.crop((left, top, left + width, top + height))


def resize_box(
    image: Image.Image, box: tuple[float, float, float, float], contract: Preprocessing
) -> NDArray[np.uint8]:
    """The part (left, top, right, bottom) of an image, squashed to a network's size: (H, W, 3) uint8 RGB."""
    from PIL import Image

    size = contract.size[::-1]
    if not contract.antialias:
        return np.asarray(_resize(image.crop(box), size, contract, (0, 0, *size)))
    # The gap halves a much larger part by plain averages first; at 3 nobody sees the difference.
    return np.asarray(image.resize(size, Image.Resampling[contract.interpolation.upper()], box, reducing_gap=3))


def _sample_bilinear(
    pixels: NDArray[np.uint8], size: tuple[int, int], window: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """The window of bilinear samples at pixel centres without a filter: tf.image.resize with antialias=False."""
    result: NDArray[Any] = pixels
    for axis, (target, start, kept) in enumerate(zip(size[::-1], window[1::-1], window[:1:-1], strict=True)):
        length = result.shape[axis]
        places = np.arange(start, start + kept, dtype=np.float32)
        centres = np.maximum((places + 0.5) * (length / target) - 0.5, 0)
        low = np.minimum(centres.astype(np.int64), length - 1)
        high = np.minimum(low + 1, length - 1)
        share = (centres - low).astype(np.float32)
        share = share[:, None, None] if axis == 0 else share[None, :, None]
        result = np.take(result, low, axis) * (1 - share) + np.take(result, high, axis) * share
    return result.round().astype(np.uint8)


def normalise(pixels: NDArray[np.uint8], contract: Preprocessing) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 RGB → (N, H, W, C) float32 as the network wants it: (pixels / 255 - mean) / std."""
    if contract.colours == "grey":
        pixels = grey_of(pixels)
    elif contract.colours == "BGR":
        pixels = pixels[..., ::-1]
    values = pixels.astype(np.float32) / np.float32(255)
    values -= np.array(contract.mean, np.float32)
    values /= np.array(contract.std, np.float32)
    return values


def table_of(contract: Preprocessing) -> NDArray[np.float32]:
    """(channels, 256): what `normalise` makes of each value."""
    values = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = (np.array(numbers, np.float32)[:, None] for numbers in (contract.mean, contract.std))
    table: NDArray[np.float32] = (values - mean) / std
    return table


def grey_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(…, 3) RGB → (…, 1): ITU-R 601 in the integers of Pillow's own conversion, the same on every processor."""
    red, green, blue = (weight * pixels[..., at : at + 1].astype(np.uint32) for at, weight in enumerate(GREY_WEIGHTS))
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)
