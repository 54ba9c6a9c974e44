"""Which network a chain of convolutions is: the options of MobileNetV1 or V2 that give just these layers.

Sources without a description of their own (TFLite, later others) are read into `Chain`, and matched here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain as chain_of
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import INPUT, Add, Architecture, Backbone, Convolve
from linnet.architecture.operations import of_kind, pad_amounts
from linnet.weights.candidates import expansion_of, first_versions, second_versions

if TYPE_CHECKING:
    from numpy.typing import NDArray


LONGEST_FIRST = 30
"""Convolutions up to which a network can be a MobileNetV1 (27) with something that it has not."""

EARLY_STRIDES: dict[int, int] = {16: 2, 8: 1}
"""Stride of a whole network whose stem is not strided → its option `early_stride`."""


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
        padded_apart: an operator of its own pads, as PyTorch's exporters write it.
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
    padded_apart: bool = False

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


def match(chain: Chain, likely: Iterable[Backbone] = ()) -> Backbone:
    """The folded architecture whose layers are just those of the chain.

    Args:
        chain: the layers.
        likely: folded networks without classifier that are compared first.

    Raises:
        ValueError: if no MobileNetV1 or V2 fits; the text says where the closest one differs.
    """
    best, reason = -1, "it has no convolutions"
    if chain.steps:
        first, last = len(chain.steps[0].weight), len(chain.steps[-1].weight)
        reason = f"no width gives {len(chain.steps)} convolutions, the first of {first} channels, the last of {last}"
    for candidate in chain_of(likely, _candidates(chain)):
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
        tensors[f"{convolution.label}.weight"] = step.weight
        tensors[f"{convolution.label}.bias"] = step.bias
    if chain.classifier_weight is not None and chain.classifier_bias is not None:
        tensors |= {"classifier.weight": chain.classifier_weight, "classifier.bias": chain.classifier_bias}
    return tensors


def outputs_by_name(architecture: Architecture, chain: Chain) -> dict[str, int]:
    """Name of each intermediate tensor → the file's own number of it."""
    steps = dict(zip((convolution.name for convolution in architecture.convolutions), chain.steps, strict=True))
    found: dict[str, int] = {}
    for operation in architecture.operations:
        number = None
        if operation.name in steps:
            number = steps[operation.name].output
        elif isinstance(operation, Add):
            number = next((steps[name].sum_output for name in operation.reads if name in steps), None)
        if number is not None:
            found[operation.name] = number
    ends = {"pool": chain.pooled, "classifier": chain.logits}
    found |= {name: number for name, number in ends.items() if number is not None}
    return {alias: found[name] for alias, name in architecture.graph.aliases.items() if name in found}


def _candidates(chain: Chain) -> Iterator[Backbone]:
    """Described networks that could be meant. Widths come from the file's own channels, the roundest first."""
    if not chain.steps:
        return
    height, width, channels = chain.input_shape
    common: dict[str, Any] = {"resolution": (height, width), "input_channels": channels, "folded": True}
    stride = math.prod(step.stride for step in chain.steps)
    common |= {"classes": None, "activation": chain.steps[0].activation, "padding": _padding(chain)}
    if chain.steps[0].stride == 1 and stride in EARLY_STRIDES:
        # Networks of small pictures leave the first strides away.
        common["early_stride"] = EARLY_STRIDES[stride]
    else:
        common["output_stride"] = stride if stride in (8, 16) else 32
    if len(chain.steps) <= LONGEST_FIRST:
        yield from _first_version(chain, common)
    yield from _second_version(chain, common)


