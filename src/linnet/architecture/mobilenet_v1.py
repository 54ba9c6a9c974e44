"""MobileNetV1, the baseline: depthwise separable convolutions, or the full ones that they replace."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from linnet.architecture.layers import Classifier, DepthwiseSeparable, Layer, Pooling
from linnet.architecture.network import Architecture, Striding

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
class MobileNetV1(Architecture):
    """MobileNetV1 (Howard et al., arXiv 1704.04861): stem, 13 blocks, pooling, classifier.

    Channels are int(width x channels), not rounded to a multiple of 8, and the last layer is scaled too.
    """

    dropout: float = 0.001
    """Share of the pooled features dropped while training; 0.001 as released."""
    convolution: Literal["separable", "full"] = "separable"
    """`separable`, or `full` 3x3 convolutions in every block: the comparison of the V1 paper's Table 4."""

    def _channels(self, channels: int) -> int:
        return max(int(channels * self.width), self.minimum_depth)

    @property
    def taps(self) -> tuple[str, str, str]:
        """The last block of each stride: TensorFlow's Conv2d_5, Conv2d_11 and Conv2d_13."""
        return "blocks.4", "blocks.10", "blocks.12"

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """`stem`, `blocks.0` … `blocks.12`, `pool` and, with classes, `classifier`."""
        striding = Striding(self.output_stride, self.early_stride)
        channels = self._channels(STEM_CHANNELS)
        stem = self._convolution(
            "stem", self.input_channels, channels, self.input_size, kernel=3, stride=striding.step(2)[0]
        )
        layers: list[Layer] = [stem]
        size = stem.output_size
        for number, row in enumerate(ROWS):
            name, outputs = f"blocks.{number}", self._channels(row.channels)
            stride, dilation = striding.step(row.stride)
            first = self._convolution(
                name if self.convolution == "full" else f"{name}.depthwise",
                channels,
                outputs if self.convolution == "full" else channels,
                size,
                kernel=3,
                stride=stride,
                dilation=dilation,
                depthwise=self.convolution == "separable",
            )
            channels, size = outputs, first.output_size
            if self.convolution == "full":
                layers.append(first)
            else:
                pointwise = self._convolution(f"{name}.pointwise", first.out_channels, channels, size)
                layers.append(DepthwiseSeparable(name, first, pointwise))
        layers.append(Pooling("pool", channels, size))
        if self.classes is not None:
            layers.append(Classifier("classifier", channels, self.classes, self.dropout))
        return tuple(layers)
