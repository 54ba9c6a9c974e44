"""What a network is: plain data, no weights and no framework. Everything else in linnet is derived from it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from linnet.architecture.layers import (
    Classifier,
    Convolution,
    DepthwiseSeparable,
    ExtraLevel,
    InvertedResidual,
    Layer,
    LevelHead,
    Pooling,
    convolutions_of,
    scale_channels,
)
from linnet.architecture.mobilenet_v1 import MobileNetV1
from linnet.architecture.mobilenet_v2 import MobileNetV2
from linnet.architecture.network import Architecture
from linnet.architecture.ssdlite import SSD, Detector, SSDLite

__all__ = [
    "FAMILIES",
    "SSD",
    "Architecture",
    "Classifier",
    "Convolution",
    "DepthwiseSeparable",
    "Detector",
    "ExtraLevel",
    "InvertedResidual",
    "Layer",
    "LevelHead",
    "MobileNetV1",
    "MobileNetV2",
    "Pooling",
    "SSDLite",
    "convolutions_of",
    "family_of",
    "from_options",
    "options_of",
    "scale_channels",
]

LATER_OPTIONS = frozenset({"early_stride"})
"""Options that older files lack: there they have their defaults, as everywhere before they existed."""

FAMILIES: dict[str, type[Architecture]] = {
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "ssd": SSD,
    "ssdlite": SSDLite,
}
"""Name on the command line and in files → class."""


def family_of(architecture: Architecture) -> str:
    """Name of a network's family on the command line and in files."""
    return next(name for name, kind in FAMILIES.items() if type(architecture) is kind)


def options_of(architecture: Architecture) -> dict[str, Any]:
    """All options of a network, with its `family` first: what a checkpoint stores."""
    return {"family": family_of(architecture)} | {
        field.name: getattr(architecture, field.name) for field in fields(architecture)
    }


def from_options(options: dict[str, Any]) -> Architecture:
    """The network that `options_of` described.

    Raises:
        ValueError: on an unknown family, unknown or missing options, or values that make no sense.
    """
    given = dict(options)
    family = given.pop("family", None)
    kind = FAMILIES.get(family) if isinstance(family, str) else None
    if kind is None:
        raise ValueError(f"`family` (={family!r}) must be {' or '.join(map(repr, FAMILIES))}.")
    known = {field.name for field in fields(kind)}
    unknown, missing = sorted(given.keys() - known), sorted(known - given.keys() - LATER_OPTIONS)
    if unknown or missing:
        parts = [f"unknown: {', '.join(map(str, unknown))}"] * bool(unknown)
        parts += [f"missing: {', '.join(missing)}"] * bool(missing)
        raise ValueError(f"The options of {family} do not fit ({'; '.join(parts)}).")
    return kind(**given)
