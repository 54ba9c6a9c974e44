"""MobileNetV2: Table 2 of the paper as a table, and every option the paper varies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from linnet.architecture.graph import GraphBuilder
from linnet.architecture.network import Backbone, Striding, add_stem, check_number
from linnet.architecture.operations import scale_channels

STEM_CHANNELS = 32
LAST_CHANNELS = 1280


@dataclass(frozen=True)
class Stage:
    """One row of Table 2: `repeats` blocks, of which the first has the stride."""

    widened: bool
    channels: int
    repeats: int
    stride: int


STAGES = (
    Stage(widened=False, channels=16, repeats=1, stride=1),
    Stage(widened=True, channels=24, repeats=2, stride=2),
    Stage(widened=True, channels=32, repeats=3, stride=2),
    Stage(widened=True, channels=64, repeats=4, stride=2),
    Stage(widened=True, channels=96, repeats=3, stride=1),
    Stage(widened=True, channels=160, repeats=3, stride=2),
    Stage(widened=True, channels=320, repeats=1, stride=1),
)
"""Table 2, without its first and last rows. `widened` rows expand by t (6); the first block has t = 1."""


TAPPED = (3, 5)
"""Rows that stride from 8 to 16 and from 16 to 32: detectors read the map that enters them."""


@dataclass(frozen=True, kw_only=True)
class MobileNetV2(Backbone):
    """MobileNetV2 (Sandler et al., CVPR 2018): stem, 17 inverted residuals, last 1x1, pooling, classifier.

    Examples:
        >>> MobileNetV2(width=0.5, resolution=160, classes=10).feature_channels
        1280
    """

    expansion: float = 6
    """The expansion factor, the paper's t, of every block but the first: any number from 1. With 1 there is no
    expansion layer."""
    projection_activation: Literal["linear", "relu6"] = "linear"
    """The activation after a projection: `linear` is the paper's bottleneck; `relu6`, before the shortcut is added, is
    the ablation of Figure 6(a)."""
    shortcut: Literal["bottleneck", "expansion", "none"] = "bottleneck"
    """Where the shortcuts are: between the narrow tensors (`bottleneck`), between the wide ones (`expansion`), or
    nowhere (`none`); the ablation of Figure 6(b)."""
    depth: float = 1.0
    """The depth multiplier: the number of blocks of every stage but the first and the last is multiplied by it and
    rounded up (timm's 110d and 120d)."""
    stem: Literal["scaled", "fixed", "fixed_with_block"] = "scaled"
    """The channels of the first convolution: `scaled` by the width, `fixed` at 32 (timm's 110d and 120d), or with the
    first block's too, at 32 and 16 (`fixed_with_block`, tonylins' PyTorch networks)."""
    channel_multiple: Literal[4, 8] = 8
    """What the channels are rounded to multiples of: 8, or 4 in d-li14's network of width 0.1, whose `minimum_depth` is
    4 too."""
    last_layer: Literal["kept", "scaled", "fixed"] = "kept"
    """The channels of the last 1x1 convolution: 1280 for widths below 1 and scaled above (`kept`, as in the paper),
    always `scaled` (TensorFlow's detectors), or always 1280 (`fixed`, timm's 110d and 120d)."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        super().__post_init__()
        check_number("expansion", self.expansion, least=1, most=1000)
        check_number("depth", self.depth, above=0, most=32)

    def _channels(self, channels: int) -> int:
        return scale_channels(channels, self.width, divisor=self.channel_multiple, minimum=self.minimum_depth)

    def _outputs(self, stage: Stage) -> int:
        """Channels that the blocks of a stage give."""
        fixed = self.stem == "fixed_with_block" and stage is STAGES[0]
        return stage.channels if fixed else self._channels(stage.channels)

    @property
    def _last_channels(self) -> int:
        if self.last_layer == "fixed" or (self.last_layer == "kept" and self.width < 1):
            return LAST_CHANNELS
        return self._channels(LAST_CHANNELS)

    @property
    def _first_channels(self) -> int:
        return self._channels(STEM_CHANNELS) if self.stem == "scaled" else STEM_CHANNELS

    @property
    def channel_counts(self) -> tuple[int, ...]:
        """Channels of the first convolution, of what the blocks of each stage give, and of the last convolution."""
        return (self._first_channels, *map(self._outputs, STAGES), self._last_channels)

    def repeats(self, stage: Stage) -> int:
        """How many blocks a stage has at this depth."""
        scaled = stage not in (STAGES[0], STAGES[-1])
        return math.ceil(stage.repeats * self.depth) if scaled else stage.repeats

    def describe_blocks(self, build: GraphBuilder) -> str:
        """`stem`, `blocks.0` … `blocks.16` (at depth 1)."""
        striding = Striding(self.output_stride, self.early_stride)
        source, wide = add_stem(build, self._first_channels, striding.step(2)[0]), ""
        number = 0
        for stage in STAGES:
            for repeat in range(self.repeats(stage)):
                stride, dilation = striding.step(stage.stride if repeat == 0 else 1)
                expansion = self.expansion if stage.widened else 1
                with build.block(f"blocks.{number}", "inverted residual"):
                    wide = self._expand(build, source, wide, expansion)
                    source = self._squeeze(build, source, wide, self._outputs(stage), stride, dilation)
                number += 1
        return source

    def describe_features(self, build: GraphBuilder) -> str:
        """The same, and `head`."""
        source = self.describe_blocks(build)
        with build.block("head", "pointwise"):
            return build.convolve("", source, self._last_channels)

    def _expand(self, build: GraphBuilder, source: str, before: str, expansion: float) -> str:
        """The wide tensor of a block: its input where nothing would widen it (t = 1).

        The ablation of Figure 6(b) adds the wide tensor of the block `before` where both expand and have one shape.
        """
        inputs = build.shape(source)[2]
        hidden = _widened(inputs, expansion)
        if hidden <= inputs:
            return source
        shape = (*build.shape(source)[:2], hidden)
        if self.shortcut == "expansion" and before.endswith(".expand") and build.shape(before) == shape:
            # The tensor that has the expansion's name is the sum.
            return build.add("expand", build.convolve("expand.convolution", source, hidden, holds="expand"), before)
        return build.convolve("expand", source, hidden)

    def _squeeze(self, build: GraphBuilder, source: str, wide: str, outputs: int, stride: int, dilation: int) -> str:
        """The wide tensor filtered and projected, and the block's input added where the shapes agree (section 3.3)."""
        hidden = build.shape(wide)[2]
        filtered = build.convolve("depthwise", wide, hidden, kernel=3, stride=stride, dilation=dilation, depthwise=True)
        projected = build.convolve("project", filtered, outputs, activation=self.projection_activation)
        if self.shortcut == "bottleneck" and build.shape(projected) == build.shape(source):
            return build.add("", projected, source)
        return projected

    @property
    def taps(self) -> tuple[str, str, str]:
        """The expansions of the first blocks of 64 and of 160 channels, before they stride, and the last layer.

        `blocks.6.expand`, `blocks.13.expand` and `head` at depth 1; a block's input where nothing expands it (t = 1).
        """
        names = []
        for narrow, row in zip(self.narrow_taps, TAPPED, strict=False):
            inputs = self._outputs(STAGES[row - 1])
            expands = _widened(inputs, self.expansion) > inputs
            names.append(f"blocks.{self._first_block(row)}.expand" if expands else narrow)
        return names[0], names[1], "head"

    @property
    def narrow_taps(self) -> tuple[str, str, str]:
        """What the last blocks of 32 and of 96 channels give, and the last layer."""
        fine, coarse = (f"blocks.{self._first_block(row) - 1}" for row in TAPPED)
        return fine, coarse, "head"

    def _first_block(self, row: int) -> int:
        """Number of the first block of a row of `STAGES`."""
        return sum(self.repeats(stage) for stage in STAGES[:row])


def _widened(inputs: int, expansion: float) -> int:
    """Inner channels of a block: t times the already rounded input, rounded again (a no-op for whole t)."""
    return inputs if expansion == 1 else scale_channels(inputs, expansion)
