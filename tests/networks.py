"""Networks with weights for tests: random, but with activations that stay alive through all layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing

Tensors = dict[str, NDArray[np.float32]]


def random_tensors(architecture: Architecture, seed: int = 0) -> Tensors:
    """Weights scaled by their fan-in, with batch-norm statistics that are not the neutral ones."""
    generator = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in architecture.tensors.items():
        kind = name.rpartition(".")[2]
        values = generator.normal(size=shape)
        if kind == "weight":
            values *= np.sqrt(2 / np.prod(shape[1:]))
        elif kind in ("scale", "variance"):
            values = np.exp(0.2 * values)
        else:
            values *= 0.2
        tensors[name] = values.astype(np.float32)
    return tensors


def checkpoint_of(architecture: Architecture, *, classes: tuple[str, ...] | None = None, seed: int = 0) -> Checkpoint:
    """A checkpoint of a network with random weights."""
    half = (0.5,) * architecture.input_channels
    preprocessing = None
    if architecture.input_channels == 1:
        preprocessing = Preprocessing(size=architecture.input_size, colours="grey", mean=half, std=half)
    elif architecture.input_channels == 3:
        preprocessing = Preprocessing(size=architecture.input_size, mean=half, std=half)
    return Checkpoint(architecture, preprocessing, random_tensors(architecture, seed), classes)


def architectures(*, largest_width: float = 2.5, largest_side: int = 300) -> st.SearchStrategy[Architecture]:
    """Any network that the options allow, within bounds that keep it quick to run."""
    sides = st.integers(32, largest_side)
    common: dict[str, Any] = {
        "width": st.floats(0.05, largest_width),
        "resolution": st.one_of(sides, st.tuples(sides, sides)),
        "classes": st.one_of(st.none(), st.integers(1, 2000)),
        "input_channels": st.integers(1, 5),
        "dropout": st.floats(0, 0.9),
        "activation": st.sampled_from(["relu6", "relu"]),
        "padding": st.sampled_from(["same", "symmetric"]),
        "output_stride": st.sampled_from([8, 16, 32]),
        "early_stride": st.sampled_from([1, 2, 4]),
        "minimum_depth": st.sampled_from([8, 16]),
        "batch_norm_epsilon": st.floats(1e-6, 0.1),
        "batch_norm_momentum": st.floats(1e-3, 1),
        "folded": st.booleans(),
    }
    second = common | {
        "expansion": st.one_of(st.integers(1, 10), st.floats(1, 12)),
        "projection_activation": st.sampled_from(["linear", "relu6"]),
        "shortcut": st.sampled_from(["bottleneck", "expansion", "none"]),
        "depth": st.floats(0.3, 2),
        "stem": st.sampled_from(["scaled", "fixed"]),
        "last_layer": st.sampled_from(["kept", "scaled", "fixed"]),
    }
    first = common | {"convolution": st.sampled_from(["separable", "full"])}
    return st.one_of(st.builds(MobileNetV2, **second), st.builds(MobileNetV1, **first))
