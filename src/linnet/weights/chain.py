"""Which network a chain of convolutions is: the options of MobileNetV1 or V2 that give just these layers.

Sources without a description of their own (TFLite, later others) are read into `Chain`, and matched here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np

from linnet.architecture import (
    Architecture,
    Convolution,
    InvertedResidual,
    MobileNetV1,
    MobileNetV2,
    convolutions_of,
)
from linnet.architecture.mobilenet_v2 import STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

PUBLISHED_WIDTHS = (1.0, 1.4, 1.3, 0.75, 0.5, 0.35, 0.25)


@dataclass
class Step:
    """One convolution as a file has it, its batch norm folded.

    Attributes:
        weight: (out, in, k, k); in is 1 for depthwise.
        bias: (out,).
        pads: zeros at top, bottom, left and right.
        output: the file's own number or name of the tensor that the convolution, activation included, gives.
        sum_output: the same of the sum that follows it, if one does.
        sum_source: what is added there.
        input: what the convolution reads.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    depthwise: bool
    stride: int
    dilation: int
    pads: tuple[int, int, int, int]
    activation: str
    input: int
    output: int
    sum_output: int | None = None
    sum_source: int | None = None

    @property
    def signature(self) -> tuple[object, ...]:
        """What must agree with a described convolution."""
        in_channels = len(self.weight) if self.depthwise else self.weight.shape[1]
        kernel = self.weight.shape[2]
        return self.depthwise, in_channels, len(self.weight), kernel, self.stride, self.dilation if kernel > 1 else 1

    def __str__(self) -> str:
        out, fan_in, kernel, _ = self.weight.shape
        kind = "depthwise" if self.depthwise else f"{fan_in} to {out} channels,"
        channels = f" of {out} channels," if self.depthwise else ""
        return f"{kernel}x{kernel} {kind}{channels} stride {self.stride}, {self.activation}"


@dataclass
class Chain:
    """A whole network: convolutions in order, then global pooling, then perhaps a linear classifier."""

    input_shape: tuple[int, int, int]
    """Height, width, channels."""
    steps: list[Step] = field(default_factory=list)
    pooled: int | None = None
    classifier_weight: NDArray[np.float32] | None = None
    classifier_bias: NDArray[np.float32] | None = None
    logits: int | None = None


def match(chain: Chain) -> Architecture:
    """The folded architecture whose layers are just those of the chain.

    Raises:
        ValueError: if no MobileNetV1 or V2 fits; the text says where the closest one differs.
    """
    best, reason = -1, "it has no convolutions"
    for candidate in _candidates(chain):
        agreed, difference = _compare(candidate, chain)
        if not difference:
            return _with_ends(candidate, chain)
        if agreed > best:
            best, reason = agreed, difference
    raise ValueError(f"no MobileNetV1 or MobileNetV2 has these layers: {reason}")


def tensors_of_chain(architecture: Architecture, chain: Chain) -> dict[str, NDArray[np.float32]]:
    """The chain's weights under the names that a checkpoint gives them."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for convolution, step in zip(architecture.convolutions, chain.steps, strict=True):
        tensors[f"{convolution.name}.weight"] = step.weight
        tensors[f"{convolution.name}.bias"] = step.bias
    if chain.classifier_weight is not None and chain.classifier_bias is not None:
        tensors |= {"classifier.weight": chain.classifier_weight, "classifier.bias": chain.classifier_bias}
    return tensors


def outputs_by_name(architecture: Architecture, chain: Chain) -> dict[str, int]:
    """Name of each intermediate tensor → the file's own number of it."""
    steps = iter(chain.steps)
    found: dict[str, int] = {}
    for layer in architecture.layers:
        last = None
        for convolution in convolutions_of(layer):
            last = next(steps)
            found[convolution.name] = last.output
        if last is not None:
            found[layer.name] = last.output if last.sum_output is None else last.sum_output
    ends = {"pool": chain.pooled, "classifier": chain.logits}
    return found | {name: number for name, number in ends.items() if number is not None}


def _candidates(chain: Chain) -> Iterator[Architecture]:
    """Described networks that could be meant, the published widths first; cheap tests sort most of them out."""
    if not chain.steps:
        return
    height, width, channels = chain.input_shape
    stem = len(chain.steps[0].weight)
    widths = dict.fromkeys((*PUBLISHED_WIDTHS, *(percent / 100 for percent in range(1, 401))))
    common: dict[str, Any] = {"resolution": (height, width), "input_channels": channels, "folded": True}
    common |= {"classes": None, "padding": _padding(chain), "activation": chain.steps[0].activation}
    for output_stride in (32, 16, 8):
        if min(height, width) < output_stride:
            continue
        common["output_stride"] = output_stride
        for multiplier in widths:
            if max(int(32 * multiplier), 8) == stem:
                for convolution in get_args(get_type_hints(MobileNetV1)["convolution"]):
                    yield MobileNetV1(width=multiplier, convolution=convolution, **common)
            yield from _second_version(chain, multiplier, common)


