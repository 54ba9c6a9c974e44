"""What Keras Applications calls the layers of MobileNetV1 and V2."""

from __future__ import annotations

import re

from linnet.architecture import Architecture, Convolve, MobileNetV1, MobileNetV2

PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), label)
    for pattern, label in (
        (r"Conv1", "stem"),
        (r"expanded_conv_(depthwise|project)", r"blocks.0.\1"),
        (r"block_(\d+)_(expand|depthwise|project)", r"blocks.\1.\2"),
        (r"Conv_1", "head"),
        (r"conv1", "stem"),
        (r"conv_dw_(\d+)", r"blocks.{}.depthwise"),
        (r"conv_pw_(\d+)", r"blocks.{}.pointwise"),
        (r"conv_preds", "classifier"),
    )
)
"""A layer's whole name → linnet's label; MobileNetV1's blocks are counted from 1."""

NORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"bn_(Conv1)"), r"\1"),
    (re.compile(r"(Conv_1)_bn"), r"\1"),
    (re.compile(r"((?:expanded_conv|block_\d+)_\w+)_BN"), r"\1"),
    (re.compile(r"(conv1|conv_(?:dw|pw)_\d+)_bn"), r"\1"),
)
"""A batch norm's whole name → the name of the convolution before it."""


def label_of(name: str) -> str | None:
    """Linnet's label of a convolution or classifier of Keras Applications; None of any other layer."""
    for pattern, label in PATTERNS:
        if found := pattern.fullmatch(name):
            number = int(found[1]) - 1 if "{}" in label else 0
            return found.expand(label.format(number))
    return None


def convolution_of(name: str) -> str | None:
    """Name of the convolution that a batch norm of Keras Applications follows; None of any other layer."""
    return next((found.expand(before) for pattern, before in NORMS if (found := pattern.fullmatch(name))), None)


def names_of(architecture: Architecture, convolution: Convolve) -> tuple[str, str]:
    """Names of a convolution and of its batch norm.

    Raises:
        ValueError: if the network is of a kind that Keras Applications does not have.
    """
    parts = convolution.label.split(".")
    if isinstance(architecture, MobileNetV2):
        if len(parts) == 1:
            return {"stem": ("Conv1", "bn_Conv1"), "head": ("Conv_1", "Conv_1_bn")}[parts[0]]
        block = "expanded_conv" if parts[1] == "0" else f"block_{parts[1]}"
        return f"{block}_{parts[2]}", f"{block}_{parts[2]}_BN"
    if isinstance(architecture, MobileNetV1) and architecture.convolution == "separable":
        if len(parts) == 1:
            return "conv1", "conv1_bn"
        name = f"conv_{'dw' if parts[2] == 'depthwise' else 'pw'}_{int(parts[1]) + 1}"
        return name, f"{name}_bn"
    raise ValueError("Keras has MobileNetV1 with separable convolutions and MobileNetV2; this is another network.")
