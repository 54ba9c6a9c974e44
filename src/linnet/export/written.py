"""What an export may be asked for, what it wrote, and how that compares with linnet's own reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from linnet.architecture import options_of
from linnet.images import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        path: the file.
        size_bytes: its size.
        operators: the kinds of its operators.
        difference: the largest from the reference, relative to the largest output; None where it was not run here.
        format: `onnx` or `tflite`.
        precision: of its numbers.
        runtime: the package that runs it.
        equal: whether every output was the reference's to the bit; None where it was not run here.
    """

    path: Path
    size_bytes: int
    operators: tuple[str, ...]
    difference: float | None
    format: str
    precision: Precision
    runtime: str
    equal: bool | None


def check_choices(
    checkpoint: Checkpoint,
    inputs: InputKind | None,
    precision: Precision | None,
    precisions: tuple[Precision, ...],
    kinds: tuple[InputKind, ...] = get_args(InputKind),
) -> Precision:
    """The precision of a file; raises a ValueError if a format or the network does not have what is asked for.

    Args:
        checkpoint: what is exported.
        inputs: see `linnet.export.export`.
        precision: likewise.
        precisions: that the format has.
        kinds: of inputs that the format has.
    """
    for name, value, allowed in (("inputs", inputs, kinds), ("precision", precision, precisions)):
        if value is not None and value not in allowed:
            raise ValueError(f"`{name}` (={value!r}) must be {' or '.join(map(repr, allowed))} in this format.")
    if checkpoint.preprocessing is None and inputs == "pixels":
        raise ValueError(f"A network of {checkpoint.architecture.input_channels} channels takes no pictures.")
    if precision == "int8" and checkpoint.quantisation is None:
        raise ValueError("The network has no integers: `linnet quantize` makes them.")
    return precision or ("float32" if checkpoint.quantisation is None else "int8")


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
