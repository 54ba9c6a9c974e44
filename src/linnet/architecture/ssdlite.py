"""SSDLite and SSD on MobileNet features: the detectors of Tables 5 and 6, and what is better for small data.

Six levels (seven with the fine one) of ever larger cells: two or three tensors of the backbone, then extra levels. At
each level two heads say for every anchor how a box differs from it and what the box holds. Source: paper, section 6.2,
and the released `ssdlite_mobilenet_v2_coco` of TensorFlow's Object Detection API for all that the paper leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, ClassVar, Literal

from linnet.architecture.graph import Graph, GraphBuilder
from linnet.architecture.mobilenet_v1 import MobileNetV1
from linnet.architecture.mobilenet_v2 import MobileNetV2
from linnet.architecture.network import (
    LARGEST_COUNT,
    LARGEST_SIDE,
    Backbone,
    OnBackbone,
    OptionError,
    check_fields,
    check_number,
    check_whole,
    with_backbone_options,
)
from linnet.architecture.operations import Size

BACKBONES: dict[str, type[Backbone]] = {"mobilenet_v1": MobileNetV1, "mobilenet_v2": MobileNetV2}

BOX_CODE = 4
"""Offsets of an anchor: of its centre, across and down, and of the logarithms of its width and height."""

RELEASED: dict[str, Any] = {"resolution": 300, "minimum_depth": 16, "last_layer": "scaled"}
"""Options of a backbone as TensorFlow's detectors have them; MobileNetV1 always scales its last layer."""

WITHOUT_CLASSIFIER: dict[str, Any] = {"classes": None, "dropout": 0.0, "hidden": (), "classifier_bias": True}
"""What a backbone has of what follows the features."""

Variant = Literal["tensorflow", "modern"]


@dataclass(frozen=True)
class Level:
    """One map of a detector: the tensor it reads and the anchors of each of its cells."""

    source: str
    channels: int
    size: Size
    cells: tuple[float, float]
    """How many distances between the centres of two cells fit into the input, down and across: `size`, unless the
    detector has `anchor_strides`."""
    anchors: tuple[tuple[float, float], ...]
    """Width and height of each, as fractions of the input."""


def released_backbone(name: str = "mobilenet_v2", **options: Any) -> Backbone:
    """A backbone with the options that TensorFlow's detectors have, but for those given.

    Raises:
        ValueError: if there is no such backbone, or on an option that makes no sense or is another backbone's.
    """
    kind = BACKBONES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise OptionError("backbone", name, f"must be {' or '.join(map(repr, BACKBONES))}")
    own = {entry.name for entry in fields(kind)}
    others = {entry.name: entry.default for each in BACKBONES.values() for entry in fields(each)}
    for option, value in options.items():
        if option not in own and option in others and value not in (others[option], RELEASED.get(option)):
            raise OptionError(option, value, f"is no option of {name}")
    known = {option: value for option, value in (RELEASED | options).items() if option in own or option not in others}
    return kind(**known | {"classes": None, "dropout": 0.0})


