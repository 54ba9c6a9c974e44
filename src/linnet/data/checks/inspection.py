"""Every picture decoded once: its size, what is unusual about it, and what it is recognised by."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from linnet.data.headers import orientation
from linnet.data.samples import Pictured
from linnet.images import decode, decode_deep, formats, is_deep, is_deep_grey, is_zero_filled, with_end
from linnet.machine import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Trait = Literal["turned", "grey", "transparent", "deep", "animated", "unended"]
"""Has an EXIF orientation that turns it, no colours, an alpha channel, more than 8 bits, many frames, no end mark."""

TRAITS: tuple[Trait, ...] = get_args(Trait)

THUMBNAIL = (8, 9, 3)
"""Rows, columns and colours that are kept of a picture."""

ENOUGH = 128
"""Pixels of the shorter side to which a JPEG may be shrunk while it is decoded; much less blurs the thumbnails."""

CHUNK = 32
"""Pictures that a thread takes at once: handing over one costs as much as decoding a small one."""

SMALL = 64 * 64
"""Pixels. Of smaller pictures one thread decodes as many as two, which mostly wait for Python's lock."""

MOST_THREADS = 8
"""Beyond that they wait for each other: a part of the work on each picture is Python's."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found of N pictures, in their order; rows of pictures that cannot be read are zero.

    Attributes:
        samples: the pictures.
        sizes: (N, 2) int32, upright (width, height) in pixels.
        digests: (N, 16) uint8, the first half of the SHA-256 of each file's bytes.
        thumbnails: (N, 8, 9, 3) uint8, each picture squashed.
        traits: (N, 6) bool, in the order of `TRAITS`.
        errors: number of each picture that cannot be read → the rest of a sentence that begins with its name.
        ranges: number of each picture of more than 8 bits → the values that become black and white, where they are not
            those of all 16 bits.
    """

    samples: Sequence[Pictured]
    sizes: NDArray[np.int32]
    digests: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]
    traits: NDArray[np.bool_]
    errors: Mapping[int, str]
    ranges: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) whether each picture can be decoded."""
        return self.sizes[:, 0] > 0


def inspect(
    samples: Sequence[Pictured], *, threads: int | None = None, progress: Callable[[int], None] = lambda done: None
) -> Inspection:
    """Decodes the pictures in several threads; of each, some 300 bytes are kept.

    Args:
        samples: the pictures.
        threads: how many decode at once; if this is not given, one for small pictures, else as many as there are
            cores, up to 8.
        progress: called with the number of pictures done.
    """
    from PIL import Image

    # `decode` silences Pillow's warnings of what linnet allows; here headers are opened before it is called.
    decode(Image.new("RGB", (1, 1)))
    samples, count, errors = tuple(samples), len(samples), dict[int, str]()
    ranges: dict[int, tuple[float, float]] = {}
    found = Inspection(
        samples,
        np.zeros((count, 2), np.int32),
        np.zeros((count, 16), np.uint8),
        np.zeros((count, *THUMBNAIL), np.uint8),
        np.zeros((count, len(TRAITS)), np.bool_),
        errors,
        ranges,
    )

    def work(numbers: range) -> int:
        for number in numbers:
            error = _inspect_one(found, number, ranges)
            if error is not None:
                errors[number] = error
        return numbers.stop

    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    for first in chunks[:1]:
        progress(work(first))
    small = count > 0 and found.sizes[:CHUNK].prod(axis=1).mean() < SMALL
    with ThreadPoolExecutor(threads or (1 if small else min(usable_cores(), MOST_THREADS))) as pool:
        for done in pool.map(work, chunks[1:]):
            progress(done)
    return found


def _inspect_one(found: Inspection, number: int, ranges: dict[int, tuple[float, float]]) -> str | None:
    """Fills the picture's rows, or says why it cannot be read."""
    from PIL.Image import Resampling

    try:
        content = found.samples[number].picture
        content = content if isinstance(content, bytes) else content.read_bytes()
    except FileNotFoundError:
        return "is missing."
    except OSError as error:
        return f"cannot be read ({error.strerror})."
    except ValueError:
        return "is missing: its row is empty."
    if not content:
        return "is empty: 0 bytes."
    try:
        image, size, traits, scale = _decode(b"" if is_zero_filled(content) else content)
    except Exception:
        # Whether it can be read is for `decode` alone to say, and how it says it.
        try:
            image = decode(content)
        except ValueError as error:
            return str(error).removeprefix("The picture ")
        size, traits, scale = image.size, (False,) * len(TRAITS), None
        if (whole := with_end(content)) is not None:
            image, size, traits, scale = _decode(whole)
            traits = (*traits[:-1], True)
    if scale is not None:
        ranges[number] = scale
    found.sizes[number] = size
    found.traits[number] = traits
    found.digests[number] = np.frombuffer(hashlib.sha256(content).digest()[:16], np.uint8)
    rows, columns, _ = THUMBNAIL
    # Not a box filter: it rounds to whole pixels, and a copy of another size gets another thumbnail.
    found.thumbnails[number] = np.asarray(image.resize((columns, rows), Resampling.BILINEAR, reducing_gap=3))
    return None


def _decode(
    content: bytes,
) -> tuple[Image.Image, tuple[int, int], tuple[bool, ...], tuple[float, float] | None]:
    """An upright RGB image, perhaps shrunk; the picture's own upright size; its traits; the range of deep values."""
    from PIL import Image

    opened = Image.open(io.BytesIO(content), formats=formats(content))
    (width, height), mode, deep = opened.size, opened.mode, is_deep(opened)
    clear = mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in opened.info
    # A phone keeps a preview or a depth map behind the photograph (MPO): that moves nothing.
    animated = opened.format not in ("MPO", "HEIF") and bool(getattr(opened, "is_animated", False))
    # Pillow turns TIFF files itself when it loads them, and then no longer says so.
    turned = opened.format == "TIFF" and orientation(opened) > 1
    times = next((times for times in (8, 4, 2) if min(width, height) // times >= ENOUGH), 1)
    # Only JPEG can do this. Its decoder still reads the whole stream, and so finds the same damage.
    opened.draft(None, (width // times, height // times))
    image, scale = (decode(opened), None) if not deep else decode_deep(content)
    turn = orientation(opened)
    grey = is_deep_grey(opened) or mode in ("1", "L", "LA", "La")
    upright = image.size if deep else (height, width) if turn in range(5, 9) else (width, height)
    return image, upright, (turned or turn > 1, grey, clear, deep, animated, False), scale
