"""What a network costs: parameters, multiply-adds and activation memory, per layer and in all.

Multiply-adds count convolutions and linear layers; parameters count weights, biases and batch-norm scale and shift.
Memory is counted as the paper does (Table 3, section 5.1 and its formula 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from linnet.architecture.graph import Block, Graph
from linnet.architecture.network import Architecture, check_number
from linnet.architecture.operations import INPUT, Convolve, Linear, Operation, Pool


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


def cost(network: Architecture | Graph) -> Cost:
    """Parameters and multiply-adds of every convolution, the pooling and the classifier.

    Additions, concatenations and reshapes cost neither, and have no row.

    Examples:
        >>> from linnet.architecture import MobileNetV2
        >>> cost(MobileNetV2()).multiply_adds
        300774272
    """
    return Cost(tuple(_row(each) for each in graph_of(network).operations if isinstance(each, COSTED)))


def graph_of(network: Architecture | Graph) -> Graph:
    """The operations of a network, however it is given."""
    return network if isinstance(network, Graph) else network.graph


COSTED = (Convolve, Linear, Pool)
"""Kinds of operations that have a row."""

PARAMETERS = ("weight", "bias", "scale", "shift")
"""Tensors that are learnt; batch norm's statistics are measured."""


def _row(operation: Operation) -> LayerCost:
    """What follows from an operation's tensors: every place of its map multiplies by each weight once."""
    sizes = {name.rpartition(".")[2]: math.prod(shape) for name, shape in operation.tensors.items()}
    multiply_adds = sizes.get("weight", 0) * math.prod(operation.shape[:-1])
    parameters = sum(sizes.get(name, 0) for name in PARAMETERS)
    return LayerCost(operation.label, operation.kind, operation.shape, parameters, multiply_adds)


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
class _Step:
    """A step of the computation: what it reads, what it writes, and what it holds inside while it runs."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    inside: float = 0


def layerwise_memory(network: Architecture | Graph, *, bytes_per_element: float = 4) -> Memory:
    """Memory when every convolution is an operation of its own: formula (2) of section 5.1.

    Inputs and outputs of an operation count together with everything that a later one still needs, so a shortcut
    keeps its source alive. Sums are written in place, and outputs that are joined are written where they belong.
    """
    graph = graph_of(network)
    steps = [step for group in graph.groups for step in _steps(graph, group)]
    return _memory(graph, steps, bytes_per_element)


def block_memory(network: Architecture | Graph, *, bytes_per_element: float = 4, splits: int | None = None) -> Memory:
    """Memory when an inverted residual is one operation (section 5.1).

    Args:
        network: the network.
        bytes_per_element: 4 for float32, 2 for the paper's 16-bit activations.
        splits: None counts the block's input and output only, as the paper's bound does. A number t adds what
            a t-way split holds inside: 1/t of the expanded tensor and of the depthwise output (n/t channels
            as in the paper, not rounded to whole ones).

    With the shortcut between expansions the wide tensors are inputs and outputs of their blocks and can be neither
    split nor discarded: that is why the paper's residual is inverted.
    """
    if splits is not None and (not isinstance(splits, int) or splits < 1):
        raise ValueError(f"`splits` (={splits!r}) must be a whole number from 1, or None.")
    graph = graph_of(network)
    steps: list[_Step] = []
    for group in graph.groups:
        own = _steps(graph, group)
        steps += [_merge(graph, group, own, splits)] if group.kind == INVERTED else own
    return _memory(graph, steps, bytes_per_element)


INVERTED = "inverted residual"
"""Kind of the blocks that section 5.1 runs as one."""

WHOLE = (
    INVERTED,
    *("extra level", "box head", "class head"),
    *("atrous pyramid", "projection", "decoder", "pixel classifier"),
)
"""Kinds of blocks whose result has to exist whole."""


def materialised(network: Architecture | Graph, *, bytes_per_element: float = 2) -> tuple[tuple[LayerCost, int], ...]:
    """Table 3: at each size the largest single tensor that has to exist whole, and its bytes.

    Of an inverted residual only what leaves it has to exist; the stem and the last 1x1 of MobileNetV2 can be computed
    piece by piece with their neighbours, as the table assumes, unless several blocks read them. Of MobileNetV1 every
    tensor counts, and of a detector what its levels read and its heads give; so it is with a segmenter.
    """
    graph = graph_of(network)
    tensors, inverted = _tensors(graph), any(block.kind == INVERTED for block in graph.groups)
    whole = {"pool"}
    for block in graph.groups:
        if block.kind in WHOLE:
            sums = {operation.name for operation in block.operations if operation.storage == "first"}
            whole |= {tensors[name] for name in {*graph.leaves(block), *sums}}
        elif not inverted or sum(block.result.name in other.reads for other in graph.groups) > 1:
            whole |= {tensors[each.name] for each in block.convolutions}
    largest: dict[tuple[int, ...], LayerCost] = {}
    for row in cost(graph).layers:
        size = row.output[:-1]
        if row.name in whole and (size not in largest or row.elements > largest[size].elements):
            largest[size] = row
    return tuple((row, math.ceil(row.elements * bytes_per_element)) for row in largest.values())


def _tensors(graph: Graph) -> dict[str, str]:
    """Name of each operation's tensor → what the memory that it stands in is called: sums stand where a term stood."""
    found = {INPUT: INPUT}
    for operation in graph.operations:
        first = operation.reads[0]
        free = graph.readers[first] == (operation.name,) and first not in (INPUT, *graph.outputs)
        shares = operation.storage == "view" or (operation.storage == "first" and free)
        found[operation.name] = found[first] if shares else operation.label
    return found


