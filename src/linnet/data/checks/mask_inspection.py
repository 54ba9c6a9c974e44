"""Every mask read once: its size, how many pixels each class has, and what is no class."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.checks.inspection import MOST_THREADS
from linnet.data.masks import IGNORED, Read
from linnet.data.masks.coding import NONE, pack
from linnet.data.samples import Sample
from linnet.machine import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

BETWEEN = 0.25
"""Share of the steps of more than 1 over a pixel whose value lies between, from which on a mask was smoothed: drawn and
nearest-neighbour masks stay below 0.03, bilinear and bicubic ones come to 0.4 and more."""

LEAST_STEPS = 20
"""Steps of more than 1 that a mask must have to be judged by them."""


@dataclass(slots=True)
class MaskSeen:
    """What was found of one mask.

    Attributes:
        error: why it cannot be read, the rest of a sentence that begins with its name; empty where it can.
        size: (width, height) on the upright picture.
        counts: (classes,) int64 pixels.
        ignored: pixels.
        unknown: value, or red, green and blue, of what is no class → pixels.
        first: column and row of the first such pixel.
        digest: of its classes.
        smoothed: whether it has values between those of two neighbours wherever two classes meet.
        lossy: whether it is a JPEG file.
        frames: pictures in its file.
    """

    error: str = ""
    size: tuple[int, int] = (0, 0)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: int = 0
    unknown: dict[int | tuple[int, ...], int] = field(default_factory=dict)
    first: tuple[int, int] = (0, 0)
    digest: bytes = b""
    smoothed: bool = False
    lossy: bool = False
    frames: int = 1

    @property
    def lost(self) -> int:
        """Pixels that are no class."""
        return sum(self.unknown.values())

    @property
    def pixels(self) -> int:
        """All of them."""
        return self.size[0] * self.size[1]


def inspect_masks(
    samples: Sequence[Sample],
    classes: int,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[MaskSeen]:
    """Reads the masks in several threads.

    Args:
        samples: pictures with masks.
        classes: how many there are.
        threads: how many read at once; as many as there are cores, up to 8, if this is not given.
        progress: called with the number of masks done.
    """
    found = []
    with ThreadPoolExecutor(threads or min(usable_cores(), MOST_THREADS)) as pool:
        for done, one in enumerate(pool.map(lambda sample: _inspect_one(sample, classes), samples), start=1):
            found.append(one)
            progress(done)
    return found


def _inspect_one(sample: Sample, classes: int) -> MaskSeen:
    mask = sample.mask
    try:
        read = mask.origin.read()
    except FileNotFoundError:
        return MaskSeen("is missing.", counts=np.zeros(classes, np.int64))
    except OSError as error:
        return MaskSeen(f"cannot be read ({error.strerror}).", counts=np.zeros(classes, np.int64))
    except ValueError as error:
        return MaskSeen(str(error).removeprefix(f"'{mask.name}'").lstrip(": "), counts=np.zeros(classes, np.int64))
    height, width = read.classes.shape
    # From `NONE` on.
    counts = np.bincount((read.classes - NONE).ravel(), minlength=IGNORED - NONE + 1)
    seen = MaskSeen(
        size=(height, width) if mask.turn in range(5, 9) else (width, height),
        counts=counts[-NONE : classes - NONE].astype(np.int64),
        ignored=int(counts[IGNORED - NONE]),
        digest=hashlib.sha256(read.classes.tobytes()).digest()[:16],
    )
    if read.stored is not None:
        seen.lossy, seen.frames = read.stored.lossy, read.stored.frames
        if read.stored.values.ndim == 2:
            seen.smoothed = is_smoothed(read.stored.values)
        if counts[0]:
            _add_unknown(seen, read)
    return seen


def _add_unknown(seen: MaskSeen, read: Read) -> None:
    """Which values are no class, how often each, and where the first is."""
    assert read.stored is not None
    lost = read.classes == NONE
    place = int(np.argmax(lost))
    seen.first = place % lost.shape[1], place // lost.shape[1]
    values = read.stored.values
    numbers, counts = np.unique(values[lost] if values.ndim == 2 else pack(values[lost]), return_counts=True)
    for number, count in sorted(zip(numbers.tolist(), counts.tolist(), strict=True), key=lambda one: -one[1]):
        seen.unknown[number if values.ndim == 2 else (number >> 16, number >> 8 & 255, number & 255)] = count


def is_smoothed(values: NDArray[Any]) -> bool:
    """Whether (H, W) values go from one class to another by way of what lies between, as resizing leaves them.

    Of two pixels with one between, whose values are further apart than 1: in a mask that nobody smoothed, the one
    between is mostly one of the two.
    """
    wide = values.astype(np.int32)
    steps = between = 0
    for low, middle, high in (
        (wide[:, :-2], wide[:, 1:-1], wide[:, 2:]),
        (wide[:-2], wide[1:-1], wide[2:]),
    ):
        far = np.abs(high - low) > 1
        steps += int(far.sum())
        between += int((far & ((middle - low) * (high - middle) > 0)).sum())
    return steps >= LEAST_STEPS and between >= BETWEEN * steps
