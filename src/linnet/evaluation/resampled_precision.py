"""Average precision of pictures drawn anew: which detection finds which object is decided once, by COCO's rules.

The figures themselves come from the package that computes them as COCO does (`average_precision`); what is here only
weighs pictures, and is held to that package by tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.data.dataset import Sample
from linnet.evaluation.average_precision import FIGURES, RECALLS, Detected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which a detection finds an object."""

AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Pixels of an object, the ends included: all, small, medium, large."""

MOST = (1, 10, 100)
"""Detections of a class in a picture that count."""


@dataclass(frozen=True)
class _Class:
    """All detections of one class, the surest first.

    Attributes:
        picture: (D,) of each detection.
        rank: (D,) its place among those of its class in its picture.
        found: (areas, thresholds, D) whether it finds an object that counts.
        counted: (areas, thresholds, D) whether it counts at all: one on an ignored object does not.
        objects: (areas, N) objects that count, of each picture.
    """

    picture: NDArray[np.int64]
    rank: NDArray[np.int64]
    found: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    objects: NDArray[np.float32]


class PrecisionStatistic:
    """COCO's twelve figures, and those of each class, of any multiset of some pictures.

    Args:
        samples: N pictures with their objects.
        detections: what was found in each of them.
        classes: how many there are.
    """

    def __init__(self, samples: Sequence[Sample], detections: Sequence[Detected], classes: int) -> None:
        self._classes = [_match_class(samples, detections, index) for index in range(classes)]

    def __call__(self, counts: NDArray[np.float32]) -> dict[str, Floats]:
        """(B, N) counts of the pictures → the figures of `FIGURES`, (B,), and of each class `AP` and `AP50`, (B, K)."""
        draws, classes = len(counts), len(self._classes)
        precision = np.full((draws, classes, len(AREAS), len(THRESHOLDS)), np.nan)
        recall = np.full((draws, classes, len(AREAS) + len(MOST) - 1, len(THRESHOLDS)), np.nan)
        for number, one in enumerate(self._classes):
            objects = (counts @ one.objects.T).astype(np.float64)  # (B, areas)
            for area in range(len(AREAS)):
                for threshold in range(len(THRESHOLDS)):
                    precision[:, number, area, threshold] = _precision(one, counts, objects, area, threshold)
            recall[:, number] = _recalls(one, counts, objects)
        mean = {"AP": precision[:, :, 0], "AP50": precision[:, :, 0, :1], "AP75": precision[:, :, 0, 5:6]}
        mean |= {f"AP{size}": precision[:, :, 1 + at] for at, size in enumerate("sml")}
        mean |= {f"AR{most}": recall[:, :, at] for at, most in enumerate(MOST)}
        mean |= {f"AR{size}": recall[:, :, len(MOST) + at] for at, size in enumerate("sml")}
        figures = {name: _mean(mean[name].reshape(draws, -1)) for name in FIGURES}
        per_class = {"per_class_AP": precision[:, :, 0].mean(axis=2), "per_class_AP50": precision[:, :, 0, 0]}
        return figures | per_class


def _mean(values: Floats) -> Floats:
    """The mean of what can be measured, (B, n) → (B,); NaN of nothing."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def _precision(one: _Class, counts: NDArray[np.float32], objects: Floats, area: int, threshold: int) -> Floats:
    """(B,) average precision at one IoU: the mean over 101 recalls of the best precision from there on."""
    total = objects[:, area]
    found = np.flatnonzero(one.found[area, threshold])
    if not len(found):
        return np.where(total > 0, 0.0, np.nan)
    # Precision changes for the better at a hit only: what counts between two hits is summed for each picture at once.
    places = np.flatnonzero(one.counted[area, threshold])
    places = places[places <= found[-1]]
    pictures, own = np.unique(one.picture[places], return_inverse=True)
    segments = np.zeros((len(pictures), len(found)), np.float32)
    np.add.at(segments, (own, np.searchsorted(found, places)), 1)
    hits = np.cumsum(counts[:, one.picture[found]], axis=1, dtype=np.float64)  # (B, hits)
    seen = np.cumsum(counts[:, pictures] @ segments, axis=1, dtype=np.float64)
    best = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    best = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, hits / np.maximum(total, 1)[:, None], side="right")
    steps = np.diff(reached, axis=1, prepend=0)
    return np.where(total > 0, (steps * best).sum(axis=1) / len(RECALLS), np.nan)


