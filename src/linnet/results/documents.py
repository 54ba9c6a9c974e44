"""Results as JSON documents, the same from every command and from the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from linnet.results.detections import Detections

if TYPE_CHECKING:
    from linnet.results.classification import Classification, Prediction

TOP = 5
"""Classes that are told of a picture unless another number is asked for; of a detector all objects are."""


def top(result: Classification | Detections, count: int | None = None) -> Sequence[Prediction]:
    """The `count` best classes or objects, best first; without a count `TOP` classes, or all objects."""
    if isinstance(result, Detections):
        return result.top(count)
    return result.top(TOP if count is None else count)


def document(name: str, result: Classification | Detections, count: int | None = None) -> dict[str, Any]:
    """What `linnet predict --json` says of a picture: its file and `predictions`, best first."""
    return {"file": name, "predictions": [asdict(found) for found in top(result, count)]}
