"""Tensors under foreign names → the network that they are, by names and shapes and never by their order.

A reader says for each of linnet's labels (`stem`, `blocks.3.expand`, `classifier`) which arrays are there, in linnet's
order of axes, and what no array says: padding, epsilon, activation. `assemble` finds the options of the network that
has just these shapes, and lays the arrays out as a checkpoint holds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from linnet.architecture import Architecture, Backbone, Convolve
from linnet.architecture.operations import Shape, Weighted
from linnet.engine.fold import fold
from linnet.weights.candidates import expansion_of, first_versions, in_words, second_versions
from linnet.weights.conversion import said_of_one_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


A = TypeVar("A", bound=Architecture)


class NotOurs(ValueError):
    """Readable weights of another network; the text says which, or what differs, to stand behind "it is not ours:"."""


@dataclass(frozen=True)
class Norm:
    """Batch norm's four vectors, each (channels,)."""

    scale: Array
    shift: Array
    mean: Array
    variance: Array


@dataclass(frozen=True)
class Layer:
    """What a file has for one convolution or linear layer.

    Attributes:
        name: of the weight in the file, for messages.
        weight: (out, in, k, k), of a depthwise one (channels, 1, k, k), of a linear layer (out, in).
        bias: (out,); with batch norm beside it, what is added before the norm.
        norm: batch norm behind it.
    """

    name: str
    weight: Array
    bias: Array | None = None
    norm: Norm | None = None


MOST_LINEAR = 8
"""Linear layers of which the order is looked for in their shapes: there may be as many orders as of so many things."""


def in_order(linear: Sequence[Layer], features: int) -> list[Layer] | None:
    """Linear layers in the one order in which each takes what the one before it gives.

    Args:
        linear: all of them.
        features: what the first takes.

    Returns:
        The layers, or None where no order fits or more than one does.
    """
    if len(linear) > MOST_LINEAR:
        return None
    found = list(islice(_orders(list(linear), features), 2))
    return found[0] if len(found) == 1 else None


def _orders(left: list[Layer], features: int) -> Iterator[list[Layer]]:
    if not left:
        yield []
    for place, layer in enumerate(left):
        if layer.weight.shape[1] == features:
            for rest in _orders(left[:place] + left[place + 1 :], len(layer.weight)):
                yield [layer, *rest]


def behind_pooling(ordered: Sequence[Layer], notes: list[str]) -> dict[str, Layer]:
    """Linear layers of a file of weights alone by linnet's labels, with notes of what such a file does not say."""
    layers = list(ordered)
    if len(layers) > 1:
        notes.append("The file does not say which activation its hidden layers have: ReLU is assumed.")
    if layers and len(layers[-1].weight) == 1:
        layers[-1] = two_classes(layers[-1])
        notes.append(said_of_one_output())
    named = {f"hidden.{number}": layer for number, layer in enumerate(layers[:-1])}
    return named | ({"classifier": layers[-1]} if layers else {})


def two_classes(layer: Layer) -> Layer:
    """A layer of one output as one of two classes: the first has the logit 0."""
    bias = None if layer.bias is None else np.concatenate([np.zeros(1, np.float32), layer.bias])
    return Layer(layer.name, np.concatenate([np.zeros_like(layer.weight), layer.weight]), bias)


def assemble(layers: Mapping[str, Layer], **known: Any) -> tuple[Backbone, dict[str, Array]]:
    """The classifier or feature extractor that has these layers, and its tensors as a checkpoint holds them.

    Batch norm stays unfolded where every convolution has it, a bias before it moved into its mean; where only some
    have it, all are folded.

    Args:
        layers: label → what the file has: all layers of the network and nothing else. Hidden layers behind the pooling
            are `hidden.0`, `hidden.1` …
        known: options of the architecture that no shape says, such as `padding` and `batch_norm_epsilon`.

    Raises:
        NotOurs: if no MobileNetV1 or V2 has them; the text says where the closest one differs.
    """
    return lay_out(match_layers(layers, **known), layers)


def match_layers(layers: Mapping[str, Layer], **known: Any) -> Backbone:
    """The classifier or feature extractor that has these layers; see `assemble`."""
    convolutions = {label: layer for label, layer in layers.items() if layer.weight.ndim == 4}
    if "stem" not in convolutions:
        raise NotOurs("it has no first convolution")
    normed = [layer.norm is not None for layer in convolutions.values()]
    classifier = layers.get("classifier")
    options: dict[str, Any] = {
        "input_channels": convolutions["stem"].weight.shape[1],
        "classes": None if classifier is None else len(classifier.weight),
        "hidden": tuple(len(layer.weight) for label, layer in _hidden(layers)),
        "classifier_bias": classifier is None or classifier.bias is not None,
        "folded": not any(normed),
        **known,
    }
    return _described(layers, convolutions, options)


def lay_out(architecture: A, layers: Mapping[str, Layer]) -> tuple[A, dict[str, Array]]:
    """The tensors of a network that is known, as a checkpoint holds them.

    Batch norm is folded where only some of the convolutions that the network gives one have it.

    Raises:
        NotOurs: if a layer does not have the shape that the network gives it.
    """
    described = {each.name: each for each in architecture.convolutions if each.norm is not None}
    normed = [layers[each.label].norm is not None for each in described.values()]
    tensors: dict[str, Array] = {}
    for name, operation in architecture.graph.weighted.items():
        layer = layers[operation.label]
        if any(normed) and layer.norm is None and name in described:
            layer = _with_identity(layer, described[name])
        _lay_out(tensors, operation, layer)
    if any(normed) and not all(normed):
        _, tensors = fold(architecture, tensors)
        architecture = architecture.with_options(folded=True)
    return architecture, tensors


