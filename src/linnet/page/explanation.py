"""What the page needs to show which parts of a picture spoke for a class.

A classifier ends with an average over all pixels and a linear layer. Both are linear, so a class's logit is the mean of
a map: the linear layer at each pixel of what is averaged. Nothing is approximated; in eight bits the rounding of the
average and of the logit comes on top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linnet.engine.library import LinearLayer
from linnet.engine.program import Program, zero_of
from linnet.quantisation import rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint

    Floats = NDArray[np.float32]


def explained(program: Program, checkpoint: Checkpoint) -> tuple[dict[str, int], Floats, Floats] | None:
    """Where the map and the classifier's weights are.

    Returns:
        The map's `layer`, `height`, `width` and `channels`, and where the `weights` and the `bias` begin in the
        program's data; then what the map's bytes stand for (256, none if it has floats), and what integer weights are
        multiplied by (classes, none if they are floats). None for a network that does not end with an average and one
        linear layer, or has weights with a zero point.
    """
    graph, quantisation = program.graph, program.quantisation
    if graph.averaged is None:
        return None
    pool, linear = graph.averaged
    layer = program.numbers.get(pool.reads[0])
    floating = () if quantisation is None else quantisation.floating
    if (
        layer is None
        or f"{linear.label}.weight.zero" in checkpoint.tensors
        or {pool.reads[0], pool.name, linear.name} & set(floating)
    ):
        return None
    body = program.layers[program.numbers[linear.name]].own
    assert isinstance(body, LinearLayer)
    height, width, channels = graph.shape_of(pool.reads[0])
    places = {
        "layer": layer,
        "height": height,
        "width": width,
        "channels": channels,
        "weights": int(body.weights),
        "bias": int(body.bias),
    }
    none = np.zeros(0, np.float32)
    if quantisation is None:
        return places, none, none
    every = (np.arange(256, dtype=np.uint8) - np.uint8(zero_of(quantisation.dtype))).view(quantisation.dtype)
    scales = np.broadcast_to(checkpoint.tensors[f"{linear.label}.weight.scale"], (graph.shape_of(linear.name)[-1],))
    return places, rule.dequantise(every, quantisation.encodings[pool.reads[0]]), scales.astype(np.float32)
