"""A picture's mask: small until its pixels are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from linnet.data.headers import upright_size
from linnet.data.masks.coding import IGNORED, NONE, Coding
from linnet.data.sources import File, Source
from linnet.images import Stored, stored_values, turned
from linnet.machine import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Read(NamedTuple):
    """A mask that was read, and what else there is to be said of it."""

    classes: NDArray[np.int16]
    """(H, W) classes, `IGNORED`, or `NONE` of what is no class."""
    stored: Stored | None
    """What its file stores; None where it is drawn of outlines."""


class Origin(Protocol):
    """What a mask is made of. Small, and can be pickled: worker processes get a hundred thousand of them."""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        ...

    def size(self) -> tuple[int, int] | None:
        """(width, height), told without reading its pixels; None where that cannot be told."""
        ...

    def read(self) -> Read:
        """Its pixels.

        Raises:
            ValueError: if it is damaged.
            OSError: if it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """A mask in a picture file.

    Attributes:
        source: where its bytes come from.
        coding: what its values stand for.
    """

    source: Source
    coding: Coding

    @property
    def name(self) -> str:
        """Its file."""
        return self.source.name

    def size(self) -> tuple[int, int] | None:
        """Its header's, upright."""
        return upright_size(self.source.name if isinstance(self.source, File) else self.source.picture)

    def read(self) -> Read:
        """See `Origin`."""
        stored = stored_values(self.source.picture)
        return Read(self.coding.classes_of(stored), stored)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The class of every pixel of a picture.

    Attributes:
        origin: what it is made of.
        turn: EXIF orientation that its pixels follow to lie on the upright picture: 1 where it was made on that.
        moved: (classes,) uint8: the index that each class of the data has become; None where they stay.
    """

    origin: Origin
    turn: int = 1
    moved: NDArray[np.uint8] | None = None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.origin.name

    def read(self, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """(H, W) uint8 indices of classes; 255 where a pixel is ignored or its value is no class.

        Args:
            size: (width, height) of the upright picture, which it must have.

        Raises:
            ValueError: if it is damaged, or of another size; the text names it.
            OSError: if it cannot be read.
        """
        classes = self.look().classes
        if size is not None and size != classes.shape[::-1]:
            raise ValueError(
                f"'{self.name}' has {classes.shape[1]} x {classes.shape[0]} pixels, its picture {size[0]} x {size[1]}: "
                "a mask must have the size of its picture."
            )
        indices = np.where(classes == NONE, IGNORED, classes).astype(np.uint8)
        if self.moved is not None:
            table = np.full(256, IGNORED, np.uint8)
            table[: len(self.moved)] = self.moved
            indices = table[indices]
        return indices

    def look(self) -> Read:
        """Its pixels on the upright picture, with what is no class of the data, before classes are moved."""
        read = self.origin.read()
        return read if self.turn == 1 else read._replace(classes=turned(read.classes, self.turn))

    def moved_to(self, table: NDArray[Any]) -> Mask:
        """The same mask with the indices of another order of the classes."""
        table = table.astype(np.uint8)
        return replace(self, moved=table if self.moved is None else table[self.moved])


def count_pixels(masks: Sequence[Mask], classes: int) -> tuple[int, ...]:
    """How many pixels of the masks are of each class, those that are ignored left out."""

    def counted(mask: Mask) -> NDArray[np.int64]:
        return np.bincount(mask.read().ravel(), minlength=256)[:classes]

    total = np.zeros(classes, np.int64)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for counts in pool.map(counted, masks):
            total += counts
    return tuple(total.tolist())
