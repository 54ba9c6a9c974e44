"""What the page needs to decide the class of every pixel, and to paint it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linnet.engine.program import GRIDS
from linnet.results.overlay import background_of, palette

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linnet.architecture import DeepLab
    from linnet.engine.program import Program


def segmenting(
    architecture: DeepLab, program: Program, outputs: Sequence[Sequence[dict[str, int]]], classes: Sequence[str]
) -> dict[str, Any]:
    """How `linnet_labels` reads a segmenter's logits, and the colours of its classes.

    Args:
        architecture: the segmenter.
        program: the segmenter for the engine.
        outputs: the parts of its outputs, as the page's file has them.
        classes: their names.

    Raises:
        ValueError: if the engine does not give the logits as `linnet_labels` takes them.
    """
    height, width, count = program.graph.shape_of(program.outputs[0])
    whole = {"tensor": 0, "start": 0, "count": height * width * count}
    if [[{**part, **whole} == part for part in parts] for parts in outputs] != [[True]]:
        raise ValueError("The page cannot read this segmenter's logits: they are not one map.")
    return {
        "height": height,
        "width": width,
        "grid": GRIDS[architecture.grid],
        "colours": palette()[:count].tolist(),
        # Classes that are left as they are.
        "clear": background_of(classes),
    }
