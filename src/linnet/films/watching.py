"""A film through a network: frames and what is on them, in order and in little memory."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from linnet.films.tracking import Tracker
from linnet.results import Detections

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.films.reading import Film, Frame
    from linnet.predictor import Predictor
    from linnet.results import Result

HELD_BYTES = 128_000_000
"""Of frames that wait: large ones wait in smaller groups."""

MOST_TOGETHER = 8
"""Frames of one forward pass."""


def watch(predictor: Predictor, film: Film, *, track: bool = False) -> Iterator[tuple[Frame, Result]]:
    """Each frame with what the network says of it; with `track` a detector's boxes are numbered and smoothed.

    Frames are decoded beside the network. A camera is taken frame by frame, so that what is seen is of now.

    Raises:
        ValueError: behind the last frame that can be read, if the film was cut off or is damaged.
    """
    tracker = Tracker()
    batch = together(film)
    passed: deque[Frame] = deque()
    failure: list[Exception] = []

    def pixels() -> Iterator[NDArray[Any]]:
        with closing(ahead(film.frames(), batch)) as frames:
            try:
                for frame in frames:
                    passed.append(frame)
                    yield frame.pixels
            except (ValueError, OSError) as error:
                # The frames before it are answered first.
                failure.append(error)

    for _, result in predictor.stream(pixels(), batch=batch):
        frame = passed.popleft()
        if isinstance(result, Exception):
            raise result
        yield frame, tracker.follow(result, frame.seconds) if track and isinstance(result, Detections) else result
    if failure:
        raise failure[0]


def together(film: Film) -> int:
    """Frames of one forward pass: one of a camera, so that what is seen is of now."""
    width, height = film.size
    # Decoded, and as red, green and blue; `stream` holds three groups, and two may wait to be painted.
    most = HELD_BYTES // (5 * (width * height * 9 // 2) + 1)
    return 1 if film.source.live else max(min(most, MOST_TOGETHER), 1)


def ahead(frames: Iterator[Frame], most: int) -> Generator[Frame, None, None]:
    """The same frames, made in a thread of their own, at most so many in advance; errors come where they happened."""
    waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(most)
    stopped = threading.Event()

    def put(item: Frame | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        end: BaseException | None = None
        try:
            for frame in frames:
                if not put(frame):
                    return
        except BaseException as error:
            end = error
        put(end)

    thread = threading.Thread(target=run, name="frames", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
