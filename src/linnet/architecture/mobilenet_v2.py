"""MobileNetV2: Table 2 of the paper as a table, and every option the paper varies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from linnet.architecture.layers import (
    Classifier,
    Convolution,
    InvertedResidual,
    Layer,
    Pooling,
    Size,
    scale_channels,
)
from linnet.architecture.network import Architecture, Striding, check_number

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


@dataclass(frozen=True, kw_only=True)
class MobileNetV2(Architecture):
    """MobileNetV2 (Sandler et al., CVPR 2018): stem, 17 inverted residuals, last 1x1, pooling, classifier.

    Example:
        >>> MobileNetV2(width=0.5, resolution=160, classes=10).feature_channels
        1280
    """

    expansion: float = 6
    """The paper's t, of every block but the first: any number from 1; at 1 there is no expansion layer."""
    projection_activation: Literal["linear", "relu6"] = "linear"
    """`linear` is the paper's bottleneck; `relu6`, before the shortcut's sum, the ablation of Figure 6(a)."""
    shortcut: Literal["bottleneck", "expansion", "none"] = "bottleneck"
    """`bottleneck` joins the narrow tensors; `expansion` the wide ones, `none` no tensors (Figure 6(b))."""
    depth: float = 1.0
    """Multiplies the repeats of all stages but the first and the last, rounded up (timm's 110d and 120d)."""
    stem: Literal["scaled", "fixed"] = "scaled"
    """`scaled` by the width, or `fixed` at 32 channels (timm's 110d and 120d)."""
    last_layer: Literal["kept", "scaled", "fixed"] = "kept"
    """Width of the last 1x1: `kept` at 1280 for widths below 1 and scaled above (the paper), `scaled` always
    (TensorFlow's detectors), or `fixed` at 1280 always (timm's 110d and 120d)."""

    def __post_init__(self) -> None:
        """Refuses nonsense."""
        super().__post_init__()
        check_number("expansion", self.expansion, least=1, most=1000)
        check_number("depth", self.depth, above=0, most=32)

    def _channels(self, channels: int) -> int:
        return scale_channels(channels, self.width, minimum=self.minimum_depth)

    @property
    def _last_channels(self) -> int:
        if self.last_layer == "fixed" or (self.last_layer == "kept" and self.width < 1):
            return LAST_CHANNELS
        return self._channels(LAST_CHANNELS)

    def _repeats(self, stage: Stage) -> int:
        scaled = stage not in (STAGES[0], STAGES[-1])
        return math.ceil(stage.repeats * self.depth) if scaled else stage.repeats

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """`stem`, `blocks.0` … `blocks.16` (at depth 1), `head`, `pool` and, with classes, `classifier`."""
        striding = Striding(self.output_stride, self.early_stride)
        stem = self._convolution(
            "stem",
            self.input_channels,
            STEM_CHANNELS if self.stem == "fixed" else self._channels(STEM_CHANNELS),
            self.input_size,
            kernel=3,
            stride=striding.step(2)[0],
        )
        blocks = self._link(self._inverted_residuals(stem, striding))
        size = blocks[-1].project.output_size
        head = self._convolution("head", blocks[-1].project.out_channels, self._last_channels, size)
        layers: tuple[Layer, ...] = (stem, *blocks, head, Pooling("pool", head.out_channels, size))
        if self.classes is not None:
            layers += (Classifier("classifier", head.out_channels, self.classes, self.dropout),)
        return layers

    @property
    def taps(self) -> tuple[str, str, str]:
        """The expansions of the first blocks of 64 and of 160 channels, before they stride, and the last layer.

        `blocks.6.expand`, `blocks.13.expand` and `head` at depth 1; a block's input where nothing expands it (t = 1).
        """
        names = []
        for channels in (64, 160):
            row = [stage.channels for stage in STAGES].index(channels)
            number = sum(self._repeats(stage) for stage in STAGES[:row])
            inputs = self._channels(STAGES[row - 1].channels)
            expands = scale_channels(inputs, self.expansion) > inputs
            names.append(f"blocks.{number}.expand" if expands else f"blocks.{number - 1}")
        return names[0], names[1], "head"

    def _inverted_residuals(self, stem: Convolution, striding: Striding) -> list[InvertedResidual]:
        blocks: list[InvertedResidual] = []
        channels, size = stem.out_channels, stem.output_size
        for stage in STAGES:
            for repeat in range(self._repeats(stage)):
                stride, dilation = striding.step(stage.stride if repeat == 0 else 1)
                block = self._inverted_residual(
                    f"blocks.{len(blocks)}",
                    channels,
                    self._channels(stage.channels),
                    size,
                    expansion=self.expansion if stage.widened else 1,
                    stride=stride,
                    dilation=dilation,
                )
                blocks.append(block)
                channels, size = block.project.out_channels, block.project.output_size
        return blocks

    def _inverted_residual(
        self, name: str, inputs: int, outputs: int, size: Size, *, expansion: float, stride: int, dilation: int
    ) -> InvertedResidual:
        # The inner width is t times the already rounded input, rounded again: a no-op for whole t.
        hidden = inputs if expansion == 1 else scale_channels(inputs, expansion)
        expand = None
        if hidden > inputs:
            expand = self._convolution(f"{name}.expand", inputs, hidden, size)
        depthwise = self._convolution(
            f"{name}.depthwise", hidden, hidden, size, kernel=3, stride=stride, dilation=dilation, depthwise=True
        )
        project = self._convolution(
            f"{name}.project", hidden, outputs, depthwise.output_size, activation=self.projection_activation
        )
        same_shape = size == depthwise.output_size and inputs == outputs
        return InvertedResidual(
            name, expand, depthwise, project, adds_input=self.shortcut == "bottleneck" and same_shape
        )

    def _link(self, blocks: list[InvertedResidual]) -> tuple[InvertedResidual, ...]:
        """Joins the expanded tensors of neighbours where they have one shape, if that is the shortcut asked for."""
        if self.shortcut != "expansion":
            return tuple(blocks)
        shapes = [block.expand and (block.expand.out_channels, block.expand.output_size) for block in blocks]
        joined = [shape is not None and shape == before for before, shape in pairwise(shapes)]
        return tuple(
            InvertedResidual(
                block.name,
                block.expand,
                block.depthwise,
                block.project,
                adds_expansion=before,
                keeps_expansion=after,
            )
            for block, before, after in zip(blocks, [False, *joined], [*joined, False], strict=True)
        )
