"""What a server takes, and how it says that it takes no more."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

LONGEST_RETRY = 60
"""Seconds. A client is not sent away for longer: the queue is never so long."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one worker process.

    Attributes:
        body_bytes: of one request.
        held_bytes: of all bodies together, those that are still arriving included.
        pixels: of one picture, asked before it is decoded.
        queue: pictures that are taken at one time, those that are being computed included.
        batch: pictures of one forward pass, of those that wait.
        connections: open at one time.
        arrival_seconds: for a request's headers to arrive, and for its body; each of the two.
        seconds: for its answer.
        idle_seconds: after which a connection without a request is closed.
        stop_seconds: that requests have when the server stops.
    """

    body_bytes: int = 16_000_000
    held_bytes: int = 256_000_000
    pixels: int = 50_000_000
    queue: int = 128
    batch: int = 8
    connections: int = 512
    arrival_seconds: float = 30.0
    seconds: float = 30.0
    idle_seconds: float = 15.0
    stop_seconds: float = 60.0


class Refusal(Exception):
    """What a request gets instead of its answer.

    Attributes:
        status: of HTTP.
        sentence: what was got, what was expected, what to do.
        headers: beside it.
    """

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Room:
    """So many units of something may be held at one time. For one thread: that of the event loop.

    Attributes:
        taken: units that are held.
    """

    def __init__(self, most: int, what: str) -> None:
        self.most, self.what = most, what
        self.taken = 0
        # Seconds that a unit is held on average, each newer one counting a twentieth.
        self._seconds, self._left = 0.0, 0.0

    def take(self, units: int) -> None:
        """Holds units; a `Refusal` (503, with the seconds after which there is room) where there is none."""
        if self.taken + units > self.most:
            raise self.refusal()
        if not self.taken:
            self._left = time.monotonic()
        self.taken += units

    def leave(self, units: int) -> None:
        """Gives units back."""
        if not units:
            return
        now = time.monotonic()
        each, self._left = (now - self._left) / units, now
        self._seconds += (each - self._seconds) / 20
        self.taken -= units

    def refusal(self) -> Refusal:
        """The 503 of a full server."""
        return Refusal(503, f"The server has all the {self.what} that it takes. Try again.", Retry_After=str(self.wait))

    @property
    def wait(self) -> int:
        """Whole seconds until what is held now is done, at least 1."""
        return min(max(math.ceil(self.taken * self._seconds), 1), LONGEST_RETRY)
