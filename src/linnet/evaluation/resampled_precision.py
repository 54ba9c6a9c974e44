"""Average precision of pictures drawn anew: which detection finds which object is decided once, by COCO's rules.

The figures themselves come from the package that computes them as COCO does (`average_precision`); what is here only
weighs pictures, and is held to that package by tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.samples import Sample
from linnet.evaluation.average_precision import FIGURES, RECALLS, Detected
from linnet.evaluation.box_mistakes import overlaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which a detection finds an object."""

AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Pixels of an object, the ends included: all, small, medium, large."""

MOST = 100
"""Detections of a class in a picture that count."""


RECALLED = ((0, 1), (0, 10), (0, 100), (1, 100), (2, 100), (3, 100))
"""Of each average recall the place in `AREAS`, and how many detections of a class in a picture count."""


@dataclass(frozen=True)
class _Matched:
    """The detections of one class in one picture, as those of `_Class`."""

    picture: int
    scores: Floats
    found: NDArray[np.bool_]
    counted: NDArray[np.bool_]


@dataclass(frozen=True)
class _Class:
    """All detections of one class, the surest first.

    Attributes:
        pictures: (P,) those in which there are detections.
        picture: (D,) of each detection, its place among these.
        found: (areas, thresholds, D) whether it finds an object that counts.
        counted: (areas, thresholds, D) whether it counts at all: one on an ignored object does not.
        hits: (6, thresholds, P) objects of each picture that are found, of each of `RECALLED`.
        objects: (areas, N) objects that count, of each picture.
    """

    pictures: NDArray[np.int64]
    picture: NDArray[np.int64]
    found: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    hits: NDArray[np.float32]
    objects: NDArray[np.float32]

    @cached_property
    def repeats(self) -> NDArray[np.bool_]:
        """(areas, thresholds) whether a threshold finds and counts what the one before it does."""
        same = np.zeros(self.found.shape[:2], np.bool_)
        for matches in (self.found, self.counted):
            differ = (matches[:, 1:] != matches[:, :-1]).any(axis=2)
            same[:, 1:] = ~differ if matches is self.found else same[:, 1:] & ~differ
        return same


class PrecisionStatistic:
    """COCO's twelve figures, and those of each class, of any multiset of some pictures.

    Args:
        samples: N pictures with their objects.
        detections: what was found in each of them.
        classes: how many there are.
    """

    def __init__(self, samples: Sequence[Sample], detections: Sequence[Detected], classes: int) -> None:
        self._classes = _match_all(samples, detections, classes)

    def __call__(self, counts: NDArray[np.float32]) -> dict[str, Floats]:
        """(B, N) counts of the pictures → the figures of `FIGURES`, (B,), and of each class `AP` and `AP50`, (B, K)."""
        from threadpoolctl import threadpool_limits

        # Hundreds of small products: threads wait for each other longer than they work.
        with threadpool_limits(1, user_api="blas"):
            return self._figures(counts)

    def _figures(self, counts: NDArray[np.float32]) -> dict[str, Floats]:
        draws, classes, drawn = len(counts), len(self._classes), np.ascontiguousarray(counts.T)
        precision = np.full((draws, classes, len(AREAS), len(THRESHOLDS)), np.nan)
        recall = np.full((draws, classes, len(RECALLED), len(THRESHOLDS)), np.nan)
        for number, one in enumerate(self._classes):
            objects = (counts @ one.objects.T).astype(np.float64)  # (B, areas)
            rows = drawn[one.pictures]  # (P, B)
            for area in range(len(AREAS)):
                for threshold in range(len(THRESHOLDS)):
                    if one.repeats[area, threshold]:
                        precision[:, number, area, threshold] = precision[:, number, area, threshold - 1]
                    else:
                        precision[:, number, area, threshold] = _precision(one, rows, objects[:, area], area, threshold)
            recall[:, number] = _recalls(one, rows, objects)
        mean = {"AP": precision[:, :, 0], "AP50": precision[:, :, 0, :1], "AP75": precision[:, :, 0, 5:6]}
        mean |= {f"AP{size}": precision[:, :, 1 + at] for at, size in enumerate("sml")}
        mean |= {name: recall[:, :, at] for at, name in enumerate(FIGURES[6:])}
        figures = {name: _mean(mean[name].reshape(draws, -1)) for name in FIGURES}
        per_class = {"per_class_AP": precision[:, :, 0].mean(axis=2), "per_class_AP50": precision[:, :, 0, 0]}
        return figures | per_class


def _mean(values: Floats) -> Floats:
    """The mean of what can be measured, (B, n) → (B,); NaN of nothing."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def _precision(one: _Class, counts: NDArray[np.float32], total: Floats, area: int, threshold: int) -> Floats:
    """(P, B) counts and (B,) objects → (B,) average precision at one IoU: over 101 recalls, the best from there on.

    Draws are the last axis: so each step of a running sum adds whole rows.
    """
    found = np.flatnonzero(one.found[area, threshold])
    if not len(found):
        return np.where(total > 0, 0.0, np.nan)
    # Sums of whole numbers below 2^24 are exact.
    hits = _running(np.add, counts[one.picture[found]])  # (hits, B)
    places = np.flatnonzero(one.counted[area, threshold, : found[-1] + 1])
    seen = _running(np.add, counts[one.picture[places]])[np.searchsorted(places, found)]
    # Where nothing is seen yet, nothing is found either.
    best = hits / np.maximum(seen, 1).astype(np.float64)
    _running(np.maximum, best[::-1])
    # How many of the 101 recalls so many hits reach: draws have few different numbers of objects.
    totals, which = np.unique(total, return_inverse=True)
    recalls = np.arange(hits[-1].max() + 1) / np.maximum(totals, 1)[:, None]
    table = np.searchsorted(RECALLS, recalls, side="right").astype(np.float64)
    reached = table.ravel().take(hits.astype(np.intp) + which * table.shape[1])
    # The first hit has what is reached up to it, each other one what it adds.
    gained = np.einsum("hb,hb->b", np.diff(reached, axis=0), best[1:]) + reached[0] * best[0]
    return np.where(total > 0, gained / len(RECALLS), np.nan)


