"""What a network is: plain data, no weights and no framework. Everything else in linnet is derived from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from linnet.architecture.deeplab import DeepLab, deeplab
from linnet.architecture.graph import Block, Graph, GraphBuilder
from linnet.architecture.mobilenet_v1 import MobileNetV1
from linnet.architecture.mobilenet_v2 import MobileNetV2
from linnet.architecture.network import Architecture, Backbone
from linnet.architecture.operations import (
    INPUT,
    Add,
    BatchNorm,
    Concatenate,
    Convolve,
    Linear,
    Operation,
    Pool,
    Reshape,
    Resize,
    scale_channels,
)
from linnet.architecture.ssdlite import BACKBONES, DETECTORS, SSD, Detector, SSDLite, detector_options

__all__ = [
    "COMPOSED",
    "FAMILIES",
    "INPUT",
    "SSD",
    "Add",
    "Architecture",
    "Backbone",
    "BatchNorm",
    "Block",
    "Concatenate",
    "Convolve",
    "DeepLab",
    "Detector",
    "Graph",
    "GraphBuilder",
    "Linear",
    "MobileNetV1",
    "MobileNetV2",
    "Operation",
    "Pool",
    "Reshape",
    "Resize",
    "SSDLite",
    "family_of",
    "from_options",
    "options_of",
    "scale_channels",
]

LATER_OPTIONS = frozenset(
    {
        "anchor_step",
        "anchor_strides",
        "channel_multiple",
        "classifier_bias",
        "clipped_anchors",
        "early_stride",
        "extra_activation",
        "extra_kernels",
        "head_kernel",
        "head_kernels",
        "hidden",
        "last_activation",
        "last_scale",
        "reduced_channels",
        "tap",
    }
)
"""Options that older files lack: there they have their defaults, as everywhere before they existed."""

FAMILIES: dict[str, type[Architecture]] = {
    "deeplab": DeepLab,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "ssd": SSD,
    "ssdlite": SSDLite,
}
"""Name on the command line and in files → class."""

COMPOSED: dict[str, Callable[..., Architecture]] = {**DETECTORS, "deeplab": deeplab}
"""Families that stand on a backbone → what makes one of a variant, and of options of its own and of its backbone."""


def family_of(architecture: Architecture) -> str:
    """Name of a network's family on the command line and in files."""
    return next(name for name, kind in FAMILIES.items() if type(architecture) is kind)


def options_of(architecture: Architecture) -> dict[str, Any]:
    """All options of a network, its `family` first: what a checkpoint stores. A backbone is such a document too."""
    values = {entry.name: getattr(architecture, entry.name) for entry in fields(architecture)}  # type: ignore[arg-type]
    plain = {name: options_of(value) if isinstance(value, Architecture) else value for name, value in values.items()}
    return {"family": family_of(architecture)} | plain


def from_options(options: dict[str, Any]) -> Architecture:
    """The network that `options_of` described; also that of a file of format 1.

    Format 1 had a detector's backbone by name, its options beside the detector's own.

    Raises:
        ValueError: on an unknown family, unknown or missing options, or values that make no sense.
    """
    given = dict(options)
    family = given.pop("family", None)
    kind = FAMILIES.get(family) if isinstance(family, str) else None
    if kind is None:
        raise ValueError(f"`family` (={family!r}) must be {' or '.join(map(repr, FAMILIES))}.")
    known = {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    backbone = given.get("backbone")
    flat = issubclass(kind, Detector) and not isinstance(backbone, dict)
    if flat:
        known |= {entry.name for each in BACKBONES.values() for entry in fields(each)}
    unknown, missing = sorted(given.keys() - known), sorted(known - given.keys() - LATER_OPTIONS)
    if unknown or missing:
        parts = [f"unknown: {', '.join(map(str, unknown))}"] * bool(unknown)
        parts += [f"missing: {', '.join(missing)}"] * bool(missing)
        raise ValueError(f"The options of {family} do not fit ({'; '.join(parts)}).")
    if flat:
        given = detector_options(given, backbone=given.pop("backbone"))
    elif isinstance(backbone, dict):
        given["backbone"] = from_options(backbone)
    return kind(**given)
