"""DeepLabv3 on MobileNet features: the segmenters of Table 7, and what is better for small data and thin structures.

A backbone that is dilated instead of strided gives one map; image pooling and atrous convolutions (ASPP) add what
stands around; a 1x1 convolution gives the logits of each of its pixels, which are resized to the picture. Source:
paper, section 6.3, and TensorFlow's DeepLab (`research/deeplab`) for all that the paper leaves open. `modern` adds a
decoder that reads finer maps of the backbone, as DeepLabv3+ does, of separable convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

from linnet.architecture.graph import Graph, GraphBuilder
from linnet.architecture.mobilenet_v2 import MobileNetV2
from linnet.architecture.network import (
    EARLY_STRIDE,
    LARGEST_COUNT,
    TOTAL_STRIDE,
    Backbone,
    OnBackbone,
    OptionError,
    check_fields,
    check_number,
    check_whole,
    with_backbone_options,
)
from linnet.architecture.operations import Grid, Resize
from linnet.architecture.ssdlite import BACKBONES, WITHOUT_CLASSIFIER

SegmenterVariant = Literal["paper", "modern"]

OUTPUT_STRIDE: Literal[16] = 16
"""Of a segmenter unless it is given one: the paper's own for devices."""

ATROUS_REACH = 96
"""ASPP's three rates times the output stride: 6, 12 and 18 at stride 16, twice that at stride 8."""


def _default_backbone() -> Backbone:
    return MobileNetV2(**WITHOUT_CLASSIFIER, resolution=513, output_stride=OUTPUT_STRIDE)