def _steps(graph: Graph, block: Block) -> list[_Step]:
    """One step an operation; a sum in place belongs to the step before, and outputs that are joined need none."""
    tensors, steps = _tensors(graph), list[_Step]()
    for operation in block.operations:
        inputs, output = tuple(tensors[name] for name in operation.reads), tensors[operation.name]
        joined = len(operation.reads) > 1 and operation.name in graph.outputs and not graph.readers[operation.name]
        if operation.storage == "view" or (joined and operation.storage == "own"):
            continue
        if steps and output in inputs and steps[-1].outputs == (output,):
            steps[-1] = _Step(output, (*steps[-1].inputs, *(name for name in inputs if name != output)), (output,))
        else:
            steps.append(_Step(output, inputs, () if output in inputs else (output,)))
    return steps


def _merge(graph: Graph, block: Block, steps: list[_Step], splits: int | None) -> _Step:
    """One step of a block's several; the tensors that nothing outside needs become its inside."""
    tensors = _tensors(graph)
    elements = _elements(graph, tensors)
    left = {tensors[name] for name in graph.leaves(block)}
    made = [name for step in steps for name in step.outputs]
    outputs = tuple(name for name in made if name in left)
    inputs = tuple(dict.fromkeys(name for step in steps for name in step.inputs if name not in made))
    inside = sum(elements[name] for name in made if name not in left)
    return _Step(block.name, inputs, outputs, inside / splits if splits else 0)


def _elements(graph: Graph, tensors: dict[str, str]) -> dict[str, int]:
    """Numbers in the picture and in each piece of memory."""
    sizes = {tensors[each.name]: math.prod(each.shape) for each in graph.operations}
    return {INPUT: math.prod(graph.input_shape)} | sizes


def _memory(graph: Graph, operations: list[_Step], bytes_per_element: float) -> Memory:
    check_number("bytes_per_element", bytes_per_element, above=0)
    tensors = _tensors(graph)
    elements, results = _elements(graph, tensors), {tensors[name] for name in graph.outputs}
    last_use = {name: index for index, step in enumerate(operations) for name in step.inputs}
    alive, steps = [INPUT], []
    for index, step in enumerate(operations):
        alive += step.outputs
        needed = sum(elements[name] for name in alive) + step.inside
        steps.append(MemoryStep(step.name, tuple(alive), math.ceil(needed * bytes_per_element)))
        # What nothing reads is a result too: the outputs joined of it are not counted.
        alive = [name for name in alive if name in results or last_use.get(name, len(operations)) > index]
    return Memory(tuple(steps))