def same_function(one: Backbone, other: Backbone) -> bool:
    """Whether two networks have the same tensors and do the same with them."""
    return one.tensors == other.tensors and _function(one) == _function(other)


def _function(network: Backbone) -> list[Any]:
    """What the layers do beside their tensors."""
    details = [(each.stride, each.dilation, each.activation, each.pads) for each in network.convolutions]
    return [*details, [(type(each), each.reads) for each in network.operations]]


def _hidden(layers: Mapping[str, Layer]) -> list[tuple[str, Layer]]:
    """The layers between the pooling and the classifier, in order."""
    found = [(label, layer) for label, layer in layers.items() if label.startswith("hidden.")]
    return sorted(found, key=lambda each: int(each[0].rpartition(".")[2]))


def _described(layers: Mapping[str, Layer], convolutions: Mapping[str, Layer], options: Mapping[str, Any]) -> Backbone:
    found = {label: layer.weight.shape for label, layer in layers.items()}
    best: tuple[int, str] = (-1, _no_width(convolutions))
    for candidate in _candidates(convolutions, options):
        described = {each.label: each.tensors[f"{each.label}.weight"] for each in candidate.graph.weighted.values()}
        if described == found:
            return candidate
        agreed = sum(found.get(label) == shape for label, shape in described.items())
        if agreed > best[0]:
            best = agreed, f"{_difference(described, layers)} ({in_words(candidate)})"
    raise NotOurs(f"no MobileNetV1 or MobileNetV2 has these layers: {best[1]}")


def _candidates(convolutions: Mapping[str, Layer], options: Mapping[str, Any]) -> Iterator[Backbone]:
    blocks: dict[int, dict[str, Shape]] = {}
    for label, layer in convolutions.items():
        parts = label.split(".")
        if parts[0] == "blocks":
            blocks.setdefault(int(parts[1]), {})[".".join(parts[2:])] = layer.weight.shape
    if not blocks or sorted(blocks) != list(range(len(blocks))):
        return
    in_order = [blocks[number] for number in range(len(blocks))]
    if any("pointwise" in block or "" in block for block in in_order):
        last = in_order[-1]
        yield from first_versions(last.get("pointwise", last.get("", (0,)))[0], options)
        return
    if "head" not in convolutions or not all("project" in block for block in in_order):
        return
    wide = [block["expand"] for block in in_order if "expand" in block]
    stem, head = (len(convolutions[label].weight) for label in ("stem", "head"))
    expansion = expansion_of(wide[-1][1], wide[-1][0]) if wide else 1
    yield from second_versions([block["project"][0] for block in in_order], stem, head, options, expansion=expansion)


def _no_width(convolutions: Mapping[str, Layer]) -> str:
    first = len(convolutions["stem"].weight)
    last = max((label for label in convolutions), key=lambda label: len(convolutions[label].weight))
    return (
        f"no width gives {len(convolutions)} convolutions, the first of {first} channels, the widest "
        f"('{convolutions[last].name}') of {len(convolutions[last].weight)}"
    )


def _difference(described: Mapping[str, Shape], layers: Mapping[str, Layer]) -> str:
    for label, shape in described.items():
        if label not in layers:
            return f"it has nothing that is {label}, which the closest network has with shape {list(shape)}"
        layer = layers[label]
        if layer.weight.shape != shape:
            return (
                f"'{layer.name}' has shape {list(layer.weight.shape)}; {label} of the closest network has {list(shape)}"
            )
    surplus = next(label for label in layers if label not in described)
    return f"'{layers[surplus].name}' is one layer more than the closest network has"


def _lay_out(tensors: dict[str, Array], operation: Weighted, layer: Layer) -> None:
    label, channels = operation.label, operation.out_channels
    parts: dict[str, Array] = {"weight": layer.weight}
    bias = layer.bias if layer.bias is not None else np.zeros(channels, np.float32)
    if layer.norm is None:
        parts["bias"] = bias
    else:
        # Damaged numbers overflow; whether all are finite is looked at afterwards.
        with np.errstate(all="ignore"):
            mean = layer.norm.mean - bias
        parts |= {"scale": layer.norm.scale, "shift": layer.norm.shift}
        parts |= {"mean": mean, "variance": layer.norm.variance}
    for name, shape in operation.tensors.items():
        values = np.ascontiguousarray(parts[name.removeprefix(f"{label}.")], np.float32)
        if values.shape != shape:
            raise NotOurs(f"what belongs to '{layer.name}' has shape {list(values.shape)}; {list(shape)} was expected")
        tensors[name] = values


def _with_identity(layer: Layer, operation: Convolve) -> Layer:
    """A convolution that has no batch norm, with one that changes nothing: its bias is the shift."""
    channels = operation.out_channels
    epsilon = operation.norm.epsilon if operation.norm else 0.0
    zeros = np.zeros(channels, np.float32)
    shift = zeros if layer.bias is None else layer.bias
    # The square root of variance + epsilon has to be 1.
    norm = Norm(np.ones(channels, np.float32), shift, zeros, np.full(channels, 1 - epsilon, np.float32))
    return replace(layer, bias=None, norm=norm)
