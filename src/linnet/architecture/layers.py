"""The vocabulary of the family: layers as plain data, channel rounding and the two padding rules.

A layer knows its sizes and its tensors and nothing else; cost, torch modules, engine and checkpoint are derived
from these descriptions (see docs/decisions/0001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Size = tuple[int, int]
"""Height and width in pixels."""

Activation = Literal["relu6", "relu", "linear"]
PaddingRule = Literal["same", "symmetric"]


def scale_channels(channels: float, width: float, *, divisor: int = 8, minimum: int = 8) -> int:
    """Multiplies a channel count by the width multiplier and rounds it as the released MobileNetV2 does.

    The result is the nearest multiple of `divisor`, at least `minimum`, and never below 90 % of the exact
    product: without that last rule width 0.35 costs 49 M multiply-adds instead of the published 59 M.
    """
    exact = channels * width
    rounded = max(minimum, int(exact + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * exact:
        rounded += divisor
    return rounded


def pad_amounts(length: int, *, kernel: int, stride: int, dilation: int, rule: PaddingRule) -> tuple[int, int]:
    """Zeros before and after one axis of `length` pixels.

    `same` is TensorFlow's rule: just enough for ceil(length / stride) outputs, the odd zero at the end, so that an
    even length with stride 2 is padded (0, 1). `symmetric` is PyTorch's: (1, 1) for a 3x3 kernel. Both give the same
    number of outputs, on grids shifted by one pixel.
    """
    reach = (kernel - 1) * dilation
    if rule == "symmetric":
        return reach // 2, reach // 2
    total = max((math.ceil(length / stride) - 1) * stride + reach + 1 - length, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Convolution:
    """A convolution with batch norm (or, once folded, a bias) and an activation, in that order."""

    name: str
    in_channels: int
    out_channels: int
    input_size: Size
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    depthwise: bool = False
    activation: Activation = "linear"
    padding: PaddingRule = "same"
    folded: bool = False

    @property
    def kind(self) -> str:
        """`depthwise`, `pointwise` (1x1) or `convolution`."""
        if self.depthwise:
            return "depthwise"
        return "pointwise" if self.kernel == 1 else "convolution"

    @property
    def output_size(self) -> Size:
        """One output for every `stride` pixels, begun ones included."""
        height, width = self.input_size
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros at top, bottom, left and right."""
        top, bottom = self.pad_axis(self.input_size[0])
        left, right = self.pad_axis(self.input_size[1])
        return top, bottom, left, right

    def pad_axis(self, length: int) -> tuple[int, int]:
        """Zeros before and after an axis of any `length`: a network may run at another size than described."""
        return pad_amounts(length, kernel=self.kernel, stride=self.stride, dilation=self.dilation, rule=self.padding)

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what a checkpoint holds for this layer; weights are (out, in, kernel, kernel)."""
        fan_in = 1 if self.depthwise else self.in_channels
        shapes: dict[str, tuple[int, ...]] = {
            f"{self.name}.weight": (self.out_channels, fan_in, self.kernel, self.kernel)
        }
        vectors = ("bias",) if self.folded else ("scale", "shift", "mean", "variance")
        return shapes | {f"{self.name}.{vector}": (self.out_channels,) for vector in vectors}


@dataclass(frozen=True)
class DepthwiseSeparable:
    """MobileNetV1's block: a 3x3 depthwise convolution, then a pointwise one, both activated."""

    name: str
    depthwise: Convolution
    pointwise: Convolution

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "separable"

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In the order in which they run."""
        return (self.depthwise, self.pointwise)


@dataclass(frozen=True)
class InvertedResidual:
    """MobileNetV2's block: expand, filter depthwise, project linearly; a shortcut where the shapes allow one.

    Attributes:
        expand: the 1x1 expansion, or None where it would not widen (t = 1): it would change nothing.
        adds_input: the block's input is added to the projection, after batch norm; nothing follows the sum.
        adds_expansion: the previous block's expanded tensor is added to this block's, before the depthwise.
        keeps_expansion: the next block adds this block's expanded tensor, or a detector's head reads it, so it must
            outlive the block.

    Source: paper, Table 1, Figure 4(d) and section 6.4 (the shortcut between expansions is its ablation).
    """

    name: str
    expand: Convolution | None
    depthwise: Convolution
    project: Convolution
    adds_input: bool = False
    adds_expansion: bool = False
    keeps_expansion: bool = False

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "inverted residual"

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In the order in which they run."""
        inner = (self.depthwise, self.project)
        return inner if self.expand is None else (self.expand, *inner)

    @property
    def hidden_channels(self) -> int:
        """Width of the tensor between expansion and projection."""
        return self.depthwise.in_channels


@dataclass(frozen=True)
class Pooling:
    """Global average pooling: (H, W, C) to C."""

    name: str
    channels: int
    input_size: Size

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "pooling"


@dataclass(frozen=True)
class Classifier:
    """Dropout, then a linear layer with bias: pooled features to logits."""

    name: str
    in_channels: int
    classes: int
    dropout: float

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "classifier"

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of what a checkpoint holds for this layer."""
        return {f"{self.name}.weight": (self.classes, self.in_channels), f"{self.name}.bias": (self.classes,)}


@dataclass(frozen=True)
class ExtraLevel:
    """What makes a detector's next, coarser level of the one before: a 1x1 that halves, then a strided 3x3.

    The 3x3 is a depthwise and a pointwise convolution in SSDLite, a regular one in SSD.
    """

    name: str
    convolutions: tuple[Convolution, ...]

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "extra level"


@dataclass(frozen=True)
class LevelHead:
    """One of the two heads of a detector's level: its box offsets, or its class logits.

    Attributes:
        source: name of the tensor it reads, which need not be that of the layer before.
        slots: numbers for each anchor: 4, or the classes and the background.
        convolutions: a depthwise 3x3 and a linear pointwise one in SSDLite, a regular linear 3x3 in SSD. The last has a
            bias and no batch norm; its channels are anchor by anchor, slot by slot.
        dropout: share of what enters the last convolution dropped while training.
    """

    name: str
    source: str
    slots: int
    convolutions: tuple[Convolution, ...]
    dropout: float = 0

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "box head" if self.name.endswith(".boxes") else "class head"


Block = DepthwiseSeparable | InvertedResidual
Layer = Convolution | DepthwiseSeparable | InvertedResidual | Pooling | Classifier | ExtraLevel | LevelHead


def convolutions_of(layer: Layer) -> tuple[Convolution, ...]:
    """The convolutions of a layer in the order in which they run; none for pooling and classifier."""
    if isinstance(layer, Convolution):
        return (layer,)
    return () if isinstance(layer, Pooling | Classifier) else layer.convolutions
