"""SSDLite and SSD on MobileNet features: the detectors of Tables 5 and 6, and what is better for small data.

Six levels (seven with the fine one) of ever larger cells: two or three tensors of the backbone, then extra levels. At
each level two heads say for every anchor how a box differs from it and what the box holds. Source: paper, section 6.2,
and the released `ssdlite_mobilenet_v2_coco` of TensorFlow's Object Detection API for all that the paper leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal

from linnet.architecture.layers import (
    Classifier,
    Convolution,
    ExtraLevel,
    InvertedResidual,
    Layer,
    LevelHead,
    Pooling,
    Size,
    convolutions_of,
)
from linnet.architecture.mobilenet_v1 import MobileNetV1
from linnet.architecture.mobilenet_v2 import MobileNetV2
from linnet.architecture.network import LARGEST_COUNT, Architecture, check_number, check_whole

BACKBONES: dict[str, type[Architecture]] = {"mobilenet_v1": MobileNetV1, "mobilenet_v2": MobileNetV2}

BOX_CODE = 4
"""Offsets of an anchor: of its centre, across and down, and of the logarithms of its width and height."""

Variant = Literal["tensorflow", "modern"]


@dataclass(frozen=True)
class Level:
    """One map of a detector: the tensor it reads and the anchors of each of its cells."""

    source: str
    channels: int
    size: Size
    anchors: tuple[tuple[float, float], ...]
    """Width and height of each, as fractions of the input."""


@dataclass(frozen=True, kw_only=True)
class Detector(Architecture):
    """What SSDLite and SSD share. The backbone has its own options, by their own names.

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.
    """

    task = "detection"
    separable: ClassVar[bool]
    """Whether the 3x3 convolutions of heads and extra levels are depthwise ones, with a pointwise one after them."""

    resolution: int | Size = 300
    """Input side in pixels; or height and width."""
    classes: int | None = 90
    """Kinds of objects; the background is one output more, the first."""
    dropout: float = 0.0
    """Share of what enters the last convolution of a class head dropped while training; off in TensorFlow."""
    minimum_depth: Literal[8, 16] = 16
    """No layer is narrower, however small the width: 16 in TensorFlow's detectors, 8 in classifiers."""
    backbone: Literal["mobilenet_v1", "mobilenet_v2"] = "mobilenet_v2"
    """What gives the features."""
    expansion: float = 6
    """Of MobileNetV2: the paper's t."""
    projection_activation: Literal["linear", "relu6"] = "linear"
    """Of MobileNetV2: `linear`, or the ablation `relu6`."""
    shortcut: Literal["bottleneck", "expansion", "none"] = "bottleneck"
    """Of MobileNetV2: which tensors are joined."""
    depth: float = 1.0
    """Of MobileNetV2: multiplies the repeats of all stages but the first and the last."""
    stem: Literal["scaled", "fixed"] = "scaled"
    """Of MobileNetV2: `scaled` by the width, or `fixed` at 32 channels."""
    last_layer: Literal["kept", "scaled", "fixed"] = "scaled"
    """Of MobileNetV2: `scaled` by the width in TensorFlow's detectors; `kept` at 1280 below 1 as in classifiers, whose
    weights then fit."""
    convolution: Literal["separable", "full"] = "separable"
    """Of MobileNetV1: its blocks' convolutions."""
    fine_level: bool = False
    """One more level, at stride 8, for small objects."""
    extra_channels: tuple[int, ...] = (512, 256, 256, 128)
    """Of the levels after the backbone, each half the size of the one before; multiplied by the width, not rounded."""
    scales: tuple[float, ...] = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
    """Sides of the anchors of each level, the finest first, as fractions of the input's shorter side."""
    # The released configuration's literal: an exact third would move widths by 8e-5.
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)
    """Width over height of the anchors of a cell. One more is square, its side between this level's and the next's."""
    reduced_first_level: bool = True
    """The finest level has but three anchors: a square one of half its scale, and the ratios 2 and 1/2."""
    scoring: Literal["sigmoid", "softmax"] = "sigmoid"
    """How logits become scores: each class by itself, or all with the background as shares of 1."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        super().__post_init__()
        check_whole("classes", self.classes, least=1, most=LARGEST_COUNT)
        self._check_numbers("extra_channels", lambda name, value: check_whole(name, value, least=1, most=LARGEST_COUNT))
        for several in ("scales", "aspect_ratios"):
            self._check_numbers(several, lambda name, value: check_number(name, value, least=0.001, most=1000))
        levels = 2 + self.fine_level + len(self.extra_channels)
        if len(self.scales) != levels:
            raise ValueError(f"`scales` (={self.scales!r}) must be {levels} numbers, one for each level.")
        if not self.aspect_ratios or len(self.aspect_ratios) > 100:
            raise ValueError(f"`aspect_ratios` (={self.aspect_ratios!r}) must be from 1 to 100 numbers.")
        self._check_backbone_options()

    def _check_numbers(self, name: str, check: Callable[[str, Any], None]) -> None:
        """Checks a sequence of numbers; lists, as JSON has them, become tuples, and numpy's numbers Python's."""
        values = getattr(self, name)
        if not isinstance(values, tuple | list):
            raise ValueError(f"`{name}` (={values!r}) must be a sequence of numbers.")
        for value in values:
            check(name, value)
        kind = int if name == "extra_channels" else float
        object.__setattr__(self, name, tuple(kind(value) for value in values))

    def _check_backbone_options(self) -> None:
        """Refuses an option that the other backbone has, and what the backbone itself refuses."""
        known = {name: {field.name for field in fields(kind)} for name, kind in BACKBONES.items()}
        for field in fields(self):
            value = getattr(self, field.name)
            foreign = field.name in set().union(*known.values()) - known[self.backbone]
            # MobileNetV1 scales its last layer whatever is said: nothing to choose, nothing to refuse.
            if foreign and field.name != "last_layer" and value != field.default:
                raise ValueError(f"`{field.name}` (={value!r}) is no option of {self.backbone}.")
        self.trunk  # noqa: B018

    @cached_property
    def trunk(self) -> Architecture:
        """The backbone by itself, without a classifier: its tensors have the same names here as there."""
        kind = BACKBONES[self.backbone]
        options = {field.name: getattr(self, field.name) for field in fields(kind)}
        return kind(**options | {"classes": None, "dropout": 0.0})

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The maps, the finest first."""
        made: dict[str, Convolution] = {}
        for layer in (*self._features, *self._extras):
            made |= {convolution.name: convolution for convolution in convolutions_of(layer)}
            made[layer.name] = convolutions_of(layer)[-1]
        sources = [*self._taps, *(extra.name for extra in self._extras)]
        return tuple(
            Level(source, made[source].out_channels, made[source].output_size, anchors)
            for source, anchors in zip(sources, self._anchors(), strict=True)
        )

    @property
    def anchors(self) -> int:
        """How many there are: a box and a score for each class come from every one."""
        return sum(level.size[0] * level.size[1] * len(level.anchors) for level in self.levels)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The backbone's up to its last convolution, `extras.0` and so on, then two `predictors` a level."""
        assert self.classes is not None
        heads = []
        for number, level in enumerate(self.levels):
            for kind, slots in (("boxes", BOX_CODE), ("classes", 1 + self.classes)):
                heads.append(self._head(f"predictors.{number}.{kind}", level, slots))
        return *self._features, *self._extras, *heads

    @property
    def _taps(self) -> tuple[str, ...]:
        return self.trunk.taps if self.fine_level else self.trunk.taps[1:]

    @cached_property
    def _features(self) -> tuple[Layer, ...]:
        """The backbone's layers; an expansion that is tapped has to outlive its block."""
        layers = (layer for layer in self.trunk.layers if not isinstance(layer, Pooling | Classifier))
        return tuple(
            replace(layer, keeps_expansion=True)
            if isinstance(layer, InvertedResidual) and layer.expand and layer.expand.name in self._taps
            else layer
            for layer in layers
        )

    @cached_property
    def _extras(self) -> tuple[ExtraLevel, ...]:
        extras: list[ExtraLevel] = []
        last = convolutions_of(self._features[-1])[-1]
        for channels in self.extra_channels:
            name = f"extras.{len(extras)}"
            outputs = self._channels(channels)
            reduce = self._convolution(
                f"{name}.reduce", last.out_channels, self._channels(channels / 2), last.output_size
            )
            filters = self._filter(name, reduce, outputs, stride=2)
            extras.append(ExtraLevel(name, (reduce, *filters)))
            last = filters[-1]
        return tuple(extras)

    def _channels(self, channels: float) -> int:
        return max(int(channels * self.width), self.minimum_depth)

    def _filter(self, name: str, before: Convolution, outputs: int, *, stride: int) -> tuple[Convolution, ...]:
        """A 3x3 convolution, separable or regular, after another one."""
        inputs, size = before.out_channels, before.output_size
        if not self.separable:
            return (self._convolution(f"{name}.convolution", inputs, outputs, size, kernel=3, stride=stride),)
        depthwise = self._convolution(
            f"{name}.depthwise", inputs, inputs, size, kernel=3, stride=stride, depthwise=True
        )
        return depthwise, self._convolution(f"{name}.pointwise", inputs, outputs, depthwise.output_size)

    def _head(self, name: str, level: Level, slots: int) -> LevelHead:
        entry = Convolution(level.source, level.channels, level.channels, level.size)
        *first, last = self._filter(name, entry, slots * len(level.anchors), stride=1)
        # Without batch norm: a bias, as where it is folded.
        last = replace(last, activation="linear", folded=True)
        dropout = 0 if slots == BOX_CODE else self.dropout
        return LevelHead(name, level.source, slots, (*first, last), dropout)

    def _anchors(self) -> list[tuple[tuple[float, float], ...]]:
        """Width and height of the anchors of each level's cells, in TensorFlow's order."""
        specs = []
        for number, (scale, coarser) in enumerate(pairwise((*self.scales, 1.0))):
            shapes = [(scale, ratio) for ratio in self.aspect_ratios] + [(math.sqrt(scale * coarser), 1.0)]
            if number == 0 and self.reduced_first_level:
                shapes = [(scale / 2, 1.0), (scale, 2.0), (scale, 0.5)]
            specs.append(shapes)
        height, width = self.input_size
        across, down = min(height, width) / width, min(height, width) / height
        return [
            tuple((scale * math.sqrt(ratio) * across, scale / math.sqrt(ratio) * down) for scale, ratio in shapes)
            for shapes in specs
        ]


