"""Picture file → array: decoding, and the preprocessing contract that every checkpoint carries.

The contract is the only way from a picture to a network's input: `evaluate`, `predict`, export and the evaluation
while training all call `prepare` and `normalise`.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL import Image

    Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
    """A file's path, a file's bytes, a PIL image, or an RGB array (H, W, 3) uint8."""

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
"""File names that count as pictures when a folder is read; a file named itself is tried whatever its name."""

LARGEST_PICTURE = 178_956_970
"""Pixels. Pillow's own limit against decompression bombs: half a gigabyte of RGB."""

LARGEST_RESIZED = 50_000_000
"""Pixels. A thin picture, scaled until its shorter side covers the input, can have any number of them: of a larger one
only what is cut out is made."""

LARGEST_NUMBER = 1e30
"""Of a mean or a standard deviation; its inverse is the least standard deviation. float32 holds both."""

QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
"""The filter of warnings for Pillow: it warns of what linnet allows (90 megapixels) or reads around (odd metadata)."""


GREY_WEIGHTS = (19595, 38470, 7471)
"""Of red, green and blue in 65,536ths: Pillow's (ITU-R 601). No sum of weighted bytes and a half reaches 2^24, so that
float32 holds it without rounding."""


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


def picture_name(picture: Picture) -> str:
    """What to call a picture in a message."""
    return f"'{picture}'" if isinstance(picture, str | Path) else "The picture"


class _TooLarge(ValueError):
    """A picture above `LARGEST_PICTURE`; told apart from a damaged one."""


