"""Random views of pictures with boxes: a part that keeps an object, or the picture on a larger canvas.

Both are one thing, a window that may lie inside the picture or reach beyond it, and both are taken while decoding, as
`linnet.data.crops` does it. After SSD (Liu et al. 2016, sections 2.2 and 3.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from linnet.architecture.network import OptionError
from linnet.data.batches.crops import cut_out
from linnet.images import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.data.batches.crops import Box
    from linnet.images import Picture

OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""One is drawn: the least IoU of the part with one of the objects. SSD's, 0 standing for its unconstrained crop."""

TRIES = 50
"""Parts that are drawn until one keeps an object; SSD's number."""

NUMBERS = 6
"""Random numbers of a view beside those of its tries."""


@dataclass(frozen=True, kw_only=True)
class BoxCropOptions:
    """Which view of a picture a detector sees in training.

    Raises:
        ValueError: on values that make no sense, with name, value and what is allowed.
    """

    crop: float = 0.85
    """Probability that a part is cut out; TensorFlow's configuration of SSDLite keeps 0.15 of the pictures whole."""
    least_area: float = 0.1
    """Share of the window's area that a part has at least; the most is 1. Above 0."""
    aspect: float = 2.0
    """A part is at most this many times wider or higher than the window, relative to the window's own shape. From 1."""
    zoom_out: float = 0.0
    """Probability that the picture is laid on a larger canvas first, so that objects become smaller."""
    canvas: float = 4.0
    """Sides of that canvas at most, in sides of the picture. From 1 to 10."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        limits = {"crop": (0, 1), "least_area": (0.001, 1), "aspect": (1, 100), "zoom_out": (0, 1), "canvas": (1, 10)}
        for entry in fields(self):
            value, (least, most) = getattr(self, entry.name), limits[entry.name]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not least <= value <= most:
                raise OptionError(entry.name, value, f"must be a number from {least} to {most}")


class View(NamedTuple):
    """A part of a picture, and where it stands in the network's input."""

    part: Box
    """x0, y0, x1, y1 in pixels of the upright picture."""
    place: Box
    """x0, y0, x1, y1 in pixels of the input; around it there is nothing."""


