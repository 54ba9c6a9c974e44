"""Which class a mask's values or colours stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.images import Stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORED = 255
"""Index of pixels that are neither learnt nor counted."""

MOST_CLASSES = 255
"""That an index of 8 bits tells apart, and from `IGNORED`."""

NONE = -1
"""In a table of values: no class at all."""

NEAR = 48
"""Levels by which each channel of a JPEG file may be off: at most, of what still is a colour of the table."""

HALF = 128
"""Level from which on a pixel of a black and white mask is white."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """What the values of a data set's masks stand for; one for all of them.

    Attributes:
        table: (V,) int16: class of each value from 0 on, `IGNORED`, or `NONE`; values from V on are no class.
        codes: (K,) int32 rising: colours as red, green, blue in 24 bits.
        of_codes: (K,) int16: class of each colour, or `IGNORED`.
        by_colour: whether palettes and levels of grey are looked up as colours; else as values.
        black_and_white: whether levels between 0 and 255 are the nearer of both: masks of one class that were saved
            with smoothed edges or as JPEG.
    """

    table: NDArray[np.int16]
    codes: NDArray[np.int32]
    of_codes: NDArray[np.int16]
    by_colour: bool = False
    black_and_white: bool = False

    @staticmethod
    def of_values(values: Mapping[int, int], *, black_and_white: bool = False) -> Coding:
        """Of masks whose values tell classes, value → class; 255 is ignored unless it is told otherwise."""
        found = {IGNORED: IGNORED} | dict(values)
        table = np.full(max(found) + 1, NONE, np.int16)
        for value, index in found.items():
            table[value] = index
        empty = np.zeros(0, np.int32)
        return Coding(table, empty, empty.astype(np.int16), black_and_white=black_and_white)

    @staticmethod
    def of_colours(colours: Mapping[Colour, int]) -> Coding:
        """Of masks whose colours tell classes."""
        packed = {(red << 16) + (green << 8) + blue: index for (red, green, blue), index in colours.items()}
        codes = np.array(sorted(packed), np.int32)
        indices = np.array([packed[code] for code in codes.tolist()], np.int16)
        return Coding(np.zeros(0, np.int16), codes, indices, by_colour=True)

    def classes_of(self, stored: Stored) -> NDArray[np.int16]:
        """(H, W) int16 classes, `IGNORED`, or `NONE`."""
        values = stored.values
        if values.ndim == 3:
            return self._nearest(pack(values)) if stored.lossy else self._of_codes(pack(values))
        if stored.palette is not None and self.by_colour:
            places = np.full(max(256, int(values.max(initial=0)) + 1), NONE, np.int16)
            places[: len(stored.palette)] = self._of_codes(pack(stored.palette))
            return places[values]
        if stored.one_bit and (self.by_colour or self.black_and_white):
            values = values * np.uint8(255)
        if self.by_colour:
            levels = np.arange(256, dtype=np.int32)
            greys = levels << 16 | levels << 8 | levels
            return _looked_up(self._nearest(greys) if stored.lossy else self._of_codes(greys), values)
        return _looked_up(self.filled, values)

    @property
    def counts(self) -> bool:
        """Whether neighbouring values are different classes."""
        return not self.by_colour and not self.black_and_white

    @property
    def filled(self) -> NDArray[np.int16]:
        """The table, of black and white masks with the levels between."""
        if not self.black_and_white:
            return self.table
        levels = np.arange(256)
        filled = np.where(levels < HALF, self.table[0], self.table[255])
        return filled.astype(np.int16)

    def _nearest(self, codes: NDArray[np.int32]) -> NDArray[np.int16]:
        """The same of a JPEG file, which has changed colours: the nearest of the table, unless it is far."""
        if not len(self.codes):
            return self._of_codes(codes)
        unique, places = np.unique(codes, return_inverse=True)
        found = np.empty(len(unique), np.int16)
        known = unpack(self.codes)
        # In pieces: there may be a hundred thousand colours.
        for start in range(0, len(unique), 4096):
            apart = np.abs(unpack(unique[start : start + 4096])[:, None] - known)
            best = (apart**2).sum(axis=2).argmin(axis=1)
            near = apart[np.arange(len(best)), best].max(axis=1) <= NEAR
            found[start : start + 4096] = np.where(near, self.of_codes[best], np.int16(NONE))
        return found[places].reshape(codes.shape)

    def _of_codes(self, codes: NDArray[np.int32]) -> NDArray[np.int16]:
        if not len(self.codes):
            return np.full(codes.shape, NONE, np.int16)
        places = np.searchsorted(self.codes, codes).clip(None, len(self.codes) - 1)
        return np.where(self.codes[places] == codes, self.of_codes[places], np.int16(NONE))


def pack(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(…, 3) colours as one number each."""
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def unpack(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """(…, 3) the colours of such numbers."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)


def _looked_up(table: NDArray[np.int16], values: NDArray[Any]) -> NDArray[np.int16]:
    if values.dtype == np.uint8 and len(table) >= 256:
        return table[values]
    outside = (values < 0) | (values >= len(table))
    return np.where(outside, np.int16(NONE), table[np.where(outside, 0, values)])
