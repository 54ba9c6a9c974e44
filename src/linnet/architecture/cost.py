"""What a network costs: parameters, multiply-adds and activation memory, per layer and in all.

Multiply-adds count convolutions and linear layers; parameters count weights, biases and batch-norm scale and shift.
Memory is counted as the paper does (Table 3, section 5.1 and its formula 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from linnet.architecture.layers import (
    Classifier,
    ExtraLevel,
    InvertedResidual,
    Layer,
    LevelHead,
    Pooling,
    convolutions_of,
)
from linnet.architecture.network import Architecture, check_number


@dataclass(frozen=True)
class LayerCost:
    """One elementary layer. `output` is (height, width, channels), or (channels,) after the pooling."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int

    @property
    def elements(self) -> int:
        """Numbers in the output."""
        return math.prod(self.output)


@dataclass(frozen=True)
class Cost:
    """What one picture costs; memory figures are functions of this module."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Weights, biases and batch-norm scale and shift."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and linear layers."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def largest_tensor(self) -> LayerCost:
        """The layer with the largest output when each runs by itself."""
        return max(self.layers, key=lambda layer: layer.elements)


def cost(architecture: Architecture) -> Cost:
    """Parameters and multiply-adds of every convolution, the pooling and the classifier.

    Example:
        >>> from linnet.architecture import MobileNetV2
        >>> cost(MobileNetV2()).multiply_adds
        300774272
    """
    return Cost(tuple(row for layer in architecture.layers for row in _layer_costs(layer)))


def _layer_costs(layer: Layer) -> Iterator[LayerCost]:
    if isinstance(layer, Pooling):
        yield LayerCost(layer.name, layer.kind, (layer.channels,), 0, 0)
    elif isinstance(layer, Classifier):
        weights = layer.in_channels * layer.classes
        yield LayerCost(layer.name, layer.kind, (layer.classes,), weights + layer.classes, weights)
    for convolution in convolutions_of(layer):
        height, width = convolution.output_size
        fan_in = 1 if convolution.depthwise else convolution.in_channels
        weights = convolution.out_channels * fan_in * convolution.kernel**2
        # A bias where batch norm is folded, scale and shift where it is not.
        vectors = 1 if convolution.folded else 2
        yield LayerCost(
            convolution.name,
            convolution.kind,
            (height, width, convolution.out_channels),
            weights + vectors * convolution.out_channels,
            height * width * weights,
        )


@dataclass(frozen=True)
class MemoryStep:
    """What is alive while one operation runs."""

    operation: str
    alive: tuple[str, ...]
    """Names of the whole tensors: inputs, outputs, and what a later operation still needs."""
    bytes: int
    """Of those tensors and of what the operation holds inside."""


@dataclass(frozen=True)
class Memory:
    """Activation memory over one run, operation by operation."""

    steps: tuple[MemoryStep, ...]

    @property
    def peak(self) -> MemoryStep:
        """The operation that needs the most."""
        return max(self.steps, key=lambda step: step.bytes)


@dataclass(frozen=True)
class _Operation:
    """A step of the computation: what it reads, what it writes, and what it holds inside while it runs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    inside: float = 0


def layerwise_memory(architecture: Architecture, *, bytes_per_element: float = 4) -> Memory:
    """Memory when every convolution is an operation of its own: formula (2) of section 5.1.

    Inputs and outputs of an operation count together with everything that a later one still needs, so a shortcut
    keeps its source alive. Sums are written in place.
    """
    elements = _elements(architecture)
    operations = [step for layer in _operations(architecture) for step in layer[1]]
    return _memory(operations, elements, bytes_per_element)


def block_memory(architecture: Architecture, *, bytes_per_element: float = 4, splits: int | None = None) -> Memory:
    """Memory when an inverted residual is one operation (section 5.1).

    Args:
        architecture: the network.
        bytes_per_element: 4 for float32, 2 for the paper's 16-bit activations.
        splits: None counts the block's input and output only, as the paper's bound does. A number t adds what
            a t-way split holds inside: 1/t of the expanded tensor and of the depthwise output (n/t channels
            as in the paper, not rounded to whole ones).

    With the shortcut between expansions the wide tensors are inputs and outputs of their blocks and can be neither
    split nor discarded: that is why the paper's residual is inverted.
    """
    if splits is not None and (not isinstance(splits, int) or splits < 1):
        raise ValueError(f"`splits` (={splits!r}) must be a whole number from 1, or None.")
    elements = _elements(architecture)
    operations: list[_Operation] = []
    for layer, steps in _operations(architecture):
        merge = isinstance(layer, InvertedResidual)
        operations += [_merge(layer, steps, elements, splits)] if merge else steps
    return _memory(operations, elements, bytes_per_element)


