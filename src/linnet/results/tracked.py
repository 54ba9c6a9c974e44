"""Objects of a film, each with the number that it keeps from frame to frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.results.detections import Detection, Detections

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrackedDetection(Detection):
    """One object of one frame."""

    track: int
    """The object's number, counted from 1."""

    @property
    def number(self) -> int:
        """The object's."""
        return self.track

    @property
    def caption(self) -> str:
        """What stands beside its box, its number first."""
        return f"{self.track} {super().caption}"

    @property
    def colour(self) -> int:
        """The colour is the object's: neighbours of one class are told apart."""
        return self.track


@dataclass(frozen=True, eq=False, repr=False)
class TrackedDetections(Detections):
    """The objects of one frame, the most probable first.

    Attributes:
        tracks: (K,) their numbers.
    """

    tracks: NDArray[np.int64] = None  # type: ignore[assignment]  # behind fields with defaults; always given

    def _detection(self, number: int) -> Detection:
        return TrackedDetection(**asdict(super()._detection(number)), track=int(self.tracks[number]))
