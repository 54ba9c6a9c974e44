"""Pictures to a network's bytes, natively: what `linnet.images` does with Pillow, with the same bits."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from linnet.engine.library import Preparation, Resampling
from linnet.engine.native import EngineError, call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

RESIZES = ("shorter_side", "central_crop", "squash")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
COLOURS = ("RGB", "BGR", "grey")
"""In the order in which linnet.h numbers them; so are the two above."""


def resize(
    pixels: Bytes,
    size: tuple[int, int],
    *,
    interpolation: str = "bilinear",
    antialias: bool = True,
    box: tuple[float, float, float, float] | None = None,
    window: tuple[int, int, int, int] | None = None,
) -> Bytes:
    """Resizes (H, W) or (H, W, C) uint8 of up to 4 channels to (width, height) `size`, as Pillow does.

    Args:
        pixels: of any strides between rows; pixels of a row lie side by side.
        size: what the box becomes.
        interpolation: `nearest`, `bilinear` or `bicubic`.
        antialias: filters when scaling down; False, of bilinear, samples as TensorFlow does, without a box.
        box: left, top, right and bottom of what is resized, in pixels; by default all.
        window: left, top, width and height of what is made of the result; by default all.

    Raises:
        EngineError: if there is no native library, or the rule makes no sense.
    """
    pixels = _rows(pixels)
    height, width, channels = pixels.shape
    left, top, across, down = window or (0, 0, *size)
    rule = Resampling(
        width,
        height,
        pixels.strides[0],
        channels,
        channels,
        _number("interpolation", interpolation, INTERPOLATIONS),
        int(antialias),
        (ctypes.c_float * 4)(*(box or (0, 0, width, height))),
        *size,
        (ctypes.c_int64 * 4)(left, top, across, down),
    )
    if not (0 < across <= 1 << 24 and 0 < down <= 1 << 24):
        raise EngineError(f"The window (={across} x {down}) must have from 1 to 16,777,216 pixels a side.")
    resized = np.empty((down, across, channels), np.uint8)
    call("linnet_resample", ctypes.byref(rule), pixels.ctypes.data, resized.ctypes.data)
    return resized


def prepare(
    pixels: Bytes,
    size: tuple[int, int],
    *,
    resize: str,
    crop: float,
    interpolation: str,
    antialias: bool,
    colours: str,
) -> Bytes:
    """(H, W, 3) or (H, W, 4) uint8, red, green and blue first → a network's input: (height, width, 3), or 1 of grey.

    The arguments are those of `linnet.images.Preprocessing`; `size` is (height, width).

    Raises:
        EngineError: if there is no native library, or the rule makes no sense.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise EngineError("Pixels must be a numpy array (height, width, 3 or 4) of uint8.")
    pixels = np.ascontiguousarray(pixels)
    rule = Preparation(
        *size,
        _number("resize", resize, RESIZES),
        _number("interpolation", interpolation, INTERPOLATIONS),
        crop,
        int(antialias),
        _number("colours", colours, COLOURS),
    )
    height, width = size
    if not (0 < height <= 65_536 and 0 < width <= 65_536):
        raise EngineError(f"`size` (={size!r}) must be (height, width) in pixels, each from 1 to 65536.")
    prepared = np.empty((height, width, 1 if colours == "grey" else 3), np.uint8)
    call(
        "linnet_prepare",
        ctypes.byref(rule),
        pixels.ctypes.data,
        pixels.shape[1],
        pixels.shape[0],
        pixels.shape[2],
        prepared.ctypes.data,
    )
    return prepared


def normalisation_table(mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(channels, 256): what each value of each channel becomes, (value / 255 - mean) / std.

    Raises:
        EngineError: if there is no native library, or there are no channels.
    """
    if len(mean) != len(std):
        raise EngineError(f"There are {len(mean)} means and {len(std)} standard deviations.")
    numbers = [np.array(values, np.float32) for values in (mean, std)]
    table = np.empty((len(mean), 256), np.float32)
    call("linnet_normalisation_table", len(mean), *(values.ctypes.data for values in numbers), table.ctypes.data)
    return table


def _rows(pixels: Bytes) -> Bytes:
    """(H, W, C) whose rows can be read where they lie."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise EngineError("Pixels must be a numpy array (height, width) or (height, width, channels) of uint8.")
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    side_by_side = pixels.strides[1:] == (pixels.shape[2], 1) and pixels.strides[0] > 0
    return pixels if side_by_side else np.ascontiguousarray(pixels)


def _number(name: str, value: str, known: Sequence[str]) -> int:
    if value not in known:
        raise EngineError(f"`{name}` (={value!r}) must be {', '.join(known[:-1])} or {known[-1]}.")
    return known.index(value)
