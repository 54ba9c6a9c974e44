"""Objects numbered and smoothed over the frames of a film: by overlap, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linnet.boxes import iou
from linnet.results import Detections, TrackedDetections

OVERLAP = 0.3
"""Intersection over union from which on two boxes of one class in consecutive frames are one object."""

NEWEST = 0.6
"""Share of the newest box in a smoothed one."""

PATIENCE = 1.0
"""Seconds for which an object that is not found keeps its number."""


@dataclass(eq=False)
class _Track:
    number: int
    index: int
    box: np.ndarray[tuple[int], np.dtype[np.float32]]
    seen: float


class Tracker:
    """Gives what is found in each frame the numbers of the frame before.

    The pair of boxes of one class that overlaps most is one object, then the next pair, and so on; what is left gets
    new numbers, counted from 1. Only what a frame shows is told of it: a box that is lost is not guessed.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    def follow(self, found: Detections, seconds: float) -> TrackedDetections:
        """The same objects with numbers, their boxes smoothed; `seconds` never falls from one call to the next."""
        self._tracks = [track for track in self._tracks if seconds - track.seen <= PATIENCE]
        matched = self._match(found)
        boxes = found.boxes.copy()
        numbers = np.zeros(len(found), np.int64)
        for place in range(len(found)):
            track = matched.get(place)
            if track is None:
                track = _Track(self._next, int(found.indices[place]), boxes[place], seconds)
                self._tracks.append(track)
                self._next += 1
            track.box = boxes[place] = NEWEST * boxes[place] + (1 - NEWEST) * track.box
            track.seen, numbers[place] = seconds, track.number
        return TrackedDetections(boxes, found.scores, found.indices, found.classes, numbers)

    def _match(self, found: Detections) -> dict[int, _Track]:
        """Place among the found → its track."""
        if not self._tracks or not len(found):
            return {}
        overlaps = iou(found.boxes, np.stack([track.box for track in self._tracks]))
        classes = np.array([track.index for track in self._tracks])
        overlaps[found.indices[:, None] != classes[None]] = 0
        matched: dict[int, _Track] = {}
        taken: set[int] = set()
        for flat in np.argsort(-overlaps, axis=None, kind="stable"):
            place, other = divmod(int(flat), len(self._tracks))
            if overlaps[place, other] < OVERLAP:
                break
            if place not in matched and other not in taken:
                matched[place] = self._tracks[other]
                taken.add(other)
        return matched
