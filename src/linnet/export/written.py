"""What an export may be asked for, what it wrote, and how that compares with linnet's own reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from linnet.architecture import options_of
from linnet.images import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint

InputKind = Literal["normalised", "pixels", "integers"]
Precision = Literal["float32", "float16", "int8"]

PICTURES = 2
"""Noisy pictures on which a file is compared."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the file, or the folder.
        size_bytes: its size, of a folder that of all that was written into it.
        operators: the kinds of its operators, where the format has such.
        difference: the largest from the reference, relative to the largest output; None where it was not run here.
        precision: of its numbers.
        equal: whether every output was the reference's to the bit; None where it was not run here.
        more: what only this format says of itself, JSON keys and values.
    """

    path: Path
    size_bytes: int
    operators: tuple[str, ...]
    difference: float | None
    precision: Precision
    equal: bool | None
    more: Mapping[str, Any] = field(default_factory=dict)


def check_difference(path: Path, runtime: str, compared: tuple[float, bool] | None, allowed: float) -> None:
    """Raises a ValueError if what was run (`differences`) is further from the reference than is allowed; NaN is too."""
    if compared is not None and not compared[0] <= allowed:
        raise ValueError(
            f"'{path}' was not written: the outputs of {runtime} differ from the reference by {compared[0]:.1e} of the "
            f"largest one; at most {allowed:.0e} was expected."
        )


def documents(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a file carries of its checkpoint beside the weights, by name: all of it JSON can hold."""
    contract = checkpoint.preprocessing
    return {
        "linnet.architecture": options_of(checkpoint.architecture.with_options(folded=True)),
        "linnet.preprocessing": None if contract is None else contract.to_json(),
        "linnet.classes": checkpoint.classes,
        "linnet.provenance": dict(checkpoint.provenance),
    }


def noise(checkpoint: Checkpoint) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Noisy pictures to compare on: pixels (N, H, W, 3), and the same normalised, (N, H, W, C)."""
    generator = np.random.default_rng(0)
    size, contract = checkpoint.architecture.input_size, checkpoint.preprocessing
    pixels = generator.integers(0, 256, (PICTURES, *size, 3), dtype=np.uint8)
    if contract is not None:
        return pixels, normalise(pixels, contract)
    shape = (PICTURES, *size, checkpoint.architecture.input_channels)
    return pixels, generator.normal(size=shape).astype(np.float32)


def differences(found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> tuple[float, bool]:
    """The largest of all outputs, each relative to its largest value; NaN counts. And whether all are equal."""
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        largest = max(float(np.abs(other).max(initial=0)), 1e-12)
        worst = float(np.maximum(worst, np.abs(one - other).max(initial=0) / largest))
    return worst, all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
