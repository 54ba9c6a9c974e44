"""Random crops of pictures for training, taken while decoding.

A training step wants a small part of a picture, scaled down: of a large JPEG file only as many pixels are decoded as
that part needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from linnet.architecture.network import OptionError
from linnet.images import Preprocessing, decode, prepare, resize_box

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from linnet.images import Picture

    Box = tuple[int, int, int, int]
    """Left, top, right, bottom in pixels."""

TRIES = 10
"""Shapes that are drawn until one fits into the picture; torchvision's number."""

REDUCTIONS = (8, 4, 2)
"""How many times smaller a JPEG decoder can make a picture."""


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """Which part of a picture a network sees in training.

    Raises:
        ValueError: on values that make no sense, with name, value and what is allowed.
    """

    kind: Literal["resized", "shifted", "whole"] = "resized"
    """`resized` scales a part of random area and shape (Inception's crop, Szegedy et al. 2014, section 6); `shifted`
    moves the prepared picture by some pixels, for pictures of few pixels; `whole` changes nothing."""
    least_area: float = 0.35
    """Share of the picture's area that a part has at least; the most is 1. Above 0."""
    aspect: float = 4 / 3
    """A part is at most this many times wider than high, or higher than wide. From 1."""
    shift: float = 0.125
    """Share of each side by which a `shifted` picture moves at most, from 0 to 0.5; 4 of 32 pixels."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        if self.kind not in ("resized", "shifted", "whole"):
            raise OptionError("kind", self.kind, "must be 'resized' or 'shifted' or 'whole'")
        if not _is_finite(self.least_area) or not 0 < self.least_area <= 1:
            raise OptionError("least_area", self.least_area, "must be a number above 0 and at most 1")
        if not _is_finite(self.aspect) or not 1 <= self.aspect <= 100:
            raise OptionError("aspect", self.aspect, "must be a number from 1 to 100")
        if not _is_finite(self.shift) or not 0 <= self.shift <= 0.5:
            raise OptionError("shift", self.shift, "must be a number from 0 to 0.5")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def random_crop(
    picture: Picture, contract: Preprocessing, options: CropOptions, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """A random part of a picture at a network's size, not yet normalised: (H, W, 3) uint8 RGB.

    The generator alone decides where the part lies, as shares of the upright picture, and always gives the same number
    of values: what is drawn next does not depend on the picture.

    Raises:
        ValueError: if the picture cannot be decoded; the text names the file.
        OSError: if the file is missing or may not be read.
    """
    if options.kind == "whole":
        return prepare(picture, contract)
    if options.kind == "shifted":
        return _shifted(prepare(picture, contract), options.shift, generator.random(2))
    shares = generator.random((TRIES, 4))
    return cut_out(picture, contract, lambda size: (random_box(size, options, shares), contract.size))


def cut_out(
    picture: Picture, contract: Preprocessing, choose: Callable[[tuple[int, int]], tuple[Box, tuple[int, int]]]
) -> NDArray[np.uint8]:
    """A part of a picture, squashed: (height, width, 3) uint8 RGB. Only as many pixels are decoded as it needs.

    Args:
        picture: what to decode.
        contract: the interpolation.
        choose: given the upright (width, height), answers with the part in its pixels, and with the (height, width)
            to make of it; always the same for the same picture.

    Raises:
        ValueError: if the picture cannot be decoded; the text names the file.
        OSError: if the file is missing or may not be read.
    """
    upright: list[tuple[int, int]] = []

    def shrink(size: tuple[int, int]) -> int:
        upright.append(size)
        return _reduction(*choose(size), contract)

    image = decode(picture, shrink=shrink)
    size = upright[0] if upright else image.size
    box, target = choose(size)
    times = 1 if image.size == size else _reduction(box, target, contract)
    left, top, right, bottom = (side / times for side in box)
    if target != contract.size:
        contract = replace(contract, size=target)
    return resize_box(image, (left, top, right, bottom), contract)


def random_box(size: tuple[int, int], options: CropOptions, shares: NDArray[np.float64]) -> Box:
    """The part of a picture of (width, height) `size` that these numbers choose, as torchvision's RandomResizedCrop.

    Area and logarithm of the aspect are uniform. The first try whose shape fits into the picture is taken; if none
    does, the largest centred part with an allowed aspect.

    Args:
        size: of the upright picture in pixels.
        options: of kind `resized`.
        shares: (tries, 4) in [0, 1): area, aspect, left and top of each try.
    """
    width, height = size
    for area, shape, across, down in shares.tolist():
        pixels = width * height * (options.least_area + area * (1 - options.least_area))
        aspect = options.aspect ** (2 * shape - 1)
        wide, high = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(across * (width - wide + 1)), int(down * (height - high + 1))
            return left, top, left + wide, top + high
    wide = min(width, max(1, round(height * options.aspect)))
    high = min(height, max(1, round(width * options.aspect)))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def _reduction(box: Box, target: tuple[int, int], contract: Preprocessing) -> int:
    """How many times smaller the picture can be decoded, so that the part keeps the pixels that the network wants."""
    if not contract.antialias or contract.interpolation == "nearest":
        # Both look at single pixels of the picture, and so must the crop.
        return 1
    height, width = target
    room = min((box[2] - box[0]) // width, (box[3] - box[1]) // height)
    return next((times for times in REDUCTIONS if times <= room), 1)


def _shifted(pixels: NDArray[np.uint8], shift: float, shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) moved by up to `shift` of its sides; what moves in is the mirrored border."""
    for axis, share in enumerate(shares.tolist()):
        side = pixels.shape[axis]
        most = int(shift * side)
        offset = int(share * (2 * most + 1)) - most
        places = np.abs(np.arange(side) + offset)
        pixels = np.take(pixels, side - 1 - np.abs(side - 1 - places), axis)
    return pixels
