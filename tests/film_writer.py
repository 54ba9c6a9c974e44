"""Films for tests, made with PyAV: a bright square that wanders over a dark ground."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def picture(number: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """Frame `number`: (H, W, 3), dark, its upper left quarter blue, with a red square that moves right."""
    width, height = size
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[: height // 2, : width // 2] = (20, 20, 200)
    left = 2 * number % (width - 8)
    pixels[height - 12 : height - 4, left : left + 8] = (220, 30, 30)
    return pixels


def write_film(
    path: Path,
    times: Sequence[float],
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """A film whose frames come at these seconds."""
    import av

    # AVI has frames at a steady rate, and nothing else; so has MPEG-1.
    base = Fraction(1, 25 if path.suffix in (".avi", ".mpg") else 1000)
    with av.open(str(path), "w", options=options or {}) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = *size, "yuv420p", base
        stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        for number, seconds in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = round(seconds / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A film without pictures."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16_000)
        for number in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 16_000, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def times_of(count: int, rate: float = 25) -> list[float]:
    """Seconds of frames at a steady rate."""
    return [number / rate for number in range(count)]
