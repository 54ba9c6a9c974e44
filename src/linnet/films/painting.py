"""What was found on a frame, painted on it, beside the network."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from linnet.results.drawing import caption_strip, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.films.reading import Frame
    from linnet.films.writing import FilmWriter
    from linnet.results import Result

KEPT = 16
"""Captions that are kept: the next frame shows mostly what this one does."""


class Painter:
    """Paints frames in a thread of its own and gives them to a film, in order.

    Args:
        film: gets them.
        waiting: frames that wait to be painted at the most; then the network waits.

    Raises:
        Exception: what went wrong with a frame, at one of the next or at the end.
    """

    def __init__(self, film: FilmWriter, waiting: int) -> None:
        self._film, self._most = film, waiting
        self._waiting: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(1, "painting")

    def __enter__(self) -> Painter:
        return self

    def add(self, frame: Frame, result: Result) -> None:
        """Takes a frame and what was found on it."""
        while len(self._waiting) >= self._most:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, frame, result))

    def _write(self, frame: Frame, result: Result) -> None:
        if result.caption is None:
            self._film.write(_drawn(frame.pixels, result), frame.seconds)
        else:
            strip = _strip(frame.pixels.shape[1::-1], result.caption)
            self._film.write(frame.pixels, frame.seconds, strip=strip, planes=frame.planes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        for done in self._waiting if error is None else ():
            done.result()


def _drawn(pixels: NDArray[np.uint8], result: Result) -> NDArray[np.uint8]:
    """(H, W, 3) RGB with what was found on it."""
    from PIL import Image

    return np.asarray(draw(Image.fromarray(pixels), result))


@lru_cache(KEPT)
def _strip(size: tuple[int, int], text: str) -> NDArray[np.uint8]:
    return np.asarray(caption_strip(size, text).convert("L"))
