"""The preprocessing contract that every checkpoint carries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

LARGEST_NUMBER = 1e30
"""Of a mean or a standard deviation; its inverse is the least standard deviation. float32 holds both."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a picture becomes a network's input. Part of every checkpoint.

    Attributes:
        size: (height, width) of the input in pixels; one number means a square.
        resize: `shorter_side` scales the picture to cover size / crop and cuts the centre out (torchvision, Keras);
            `central_crop` cuts the central `crop` share of both sides out, then squashes it (TensorFlow's
            evaluation); `squash` squashes the whole picture (detectors).
        crop: share of the resized picture, or of the picture itself, that is kept. 0.875 is 224 of 256.
        interpolation: `nearest`, `bilinear` or `bicubic`.
        antialias: filters when scaling down, as Pillow always does. False samples bilinearly, as TensorFlow does.
        colours: order of the channels: `RGB`, `BGR`, or `grey` for networks of one channel.
        mean: subtracted from each channel, of values in [0, 1].
        std: what each channel is divided by afterwards.

    Raises:
        ValueError: on values that make no sense, with name, value and what is allowed.
    """

    size: tuple[int, int] = (224, 224)
    resize: Literal["shorter_side", "central_crop", "squash"] = "shorter_side"
    crop: float = 0.875
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    colours: Literal["RGB", "BGR", "grey"] = "RGB"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Refuses nonsense; lists, as JSON has them, become tuples, and one side a square."""
        if _is_whole(self.size):
            object.__setattr__(self, "size", (self.size, self.size))
        for name in ("size", "mean", "std"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise ValueError(f"`{name}` (={value!r}) must be a sequence of numbers.")
            object.__setattr__(self, name, tuple(value))
        for name, hint in get_type_hints(Preprocessing).items():
            allowed = (True, False) if hint is bool else get_args(hint) if get_origin(hint) is Literal else ()
            value = getattr(self, name)
            if allowed and not any(value == choice and type(value) is type(choice) for choice in allowed):
                raise ValueError(f"`{name}` (={value!r}) must be {' or '.join(map(repr, allowed))}.")
        if len(self.size) != 2 or not all(_is_whole(side) and 1 <= side <= 65_536 for side in self.size):
            raise ValueError(f"`size` (={self.size!r}) must be (height, width) in pixels, each from 1 to 65536.")
        if not _is_number(self.crop) or not 0.01 <= self.crop <= 1:
            raise ValueError(f"`crop` (={self.crop!r}) must be a share from 0.01 to 1.")
        if not self.antialias and self.interpolation != "bilinear":
            raise ValueError(f"`antialias` (=False) needs `interpolation` 'bilinear', not {self.interpolation!r}.")
        channels = 1 if self.colours == "grey" else 3
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != channels or not all(_is_number(value) for value in values):
                raise ValueError(f"`{name}` (={values!r}) must be {channels} numbers, one for each channel.")
        if not all(value >= 1 / LARGEST_NUMBER for value in self.std):
            raise ValueError(f"`std` (={self.std!r}) must be above 0.")

    def to_json(self) -> dict[str, Any]:
        """The contract as a checkpoint's header holds it."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Preprocessing:
        """The contract that `to_json` wrote; raises a ValueError where fields are unknown, missing or wrong."""
        known = {field.name for field in fields(Preprocessing)}
        if not isinstance(values, dict) or values.keys() != known:
            raise ValueError(f"The preprocessing must have exactly the fields {', '.join(sorted(known))}.")
        try:
            return Preprocessing(**values)
        except TypeError as error:
            raise ValueError(f"The preprocessing cannot be read ({error}).") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
