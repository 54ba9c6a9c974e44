"""Random views of pictures with masks: picture and mask are enlarged or reduced and cut in the same way.

A view is a window of the picture at the network's own number of pixels. Of scale 2 it shows a quarter of the picture
twice as large; of scale 0.5 the whole picture on a quarter of the view, and around it what is ignored. The picture is
interpolated; the mask never is, since between two classes there is no class.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from linnet.architecture.network import OptionError
from linnet.data.batches.box_crops import View, mean_colour, view_of
from linnet.data.batches.crops import cut_out
from linnet.data.masks import IGNORED
from linnet.images import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.data.batches.crops import Box
    from linnet.data.masks import Mask
    from linnet.images import Picture

NUMBERS = 3
"""Random numbers of a view: scale, left and top."""

LEAST_SCALE, MOST_SCALE = 0.1, 10.0
"""What may be asked for."""


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Which view of a picture a segmenter sees in training.

    Raises:
        ValueError: on values that make no sense, with name, value and what is allowed.
    """

    smallest: float = 0.5
    """Scale at the least: 1 is the size at which the trained network sees the picture. From 0.1 to 10."""
    largest: float = 2.0
    """Scale at the most; between them it is uniform."""
    side: int | None = None
    """Pixels of a view's longer side; None takes the network's input, which is never exceeded. The shorter one has the
    shape of the input."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        for entry in fields(self)[:2]:
            value = getattr(self, entry.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not LEAST_SCALE <= value <= MOST_SCALE:
                raise OptionError(entry.name, value, f"must be a number from {LEAST_SCALE:g} to {MOST_SCALE:g}")
        if self.smallest > self.largest:
            raise OptionError("smallest", self.smallest, f"must be at most {self.largest:g}, the largest")

    def target(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a view for a network's (height, width)."""
        if self.side is None or self.side >= max(size):
            return size
        height, width = (max(round(side * self.side / max(size)), 1) for side in size)
        return height, width


def random_view(
    picture: Picture, mask: Mask, contract: Preprocessing, options: ViewOptions, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A random view of a picture, not yet normalised, and of its mask.

    The generator alone decides, and always gives the same number of values.

    Args:
        picture: what to decode.
        mask: of its size.
        contract: size and interpolation; where there is no picture, it has the mean colour.
        options: how the view is drawn.
        generator: of this picture.

    Returns:
        (H, W, 3) uint8 RGB, and (H, W) uint8 classes, `IGNORED` where there is no picture.

    Raises:
        ValueError: if picture or mask cannot be decoded, or they are not of one size; the text names the file.
        OSError: if a file is missing or may not be read.
    """
    shares = generator.random(NUMBERS)
    height, width = options.target(contract.size)
    views: list[tuple[View, tuple[int, int]]] = []

    def choose(size: tuple[int, int]) -> tuple[Box, tuple[int, int]]:
        view = view_of(random_window(size, contract.size, options, shares), size, (width, height))
        views.append((view, size))
        x0, y0, x1, y1 = view.place
        return view.part, (y1 - y0, x1 - x0)

    pixels = cut_out(picture, contract, choose)
    view, size = views[-1]
    seen = resized_mask(mask.read(size), view.part, pixels.shape[1::-1])
    if pixels.shape[:2] == (height, width):
        return pixels, seen
    x0, y0, x1, y1 = view.place
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = mean_colour(contract)
    canvas[y0:y1, x0:x1] = pixels
    classes = np.full((height, width), IGNORED, np.uint8)
    classes[y0:y1, x0:x1] = seen
    return canvas, classes


def random_window(
    size: tuple[int, int], whole: tuple[int, int], options: ViewOptions, shares: NDArray[np.float64]
) -> Box:
    """The window in whole pixels that these numbers choose; it may reach beyond the picture, then on both axes.

    Args:
        size: upright (width, height) of the picture.
        whole: (height, width) of the network's input, which shows all of the picture at scale 1.
        options: how the window is drawn.
        shares: (3,) numbers in [0, 1).
    """
    scale = options.smallest + float(shares[0]) * (options.largest - options.smallest)
    target = options.target(whole)
    ends: list[tuple[int, int]] = []
    for length, full, wanted, share in zip(size, whole[::-1], target[::-1], shares[1:].tolist(), strict=True):
        side = max(round(wanted * length / (full * scale)), 1)
        room = length - side
        # Inside the picture where it fits; else around all of it.
        start = int(share * (room + 1)) if room >= 0 else -int(share * (1 - room))
        ends.append((start, start + side))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


def resized_mask(
    classes: NDArray[np.uint8], part: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The part (left, top, right, bottom) of a mask at (width, height) `size`: of every pixel the nearest one."""
    left, top, right, bottom = part
    columns = _nearest(left, right, size[0])
    rows = _nearest(top, bottom, size[1])
    return classes[rows[:, None], columns]


def _nearest(start: int, end: int, count: int) -> NDArray[np.int64]:
    places = start + (np.arange(count) + 0.5) * ((end - start) / count)
    return places.astype(np.int64)
