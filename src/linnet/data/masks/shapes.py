"""Masks that are drawn of outlines and run lengths, as COCO writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.masks.mask import Read

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 178_956_970
"""Pixels of a mask that is drawn: those of the largest picture that is decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """The pixels of one object.

    Attributes:
        index: its class, or `IGNORED`.
        outlines: (N, 2) float32 x, y of each polygon, in pixels; those of one object are drawn together.
        runs: run lengths down the columns, first of what is outside; as numbers, or as COCO packs them. None of
            polygons.
    """

    index: int
    outlines: tuple[NDArray[np.float32], ...] = ()
    runs: tuple[int, ...] | str | None = None

    def inside(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W) whether each pixel is in it.

        Args:
            size: (width, height) of the picture.

        Raises:
            ValueError: if run lengths are damaged, or are of another size.
        """
        if self.runs is not None:
            return run_lengths(self.runs, size)
        return polygons(self.outlines, size)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A mask of shapes.

    Attributes:
        name: what to call it in a message.
        shapes: drawn in this order: a later one covers an earlier one.
        picture: (width, height).
    """

    name: str
    shapes: Sequence[Shape]
    picture: tuple[int, int]

    def size(self) -> tuple[int, int]:
        """The picture's, as the annotations tell it."""
        return self.picture

    def read(self) -> Read:
        """See `linnet.data.masks.mask.Origin`."""
        width, height = self.picture
        if width * height > LARGEST:
            raise ValueError(f"'{self.name}': a mask of {width} x {height} pixels is too large; at most {LARGEST:,}.")
        classes = np.zeros((height, width), np.int16)
        for shape in self.shapes:
            try:
                classes[shape.inside(self.picture)] = shape.index
            except ValueError as error:
                raise ValueError(f"'{self.name}': {error}.") from None
        return Read(classes, None)


def polygons(outlines: Sequence[NDArray[np.float32]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) the pixels in any of some polygons, (N, 2) each, as COCO's own code draws them."""
    from faster_coco_eval.core import mask as masks

    width, height = size
    # Far outside, a polygon takes memory for each pixel of its outline.
    lists = [
        outline.clip((-width, -height), (2 * width, 2 * height)).astype(np.float64).ravel().tolist()
        for outline in outlines
        if len(outline) > 2
    ]
    found = np.zeros((height, width), np.bool_)
    if lists:
        merged: Any = masks.decode(masks.merge(masks.frPyObjects(lists, height, width)))
        found |= merged.astype(np.bool_)
    return found


def run_lengths(runs: Sequence[int] | str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) what run lengths tell, which go down the columns and begin outside.

    Raises:
        ValueError: if they are damaged or do not cover the picture to the pixel.
    """
    width, height = size
    counts = np.array(unpacked(runs) if isinstance(runs, str) else runs, np.int64)
    if (counts < 0).any() or int(counts.sum()) != width * height:
        raise ValueError(f"run lengths of {width} x {height} pixels were expected to sum up to {width * height:,}")
    values = np.zeros(len(counts), np.bool_)
    values[1::2] = True
    return np.repeat(values, counts).reshape(width, height).T


def unpacked(text: str) -> list[int]:
    """The run lengths that COCO packs into text: five bits a letter from '0' on, each less the last but one.

    Raises:
        ValueError: if it is damaged.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii", "replace"):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("the packed run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the packed run lengths end within a number")
    return counts
