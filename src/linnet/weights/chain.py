"""Which network a chain of convolutions is: the options of MobileNetV1 or V2 that give just these layers.

Sources without a description of their own (TFLite, later others) are read into `Chain`, and matched here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain as chain_of
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from linnet.architecture import INPUT, Architecture, Backbone, Convolve, MobileNetV2
from linnet.architecture.operations import pad_amounts
from linnet.quantisation.scheme import Joining
from linnet.weights.candidates import expansion_of, first_versions, in_words, second_versions
from linnet.weights.conversion import said_of_one_output

if TYPE_CHECKING:
    from numpy.typing import NDArray


LONGEST_FIRST = 30
"""Convolutions up to which a network can be a MobileNetV1 (27) with something that it has not."""

EARLY_STRIDES: dict[int, int] = {16: 2, 8: 1}
"""Stride of a whole network whose stem is not strided → its option `early_stride`."""

A = TypeVar("A", bound=Architecture)


@dataclass(frozen=True)
class Stored:
    """The integers of one layer as a file has them.

    Attributes:
        weight: int8 or uint8, in the axes of the layer's real weights.
        scale: (channels,) or (1,) float32.
        zero: the integer of the weights that stands for 0.
        bias: (channels,) int32, in steps of the input's scale times that of the weights.
    """

    weight: NDArray[Any]
    scale: NDArray[np.float32]
    zero: int
    bias: NDArray[np.int32]


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
        also: other activations that compute the same, of integers that hold nothing outside their range.
        stored: the integers that it is computed from.
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
    also: tuple[str, ...] = ()
    stored: Stored | None = None

    @property
    def activations(self) -> tuple[str, ...]:
        """The activation, and those that compute the same here."""
        return self.activation, *self.also

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
class Dense:
    """One linear layer behind the pooling, as a file has it.

    Attributes:
        weight: (out, in).
        bias: (out,), where it has one.
        activation: behind it: that of hidden layers.
        output: the file's own number of what it gives.
        also: other activations that compute the same.
        stored: the integers that it is computed from.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: str
    output: int
    also: tuple[str, ...] = ()
    stored: Stored | None = None