def decode(picture: Picture, *, shrink: Callable[[tuple[int, int]], int] | None = None) -> Image.Image:
    """Any picture as an upright 8-bit RGB image; of an animation the first frame.

    EXIF orientation is applied, transparency is laid on white, and 16-bit values are scaled to 8.

    Args:
        picture: what to decode.
        shrink: asked once for each JPEG file, before its pixels are decoded: given the upright (width, height), it
            answers with how many times smaller the image shall be: 1, 2, 4 or 8, at most the shorter side. Sides that
            this does not divide are rounded up; of a turned picture they would be padded at the wrong end, so that one
            comes whole. So does, unasked, everything that is no JPEG file.

    Raises:
        ValueError: if it is not a picture, is damaged, or is larger than `LARGEST_PICTURE`; the text names the file.
        OSError: if the file is missing or may not be read.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(picture, np.ndarray):
        return Image.fromarray(check_pixels(picture, dimensions=3))
    name = picture_name(picture)
    # Read whole: a lazily opened file keeps its descriptor, and 100,000 of those do not exist.
    content = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture
    if not isinstance(content, bytes | Image.Image):
        raise ValueError(f"A picture is a path, bytes, a PIL image or an array, not a {type(content).__name__}.")
    _silence_pillow()
    try:
        opened = content
        if isinstance(opened, bytes):
            # Only these formats: some of Pillow's other plugins start programs on what they are given.
            opened = Image.open(io.BytesIO(opened), formats=_formats())
        if not 0 < opened.width * opened.height <= LARGEST_PICTURE:
            raise _TooLarge(
                f"{name} has {opened.width} x {opened.height} pixels; linnet reads from 1 to {LARGEST_PICTURE:,}."
            )
        if shrink is not None and isinstance(content, bytes) and opened.format in ("JPEG", "MPO"):
            turn, (width, height) = _turn(opened), opened.size
            times = shrink((height, width) if turn in _sideways() else (width, height))
            if turn is None or width % times == height % times == 0:
                opened.draft(None, (width // times, height // times))
        return _to_rgb(_upright(opened))
    except _TooLarge:
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a picture that linnet can read ({', '.join(_formats())}).") from None
    except Image.DecompressionBombError:
        raise _TooLarge(f"{name} has more than {LARGEST_PICTURE:,} pixels. Scale it down first.") from None
    except Exception as error:
        # Pillow's plugins answer damaged files with exceptions of any kind.
        raise ValueError(f"{name} is damaged and cannot be decoded ({_first_line(error)}).") from None


def _silence_pillow() -> None:
    """Puts `QUIET` first. `warnings.catch_warnings` would not do: pictures are decoded in several threads."""
    if not warnings.filters or warnings.filters[0] != QUIET:
        warnings.filterwarnings("ignore", module=QUIET[3].pattern)


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says.

    `ImageOps.exif_transpose` also writes the data anew and fails on an odd entry in them.
    """
    image.load()
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; EXIF data that cannot be read turn nothing."""
    from PIL.ExifTags import Base
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(Base.Orientation, 1))
    except Exception:
        return None


def _sideways() -> set[Image.Transpose]:
    """The turns that swap width and height."""
    from PIL.Image import Transpose

    return {Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _formats() -> list[str]:
    """The formats that are read, by Pillow's names."""
    from PIL import features

    return ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"] + ["AVIF"] * bool(features.check("avif"))


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _from_deep(image)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit grey (also as 32-bit integers) divided by 257; floats in [0, 1] times 255."""
    from PIL import Image

    values = np.asarray(image)
    divisor = 1.0
    if image.mode == "F":
        divisor = 1 / 255 if np.nanmax(values, initial=0) <= 1 else 1.0
    elif image.mode != "I" or values.max(initial=0) > 255:
        divisor = 257.0
    grey = np.empty(values.shape, np.uint8)
    # In strips: the whole in float64 would take many times the picture's memory.
    for start in range(0, len(values), 64):
        strip = values[start : start + 64] / np.float64(divisor)
        grey[start : start + 64] = np.clip(np.nan_to_num(strip).round(), 0, 255)
    return Image.fromarray(grey).convert("RGB")


def prepare(picture: Picture, contract: Preprocessing) -> NDArray[np.uint8]:
    """A picture at a network's size, not yet normalised: (H, W, 3) uint8 RGB.

    With `shorter_side`, `bilinear` and `antialias` this equals torchvision's Resize and CenterCrop to the last bit.

    Raises:
        ValueError: if the picture cannot be decoded.
        OSError: if the file is missing or may not be read.
    """
    return fit(decode(picture), contract)


def fit(image: Image.Image, contract: Preprocessing) -> NDArray[np.uint8]:
    """What `prepare` does with a decoded image."""
    height, width = contract.size
    if contract.resize == "shorter_side":
        whole = _covering_size(image.size, contract)
        window = (_centre(whole[0], width), _centre(whole[1], height), width, height)
        return np.asarray(_resize(image, whole, contract, window))
    if contract.resize == "central_crop":
        # As tf.image.central_crop: whole pixels, the same number off both ends.
        left = int((image.width - image.width * contract.crop) / 2)
        top = int((image.height - image.height * contract.crop) / 2)
        image = image.crop((left, top, image.width - left, image.height - top))
    return np.asarray(_resize(image, (width, height), contract, (0, 0, width, height)))


def _covering_size(size: tuple[int, int], contract: Preprocessing) -> tuple[int, int]:
    """(width, height) that just covers the network's size divided by the crop, aspect kept."""
    high, wide = (max(round(side / contract.crop), side) for side in contract.size)
    width, height = size
    # The side that is shorter, relative to what it must cover, is met exactly; the other one is truncated, as
    # torchvision does it, but never below what is cut out of it.
    if width * high <= height * wide:
        return wide, max(int(wide * height / width), contract.size[0])
    return max(int(high * width / height), contract.size[1]), high


def _centre(length: int, wanted: int) -> int:
    # Python rounds halves to even, and so does torchvision's CenterCrop.
    return round((length - wanted) / 2.0)