@dataclass(frozen=True, kw_only=True)
class DeepLab(OnBackbone):
    """DeepLabv3 and what is like it (paper, section 6.3). See `linnet.deeplab`.

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.

    Example:
        >>> DeepLab().graph.shape_of("logits")
        (33, 33, 21)
    """

    task = "segmentation"
    whole_picture = True

    backbone: Backbone = field(default_factory=_default_backbone)
    """What gives the features. It has no classifier and drops nothing: what it has of these is left away."""
    classes: int | None = 21
    """The number of classes, a background included where the data have one."""
    dropout: float = 0.1
    """The share of the input of the last convolution that is dropped in training."""
    last_convolution: bool = False
    """The features are those of MobileNetV2's last 1x1 convolution (1280 channels). Without it they are those of the
    last block (320 channels), at a third of the cost, as in Table 7."""
    image_pooling: bool = True
    """The mean of the features over the whole picture is put beside those of each pixel."""
    pooled_norm: bool = True
    """The pooled features have batch norm. It cannot be trained with one picture at a time: there is one pixel. Without
    it there is a bias."""
    aspp: Literal["none", "full", "separable"] = "none"
    """Three atrous 3x3 convolutions that look far around (ASPP): none, as the paper advises for devices; `full` ones,
    as in Table 7; or `separable` ones, at an eighth of the cost."""
    context_channels: int = 256
    """The channels of image pooling, of each branch of ASPP and of what joins them."""
    skips: tuple[int, ...] = ()
    """The strides of the maps of the backbone that the decoder reads, the coarsest first, such as (8, 4). Without any
    there is no decoder, and the logits are as coarse as the features."""
    skip_channels: int = 32
    """The channels to which each of these maps is reduced before it is joined with what comes from below."""
    decoder_channels: int = 64
    """The channels of what each stage of the decoder gives."""
    joining: Literal["concatenate", "add"] = "concatenate"
    """How the decoder joins a finer map with the coarser one: put beside it, or added. What is added has
    `decoder_channels` instead of `skip_channels`."""
    grid: Grid = "align_corners"
    """Where pixels lie when maps are resized: `align_corners` as in TensorFlow's DeepLab, `half_pixel` as torch has it
    by default, or `asymmetric` as in TensorFlow 1."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        check_fields(self)
        if not isinstance(self.backbone, Backbone):
            raise OptionError("backbone", self.backbone, "must be a network such as linnet.mobilenet_v2(width=0.5)")
        object.__setattr__(self, "backbone", replace(self.backbone, **WITHOUT_CLASSIFIER))
        check_number("dropout", self.dropout, least=0, below=1)
        # A label map is of bytes, and 255 is ignored.
        check_whole("classes", self.classes, least=1, most=255)
        for channels in ("context_channels", "skip_channels", "decoder_channels"):
            check_whole(channels, getattr(self, channels), least=1, most=LARGEST_COUNT)
        self._check_skips()

    def _check_skips(self) -> None:
        allowed = [stride for stride in (16, 8, 4, 2, 1) if self.finest_stride <= stride < self.feature_stride]
        skips = self.skips
        if not isinstance(skips, tuple | list) or any(skip not in allowed for skip in skips):
            choices = ", ".join(map(str, allowed)) or "none, with this backbone"
            raise OptionError("skips", skips, f"must be strides of maps finer than the features: {choices}")
        if list(skips) != sorted(set(skips), reverse=True):
            raise OptionError("skips", skips, "must name each stride once, the coarsest first")
        object.__setattr__(self, "skips", tuple(int(skip) for skip in skips))

    @property
    def feature_channels(self) -> int:
        """Of the map that the backbone gives."""
        build = self.backbone.start()
        return build.shape(self._describe_backbone(build))[2]

    @property
    def finest_stride(self) -> int:
        """Of the finest map of the backbone: 2, or 1 where its stem is not strided."""
        return 2 if self.backbone.early_stride == EARLY_STRIDE else 1

    @property
    def feature_stride(self) -> int:
        """Of the map that the backbone gives."""
        return min(self.backbone.output_stride, TOTAL_STRIDE * self.backbone.early_stride // EARLY_STRIDE)

    @property
    def logit_stride(self) -> int:
        """Of the map of logits, before it is resized to the picture."""
        return self.skips[-1] if self.skips else self.feature_stride

    @property
    def rates(self) -> tuple[int, int, int]:
        """Dilations of ASPP's branches."""
        rate = max(ATROUS_REACH // self.feature_stride, 1)
        return rate, 2 * rate, 3 * rate

    @cached_property
    def upsampling(self) -> Resize:
        """What makes of the logits those of every pixel of the picture.

        It is no operation of `graph`: who trains computes a loss on its result, who exports adds it, and who wants
        labels takes the best class while resizing, so that the large map never exists.
        """
        assert self.classes is not None
        return Resize("upsampled", ("logits",), (*self.input_size, self.classes), 1, self.grid)

    @cached_property
    def upsampled_graph(self) -> Graph:
        """`graph` with `upsampling` behind it: the logits of every pixel."""
        graph = self.graph
        return Graph(graph.input_shape, (*graph.operations, self.upsampling), ("upsampled",), graph.blocks)

    @property
    def exported_graph(self) -> Graph:
        """`upsampled_graph`."""
        return self.upsampled_graph

    @cached_property
    def graph(self) -> Graph:
        """The backbone's blocks, `image_pooling`, `aspp.0` …, `projection`, `decoder.0` … and `logits`, the output."""
        assert self.classes is not None
        build = self.backbone.start()
        source = self._describe_backbone(build)
        finer = _last_of_each_stride(build)
        if self.image_pooling or self.aspp != "none":
            source = self._describe_context(build, source)
        for number, stride in enumerate(self.skips):
            with build.block(f"decoder.{number}", "decoder"):
                source = self._refine(build, source, finer[stride], stride)
        with build.block("logits", "pixel classifier"):
            logits = build.convolve("", source, self.classes, activation="linear", bare=True, dropout=self.dropout)
        return build.graph(logits)

    def _describe_backbone(self, build: GraphBuilder) -> str:
        describe = self.backbone.describe_features if self.last_convolution else self.backbone.describe_blocks
        return describe(build)

    def _describe_context(self, build: GraphBuilder, features: str) -> str:
        """What stands around each pixel, and the pixel itself: branches side by side, joined by a 1x1 convolution."""
        branches, channels = list[str](), self.context_channels
        if self.image_pooling:
            with build.block("image_pooling", "image pooling"):
                pooled = build.pool("pool", features, keeps_map=True)
                reduced = build.convolve("reduce", pooled, channels, activation="relu", bare=not self.pooled_norm)
                branches.append(build.resize("resize", reduced, self.feature_stride, grid=self.grid))
        with build.block("aspp.0", "atrous pyramid"):
            branches.append(build.convolve("", features, channels, activation="relu"))
        for number, rate in enumerate(self.rates if self.aspp != "none" else (), start=1):
            with build.block(f"aspp.{number}", "atrous pyramid"):
                branches.append(self._look_around(build, features, rate))
        with build.block("projection", "projection"):
            joined = build.concatenate("join", branches)
            return build.convolve("reduce", joined, channels, activation="relu")

    def _look_around(self, build: GraphBuilder, features: str, rate: int) -> str:
        """A 3x3 convolution of pixels that lie `rate` apart."""
        window: dict[str, Any] = {"kernel": 3, "dilation": rate, "activation": "relu"}
        if self.aspp == "full":
            return build.convolve("", features, self.context_channels, **window)
        filtered = build.convolve("depthwise", features, build.shape(features)[2], **window, depthwise=True)
        return build.convolve("pointwise", filtered, self.context_channels, activation="relu")

    def _refine(self, build: GraphBuilder, coarse: str, fine: str, stride: int) -> str:
        """A stage of the decoder: the coarser map at the size of a finer one, joined with it and filtered."""
        adds = self.joining == "add"
        if adds:
            # Before it grows: there it costs a quarter.
            coarse = build.convolve("adapt", coarse, self.decoder_channels, activation="relu")
        grown = build.resize("resize", coarse, stride, grid=self.grid)
        own = build.convolve("reduce", fine, self.decoder_channels if adds else self.skip_channels, activation="relu")
        joined = build.add("join", own, grown) if adds else build.concatenate("join", (grown, own))
        filtered = build.convolve(
            "depthwise", joined, build.shape(joined)[2], kernel=3, depthwise=True, activation="relu"
        )
        return build.convolve("pointwise", filtered, self.decoder_channels, activation="relu")


def _last_of_each_stride(build: GraphBuilder) -> dict[int, str]:
    """Stride → what the last block with a map of that stride gives."""
    found, stride = dict[int, str](), 1
    for block in build.blocks:
        stride *= math.prod(each.stride for each in block.convolutions)
        found[stride] = block.result.name
    return found


SEGMENTER_VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "modern": {
        "context_channels": 128,
        "pooled_norm": False,
        "skips": (8, 4, 2),
        "decoder_channels": 32,
        "joining": "add",
        "grid": "half_pixel",
    },
}
"""Name → what it changes of the defaults."""