def materialised(architecture: Architecture, *, bytes_per_element: float = 2) -> tuple[tuple[LayerCost, int], ...]:
    """Table 3: at each size the largest single tensor that has to exist whole, and its bytes.

    Of an inverted residual only the output has to exist (and its expanded tensor, where shortcuts join those or a
    detector reads it); the stem and the last 1x1 of MobileNetV2 can be computed piece by piece with their neighbours,
    as the table assumes. Of MobileNetV1 every tensor counts, and of a detector what its levels read and its heads give.
    """
    inverted = any(isinstance(layer, InvertedResidual) for layer in architecture.layers)
    wanted = {"pool"}
    for layer in architecture.layers:
        if isinstance(layer, InvertedResidual):
            wanted.add(layer.project.name)
            if layer.expand and (layer.keeps_expansion or layer.adds_expansion):
                wanted.add(layer.expand.name)
        elif isinstance(layer, ExtraLevel | LevelHead):
            wanted.add(convolutions_of(layer)[-1].name)
        elif not inverted or (layer.name == "head" and architecture.task == "detection"):
            wanted |= {convolution.name for convolution in convolutions_of(layer)}
    largest: dict[tuple[int, ...], LayerCost] = {}
    for row in cost(architecture).layers:
        size = row.output[:-1]
        if row.name in wanted and (size not in largest or row.elements > largest[size].elements):
            largest[size] = row
    return tuple((row, math.ceil(row.elements * bytes_per_element)) for row in largest.values())


def _elements(architecture: Architecture) -> dict[str, int]:
    height, width = architecture.input_size
    pixels = {"input": height * width * architecture.input_channels}
    return pixels | {row.name: row.elements for row in cost(architecture).layers}


def _operations(architecture: Architecture) -> Iterator[tuple[Layer, list[_Operation]]]:
    """The layers with one operation a convolution, and the tensors that shortcuts join among the inputs."""
    current, expansion = "input", ""
    # A block or level is called by its own name where a head reads it, and its tensor by its last convolution's.
    last = {layer.name: convolutions_of(layer)[-1].name for layer in architecture.layers if convolutions_of(layer)}
    for layer in architecture.layers:
        if isinstance(layer, LevelHead):
            current = last.get(layer.source, layer.source)
        entered, steps = current, []
        for part in convolutions_of(layer) or (layer,):
            inputs = [current]
            if isinstance(layer, InvertedResidual):
                inputs += [entered] * (layer.adds_input and part is layer.project)
                if part is layer.expand:
                    inputs += [expansion] * layer.adds_expansion
                    expansion = part.name
            current = part.name
            steps.append(_Operation(current, tuple(inputs), (current,)))
        yield layer, steps


def _merge(block: Layer, steps: list[_Operation], elements: dict[str, int], splits: int | None) -> _Operation:
    """One operation of a block's several; the tensors that nothing outside needs become its inside."""
    assert isinstance(block, InvertedResidual)
    made = [step.name for step in steps]
    outputs = tuple(made[:1] * block.keeps_expansion + made[-1:])
    inputs = tuple(dict.fromkeys(name for step in steps for name in step.inputs if name not in made))
    inside = sum(elements[name] for name in made if name not in outputs)
    return _Operation(block.name, inputs, outputs, inside / splits if splits else 0)


def _memory(operations: list[_Operation], elements: dict[str, int], bytes_per_element: float) -> Memory:
    check_number("bytes_per_element", bytes_per_element, above=0)
    last_use = {name: index for index, step in enumerate(operations) for name in step.inputs}
    alive, steps = ["input"], []
    for index, step in enumerate(operations):
        alive += step.outputs
        needed = sum(elements[name] for name in alive) + step.inside
        steps.append(MemoryStep(step.name, tuple(alive), math.ceil(needed * bytes_per_element)))
        # What nothing reads is a result.
        alive = [name for name in alive if last_use.get(name, len(operations)) > index]
    return Memory(tuple(steps))