def random_view(
    picture: Picture,
    boxes: NDArray[Any],
    contract: Preprocessing,
    options: BoxCropOptions,
    generator: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    """A random view of a picture at a network's size, not yet normalised, and the boxes of what it shows.

    An object stays if its centre does; its box is cut off at the border. What is then narrower than a pixel is left
    out. The generator alone decides, and always gives the same number of values.

    Args:
        picture: what to decode.
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the upright picture; N may be 0.
        contract: size and interpolation; where the canvas is empty, it has the mean colour.
        options: how the view is drawn.
        generator: of this picture.

    Returns:
        (H, W, 3) uint8 RGB; (M, 4) float32 x0, y0, x1, y1 as fractions of it; (M,) which of the boxes these are.

    Raises:
        ValueError: if the picture cannot be decoded; the text names the file.
        OSError: if the file is missing or may not be read.
    """
    shares = generator.random(NUMBERS + 4 * TRIES)
    height, width = contract.size
    views: list[View] = []

    def choose(size: tuple[int, int]) -> tuple[Box, tuple[int, int]]:
        window = random_window(size, boxes, options, shares)
        part, place = view = view_of(window, size, (width, height))
        views.append(view)
        return part, (place[3] - place[1], place[2] - place[0])

    pixels = cut_out(picture, contract, choose)
    view = views[-1]
    x0, y0, x1, y1 = view.place
    if pixels.shape[:2] != contract.size:
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = mean_colour(contract)
        canvas[y0:y1, x0:x1] = pixels
        pixels = canvas
    return pixels, *seen_boxes(boxes, view, (width, height))


def random_window(
    size: tuple[int, int], boxes: NDArray[Any], options: BoxCropOptions, shares: NDArray[np.float64]
) -> Box:
    """The window x0, y0, x1, y1 in whole pixels that these numbers choose of a picture; it may reach beyond it.

    Of the parts that are drawn the first is taken which has the drawn IoU with an object, and the centre of one in it;
    if there is none, the whole. Without objects the first that shows something is taken.

    Args:
        size: upright (width, height) of the picture.
        boxes: (N, 4) x0, y0, x1, y1 in its pixels.
        options: how the window is drawn.
        shares: (6 + 4 x 50,) numbers in [0, 1).
    """
    zoom, factor, across, down, crop, overlap = shares[:NUMBERS].tolist()
    side = 1 + factor * (options.canvas - 1) if zoom < options.zoom_out else 1.0
    whole = np.array((-across * (side - 1), -down * (side - 1), side - across * (side - 1), side - down * (side - 1)))
    whole = _in_pixels(whole * np.array((*size, *size)))
    if crop < options.crop:
        parts = _parts(whole, options, shares[NUMBERS:].reshape(TRIES, 4))
        good = np.flatnonzero(_keep_an_object(parts, boxes, size, OVERLAPS[int(overlap * len(OVERLAPS))]))
        if good.size:
            whole = parts[good[0]]
    left, top, right, bottom = whole.astype(np.int64).tolist()
    return left, top, right, bottom


def _in_pixels(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least windows (..., 4) of whole pixels around these."""
    # What rounding errors add is no pixel.
    return np.concatenate([np.floor(windows[..., :2] + 1e-6), np.ceil(windows[..., 2:] - 1e-6)], axis=-1)


def _parts(whole: NDArray[np.float64], options: BoxCropOptions, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Windows (T, 4) inside the whole; those that do not fit have no area."""
    area, shape, across, down = shares.T
    area = options.least_area + area * (1 - options.least_area)
    aspect = options.aspect ** (2 * shape - 1)
    wide, high = np.sqrt(area * aspect), np.sqrt(area / aspect)
    fits = (wide <= 1) & (high <= 1)
    low = np.stack([across * (1 - wide), down * (1 - high)], axis=1)  # (T, 2)
    high_corner = low + np.stack([wide, high], axis=1)
    sides = np.tile(whole[2:] - whole[:2], 2)
    parts = _in_pixels(np.concatenate([low, high_corner], axis=1) * sides) + np.tile(whole[:2], 2)
    return np.where(fits[:, None], parts, 0)


def _keep_an_object(
    parts: NDArray[np.float64], boxes: NDArray[Any], size: tuple[int, int], overlap: float
) -> NDArray[np.bool_]:
    """Which windows (T, 4) show an object as they must; of a picture without any, which show something of it."""
    if not len(boxes):
        sides = np.minimum(parts[:, 2:], size) - np.maximum(parts[:, :2], 0)  # (T, 2)
        return sides.min(axis=1) > 0
    windows = parts[:, None]  # (T, 1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres >= windows[..., :2]) & (centres < windows[..., 2:])).all(axis=2)  # (T, N)
    sides = np.minimum(windows[..., 2:], boxes[:, 2:]) - np.maximum(windows[..., :2], boxes[:, :2])  # (T, N, 2)
    shared = sides.clip(0).prod(axis=2)  # (T, N)
    areas = (parts[:, 2:] - parts[:, :2]).prod(axis=1)[:, None] + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    enough = shared >= overlap * (areas - shared)
    return inside.any(axis=1) & enough.any(axis=1)


def view_of(window: Box, size: tuple[int, int], target: tuple[int, int]) -> View:
    """What a window shows of a picture of (width, height) `size`, in an input of (width, height) `target`."""
    part, place = [0] * 4, [0] * 4
    for axis, (length, side) in enumerate(zip(size, target, strict=True)):
        low, high = window[axis], window[axis + 2]
        scale = side / (high - low)
        part[axis], part[axis + 2] = max(low, 0), min(high, length)
        first = min(round((part[axis] - low) * scale), side - 1)
        place[axis], place[axis + 2] = first, max(round((part[axis + 2] - low) * scale), first + 1)
    return View((part[0], part[1], part[2], part[3]), (place[0], place[1], place[2], place[3]))


def seen_boxes(
    boxes: NDArray[Any], view: View, target: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes (N, 4) in pixels of the picture → (M, 4) fractions of the input, and (M,) which ones these are."""
    part, place = (np.array(box, np.float64) for box in view)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres >= part[:2]) & (centres < part[2:])).all(axis=1)  # (N,)
    numbers = np.flatnonzero(inside)
    scale = (place[2:] - place[:2]) / (part[2:] - part[:2])
    cut = boxes[numbers].astype(np.float64).clip(np.tile(part[:2], 2), np.tile(part[2:], 2))
    pixels = (cut - np.tile(part[:2], 2)) * np.tile(scale, 2) + np.tile(place[:2], 2)
    wide = (pixels[:, 2:] - pixels[:, :2] >= 1).all(axis=1)
    return (pixels[wide] / np.tile(target, 2)).astype(np.float32), numbers[wide]


def flip_boxes(boxes: NDArray[Any]) -> NDArray[Any]:
    """Boxes (N, 4), fractions of a picture whose left and right are swapped."""
    return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)


def mean_colour(contract: Preprocessing) -> tuple[int, ...]:
    """What the network sees as zeros."""
    mean = contract.mean[::-1] if contract.colours == "BGR" else contract.mean
    channels = mean if len(mean) == 3 else mean * 3
    return tuple(min(max(math.floor(255 * value + 0.5), 0), 255) for value in channels)