def deeplab(
    *,
    variant: SegmenterVariant = "paper",
    backbone: Backbone | str = "mobilenet_v2",
    output_stride: Literal[8, 16, 32] | None = None,
    **options: Any,
) -> DeepLab:
    """DeepLabv3 on a MobileNet: a class for every pixel.

    Args:
        variant: where options that are not given come from. `paper` is Table 7's network without ASPP. `modern` is for
            small data and thin structures: a light decoder reads maps of strides 8, 4 and 2, and nothing normalises a
            single pixel, so that any batch can be trained.
        backbone: a network such as `linnet.mobilenet_v2(width=0.5, resolution=(360, 480))`; or its family's name, then
            for pictures of 513 pixels.
        output_stride: of the features; None takes the backbone's if that is 8 or 16, and else 16.
        options: fields of `DeepLab` (classes, aspp, skips and so on) and of its backbone (width, resolution and so on).

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.

    Example:
        >>> deeplab(classes=11, variant="modern", resolution=(360, 480)).graph.shape_of("logits")
        (180, 240, 11)
    """
    return DeepLab(**segmenter_options(options, backbone=backbone, variant=variant, output_stride=output_stride))


def segmenter_options(
    options: Mapping[str, Any],
    *,
    backbone: Backbone | str = "mobilenet_v2",
    variant: str = "paper",
    output_stride: int | None = None,
) -> dict[str, Any]:
    """Fields of a segmenter, its backbone among them, from options of both in one.

    Raises:
        ValueError: on an unknown variant or backbone, and on an option that the backbone does not have.
    """
    if variant not in SEGMENTER_VARIANTS:
        raise OptionError("variant", variant, f"must be {' or '.join(map(repr, SEGMENTER_VARIANTS))}")
    own = {entry.name for entry in fields(DeepLab)}
    inherited = {name: value for name, value in options.items() if name not in own}
    if isinstance(backbone, Backbone):
        default = backbone.output_stride if backbone.output_stride < TOTAL_STRIDE else OUTPUT_STRIDE
        inherited["output_stride"] = output_stride or default
        base = with_backbone_options(backbone, inherited, "A segmenter")
    elif isinstance(backbone, str) and backbone in BACKBONES:
        given = {"resolution": 513, "output_stride": output_stride or OUTPUT_STRIDE} | inherited
        base = BACKBONES[backbone](**given | WITHOUT_CLASSIFIER)
    else:
        raise OptionError("backbone", backbone, f"must be {' or '.join(map(repr, BACKBONES))}")
    chosen = {name: value for name, value in (SEGMENTER_VARIANTS[variant] | dict(options)).items() if name in own}
    return chosen | {"backbone": base}
