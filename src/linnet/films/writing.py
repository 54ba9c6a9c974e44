"""Pictures with times → a film that every player plays."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from linnet.files import replacing

if TYPE_CHECKING:
    from PIL import Image

TIME_BASE = Fraction(1, 90_000)
"""Seconds: divides the rates of cinema, television and phones."""

CODECS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"preset": "veryfast", "crf": "23"}),
    ("mpeg4", {"qscale": "4"}),
)
"""Encoders by preference, with their options."""


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
        self._last = -1
        self._open = ExitStack()

    def __enter__(self) -> FilmWriter:
        return self

    def write(self, image: Image.Image, seconds: float) -> None:
        """Adds a picture that is seen from this second on."""
        import av

        if self._container is None:
            self._begin(image)
        frame = av.VideoFrame.from_image(self._fitted(image))
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

    def _begin(self, image: Image.Image) -> None:
        import av

        name, options = next(((name, options) for name, options in CODECS if name in av.codecs_available), ("", {}))
        if not name:
            raise ValueError("This PyAV has no encoder for films (libx264 or mpeg4): pip install --force-reinstall av.")
        temporary = self._open.enter_context(replacing(self.path))
        self._container = av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"})
        stream: Any = self._container.add_stream(name, rate=self.rate)
        # Its colours are halved in width and height.
        stream.width, stream.height = (side + side % 2 for side in image.size)
        stream.pix_fmt, stream.time_base, stream.options = "yuv420p", TIME_BASE, options
        stream.codec_context.time_base = TIME_BASE
        self._stream = stream

    def _fitted(self, image: Image.Image) -> Image.Image:
        """The picture at the film's size: a camera may change its own."""
        size = (self._stream.width, self._stream.height)
        if image.size == size:
            return image
        if (image.width + image.width % 2, image.height + image.height % 2) == size:
            # One row or column more, of the last pixels: repeated edges do not show.
            canvas = image.resize(size, box=None) if 1 in image.size else image.crop((0, 0, *size))
            canvas.paste(image.crop((image.width - 1, 0, image.width, image.height)), (size[0] - 1, 0))
            canvas.paste(image.crop((0, image.height - 1, image.width, image.height)), (0, size[1] - 1))
            canvas.paste(image)
            return canvas
        return image.resize(size)