def _recalls(one: _Class, counts: NDArray[np.float32], objects: Floats) -> Floats:
    """(B, 6, thresholds): share of the objects found with 1, 10 and 100 detections, and of each size with 100."""
    draws, pictures = counts.shape
    kinds = [(0, most) for most in MOST] + [(area, MOST[-1]) for area in range(1, len(AREAS))]
    result = np.full((draws, len(kinds), len(THRESHOLDS)), np.nan)
    for place, (area, most) in enumerate(kinds):
        found = one.found[area] & (one.rank < most)  # (thresholds, D)
        hits = np.zeros((len(THRESHOLDS), pictures), np.float32)
        for threshold, row in enumerate(found):
            hits[threshold] = np.bincount(one.picture[row], minlength=pictures)
        total = objects[:, area, None]
        shares = (counts @ hits.T) / np.maximum(total, 1)
        result[:, place] = np.where(total > 0, shares, np.nan)
    return result


def _match_class(samples: Sequence[Sample], detections: Sequence[Detected], index: int) -> _Class:
    pictures: list[NDArray[np.int64]] = []
    ranks: list[NDArray[np.int64]] = []
    scores: list[Floats] = []
    found: list[NDArray[np.bool_]] = []
    counted: list[NDArray[np.bool_]] = []
    objects = np.zeros((len(AREAS), len(samples)), np.float32)
    for number, (sample, one) in enumerate(zip(samples, detections, strict=True)):
        own, seen = sample.indices == index, one.indices == index
        ignored = sample.ignored[own] | ~_within(np.asarray(sample.areas, np.float64)[own])  # (areas, G)
        objects[:, number] = (~ignored).sum(axis=1)
        if not seen.any():
            continue
        order = np.argsort(-one.scores[seen], kind="stable")[: MOST[-1]]
        boxes = np.asarray(one.boxes, np.float64)[seen][order]
        hit, counts = _match(boxes, np.asarray(sample.boxes, np.float64)[own], sample.ignored[own], ignored)
        pictures.append(np.full(len(order), number))
        ranks.append(np.arange(len(order)))
        scores.append(np.asarray(one.scores, np.float64)[seen][order])
        found.append(hit)
        counted.append(counts)
    if not scores:
        none = np.zeros((len(AREAS), len(THRESHOLDS), 0), np.bool_)
        return _Class(np.zeros(0, np.int64), np.zeros(0, np.int64), none, none, objects)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _Class(
        np.concatenate(pictures)[order],
        np.concatenate(ranks)[order],
        np.concatenate(found, axis=2)[:, :, order],
        np.concatenate(counted, axis=2)[:, :, order],
        objects,
    )


def _within(areas: Floats) -> NDArray[np.bool_]:
    """(n,) pixels → (areas, n) whether they lie within each of `AREAS`."""
    return np.array([(areas >= low) & (areas <= high) for low, high in AREAS])


def _match(
    boxes: Floats, truth: Floats, crowds: NDArray[np.bool_], ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections of a picture find an object, the surest first, and which count; (areas, thresholds, D) each.

    Each takes the free object that it overlaps most; one that is ignored only where no other is left. Crowds are never
    used up, and overlap by the detection's share that lies on them.
    """
    shape = (len(AREAS), len(THRESHOLDS), len(boxes))
    found, on_ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    sides = boxes[:, 2:] - boxes[:, :2]
    outside = ~_within(sides[:, 0] * sides[:, 1])[:, None, :]  # (areas, 1, D)
    if len(truth):
        overlap = _overlaps(boxes, truth, crowds)
        least = np.minimum(THRESHOLDS, 1 - 1e-10)
        free = np.ones((*shape[:2], len(truth)), np.bool_)
        places = np.arange(len(truth))
        for number in np.flatnonzero((overlap >= least[0]).any(axis=1)):
            near = free & (overlap[number] >= least[:, None])
            first = near & ~ignored[:, None]
            regular = first.any(axis=2)
            usable = np.where(regular[..., None], first, near)
            # Of equal overlaps the last one, as COCO's loop has it.
            best = len(truth) - 1 - np.argmax(np.where(usable, overlap[number], -1)[..., ::-1], axis=2)
            taken = usable.any(axis=2)
            found[..., number] = regular
            on_ignored[..., number] = taken & ~regular
            free &= ~(taken[..., None] & (places == best[..., None])) | crowds
    return found, found | ~(on_ignored | outside)


def _overlaps(boxes: Floats, truth: Floats, crowds: NDArray[np.bool_]) -> Floats:
    """(D, 4) and (G, 4) corners → (D, G) intersection over union; of a crowd over the detection's own area."""
    corners = np.minimum(boxes[:, None, 2:], truth[:, 2:]) - np.maximum(boxes[:, None, :2], truth[:, :2])
    shared = np.prod(corners.clip(0), axis=2)
    own, other = (np.prod(these[:, 2:] - these[:, :2], axis=1) for these in (boxes, truth))
    union = np.where(crowds, own[:, None], own[:, None] + other - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
