"""Boxes that an exported detector finds itself: with which thresholds, and whether they are boxes of its anchors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.detection import EVERYTHING, anchors, decode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from linnet.architecture import Detector

    Array = NDArray[np.float32]

SUPPRESSION = EVERYTHING
"""Which boxes a file gives: those with which average precision is measured."""

DETECTION_TOLERANCE = 1e-4
"""Most by which a box, in sides of the picture or of itself, or a score may differ from an anchor's."""

OUTPUTS = ("boxes", "classes", "scores", "count")


def decoded(detector: Detector, offsets: Array, logits: Array) -> tuple[Array, Array]:
    """Boxes (A, 4) y0, x0, y1, x1 and scores (A, classes) of all anchors of a picture, of its offsets and logits."""
    boxes = decode(offsets, anchors(detector))[:, [1, 0, 3, 2]]
    numbers = logits.astype(np.float64)
    if detector.scoring == "softmax":
        powers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    else:
        scores = 0.5 + 0.5 * np.tanh(0.5 * numbers)
    return boxes.astype(np.float32), scores[:, 1:].astype(np.float32)


def check_detections(
    detector: Detector, heads: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]], path: Path, runtime: str
) -> None:
    """Raises a ValueError unless all that a file finds are boxes of anchors, with these anchors' scores.

    Args:
        detector: the network.
        heads: its offsets and logits of some pictures.
        found: boxes (N, K, 4) y0, x0, y1, x1, classes (N, K), scores (N, K) and counts of these pictures.
        path: of the file.
        runtime: that found them.
    """
    boxes, classes, scores, counts = found
    for row, (offsets, logits) in enumerate(zip(*heads, strict=True)):
        count = int(counts[row])
        places, expected = decoded(detector, offsets, logits)
        own = expected[:, classes[row, :count].astype(np.int64)].T  # (K, A)
        apart = np.abs(places[None] - boxes[row, :count, None]).max(axis=2)  # (K, A)
        # Boxes may reach far beyond the picture.
        apart /= np.maximum(1, np.abs(boxes[row, :count]).max(axis=1, initial=0))[:, None]
        nearest = np.maximum(apart, np.abs(own - scores[row, :count, None])).min(axis=1)
        if not nearest.max(initial=0) <= DETECTION_TOLERANCE:
            raise ValueError(
                f"'{path}' was not written: {runtime} finds boxes or scores that are {nearest.max():.1e} from those of "
                f"any anchor; at most {DETECTION_TOLERANCE:.0e} was expected."
            )
