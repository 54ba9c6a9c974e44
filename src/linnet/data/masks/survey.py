"""What values and colours the masks of a data set have, before anything says what they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from linnet.data.masks.coding import Colour, pack
from linnet.data.sources import Source
from linnet.images import stored_values
from linnet.machine import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SURVEYED = 500
"""Masks that are looked at to find out which values there are, spread evenly over all."""

BLACK, WHITE = 32, 223
"""Levels up to which a smoothed or JPEG mask is black, and from which it is white."""

NEAR = 0.9
"""Share of the pixels of a black and white mask, at least, that are nearly black or white."""


@dataclass
class Survey:
    """What some masks store.

    Attributes:
        files: how many were looked at.
        total: how many there are.
        values: value → pixels, of masks with one channel; of one bit, 0 and 1.
        colours: colour → pixels, of masks with three.
        palettes: colours of the palettes' places that are used, in the order of the places → masks that have them.
        first: the first mask with colours, or else the first one.
        one_bit: masks that have only bits.
        lossy: JPEG files.
        grey: masks with one channel and no palette.
        error: why the first of those that cannot be read cannot; empty where all can.
    """

    files: int = 0
    total: int = 0
    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[Colour] = field(default_factory=Counter)
    palettes: Counter[tuple[tuple[int, Colour], ...]] = field(default_factory=Counter)
    first: str = ""
    one_bit: int = 0
    lossy: int = 0
    grey: int = 0
    error: str = ""

    @property
    def kept(self) -> set[int]:
        """The values but for 255."""
        return {value for value in self.values if value != 255}

    @property
    def is_black_and_white(self) -> bool:
        """Whether 0 and 255 are two classes: no other value is there, or only such as smoothing and JPEG leave."""
        if self.colours or self.palettes or not self.grey:
            return False
        if self.one_bit == self.grey:
            return True
        if 255 not in self.values and not (self.lossy and max(self.values, default=0) >= WHITE):
            return False
        if self.kept <= {0}:
            # All white says nothing yet.
            return 0 in self.values
        if self.kept <= {0, 1}:
            return bool(self.one_bit)
        near = sum(count for value, count in self.values.items() if value <= BLACK or WHITE <= value <= 255)
        white = sum(count for value, count in self.values.items() if WHITE <= value < 255)
        between = sum(1 for value in self.values if BLACK < value < WHITE)
        # A few classes beside 255 are no smoothing.
        return near >= NEAR * self.values.total() and bool(white) and (between > 0 or bool(self.lossy))


def survey(masks: Sequence[Source], most: int = MOST_SURVEYED) -> Survey:
    """Looks at masks, at most so many; those that are damaged are passed over."""
    found = Survey(total=len(masks))
    places = np.unique(np.linspace(0, len(masks) - 1, min(most, len(masks))).astype(int)).tolist() if masks else []
    chosen = [masks[place] for place in places]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for mask, one in zip(chosen, pool.map(_look, chosen), strict=True):
            if isinstance(one, _Seen):
                _add(found, mask.name, one)
            else:
                found.error = found.error or one
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    values: dict[int, int]
    palette: NDArray[np.uint8] | None
    coloured: bool
    one_bit: bool
    lossy: bool


def _look(mask: Source) -> _Seen | str:
    try:
        stored = stored_values(mask.picture)
    except (ValueError, OSError) as error:
        return str(error)
    coloured = stored.values.ndim == 3
    values = pack(stored.values) if coloured else stored.values
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        present = np.flatnonzero(counts)
        told = dict(zip(present.tolist(), counts[present].tolist(), strict=True))
    else:
        unique, counts = np.unique(values, return_counts=True)
        told = dict(zip(unique.tolist(), counts.tolist(), strict=True))
    return _Seen(told, stored.palette, coloured, stored.one_bit, stored.lossy)


def _add(found: Survey, file: str, one: _Seen) -> None:
    found.files += 1
    found.lossy += one.lossy
    if one.coloured:
        if not found.colours:
            found.first = file
        found.colours.update({_unpacked(code): count for code, count in one.values.items()})
        return
    found.first = found.first or file
    found.values.update(one.values)
    found.one_bit += one.one_bit
    if one.palette is None:
        found.grey += 1
    else:
        used = [place for place in sorted(one.values) if place < len(one.palette)]
        colours = [(int(r), int(g), int(b)) for r, g, b in one.palette[used].tolist()]
        found.palettes[tuple(zip(used, colours, strict=True))] += 1


def _unpacked(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255
