"""Results as JSON documents, the same from every command and from the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from linnet.results.classification import Classification
from linnet.results.segmentation import Segmentation

if TYPE_CHECKING:
    from linnet.results.classification import Prediction
    from linnet.results.detections import Detections
    from linnet.results.segmentation import Region

TOP = 5
"""Classes that are told of a picture unless another number is asked for; all objects are, and all that a segmenter
finds."""


def top(result: Classification | Detections | Segmentation, count: int | None = None) -> Sequence[Prediction | Region]:
    """The `count` best classes, objects or regions, best first; without a count `TOP` classes, or all of the others."""
    if isinstance(result, Classification):
        return result.top(TOP if count is None else count)
    return result.top(count)


def document(name: str, result: Classification | Detections | Segmentation, count: int | None = None) -> dict[str, Any]:
    """What `linnet predict --json` says of a picture: its file, and `predictions` or a segmenter's `classes`."""
    key = "classes" if isinstance(result, Segmentation) else "predictions"
    return {"file": name, key: [asdict(found) for found in top(result, count)]}
