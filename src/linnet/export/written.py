"""What an export may be asked for, what it wrote, and how that compares with linnet's own reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

InputKind = Literal["normalised", "pixels", "integers"]
Precision = Literal["float32", "float16", "int8"]

PICTURES = 5
"""Usually compared on: two of noise, and three that the file carries as test vectors."""


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
        pictures: on which it was compared.
        more: what only this format says of itself, JSON keys and values.
    """

    path: Path
    size_bytes: int
    operators: tuple[str, ...]
    difference: float | None
    precision: Precision
    equal: bool | None
    pictures: int = PICTURES
    more: Mapping[str, Any] = field(default_factory=dict)


def check_difference(path: Path, runtime: str, compared: tuple[float, bool] | None, allowed: float) -> None:
    """Raises a ValueError if what was run (`differences`) is further from the reference than is allowed; NaN is too."""
    if compared is not None and not compared[0] <= allowed:
        raise ValueError(
            f"'{path}' was not written: the outputs of {runtime} differ from the reference by {compared[0]:.1e} of the "
            f"largest one; at most {allowed:.0e} was expected."
        )


def differences(found: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> tuple[float, bool]:
    """The largest of all outputs, each relative to its largest value; NaN counts. And whether all are equal."""
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        largest = max(float(np.abs(other).max(initial=0)), 1e-12)
        worst = float(np.maximum(worst, np.abs(one - other).max(initial=0) / largest))
    return worst, all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
