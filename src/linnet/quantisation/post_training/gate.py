"""May the network in eight bits be kept? Decided by what it loses; what stays in float where it may not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.predictor import Predictor
from linnet.quantisation.post_training.measuring import Measured, RunOptions, readable
from linnet.quantisation.post_training.quantising import Quantiser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.images import Picture

MOST_DROP = 0.01
"""Of the figure that tells models apart: one point."""

MOST_OTHER = 0.05
"""Without labels: share of the pictures on which the best answer may be another. Not all of them are lost: of answers
that change, some become right."""

SEARCHED = 8
"""Pictures on which it is found out what a layer costs."""

MOST_FLOAT = 8
"""Layers that `auto` keeps in float."""


@dataclass(frozen=True)
class Verdict:
    """Whether a network may be kept.

    Attributes:
        passed: it may.
        sentence: what was measured and what was allowed.
    """

    passed: bool
    sentence: str


def judge(measured: Measured, most_drop: float | None) -> Verdict:
    """Holds what was measured against what may be lost.

    Args:
        measured: of both networks.
        most_drop: what may be lost of the figure, or without labels the share of other answers; None for the usual.
    """
    difference = measured.headline
    if difference is None:
        allowed, found = MOST_OTHER if most_drop is None else most_drop, 1 - measured.same
        text = f"the best answers differ on {found:.1%} of {measured.pictures:,} pictures; {allowed:.1%} may"
    else:
        assert difference.value is not None
        allowed, found = MOST_DROP if most_drop is None else most_drop, -difference.value
        change = f"falls by {found:.4f}" if found > 0 else f"does not fall ({-found:+.4f})"
        text = f"{difference.name} {change}; by {allowed:.4f} it may"
    # A figure of shares is not exact in floating point.
    return Verdict(found <= allowed + 1e-9, text)


@dataclass(frozen=True)
class Cost:
    """What rounding the weights and the inputs of one layer costs.

    Attributes:
        name: of the layer.
        gain_db: by how much the outputs' ratio of signal to noise rises if it alone is in float.
        more_bytes: by how much the file grows then.
    """

    name: str
    gain_db: float
    more_bytes: int


def costs(
    before: Predictor,
    quantiser: Quantiser,
    floating: Collection[str],
    pictures: Sequence[Picture],
    runner: RunOptions,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Cost]:
    """What each layer with weights that is not in float costs, the dearest first.

    Args:
        before: the float network.
        quantiser: of the network.
        floating: layers that are in float already.
        pictures: to try it on; the first few are taken.
        runner: what runs the networks.
        progress: called with the number of layers done.
    """
    pixels = np.stack(list(readable(pictures, before, SEARCHED)))
    wanted = _outputs(before, pixels)

    def loudness(*more: str) -> float:
        tried = quantiser.network((*floating, *more)).checkpoint
        noise = np.square(_outputs(runner.load(tried), pixels) - wanted).sum()
        return float(10 * np.log10(max(noise, 1e-30)))

    start, found = loudness(), list[Cost]()
    layers = [each for each in quantiser.graph.operations if each.tensors and each.name not in floating]
    for number, operation in enumerate(layers, start=1):
        weight, bias = (int(np.prod(shape)) for shape in operation.tensors.values())
        # Four bytes a weight instead of one; the scales of the channels go.
        found.append(Cost(operation.name, start - loudness(operation.name), 3 * weight - 4 * bias))
        progress(number)
    return sorted(found, key=lambda cost: -cost.gain_db)


def _outputs(predictor: Predictor, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """All outputs of some pictures in one row each."""
    outputs = predictor.forward(pixels)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return np.concatenate([part.reshape(len(pixels), -1) for part in parts], axis=1).astype(np.float64)