@dataclass(frozen=True, kw_only=True)
class Detector(OnBackbone):
    """What SSDLite and SSD share: levels, anchors and heads on the features of a backbone.

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.
    """

    task = "detection"
    whole_picture = True
    sections: ClassVar[Mapping[str, str]] = {"extras": "extras", "predictors": "heads"}
    separable: ClassVar[bool]
    """Whether the 3x3 convolutions of heads and extra levels are depthwise ones, with a pointwise one after them."""

    backbone: Backbone = field(default_factory=released_backbone)
    """What gives the features. It has no classifier and drops nothing: what it has of these is left away."""
    classes: int | None = 90
    """The number of classes, without the background, which is one more output, the first."""
    dropout: float = 0.0
    """The share of the input of a class head's last convolution that is dropped in training. TensorFlow drops none."""
    head_kernel: Literal[1, 3] = 3
    """The side of a head's kernel: 3 in Table 5 and always in SSDLite; every released SSD on MobileNet has 1."""
    head_kernels: tuple[int, ...] = ()
    """The side of the heads' kernel on each level, the finest first, where it is not `head_kernel` on all. With 1
    nothing is filtered: some files have smaller kernels on small maps, and none on the smallest."""
    fine_level: bool = False
    """The detector has one more level, at stride 8, for small objects."""
    tap: Literal["expansion", "block"] = "expansion"
    """What the levels before the last of a MobileNetV2 read: the wide tensor in the first block of the next stage
    (`expansion`, as in the paper), or what the block before it gives (`block`, as in mmdetection)."""
    extra_channels: tuple[int, ...] = (512, 256, 256, 128)
    """The channels of the levels after the backbone, each half the size of the one before. They are multiplied by the
    width and not rounded to multiples of 8."""
    reduced_channels: tuple[int, ...] = ()
    """The channels of the 1x1 convolution that each extra level begins with, where they are not half of its own. They
    are multiplied like these."""
    extra_kernels: tuple[int, ...] = ()
    """The side of the kernel of each extra level, where it is not 3 on all."""
    extra_activation: Literal["same", "linear"] = "same"
    """The activation after the last convolution of an extra level: the `same` as elsewhere, or none (`linear`), where
    extra levels are inverted residuals, as in pytorch-ssd."""
    scales: tuple[float, ...] = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
    """The scales: the side of the anchors of each level, the finest level first, as a fraction of the input's shorter
    side."""
    last_scale: float = 1.0
    """The scale that would follow the last level's: the side of its larger square anchor is between the two."""
    # The released configuration's literal: an exact third would move widths by 8e-5.
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 0.3333)
    """The aspect ratios, width over height, of the anchors of a cell. One more anchor is square, with a side between
    this level's and the next one's."""
    reduced_first_level: bool = True
    """The finest level has only three anchors in a cell: a square one of half its scale, and those of the ratios 2 and
    1/2."""
    anchor_strides: tuple[float, ...] = ()
    """The distance of the centres of two cells in pixels of the input on each level, the finest first. Without it the
    cells of every level fill the input."""
    clipped_anchors: bool = False
    """Centres and sizes of anchors are clipped to the input, as pytorch-ssd has them. Otherwise large anchors reach
    outside."""
    anchor_step: float = 0.0
    """The step to which anchors are rounded, as a fraction of the input's sides; 0 does not round them. TFLite files of
    quantised detectors hold them in eight bits, and their boxes are meant relative to these."""
    scoring: Literal["sigmoid", "softmax"] = "sigmoid"
    """How logits become scores: each class by itself (`sigmoid`), or all classes and the background together, with a
    sum of 1 (`softmax`)."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        check_fields(self)
        if not isinstance(self.backbone, Backbone):
            raise OptionError("backbone", self.backbone, "must be a network such as linnet.mobilenet_v2(width=0.5)")
        object.__setattr__(self, "backbone", replace(self.backbone, **WITHOUT_CLASSIFIER))
        check_number("dropout", self.dropout, least=0, below=1)
        check_number("anchor_step", self.anchor_step, least=0, most=0.1)
        check_number("last_scale", self.last_scale, least=0.001, most=1000)
        check_whole("classes", self.classes, least=1, most=LARGEST_COUNT)
        if self.separable and self.head_kernel != 3:
            raise OptionError("head_kernel", self.head_kernel, "must be 3: SSDLite's heads filter each channel")
        for counts in ("extra_channels", "reduced_channels"):
            self._check_numbers(counts, lambda name, value: check_whole(name, value, least=1, most=LARGEST_COUNT))
        for kernels in ("extra_kernels", "head_kernels"):
            self._check_numbers(kernels, lambda name, value: check_whole(name, value, least=1, most=7))
        for several, most in (("scales", 1000), ("aspect_ratios", 1000), ("anchor_strides", LARGEST_SIDE)):
            self._check_numbers(several, partial(check_number, least=0.001, most=most))
        levels = 2 + self.fine_level + len(self.extra_channels)
        if len(self.scales) != levels:
            raise OptionError("scales", self.scales, f"must be {levels} numbers, one for each level")
        extras = len(self.extra_channels)
        counts_of = {"head_kernels": levels, "anchor_strides": levels}
        for name, count in (counts_of | {"extra_kernels": extras, "reduced_channels": extras}).items():
            if getattr(self, name) and len(getattr(self, name)) != count:
                raise OptionError(name, getattr(self, name), f"must be {count} numbers, or none")
        if not self.aspect_ratios or len(self.aspect_ratios) > 100:
            raise OptionError("aspect_ratios", self.aspect_ratios, "must be from 1 to 100 numbers")

    def _check_numbers(self, name: str, check: Callable[[str, Any], None]) -> None:
        """Checks a sequence of numbers; lists, as JSON has them, become tuples, and numpy's numbers Python's."""
        values = getattr(self, name)
        if not isinstance(values, tuple | list):
            raise OptionError(name, values, "must be a sequence of numbers")
        for value in values:
            check(name, value)
        kind = int if name.endswith(("_channels", "_kernels")) else float
        object.__setattr__(self, name, tuple(kind(value) for value in values))

    @property
    def feature_channels(self) -> int:
        """Of the backbone's last map."""
        return self.backbone.feature_channels

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The maps, the finest first."""
        sources = [*self._taps, *(f"extras.{number}" for number in range(len(self.extra_channels)))]
        shapes = [self.graph.shape_of(source) for source in sources]
        return tuple(
            Level(source, channels, (height, width), self._cells(number, (height, width)), anchors)
            for number, (source, (height, width, channels), anchors) in enumerate(
                zip(sources, shapes, self._anchors(), strict=True)
            )
        )

    @property
    def anchors(self) -> int:
        """How many there are: a box and a score for each class come from every one."""
        return self.graph.shape_of("offsets")[0]

    @property
    def further_counts(self) -> dict[str, int]:
        """The anchors."""
        return {"anchors": self.anchors}

    @cached_property
    def graph(self) -> Graph:
        """The backbone's blocks up to its last map, `extras.0` and so on, two `predictors` a level, two outputs."""
        assert self.classes is not None
        build = self.backbone.start()
        source = self.backbone.describe_features(build)
        sources = list(self._taps)
        for number, channels in enumerate(self.extra_channels):
            with build.block(f"extras.{number}", "extra level"):
                inner = self.reduced_channels[number] if self.reduced_channels else channels / 2
                reduced = build.convolve("reduce", source, self._channels(inner))
                kernel = self.extra_kernels[number] if self.extra_kernels else 3
                ends = {} if self.extra_activation == "same" else {"activation": self.extra_activation}
                source = self._filter(build, reduced, self._channels(channels), stride=2, kernel=kernel, **ends)
            sources.append(source)
        heads: dict[str, list[str]] = {"offsets": [], "logits": []}
        slots = {"offsets": BOX_CODE, "logits": 1 + self.classes}
        for number, (tap, anchors) in enumerate(zip(sources, self._anchors(), strict=True)):
            with build.block(f"predictors.{number}.boxes", "box head"):
                heads["offsets"].append(self._head(build, number, tap, BOX_CODE * len(anchors), 0.0))
            with build.block(f"predictors.{number}.classes", "class head"):
                heads["logits"].append(self._head(build, number, tap, slots["logits"] * len(anchors), self.dropout))
        for output, maps in heads.items():
            rows = [build.reshape(f"{output}.{number}", of, slots[output]) for number, of in enumerate(maps)]
            build.concatenate(output, rows, axis=0)
        return build.graph(*heads)

    @property
    def _taps(self) -> tuple[str, ...]:
        taps = self.backbone.taps if self.tap == "expansion" else self.backbone.narrow_taps
        return taps if self.fine_level else taps[1:]

    def _cells(self, level: int, size: Size) -> tuple[float, float]:
        """See `Level.cells`."""
        if not self.anchor_strides:
            return size
        height, width = self.input_size
        return height / self.anchor_strides[level], width / self.anchor_strides[level]

    def _channels(self, channels: float) -> int:
        return max(int(channels * self.width), self.backbone.minimum_depth)

    def _filter(self, build: GraphBuilder, source: str, outputs: int, **last: Any) -> str:
        """A convolution of a window, usually 3x3, separable or regular."""
        window = {"kernel": last.pop("kernel"), "stride": last.pop("stride", 1)}
        if not self.separable:
            return build.convolve("convolution", source, outputs, **window, **last)
        filtered = build.convolve("depthwise", source, build.shape(source)[2], **window, depthwise=True)
        return build.convolve("pointwise", filtered, outputs, **last)

    def _head(self, build: GraphBuilder, level: int, source: str, outputs: int, dropout: float) -> str:
        """Numbers for every anchor of a level, anchor by anchor; its last convolution has a bias and no batch norm."""
        last: dict[str, Any] = {"activation": "linear", "bare": True, "dropout": dropout}
        kernel = self.head_kernels[level] if self.head_kernels else self.head_kernel
        if kernel == 1:
            return build.convolve("convolution", source, outputs, **last)
        return self._filter(build, source, outputs, kernel=kernel, **last)

    def _anchors(self) -> list[tuple[tuple[float, float], ...]]:
        """Width and height of the anchors of each level's cells, in TensorFlow's order."""
        specs = []
        for number, (scale, coarser) in enumerate(pairwise((*self.scales, self.last_scale))):
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
    """SSD with regular convolutions in every head and extra level: what SSDLite is compared with (Table 5)."""

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
"""Name → what it changes of the defaults, of the detector and of its backbone."""