def as_one(
    before: tuple[NDArray[np.float32], NDArray[np.float32] | None],
    behind: tuple[NDArray[np.float32], NDArray[np.float32] | None],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Weight (out, in) and bias of the linear layer that computes what two do, one straight behind the other."""
    (inner, shift), (outer, bias) = before, behind
    wide = outer.astype(np.float64)
    if shift is not None:
        moved = wide @ shift.astype(np.float64)
        bias = (moved if bias is None else moved + bias).astype(outer.dtype)
    return (wide @ inner.astype(np.float64)).astype(outer.dtype), bias


@dataclass
class Chain:
    """A whole network: convolutions in order, then global pooling, then perhaps linear layers."""

    input_shape: tuple[int, int, int]
    """Height, width, channels."""
    steps: list[Step] = field(default_factory=list)
    pooled: int | None = None
    linear: list[Dense] = field(default_factory=list)
    averaged: bool = False
    """Whether integers are pooled as AVERAGE_POOL_2D does it, which keeps their encoding."""
    recoded: bool = False
    """Whether integers change on the way from one convolution to the next."""
    joining: Joining = "concatenation"
    """How integers that are joined get another encoding; see `Quantisation`."""
    logits: int | None = None
    sigmoid: bool = False
    """Whether each class has a score by itself."""
    softmax: bool = False
    """Whether the file itself makes shares of 1 of the scores."""
    single: bool = False
    """Whether the first of two classes is not in the file, whose only score is the other's."""
    affine: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    """By what the file multiplies its input and what it adds then, one number or one a channel; None if nothing."""
    channels_first: bool = False
    """Whether the file's input has its channels first."""


def match(chain: Chain, likely: Iterable[Backbone] = ()) -> Backbone:
    """The folded architecture whose layers are just those of the chain.

    Args:
        chain: the layers.
        likely: folded networks without classifier that are compared first.

    Raises:
        ValueError: if no MobileNetV1 or V2 fits; the text says where the closest one differs.
    """
    return first_match(chain, chain_of(likely, _distinct(_candidates(chain))))


def _distinct(candidates: Iterable[Backbone]) -> Iterator[Backbone]:
    """Of several MobileNetV2 with the same channels the first: they have the same layers."""
    seen = set()
    for candidate in candidates:
        counts = candidate.channel_counts if isinstance(candidate, MobileNetV2) else None
        if counts is None or counts not in seen:
            seen.add(counts)
            yield candidate


def first_match(chain: Chain, candidates: Iterable[A]) -> A:
    """The first of some networks that has just the layers of a chain, with the classifier that the chain has.

    Raises:
        ValueError: if none has; the text says where the closest one differs.
    """
    best, reason = -1, "it has no convolutions"
    if chain.steps:
        first, last = len(chain.steps[0].weight), len(chain.steps[-1].weight)
        reason = f"no width gives {len(chain.steps)} convolutions, the first of {first} channels, the last of {last}"
    for candidate in candidates:
        agreed, difference = _compare(candidate, chain)
        if not difference:
            return candidate if not chain.linear else _with_classifier(candidate, chain)
        if agreed > best:
            best, reason = agreed, f"{difference} ({in_words(candidate)})"
    raise ValueError(f"no MobileNetV1 or MobileNetV2 has these layers: {reason}")


def backbones_of(chain: Chain, wanted: Callable[[Backbone], bool]) -> Iterator[Backbone]:
    """All described networks without classifier that have the layers of a chain, of those that are wanted."""
    fitting: dict[tuple[int, ...], bool] = {}
    for candidate in _candidates(chain):
        if not wanted(candidate):
            continue
        counts = candidate.channel_counts if isinstance(candidate, MobileNetV2) else (len(fitting),)
        if counts not in fitting:
            fitting[counts] = not _compare(candidate, chain)[1]
        if fitting[counts]:
            yield candidate


def tensors_of_chain(architecture: Architecture, chain: Chain) -> dict[str, NDArray[np.float32]]:
    """The chain's weights under the names that a checkpoint gives them."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for convolution, step in zip(architecture.convolutions, chain.steps, strict=True):
        tensors[f"{convolution.label}.weight"] = step.weight
        tensors[f"{convolution.label}.bias"] = step.bias
    for label, layer in _linear(chain).items():
        tensors[f"{label}.weight"] = layer.weight
        if f"{label}.bias" in architecture.tensors:
            tensors[f"{label}.bias"] = np.zeros(len(layer.weight), np.float32) if layer.bias is None else layer.bias
    return tensors


def _linear(chain: Chain) -> dict[str, Dense]:
    """Label of each linear layer → what a file has for it."""
    labels = [f"hidden.{number}" for number in range(len(chain.linear) - 1)]
    return dict(zip([*labels, "classifier"], chain.linear, strict=True)) if chain.linear else {}


def take_linear(chain: Chain, layer: Dense, notes: list[str]) -> None:
    """Puts a linear layer behind the others; straight behind another, with nothing between, it becomes one with it."""
    before = chain.linear[-1] if chain.linear else None
    if before is not None and before.activation == "linear" and before.stored is None and layer.stored is None:
        chain.linear.pop()
        layer.weight, layer.bias = as_one((before.weight, before.bias), (layer.weight, layer.bias))
        notes.append(
            f"Its classifier of {len(layer.weight)} outputs stands on one of {len(before.weight)} without an "
            "activation between: both were made one."
        )
    chain.linear.append(layer)
    chain.logits = layer.output


def as_classes(chain: Chain, notes: list[str], own: Mapping[str, Any] | None = None) -> Chain:
    """The chain with an output a class: what has one has the score of a class against another, which becomes two.

    Args:
        chain: the layers.
        notes: what is said of it.
        own: the options that a file of linnet says it has: these may be of one class.
    """
    alone = chain.linear and len(chain.linear[-1].weight) == 1 and not chain.softmax
    if alone and (own is None or own.get("classes") != 1):
        notes.append(said_of_one_output(sigmoid=chain.sigmoid))
        return _two_classes(chain)
    if chain.sigmoid:
        notes.append(
            "Each class has a score by itself in the file (sigmoid); linnet gives shares of 1, in the same order."
        )
    return chain


def _two_classes(chain: Chain) -> Chain:
    """The chain with one score as one of two classes: the share of x beside 0 is the sigmoid of x."""
    last = chain.linear[-1]

    def below_nothing(values: NDArray[Any], nothing: float) -> NDArray[Any]:
        return np.concatenate([np.full_like(values, nothing), values])

    stored = last.stored
    if stored is not None:
        stored = replace(stored, weight=below_nothing(stored.weight, stored.zero), bias=below_nothing(stored.bias, 0))
    bias = None if last.bias is None else below_nothing(last.bias, 0)
    wide = replace(last, weight=below_nothing(last.weight, 0), bias=bias, stored=stored)
    return replace(chain, linear=[*chain.linear[:-1], wide], single=True)


def names_of_two(chain: Chain, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Class names, where perhaps the only one of a file is given for two."""
    return (f"not {names[0]}", names[0]) if chain.single and names is not None and len(names) == 1 else names


def columns_of_two(chain: Chain) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Which of two classes the file has, as `Conversion.columns` says it."""
    return {"classifier": (2, (1,))} if chain.single else {}


def stored_of_chain(architecture: Architecture, chain: Chain) -> dict[str, NDArray[Any]]:
    """The chain's integers under the names that a quantised checkpoint gives them.

    Raises:
        ValueError: if a layer of it is not computed from integers.
    """
    layers = {layer.label: step.stored for layer, step in zip(architecture.convolutions, chain.steps, strict=True)}
    layers |= {label: layer.stored for label, layer in _linear(chain).items()}
    tensors: dict[str, NDArray[Any]] = {}
    for label, stored in layers.items():
        if stored is None:
            raise ValueError(f"{label} has real weights")
        tensors |= {f"{label}.weight": stored.weight, f"{label}.weight.scale": stored.scale}
        if f"{label}.bias" in architecture.tensors:
            tensors[f"{label}.bias"] = stored.bias
        if stored.weight.dtype == np.uint8:
            tensors[f"{label}.weight.zero"] = np.array([stored.zero], np.uint8)
    return tensors


def outputs_by_name(architecture: Architecture, chain: Chain) -> dict[str, int]:
    """Name of each intermediate tensor → the file's own number of it."""
    steps = dict(zip((convolution.name for convolution in architecture.convolutions), chain.steps, strict=True))
    found: dict[str, int] = {}
    for operation in architecture.operations:
        number = None
        if operation.name in steps:
            number = steps[operation.name].output
        elif operation.adds:
            number = next((steps[name].sum_output for name in operation.reads if name in steps), None)
        if number is not None:
            found[operation.name] = number
    ends = {"pool": chain.pooled, "classifier": chain.logits}
    ends |= {label: layer.output for label, layer in _linear(chain).items()}
    found |= {name: number for name, number in ends.items() if number is not None}
    return {alias: found[name] for alias, name in architecture.graph.aliases.items() if name in found}


def _candidates(chain: Chain) -> Iterator[Backbone]:
    """Described networks that could be meant. Widths come from the file's own channels, the roundest first."""
    if not chain.steps:
        return
    height, width, channels = chain.input_shape
    common: dict[str, Any] = {"resolution": (height, width), "input_channels": channels, "folded": True}
    stride = math.prod(step.stride for step in chain.steps)
    common |= {"classes": None, "activation": _activation(chain), "padding": _padding(chain)}
    if chain.steps[0].stride == 1 and stride in EARLY_STRIDES:
        # Networks of small pictures leave the first strides away.
        common["early_stride"] = EARLY_STRIDES[stride]
    else:
        common["output_stride"] = stride if stride in (8, 16) else 32
    if len(chain.steps) <= LONGEST_FIRST:
        yield from _first_version(chain, common)
    yield from _second_version(chain, common)


def _activation(chain: Chain) -> str:
    """The activation of the first convolution; of several that it could have, the one that suits the most."""
    counts = {
        name: sum(name in step.activations for step in chain.steps)
        for name in chain.steps[0].activations
        if name != "linear"
    }
    return max(counts, key=lambda name: counts[name]) if counts else "linear"


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
        "projection_activation": "linear" if "linear" in projection.activations else "relu6",
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


def _compare(candidate: Architecture, chain: Chain) -> tuple[int, str]:
    """How many layers agree, and the first difference in words (empty if there is none)."""
    described = candidate.convolutions
    agreed, difference = 0, ""
    for number, (layer, step) in enumerate(zip(described, chain.steps, strict=False), 1):
        found = ""
        if _signature(layer) != step.signature or layer.activation not in step.activations:
            found = f"convolution {number} is {step}; {layer.name} of the closest network is {_say(layer)}"
        elif layer.pads != step.pads:
            found = (
                f"convolution {number} is padded {step.pads}; {layer.name} of the closest network needs {layer.pads}"
            )
        agreed += not found
        difference = difference or found
    if not difference and len(described) != len(chain.steps):
        difference = f"it has {len(chain.steps)} convolutions; the closest network has {len(described)}"
    return agreed, difference or _compare_sums(candidate, chain)


def _compare_sums(candidate: Architecture, chain: Chain) -> str:
    """Whether the file adds where the network does, and the same tensors."""
    steps = dict(zip((convolution.name for convolution in candidate.convolutions), chain.steps, strict=True))
    added = {each.reads[0]: each.reads[1] for each in candidate.operations if each.adds}
    found = outputs_by_name(candidate, chain) | {INPUT: chain.steps[0].input}
    for name, step in steps.items():
        if name in added and added[name] not in found and step.sum_source is not None:
            # A tensor that is no convolution's or sum's: whoever reads such networks looks at it.
            continue
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


def _with_classifier(candidate: A, chain: Chain) -> A:
    *hidden, last = chain.linear
    return candidate.with_options(
        classes=len(last.weight),
        hidden=tuple(len(layer.weight) for layer in hidden),
        classifier_bias=last.bias is not None,
    )