def _padding(chain: Chain) -> str:
    """The rule that pads every convolution as the file does; where both do, an operator of its own is PyTorch's."""
    symmetric, size = any(step.padded_apart for step in chain.steps), chain.input_shape[:2]
    for step in chain.steps:
        rule = {"kernel": step.weight.shape[2], "stride": step.stride, "dilation": step.dilation}
        same, even = (
            tuple(amount for length in size for amount in pad_amounts(length, rule=name, **rule))
            for name in ("same", "symmetric")
        )
        if same != even:
            return "symmetric" if step.pads == even else "same"
        size = (-(-size[0] // step.stride), -(-size[1] // step.stride))
    return "symmetric" if symmetric else "same"


def _first_version(chain: Chain, common: dict[str, Any]) -> Iterator[Backbone]:
    ends = {"last_activation": "linear"} if chain.steps[-1].activation == "linear" else {}
    yield from first_versions(len(chain.steps[-1].weight), common | ends)


def _second_version(chain: Chain, common: dict[str, Any]) -> Iterator[Backbone]:
    # What follows a depthwise convolution is a projection: one a block.
    outputs = [len(step.weight) for before, step in pairwise(chain.steps) if before.depthwise and not step.depthwise]
    projection = next((step for before, step in pairwise(chain.steps) if before.depthwise), None)
    if projection is None:
        return
    options: dict[str, Any] = {
        "shortcut": "bottleneck" if any(step.sum_source is not None for step in chain.steps) else "none",
        "projection_activation": "linear" if projection.activation == "linear" else "relu6",
    }
    stem, last = len(chain.steps[0].weight), len(chain.steps[-1].weight)
    yield from second_versions(outputs, stem, last, options | common, expansion=_expansion(chain))


def _expansion(chain: Chain) -> float:
    """Of the widest block, which rounding to 8 moves the least; 1 without any."""
    wide = [
        (step.weight.shape[1], len(step.weight))
        for step, after in pairwise(chain.steps)
        if after.depthwise and not step.depthwise and step.weight.shape[2] == 1
    ]
    return expansion_of(*wide[-1]) if wide else 1


def _compare(candidate: Backbone, chain: Chain) -> tuple[int, str]:
    """How many layers agree, and the first difference in words (empty if there is none)."""
    described = candidate.convolutions
    for number, (layer, step) in enumerate(zip(described, chain.steps, strict=False)):
        if _signature(layer) != step.signature or layer.activation != step.activation:
            return number, f"convolution {number + 1} is {step}; {layer.name} of the closest network is {_say(layer)}"
        if layer.pads != step.pads:
            return number, f"convolution {number + 1} is padded {step.pads}; {layer.name} needs {layer.pads}"
    if len(described) != len(chain.steps):
        return min(len(described), len(chain.steps)), (
            f"it has {len(chain.steps)} convolutions; the closest network has {len(described)}"
        )
    return len(described), _compare_sums(candidate, chain)


def _compare_sums(candidate: Architecture, chain: Chain) -> str:
    """Whether the file adds where the network does, and the same tensors."""
    steps = dict(zip((convolution.name for convolution in candidate.convolutions), chain.steps, strict=True))
    added = {each.reads[0]: each.reads[1] for each in of_kind(candidate.operations, Add)}
    found = outputs_by_name(candidate, chain) | {INPUT: chain.steps[0].input}
    for name, step in steps.items():
        if step.sum_source != (found.get(added[name]) if name in added else None):
            block = next(block.name for block in candidate.layers if name in (each.name for each in block.operations))
            return f"the shortcuts are not those of the closest network: see {block}"
    return ""


def _signature(layer: Convolve) -> tuple[object, ...]:
    dilation = layer.dilation if layer.kernel > 1 else 1
    return layer.depthwise, layer.in_channels, layer.out_channels, layer.kernel, layer.stride, dilation


def _say(layer: Convolve) -> str:
    channels = f"{layer.in_channels} to {layer.out_channels} channels"
    return f"{layer.kernel}x{layer.kernel} {layer.kind}, {channels}, stride {layer.stride}, {layer.activation}"


def _with_ends(candidate: Backbone, chain: Chain) -> Backbone:
    return candidate if chain.classifier_weight is None else replace(candidate, classes=len(chain.classifier_weight))