def ssdlite(*, variant: Variant = "tensorflow", backbone: Backbone | str = "mobilenet_v2", **options: Any) -> SSDLite:
    """SSDLite on a MobileNet.

    Args:
        variant: where options that are not given come from. `tensorflow` is the released network exactly: 1917 anchors
            at 300 and 2034 at 320. `modern` is for small data and small objects: one more level at stride 8, smaller
            anchors, widths that take a classifier's weights, scores that sum to 1 (docs/decisions/0008).
        backbone: a network such as `linnet.mobilenet_v2(width=0.5, resolution=320)`, taken as it is; or its family's
            name, then with the variant's options.
        options: fields of `SSDLite` (classes, scales and so on) and of its backbone (width, resolution and so on).

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.

    Examples:
        >>> ssdlite().anchors
        1917
    """
    return SSDLite(**detector_options(options, backbone=backbone, variant=variant))


def ssd(*, variant: Variant = "tensorflow", backbone: Backbone | str = "mobilenet_v2", **options: Any) -> SSD:
    """SSD with regular convolutions on a MobileNet: `ssdlite` in all else, its arguments included.

    The `tensorflow` variant has heads of one 1x1 convolution, as every released SSD on MobileNet has; Table 5 counts
    3x3: `head_kernel=3`.
    """
    kernel = {"head_kernel": 1} if variant == "tensorflow" else {}
    return SSD(**detector_options(kernel | options, backbone=backbone, variant=variant))


DETECTORS: dict[str, Callable[..., Detector]] = {"ssd": ssd, "ssdlite": ssdlite}
"""Family → what makes a detector of options of its own and of its backbone."""


def detector_options(
    options: Mapping[str, Any], *, backbone: Backbone | str = "mobilenet_v2", variant: str = "tensorflow"
) -> dict[str, Any]:
    """Fields of a detector, its backbone among them, from options of both in one.

    Raises:
        ValueError: on an unknown variant or backbone, and on an option that the backbone does not have.
    """
    if variant not in VARIANTS:
        raise OptionError("variant", variant, f"must be {' or '.join(map(repr, VARIANTS))}")
    own = {entry.name for entry in fields(Detector)}
    given = {name: value for name, value in options.items() if name not in own}
    changes = VARIANTS[variant]
    detector = {name: value for name, value in (changes | dict(options)).items() if name in own}
    if isinstance(backbone, Backbone):
        return detector | {"backbone": with_backbone_options(backbone, given, "A detector")}
    inherited = {name: value for name, value in changes.items() if name not in own}
    return detector | {"backbone": released_backbone(backbone, **inherited | given)}