def _running(combine: np.ufunc, rows: NDArray[Any]) -> NDArray[Any]:
    """Each row combined with all before it, in place: numpy's own `accumulate` goes down the columns, one by one."""
    for before, row in pairwise(rows):
        combine(before, row, out=row)
    return rows


def _recalls(one: _Class, counts: NDArray[np.float32], objects: Floats) -> Floats:
    """(P, B) counts and (B, areas) objects → (B, 6, thresholds) share of the objects found, of each of `RECALLED`."""
    kinds, thresholds, pictures = one.hits.shape
    total = objects[:, [area for area, _ in RECALLED], None]
    found = one.hits.reshape(kinds * thresholds, pictures) @ counts
    shares = found.T.reshape(-1, kinds, thresholds) / np.maximum(total, 1)
    return np.where(total > 0, shares, np.nan)


def _match_all(samples: Sequence[Sample], detections: Sequence[Detected], classes: int) -> list[_Class]:
    """The matches of each class over all pictures."""
    objects = np.zeros((classes, len(AREAS), len(samples)), np.float32)
    matched: list[list[_Matched]] = [[] for _ in range(classes)]
    for number, (sample, one) in enumerate(zip(samples, detections, strict=True)):
        order = np.argsort(-one.scores, kind="stable")
        boxes, scores = np.asarray(one.boxes, np.float64)[order], np.asarray(one.scores, np.float64)[order]
        guesses, truths = one.indices[order], sample.indices
        iou, inside = overlaps(boxes, sample.boxes)
        # A crowd is overlapped by the detection's share that lies on it.
        overlap = np.where(sample.ignored, inside, iou)
        ignored = sample.ignored | ~_within(np.asarray(sample.areas, np.float64))  # (areas, G)
        outside = ~_within((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))  # (areas, D)
        for index in np.union1d(truths, guesses).tolist():
            own, seen = np.flatnonzero(truths == index), np.flatnonzero(guesses == index)[:MOST]
            objects[index, :, number] = (~ignored[:, own]).sum(axis=1)
            if len(seen):
                found, on_ignored = _match(overlap[seen[:, None], own], sample.ignored[own], ignored[:, own])
                counted = found | ~(on_ignored | outside[:, None, seen])
                matched[index].append(_Matched(number, scores[seen], found, counted))
    return [_gather(entries, objects[index]) for index, entries in enumerate(matched)]


def _gather(entries: Sequence[_Matched], objects: NDArray[np.float32]) -> _Class:
    """The detections of one class in all pictures, the surest first."""
    hits = np.zeros((len(RECALLED), len(THRESHOLDS), len(entries)), np.float32)
    if not entries:
        none = np.zeros((len(AREAS), len(THRESHOLDS), 0), np.bool_)
        return _Class(np.zeros(0, np.int64), np.zeros(0, np.int64), none, none, hits, objects)
    for place, one in enumerate(entries):
        for kind, (area, most) in enumerate(RECALLED):
            hits[kind, :, place] = one.found[area, :, :most].sum(axis=1)
    order = np.argsort(-np.concatenate([one.scores for one in entries]), kind="stable")
    return _Class(
        np.array([one.picture for one in entries]),
        np.repeat(np.arange(len(entries)), [len(one.scores) for one in entries])[order],
        np.concatenate([one.found for one in entries], axis=2)[:, :, order],
        np.concatenate([one.counted for one in entries], axis=2)[:, :, order],
        hits,
        objects,
    )


def _within(areas: Floats) -> NDArray[np.bool_]:
    """(n,) pixels → (areas, n) whether they lie within each of `AREAS`."""
    return np.array([(areas >= low) & (areas <= high) for low, high in AREAS])


def _match(
    overlap: Floats, crowds: NDArray[np.bool_], ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections of a picture find an object, the surest first, and which lie on an ignored one.

    Each takes the free object that it overlaps most; one that is ignored only where no other is left. Crowds are never
    used up.

    Args:
        overlap: (D, G) of detections of one class, the surest first, with its objects.
        crowds: (G,) objects that are ignored whatever the size.
        ignored: (areas, G) those that are ignored at each size.

    Returns:
        Two of (areas, thresholds, D).
    """
    shape = (len(AREAS), len(THRESHOLDS), len(overlap))
    found, on_ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    count = len(crowds)
    free = np.ones((*shape[:2], count), np.bool_)
    places = np.arange(count)
    for number in np.flatnonzero((overlap >= least[0]).any(axis=1)):
        near = free & (overlap[number] >= least[:, None])
        first = near & ~ignored[:, None]
        regular = first.any(axis=2)
        usable = np.where(regular[..., None], first, near)
        # Of equal overlaps the last one, as COCO's loop has it.
        best = count - 1 - np.argmax(np.where(usable, overlap[number], -1)[..., ::-1], axis=2)
        taken = usable.any(axis=2)
        found[..., number] = regular
        on_ignored[..., number] = taken & ~regular
        free &= ~(taken[..., None] & (places == best[..., None])) | crowds
    return found, on_ignored
