"""A picture and what is to be learnt of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from linnet.data.masks import Mask
from linnet.data.parts import Part
from linnet.data.sources import Address, Location, Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Task = Literal["classification", "detection", "segmentation"]
"""What can be learnt of pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The N objects on a picture; N may be 0.

    Attributes:
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels of the upright picture, inside it, x0 < x1 and y0 < y1.
        indices: (N,) int64 classes.
        ignored: (N,) bool, a crowd of COCO or a difficult object of VOC: neither learnt nor counted.
        areas: (N,) float32 pixels of the objects, by which COCO tells small from large; the box's if there are none.
        size: (width, height) of the picture as the annotations have it, or its own; None where it cannot be read.
    """

    boxes: NDArray[np.float32]
    indices: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.float32]
    size: tuple[int, int] | None

    def __len__(self) -> int:
        """N."""
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and what is to be learnt of it.

    Attributes:
        source: where the picture's bytes come from.
        target: the index of its class, the objects on it, or the class of each of its pixels.
    """

    source: Source
    target: int | Boxes | Mask

    @property
    def picture(self) -> Path | bytes:
        """What `linnet.images.decode` takes."""
        return self.source.picture

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.source.name

    @property
    def file(self) -> Location:
        """The file that holds the picture, among others perhaps."""
        return self.source.file

    @property
    def path(self) -> Path:
        """The same on this disk; a ValueError if it is behind http."""
        file = self.source.file
        if isinstance(file, Address):
            raise ValueError(f"{self.name} is behind http.")
        return file

    @property
    def index(self) -> int:
        """The class of the whole picture."""
        assert isinstance(self.target, int)
        return self.target

    @property
    def objects(self) -> Boxes:
        """The objects on it."""
        assert isinstance(self.target, Boxes)
        return self.target

    @property
    def mask(self) -> Mask:
        """The class of each pixel: `mask.read()` gives (H, W) uint8, 255 where it is ignored."""
        assert isinstance(self.target, Mask)
        return self.target

    @property
    def boxes(self) -> NDArray[np.float32]:
        """See `Boxes`."""
        return self.objects.boxes

    @property
    def indices(self) -> NDArray[np.int64]:
        """See `Boxes`."""
        return self.objects.indices

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """See `Boxes`."""
        return self.objects.ignored

    @property
    def areas(self) -> NDArray[np.float32]:
        """See `Boxes`."""
        return self.objects.areas

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Boxes`."""
        return self.objects.size


class Pictured(Protocol):
    """A sample of any kind: a picture and what to call it."""

    @property
    def picture(self) -> Path | bytes:
        """What `linnet.images.decode` takes."""
        ...

    @property
    def name(self) -> str:
        """What to call it in a message."""
        ...


class Unknown(NamedTuple):
    """A picture of validation or test with a class that training does not have."""

    label: str
    part: Part
    sample: Sample
    """Of a classifier with the class -1; of a detector without the objects of this class."""


def picture_of(sample: Sample) -> Path | bytes:
    """`Sample.picture`, for readers in other threads and processes."""
    return sample.picture