@dataclass(frozen=True, kw_only=True)
class SSDLite(Detector):
    """SSDLite (paper, section 6.2): SSD whose heads and extra levels are depthwise separable. See `linnet.ssdlite`."""

    separable = True


@dataclass(frozen=True, kw_only=True)
class SSD(Detector):
    """SSD with regular 3x3 convolutions in every head and extra level: what SSDLite is compared with (Table 5)."""

    separable = False


VARIANTS: dict[str, dict[str, Any]] = {
    "tensorflow": {},
    "modern": {
        "resolution": 320,
        "minimum_depth": 8,
        "last_layer": "kept",
        "fine_level": True,
        "scales": (0.07, 0.15, 0.27, 0.42, 0.6, 0.78, 0.95),
        "aspect_ratios": (1.0, 2.0, 0.5),
        "reduced_first_level": False,
        "scoring": "softmax",
    },
}
"""Name → what it changes of the defaults."""


def ssdlite(*, variant: Variant = "tensorflow", **options: Any) -> SSDLite:
    """SSDLite on a MobileNet.

    Args:
        variant: where options that are not given come from. `tensorflow` is the released network exactly: 1917 anchors
            at 300 and 2034 at 320. `modern` is for small data and small objects: one more level at stride 8, smaller
            anchors, widths that take a classifier's weights, scores that sum to 1 (docs/decisions/0008).
        options: fields of `SSDLite`: backbone, width, resolution, classes, scales and so on.

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.

    Example:
        >>> ssdlite().anchors
        1917
    """
    return SSDLite(**_with_variant(variant, options))


def ssd(*, variant: Variant = "tensorflow", **options: Any) -> SSD:
    """SSD with regular convolutions on a MobileNet: `ssdlite` in all else, its arguments included."""
    return SSD(**_with_variant(variant, options))


def _with_variant(variant: str, options: dict[str, Any]) -> dict[str, Any]:
    if variant not in VARIANTS:
        raise ValueError(f"`variant` (={variant!r}) must be {' or '.join(map(repr, VARIANTS))}.")
    return VARIANTS[variant] | options
