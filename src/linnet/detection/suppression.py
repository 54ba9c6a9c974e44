"""From a detector's output to its detections: scores, boxes, and one box for each object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from linnet.architecture.network import check_number, check_whole
from linnet.detection.coding import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

Scoring = Literal["sigmoid", "softmax"]

FIRST_LOOK = 1000
"""Candidates that are looked at first, of up to a hundred thousand."""


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """What becomes a detection.

    Attributes:
        score_threshold: less probable boxes are dropped first: 0.3 to look at, about 0.01 to measure AP.
        iou_threshold: of two boxes of a class that overlap more, the better one stays.
        per_class: most boxes of one class in a picture.
        total: most boxes in a picture.

    Raises:
        ValueError: on values that make no sense.
    """

    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    per_class: int = 100
    total: int = 100

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        check_number("score_threshold", self.score_threshold, least=0, most=1)
        check_number("iou_threshold", self.iou_threshold, least=0, most=1)
        check_whole("per_class", self.per_class, least=1, most=100_000)
        check_whole("total", self.total, least=1, most=100_000)


EVERYTHING = Suppression(score_threshold=0.01)
"""Nearly all that a detector sees: where average precision is measured, since a score orders it, and in exported files,
whose clients have thresholds of their own. What overlaps goes as it does everywhere, so that both find the same."""


def detect(
    offsets: Array, logits: Array, anchors: Array, *, scoring: Scoring, suppression: Suppression
) -> tuple[Array, Array, NDArray[np.int64]]:
    """What is on one picture, by a network's output.

    Args:
        offsets: (A, 4) as `encode` makes them.
        logits: (A, 1 + classes), the background first.
        anchors: (A, 4) centre x, centre y, width, height.
        scoring: how logits become scores.
        suppression: thresholds and limits.

    Returns:
        Boxes (K, 4) x0, y0, x1, y1 as fractions of the input, clipped to it; scores (K,), falling; classes (K,) from 0.

    Raises:
        ValueError: if an output is not a number.
    """
    if not (np.isfinite(offsets).all() and np.isfinite(logits).all()):
        raise ValueError("The network's output is not a number: its weights are damaged.")
    seen = _may_score(logits, scoring, suppression.score_threshold)  # (S,) of the A anchors
    offsets, logits, anchors = offsets[seen], logits[seen], anchors[seen]  # (S, …) each
    values, least = _values(logits, scoring, suppression.score_threshold)  # (classes, S)
    decoded, most = decode(offsets, anchors), FIRST_LOOK
    while True:
        # The best come first anyway: what lies below them matters only if they leave room.
        classes, numbers = _best(values, least, most)
        kept = suppress(decoded[numbers], values[classes, numbers], classes, suppression)
        if len(kept) == suppression.total or len(classes) < most:
            break
        most *= 8
    classes, numbers = classes[kept], numbers[kept]  # (K,) each
    scores = values[classes, numbers]
    if scoring == "sigmoid":
        # Half a hyperbolic tangent: the sigmoid without an overflow.
        scores = (0.5 + 0.5 * np.tanh(0.5 * scores.astype(np.float64))).astype(np.float32)
    # Clipped last, as in TensorFlow: what lies outside counts where two boxes are compared.
    boxes = decoded[numbers].clip(0, 1)  # (K, 4)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return boxes[inside], scores[inside], classes[inside]


def _may_score(logits: Array, scoring: Scoring, threshold: float) -> NDArray[np.int64]:
    """The anchors that may have a class above the threshold: most see nothing but background."""
    best = logits[:, 1:].max(axis=1)  # (A,)
    if scoring == "softmax":
        # A class's share is at most its ratio to the background's; a little less than the bound, for the rounding.
        bound = logits[:, 0] + np.float32(math.log(threshold) - 1e-3 if threshold > 0 else -math.inf)
    else:
        bound = np.full_like(best, logit_of(threshold))
    return np.flatnonzero(best >= bound)


def _values(logits: Array, scoring: Scoring, threshold: float) -> tuple[Array, float]:
    """(classes, A) numbers in the order of the scores, and what the threshold is among them.

    With sigmoid these are the logits themselves: only what is left at the end needs an exponential.
    """
    if scoring == "sigmoid":
        return np.ascontiguousarray(logits[:, 1:].T), logit_of(threshold)
    # In double precision, rounded once: the native library then comes to the same bits.
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    return (powers[:, 1:] / powers.sum(axis=1, keepdims=True)).T.astype(np.float32, order="C"), threshold


def logit_of(threshold: float) -> float:
    """The logit whose sigmoid is the threshold."""
    return math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else math.copysign(math.inf, threshold - 0.5)


def _best(values: Array, least: float, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of all values from `least` on; if those are more than `most`, of about that many best."""
    over = values[values >= least]
    if len(over) > most:
        # Equals of the last one come along, so that it does not matter which of them is cut off.
        least = float(np.partition(over, -most)[-most])
    rows, columns = np.nonzero(values >= least)
    return rows, columns


def suppress(boxes: Array, scores: Array, classes: NDArray[np.int64], suppression: Suppression) -> NDArray[np.int64]:
    """Non-maximum suppression within each class: which boxes stay, the best first.

    The best box that is left is taken, those of its class that it overlaps too much go, and so on. That makes at most
    `total` rounds, each over one class: nothing is sorted, and all pairs are never looked at.

    Args:
        boxes: (N, 4) x0, y0, x1, y1.
        scores: (N,), of which `score_threshold` has been taken already.
        classes: (N,), rising.
        suppression: `iou_threshold`, `per_class` and `total`.

    Returns:
        (K,) indices of the N; of equal scores the lower one first.
    """
    left, kept = scores.copy(), list[int]()
    bounds = np.searchsorted(classes, np.arange(classes[-1] + 2)) if len(classes) else np.zeros(1, np.int64)
    counts = np.zeros(len(bounds), np.int64)
    corners = np.ascontiguousarray(boxes.T)  # (4, N)
    extents = np.maximum(corners[2] - corners[0], 0) * np.maximum(corners[3] - corners[1], 0)
    while len(left) and len(kept) < suppression.total:
        best = int(left.argmax())
        if left[best] == -np.inf:
            break
        kept.append(best)
        own = classes[best]
        rivals = slice(bounds[own], bounds[own + 1])
        counts[own] += 1
        if counts[own] == suppression.per_class:
            left[rivals] = -np.inf
            continue
        x0, y0, x1, y1 = corners[:, rivals]
        across = np.minimum(x1, corners[2, best]) - np.maximum(x0, corners[0, best])
        down = np.minimum(y1, corners[3, best]) - np.maximum(y0, corners[1, best])
        shared = np.maximum(across, 0) * np.maximum(down, 0)
        # Not a quotient: boxes without area would divide nothing by nothing.
        left[rivals][shared > suppression.iou_threshold * (extents[rivals] + extents[best] - shared)] = -np.inf
        left[best] = -np.inf
    return np.array(kept, np.int64)
