"""What a segmenter's file has that its network leaves to others: logits at the picture's size, and the best class."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Graph
from linnet.quantisation.scheme import Quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint

LABELS = "labels"
"""Name of the best class of every pixel."""

SHARES_ALLOWED = 0.02
"""By how much the share of a class may differ on another processor, relative to that of the largest class."""


def exported(checkpoint: Checkpoint) -> tuple[Graph, Quantisation | None]:
    """The operations of a file, and how their results are encoded: what it has more, resizing, keeps its encoding."""
    graph, scheme = checkpoint.architecture.exported_graph, checkpoint.quantisation
    if scheme is not None:
        encodings = dict(scheme.encodings)
        for operation in graph.operations:
            encodings.setdefault(operation.name, encodings[operation.reads[0]])
        scheme = replace(scheme, encodings=encodings)
    return graph, scheme


def shortfall(labels: NDArray[Any], logits: NDArray[np.floating[Any]]) -> float:
    """By how much the logits (N, H, W, classes) of labels (N, H, W) lie below the best ones, relative to the largest.

    It is the largest of all pixels; infinite if a label is no class.
    """
    if labels.min() < 0 or labels.max() >= logits.shape[3]:
        return math.inf
    own = np.take_along_axis(logits, labels.astype(np.int64)[..., None], axis=3)[..., 0]
    return float((logits.max(axis=3) - own).max()) / max(float(np.abs(logits).max()), 1e-12)


def check_labels(path: Path, labels: NDArray[Any], logits: NDArray[np.floating[Any]], allowed: float) -> None:
    """Raises a ValueError unless labels (N, H, W) are the best classes of logits (N, H, W, classes), or nearly so.

    Two logits may each be off by what is allowed, relative to the largest of all: then the other one is the best.
    """
    apart = shortfall(labels, logits)
    if not apart <= 2 * allowed:
        raise ValueError(
            f"'{path}' was not written: its labels are those of logits up to {apart:.1e} below the best ones; at most "
            f"{2 * allowed:.0e} was expected."
        )
