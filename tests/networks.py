"""Networks with weights for tests: random, but with activations that stay alive through all layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.architecture import Architecture, DeepLab, Detector, Graph, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.checkpoint import Checkpoint, default_preprocessing

Tensors = dict[str, NDArray[np.float32]]


def random_tensors(architecture: Architecture | Graph, seed: int = 0) -> Tensors:
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
    return Checkpoint(architecture, default_preprocessing(architecture), random_tensors(architecture, seed), classes)


def architectures(*, largest_width: float = 2.5, largest_side: int = 300) -> st.SearchStrategy[Architecture]:
    """Any network that the options allow, within bounds that keep it quick to run."""
    common = _common(largest_width, largest_side) | {
        "classes": st.one_of(st.none(), st.integers(1, 2000)),
        "hidden": st.lists(st.integers(1, 200), max_size=2).map(tuple),
        "classifier_bias": st.booleans(),
    }
    first = common | FIRST
    return st.one_of(st.builds(MobileNetV2, **common, **SECOND), st.builds(MobileNetV1, **first))


@st.composite
def detectors(draw: st.DrawFn, *, largest_width: float = 1.5, largest_side: int = 200) -> Detector:
    """Any detector that the options allow, within bounds that keep it quick to run."""
    extras = draw(st.lists(st.integers(1, 300), max_size=4))
    fine = draw(st.booleans())
    levels = 2 + fine + len(extras)
    numbers = st.floats(0.01, 3)
    options: dict[str, Any] = _common(largest_width, largest_side) | {
        "classes": st.integers(1, 30),
        "extra_channels": st.just(tuple(extras)),
        "fine_level": st.just(fine),
        "scales": st.lists(numbers, min_size=levels, max_size=levels).map(tuple),
        "aspect_ratios": st.lists(numbers, min_size=1, max_size=4).map(tuple),
        "reduced_first_level": st.booleans(),
        "tap": st.sampled_from(["expansion", "block"]),
        "reduced_channels": _or_none(st.integers(1, 200), len(extras)),
        "extra_activation": st.sampled_from(["same", "linear"]),
        "last_scale": numbers,
        "anchor_strides": _or_none(st.floats(1, 100), levels),
        "clipped_anchors": st.booleans(),
        "scoring": st.sampled_from(["sigmoid", "softmax"]),
    }
    if draw(st.booleans()):
        options |= SECOND | {"backbone": st.just("mobilenet_v2")}
    else:
        options |= FIRST | {"backbone": st.just("mobilenet_v1")}
    if regular := draw(st.booleans()):
        options["head_kernel"] = st.sampled_from([1, 3])
    return draw(st.builds(ssd if regular else ssdlite, **options))


@st.composite
def segmenters(draw: st.DrawFn, *, largest_width: float = 1.0, largest_side: int = 160) -> DeepLab:
    """Any segmenter that the options allow, within bounds that keep it quick to run."""
    common = _common(largest_width, largest_side)
    early, stride = draw(common.pop("early_stride")), draw(common.pop("output_stride"))
    allowed = [each for each in (16, 8, 4, 2, 1) if (2 if early == 4 else 1) <= each < min(stride, 8 * early)]
    chosen = draw(st.sets(st.sampled_from(allowed))) if allowed else set()
    options: dict[str, Any] = common | {
        "early_stride": st.just(early),
        "output_stride": st.just(stride),
        "classes": st.integers(1, 40),
        "skips": st.just(tuple(sorted(chosen, reverse=True))),
        "last_convolution": st.booleans(),
        "image_pooling": st.booleans(),
        "pooled_norm": st.booleans(),
        "aspp": st.sampled_from(["none", "full", "separable"]),
        "context_channels": st.integers(1, 40),
        "skip_channels": st.integers(1, 20),
        "decoder_channels": st.integers(1, 30),
        "joining": st.sampled_from(["concatenate", "add"]),
        "grid": st.sampled_from(["align_corners", "half_pixel", "asymmetric"]),
    }
    if draw(st.booleans()):
        options |= SECOND | {"backbone": st.just("mobilenet_v2")}
    else:
        options |= FIRST | {"backbone": st.just("mobilenet_v1")}
    return draw(st.builds(deeplab, **options))


FIRST: dict[str, Any] = {
    "convolution": st.sampled_from(["separable", "full"]),
    "last_activation": st.sampled_from(["same", "linear"]),
}

SECOND: dict[str, Any] = {
    "expansion": st.one_of(st.integers(1, 10), st.floats(1, 12)),
    "projection_activation": st.sampled_from(["linear", "relu6"]),
    "shortcut": st.sampled_from(["bottleneck", "expansion", "none"]),
    "depth": st.floats(0.3, 2),
    "stem": st.sampled_from(["scaled", "fixed", "fixed_with_block"]),
    "channel_multiple": st.sampled_from([4, 8]),
    "last_layer": st.sampled_from(["kept", "scaled", "fixed"]),
}


def _or_none(values: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """So many values, or the empty tuple that leaves them open."""
    return st.one_of(st.just(()), st.lists(values, min_size=count, max_size=count).map(tuple))


def _common(largest_width: float, largest_side: int) -> dict[str, Any]:
    sides = st.integers(32, largest_side)
    return {
        "width": st.floats(0.05, largest_width),
        "resolution": st.one_of(sides, st.tuples(sides, sides)),
        "input_channels": st.integers(1, 5),
        "dropout": st.floats(0, 0.9),
        "activation": st.sampled_from(["relu6", "relu"]),
        "padding": st.sampled_from(["same", "symmetric"]),
        "output_stride": st.sampled_from([8, 16, 32]),
        "early_stride": st.sampled_from([1, 2, 4]),
        "minimum_depth": st.sampled_from([1, 4, 8, 16]),
        "batch_norm_epsilon": st.floats(1e-6, 0.1),
        "batch_norm_momentum": st.floats(1e-3, 1),
        "folded": st.booleans(),
    }
