"""Pictures with times → a film that every player plays."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.files import replacing
from linnet.machine import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIME_BASE = Fraction(1, 90_000)
"""Seconds: divides the rates of cinema, television and phones."""

CODECS: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "libx264",
        {
            "preset": "ultrafast",
            "crf": "23",
            "x264-params": "cabac=1:mbtree=1:rc-lookahead=10:aq-mode=1:no-deblock=0:deblock=0,0",
        },
    ),
    ("mpeg4", {"qscale": "4"}),
)
"""Encoders by preference, with their options. The network has the processor: x264's `ultrafast` with its entropy coder,
its distribution of bits and its deblocking takes half the time of `veryfast` or less, for 1.0 to 1.3 times the bytes;
`superfast` takes as long as `veryfast` for three times as many."""


LIMITED = (16 + np.arange(256) * 219 / 255).round().astype(np.uint8)
"""Grey value → brightness in the limited range of films."""

NO_COLOUR = 128
"""Of the two planes of colours."""

COLOURS = ("color_range", "colorspace", "color_primaries", "color_trc")
"""What a film says of what its colours mean."""


class FilmWriter:
    """A film that grows picture by picture, and appears at its path when it is whole.

    After an error nothing is left of it. All pictures have the size of the first.

    Raises:
        OSError: if it cannot be written.
        ValueError: if this machine's PyAV has no encoder.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate = path, rate
        self._container: Any = None
        self._stream: Any = None
        self._reformatter: Any = None
        self._sheet: Any = None
        self._planes: Any = None
        self._canvas = np.empty((0, 0, 3), np.uint8)
        self._last = -1
        self._open = ExitStack()

    def __enter__(self) -> FilmWriter:
        return self

    def write(
        self,
        pixels: NDArray[np.uint8],
        seconds: float,
        *,
        strip: NDArray[np.uint8] | None = None,
        planes: Any = None,
    ) -> None:
        """Adds a picture that is seen from this second on. Any thread may do it, one at a time.

        Args:
            pixels: (H, W, 3) RGB.
            seconds: since the film's begin.
            strip: (h, W) grey values that are put under it.
            planes: the same picture as `linnet.films.reading.Frame` has it, which is then taken as it is.
        """
        size = (pixels.shape[0] + (0 if strip is None else len(strip)), pixels.shape[1])
        if self._container is None:
            self._begin(size, planes)
        if planes is not None and _even(size) == self._canvas.shape[:2]:
            frame = self._join(planes, strip)
        else:
            self._lay(pixels if strip is None else np.concatenate([pixels, strip[..., None].repeat(3, axis=2)]))
            # In this thread: others have the cores.
            frame = self._reformatter.reformat(self._sheet, format=self._stream.pix_fmt, threads=1)
        # Two pictures cannot have one time.
        self._last = frame.pts = max(round(seconds / TIME_BASE), self._last + 1)
        frame.time_base = TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        with self._open.pop_all() as open_things:
            open_things.callback(self._container.close)
            if error is not None:
                raise error
            self._container.mux(self._stream.encode())

    def _begin(self, size: tuple[int, int], planes: Any) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        name, options = next(((name, options) for name, options in CODECS if name in av.codecs_available), ("", {}))
        if not name:
            raise ValueError("This PyAV has no encoder for films (libx264 or mpeg4): pip install --force-reinstall av.")
        temporary = self._open.enter_context(replacing(self.path))
        self._container = av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"})
        stream: Any = self._container.add_stream(name, rate=self.rate)
        height, width = _even(size)
        stream.width, stream.height = width, height
        stream.pix_fmt, stream.time_base, stream.options = "yuv420p", TIME_BASE, options
        stream.codec_context.time_base = TIME_BASE
        # The network has the others.
        stream.codec_context.thread_count = max(usable_cores() // 2, 1)
        for name in COLOURS if planes is not None else ():
            setattr(stream.codec_context, name, getattr(planes, name))
        self._stream, self._reformatter = stream, VideoReformatter()
        self._canvas = np.zeros((height, width, 3), np.uint8)
        # It has no pixels of its own: those of the canvas are its.
        self._sheet = av.VideoFrame.from_numpy_buffer(self._canvas)
        self._planes = av.VideoFrame(width, height, stream.pix_fmt)

    def _join(self, planes: Any, strip: NDArray[np.uint8] | None) -> Any:
        """A decoded frame and the strip under it: bytes are moved, and nothing is computed."""
        # The encoder may still have the last one.
        self._planes.make_writable()
        for number, (given, own) in enumerate(zip(planes.planes, self._planes.planes, strict=True)):
            above, whole = _pixels_of(given), _pixels_of(own)
            whole[: len(above)] = above
            below = whole[len(above) :]
            if strip is None or not len(below):
                continue
            if number:
                below[:] = NO_COLOUR
            else:
                below[: len(strip)] = LIMITED[strip]
                below[len(strip) :] = below[len(strip) - 1]
        return self._planes

    def _lay(self, pixels: NDArray[np.uint8]) -> None:
        """Puts a picture on the canvas."""
        height, width = pixels.shape[:2]
        whole = self._canvas.shape[:2]
        if (height + height % 2, width + width % 2) != whole:
            # A camera may change its own size.
            from PIL import Image

            pixels = np.asarray(Image.fromarray(pixels).resize(whole[::-1]))
            height, width = whole
        self._canvas[:height, :width] = pixels
        # One row or column more, of the last pixels: repeated edges do not show.
        self._canvas[height:, :width] = self._canvas[height - 1 : height, :width]
        self._canvas[:, width:] = self._canvas[:, width - 1 : width]


def _even(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of which the colours are halved."""
    height, width = (side + side % 2 for side in size)
    return height, width


def _pixels_of(plane: Any) -> NDArray[np.uint8]:
    """(H, W) of a plane, where they lie."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
