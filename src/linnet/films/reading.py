"""A film or a camera → its frames, upright, each with its time; of a damaged film those that can be decoded."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.films.wholeness import is_cut_off

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.films.sources import Source

USUAL_RATE = Fraction(25)
"""Frames a second where the file does not say."""

MISSING_SECONDS = 0.5
"""A film that ends so much before the end that it announces, and two frames more, was cut off, whatever its bytes."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a film.

    Attributes:
        number: counted from 0, also over frames that are left out.
        seconds: since the film's first frame.
        pixels: (H, W, 3) uint8 RGB, upright.
        planes: the same as it was decoded, where that is upright and what films are written in: brightness and, halved
            in width and height, colours, in the limited range. Who writes it again need not convert it.
    """

    number: int
    seconds: float
    pixels: NDArray[np.uint8]
    planes: Any = None


@contextmanager
def sentences(source: Source) -> Iterator[None]:
    """What FFmpeg says of a file or a camera, as a sentence."""
    import av

    name = source.name
    try:
        yield
    except FileNotFoundError:
        where = f"There is no camera {source.address} here" if source.live else f"There is no file '{name}'"
        raise FileNotFoundError(f"{where}.") from None
    except PermissionError:
        hint = " (on Linux the group `video` may)" * source.live
        raise PermissionError(f"'{name}' may not be read by this user{hint}.") from None
    except av.error.FFmpegError as error:
        if error.errno == errno.EBUSY:
            raise OSError(f"'{name}' is in use by another program.") from None
        if _is_cut(source):
            raise ValueError(_without_index(source)) from None
        text = (error.strerror or str(error)).rstrip(".")
        raise ValueError(f"'{name}' is no film that linnet can read, or is damaged ({text}).") from None


class Film:
    """An opened film.

    Attributes:
        size: (width, height) of its frames, before they are turned upright.
        rate: frames a second on average; those of a phone come at times of their own.

    Raises:
        ValueError: if it is no film, or has no pictures.
        OSError: if it is missing, may not be read, or is in use.
    """

    def __init__(self, source: Source, every: float = 0.0) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.source, self.every = source, every
        with sentences(source):
            self._container: Any = av.open(source.address, format=source.way)
        # A cover of a piece of music is a stream of pictures too.
        streams = [each for each in self._container.streams.video if not _is_cover(each)]
        if not streams:
            self._container.close()
            raise ValueError(
                _without_index(source) if _is_cut(source) else f"'{source.name}' has no pictures: it is no film."
            )
        self._stream: Any = streams[0]
        if self._stream.codec_context is None:
            self._container.close()
            raise ValueError(
                _without_index(source)
                if _is_cut(source)
                else f"'{source.name}' is of a kind that this FFmpeg does not decode, or is damaged."
            )
        self._stream.thread_type = "AUTO"
        # One for the whole film: each prepares its tables, and threads, anew.
        self._reformatter = VideoReformatter()
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE)
        self.size = (int(self._stream.codec_context.width), int(self._stream.codec_context.height))
        self._damaged = self._decoded = 0
        self._end = 0.0

    def close(self) -> None:
        """Closes the file, or gives the camera back."""
        self._container.close()

    def frames(self) -> Iterator[Frame]:
        """The frames, in order; with `every` those that are the first so many seconds behind the last one given.

        Raises:
            ValueError: behind the last frame that can be read, if the film was cut off or is damaged.
        """
        first = seconds = due = 0.0
        for frame in self._decode():
            time = self._time_of(frame)
            first = time if not self._decoded else first
            # Time does not go back, whatever a damaged file says.
            seconds = max(time - first, seconds)
            number, self._decoded = self._decoded, self._decoded + 1
            # A hundredth of a frame's time: the sum of many `every` is not exact.
            if seconds >= due - 0.01 / float(self.rate):
                due = max(due + self.every, seconds) if self.every else 0.0
                yield Frame(number, seconds, self._upright(frame), frame if _is_written_so(frame) else None)
        self._check_whole()

    def _time_of(self, frame: Any) -> float:
        # AVI has times in the order of decoding, which is another one than that of the frames.
        if frame.time is None or self._container.format.name == "avi":
            return float(self._decoded / self.rate)
        return float(frame.time)

    def _decode(self) -> Iterator[Any]:
        """All frames that can be decoded; damaged packets are counted."""
        import av

        try:
            # All streams are read, and one decoded: the last sound tells where a film without pictures at its end ends.
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is not self._stream:
                    continue
                try:
                    yield from packet.decode()
                except (av.error.InvalidDataError, av.error.EOFError):
                    self._damaged += 1
        except (av.error.FFmpegError, OSError):
            self._damaged += 1

    def _upright(self, frame: Any) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, turned as the film's display matrix says."""
        plain = self._reformatter.reformat(frame, format="rgb24", threads=1)
        pixels: Any = plain.to_ndarray()
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def _check_whole(self) -> None:
        if self.source.live:
            raise ValueError(f"'{self.source.name}' gives no more pictures, after {self._decoded:,} of them.")
        name, cut = self.source.name, _is_cut(self.source)
        if not self._decoded:
            why = "was cut off before its first frame" if cut else "has no frame that can be decoded: it is damaged"
            raise ValueError(f"'{name}' {why}.")
        # FFmpeg takes the length of some files from what is there of them; the number of frames stands in their head.
        announced = max((self._container.duration or 0) / 1e6, float(self._stream.frames / self.rate))
        seconds = max(self._end - (self._container.start_time or 0) / 1e6, 0)
        read = f"the {self._decoded:,} frames before that were read"
        if seconds < announced - max(MISSING_SECONDS, 2 / float(self.rate)):
            raise ValueError(f"'{name}' was cut off after {seconds:.1f} of {announced:.1f} seconds; {read}.")
        if cut:
            raise ValueError(
                f"'{name}' was cut off after {seconds:.1f} seconds: its file ends before the end that it announces; "
                f"{read}."
            )
        if self._damaged:
            places = f"{self._damaged:,} place{'s' * (self._damaged > 1)}"
            raise ValueError(
                f"'{name}' is damaged in {places}; the {self._decoded:,} frames that can be decoded were read."
            )


def _is_cut(source: Source) -> bool:
    """Whether a file's own container says that its end is missing."""
    path = Path(source.address)
    return not source.live and path.is_file() and is_cut_off(path)


def _without_index(source: Source) -> str:
    return (
        f"'{source.name}' was cut off: the list of its frames, at its end, is missing, and nothing of it can be read."
    )


def _is_written_so(frame: Any) -> bool:
    """Whether a decoded frame is as `FilmWriter` writes them."""
    from av.video.reformatter import ColorRange

    upright = not round(frame.rotation / 90) % 4
    return bool(
        frame.format.name == "yuv420p"
        and upright
        and frame.color_range != ColorRange.JPEG
        and frame.width % 2 == frame.height % 2 == 0
    )


def _is_cover(stream: Any) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
