"""MobileNetV1, the baseline: depthwise separable convolutions, or the full ones that they replace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from linnet.architecture.graph import GraphBuilder
from linnet.architecture.network import Backbone, Striding, add_stem
from linnet.architecture.operations import Activation

STEM_CHANNELS = 32


@dataclass(frozen=True)
class Row:
    """One row of the V1 paper's Table 1: a block with its output channels and its stride."""

    channels: int
    stride: int


ROWS = (
    Row(channels=64, stride=1),
    Row(channels=128, stride=2),
    Row(channels=128, stride=1),
    Row(channels=256, stride=2),
    Row(channels=256, stride=1),
    Row(channels=512, stride=2),
    *(Row(channels=512, stride=1),) * 5,
    Row(channels=1024, stride=2),
    # The V1 paper prints stride 2 here; its code and its published costs have 1.
    Row(channels=1024, stride=1),
)


@dataclass(frozen=True, kw_only=True)
class MobileNetV1(Backbone):
    """MobileNetV1 (Howard et al., arXiv 1704.04861): stem, 13 blocks, pooling, classifier.

    Channels are int(width x channels), not rounded to a multiple of 8, and the last layer is scaled too.
    """

    dropout: float = 0.001
    """The share of the pooled features that is dropped in training."""
    convolution: Literal["separable", "full"] = "separable"
    """The convolutions of the blocks: depthwise `separable`, or `full` 3x3 ones as in Table 4 of the V1 paper."""

    last_activation: Literal["same", "linear"] = "same"
    """The activation after the last convolution: the `same` as elsewhere, or none (`linear`), as in the networks that
    Teachable Machine makes for microcontrollers."""

    def _channels(self, channels: int) -> int:
        return max(int(channels * self.width), self.minimum_depth)

    @property
    def taps(self) -> tuple[str, str, str]:
        """The last block of each stride: TensorFlow's Conv2d_5, Conv2d_11 and Conv2d_13."""
        return "blocks.4", "blocks.10", "blocks.12"

    def describe_blocks(self, build: GraphBuilder) -> str:
        """`stem`, `blocks.0` … `blocks.12`."""
        striding = Striding(self.output_stride, self.early_stride)
        source = add_stem(build, self._channels(STEM_CHANNELS), striding.step(2)[0])
        for number, row in enumerate(ROWS):
            channels = self._channels(row.channels)
            ends = number == len(ROWS) - 1 and self.last_activation == "linear"
            activation: Activation = "linear" if ends else self.activation
            stride, dilation = striding.step(row.stride)
            spatial: dict[str, Any] = {"kernel": 3, "stride": stride, "dilation": dilation}
            if self.convolution == "full":
                with build.block(f"blocks.{number}", "convolution"):
                    source = build.convolve("", source, channels, activation=activation, **spatial)
            else:
                with build.block(f"blocks.{number}", "separable"):
                    source = build.convolve("depthwise", source, build.shape(source)[2], depthwise=True, **spatial)
                    source = build.convolve("pointwise", source, channels, activation=activation)
        return source