def _second_version(chain: Chain, width: float, common: dict[str, Any]) -> Iterator[Architecture]:
    depthwise = sum(step.depthwise for step in chain.steps)
    narrow = [step for step in chain.steps if step.sum_source is not None]
    projections = {step.activation for step in chain.steps[2:3]}
    options: dict[str, Any] = {
        "expansion": _expansion(chain),
        "depth": _depth(depthwise),
        "shortcut": "bottleneck" if narrow else "none",
        "projection_activation": "linear" if projections == {"linear"} else "relu6",
    }
    ends: tuple[tuple[Any, Any], ...] = (("scaled", "kept"), ("scaled", "scaled"), ("fixed", "fixed"))
    for minimum in (8, 16):
        for stem, last_layer in ends:
            network = MobileNetV2(
                width=width,
                stem=stem,
                last_layer=last_layer,
                minimum_depth=minimum,
                **options,
                **common,
            )
            stem_channels = network.convolutions[0].out_channels
            if (stem_channels, network.feature_channels) == (len(chain.steps[0].weight), len(chain.steps[-1].weight)):
                yield network


def _padding(chain: Chain) -> str:
    """Symmetric if a strided convolution is padded alike on both sides where TensorFlow would not."""
    height, width, _ = chain.input_shape
    top, bottom, left, right = chain.steps[0].pads
    uneven = (height % 2 == 0 and top == bottom) or (width % 2 == 0 and left == right)
    return "symmetric" if uneven else "same"


def _expansion(chain: Chain) -> float:
    """Expansion of the second block, the first that has one: its expand follows stem, depthwise and project."""
    if len(chain.steps) < 4 or chain.steps[3].depthwise:
        return 1
    out, fan_in = chain.steps[3].weight.shape[:2]
    ratio = out / fan_in
    return max(int(ratio) if ratio == int(ratio) else ratio, 1)


def _depth(blocks: int) -> float:
    """The depth multiplier, in steps of 0.1, that gives so many blocks; 1 if none does."""
    ends = STAGES[0].repeats + STAGES[-1].repeats
    for tenths in (10, *range(1, 60)):
        if ends + sum(math.ceil(stage.repeats * tenths / 10) for stage in STAGES[1:-1]) == blocks:
            return tenths / 10
    return 1.0


def _compare(candidate: Architecture, chain: Chain) -> tuple[int, str]:
    """How many layers agree, and the first difference in words (empty if there is none)."""
    described = candidate.convolutions
    for number, (layer, step) in enumerate(zip(described, chain.steps, strict=False)):
        if _signature(layer) != step.signature or layer.activation != step.activation:
            return number, f"convolution {number + 1} is {step}; {layer.name} of the closest network is {_say(layer)}"
        if layer.kernel > 1 and layer.pads != step.pads:
            return number, f"convolution {number + 1} is padded {step.pads}; {layer.name} needs {layer.pads}"
    if len(described) != len(chain.steps):
        return min(len(described), len(chain.steps)), (
            f"it has {len(chain.steps)} convolutions; the closest network has {len(described)}"
        )
    return len(described), _compare_sums(candidate, chain)


def _compare_sums(candidate: Architecture, chain: Chain) -> str:
    steps = iter(chain.steps)
    for layer in candidate.layers:
        own = [next(steps) for _ in convolutions_of(layer)]
        for step in own:
            expected = isinstance(layer, InvertedResidual) and layer.adds_input and step is own[-1]
            if expected != (step.sum_source is not None) or (expected and step.sum_source != own[0].input):
                return f"the shortcuts are not those of the closest network: see {layer.name}"
    return ""


def _signature(layer: Convolution) -> tuple[object, ...]:
    dilation = layer.dilation if layer.kernel > 1 else 1
    return layer.depthwise, layer.in_channels, layer.out_channels, layer.kernel, layer.stride, dilation


def _say(layer: Convolution) -> str:
    channels = f"{layer.in_channels} to {layer.out_channels} channels"
    return f"{layer.kernel}x{layer.kernel} {layer.kind}, {channels}, stride {layer.stride}, {layer.activation}"


def _with_ends(candidate: Architecture, chain: Chain) -> Architecture:
    return candidate if chain.classifier_weight is None else replace(candidate, classes=len(chain.classifier_weight))