def _resize(
    image: Image.Image, size: tuple[int, int], contract: Preprocessing, window: tuple[int, int, int, int]
) -> Image.Image:
    """The window (left, top, width, height) of the image resized to (width, height) `size`."""
    from PIL import Image

    left, top, width, height = window
    if not contract.antialias and image.size != size:
        return Image.fromarray(_sample_bilinear(np.asarray(image), size, window))
    resampling = Image.Resampling[contract.interpolation.upper()]
    if size[0] * size[1] > LARGEST_RESIZED:
        # The same but for the rounding of the filter's weights.
        across, down = image.width / size[0], image.height / size[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return image.resize((width, height), resampling, box)
    if image.size != size:
        image = image.resize(size, resampling)
    return image.crop((left, top, left + width, top + height))


def resize_box(
    image: Image.Image, box: tuple[float, float, float, float], contract: Preprocessing
) -> NDArray[np.uint8]:
    """The part (left, top, right, bottom) of an image, squashed to a network's size: (H, W, 3) uint8 RGB."""
    from PIL import Image

    size = contract.size[::-1]
    if not contract.antialias:
        return np.asarray(_resize(image.crop(box), size, contract, (0, 0, *size)))
    # The gap halves a much larger part by plain averages first; at 3 nobody sees the difference.
    return np.asarray(image.resize(size, Image.Resampling[contract.interpolation.upper()], box, reducing_gap=3))


def _sample_bilinear(
    pixels: NDArray[np.uint8], size: tuple[int, int], window: tuple[int, int, int, int]
) -> NDArray[np.uint8]:
    """The window of bilinear samples at pixel centres without a filter: tf.image.resize with antialias=False."""
    result: NDArray[Any] = pixels
    for axis, (wanted, start, kept) in enumerate(zip(size[::-1], window[1::-1], window[:1:-1], strict=True)):
        length = result.shape[axis]
        places = np.arange(start, start + kept, dtype=np.float32)
        centres = np.maximum((places + 0.5) * (length / wanted) - 0.5, 0)
        low = np.minimum(centres.astype(np.int64), length - 1)
        high = np.minimum(low + 1, length - 1)
        share = (centres - low).astype(np.float32)
        share = share[:, None, None] if axis == 0 else share[None, :, None]
        result = np.take(result, low, axis) * (1 - share) + np.take(result, high, axis) * share
    return result.round().astype(np.uint8)


def normalise(pixels: NDArray[np.uint8], contract: Preprocessing) -> NDArray[np.float32]:
    """(N, H, W, 3) uint8 RGB → (N, H, W, C) float32 as the network wants it: (pixels / 255 - mean) / std."""
    if contract.colours == "grey":
        pixels = grey_of(pixels)
    elif contract.colours == "BGR":
        pixels = pixels[..., ::-1]
    values = pixels.astype(np.float32) / np.float32(255)
    values -= np.array(contract.mean, np.float32)
    values /= np.array(contract.std, np.float32)
    return values


def grey_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(…, 3) RGB → (…, 1): ITU-R 601 in the integers of Pillow's own conversion, the same on every processor."""
    red, green, blue = (weight * pixels[..., at : at + 1].astype(np.uint32) for at, weight in enumerate(GREY_WEIGHTS))
    return ((red + green + blue + 0x8000) >> 16).astype(np.uint8)


def check_pixels(pixels: Any, *, dimensions: int) -> NDArray[np.uint8]:
    """The array if it is uint8 RGB with `dimensions` axes, the last of them 3 wide; else a ValueError."""
    wanted = "(height, width, 3)" if dimensions == 3 else "(pictures, height, width, 3)"
    if not isinstance(pixels, np.ndarray):
        raise ValueError(f"Pixels must be a numpy array {wanted} of uint8; this is a {type(pixels).__name__}.")
    if pixels.dtype != np.uint8 or pixels.ndim != dimensions or pixels.shape[-1] != 3 or 0 in pixels.shape[-3:]:
        shape = " x ".join(map(str, pixels.shape)) or "no axes"
        raise ValueError(f"Pixels must be an RGB array {wanted} of uint8; this one is {shape} of {pixels.dtype}.")
    return pixels


def find_pictures(paths: list[str]) -> list[Path]:
    """The files named, the pictures inside folders (all levels, sorted) and the matches of glob patterns.

    Raises:
        FileNotFoundError: if a path or pattern matches nothing.
        ValueError: if a folder holds no picture.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found += _pictures_in(path)
        elif not path.exists() and any(letter in text for letter in "*?["):
            matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
            # As in a shell, a pattern finds hidden files only if it says so.
            matches = [match for match in matches if path.name.startswith(".") or not match.name.startswith(".")]
            if not matches:
                raise FileNotFoundError(f"No file matches '{text}'.")
            found += [picture for match in matches for picture in (_pictures_in(match) if match.is_dir() else [match])]
        else:
            # A missing file is that picture's own failure: the others still go on.
            found.append(path)
    return found


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, all levels, sorted; hidden files, such as macOS leaves behind, do not count."""
    inside = sorted(file for file in folder.rglob("*") if is_picture(file))
    if not inside:
        raise ValueError(f"The folder '{folder}' holds no pictures ({', '.join(SUFFIXES)}).")
    return inside


def is_picture(file: Path) -> bool:
    """Whether a file found in a folder is to be read as a picture, by its name."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
