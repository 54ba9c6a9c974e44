"""Operations lowered to what the native engine runs: its layers, and all weights in one array."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import (
    INPUT,
    Add,
    Architecture,
    Block,
    Concatenate,
    Convolve,
    Graph,
    Linear,
    Operation,
    Pool,
)
from linnet.engine.fold import fold
from linnet.engine.library import (
    AdditionLayer,
    ConcatenationLayer,
    ConvolutionLayer,
    DepthwiseLayer,
    LayerBody,
    LinearLayer,
    PoolingLayer,
    ProgramLayer,
    Window,
)
from linnet.engine.reference import RUN, Output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

PADDING = {"same": 0, "symmetric": 1}
RANGES = {"linear": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, eq=False)
class Program:
    """Layers for `linnet_network_open`, with names, and what is left to do behind them.

    Attributes:
        layers: in the order in which they run.
        inputs: numbers of the layers that each reads, one after the other; -1 is the picture.
        weights: of all layers, flat.
        numbers: names of tensors (`tensor_names`) → number of the layer that gives them.
        graph: what was lowered, folded.
        tail: operations at the end that only arrange results in rows; numpy runs them.
        outputs: names of the native tensors that `finish` is given.
    """

    layers: tuple[ProgramLayer, ...]
    inputs: tuple[int, ...]
    weights: NDArray[np.float32]
    numbers: Mapping[str, int]
    graph: Graph
    tail: tuple[Operation, ...]
    outputs: tuple[str, ...]

    def without_weights(self) -> Program:
        """The same without the weights, which a network holds packed."""
        return replace(self, weights=np.zeros(0, np.float32))

    def finish(self, arrays: Sequence[Array], names: Collection[str] = ()) -> tuple[Output, dict[str, Array]]:
        """The network's output (a tuple of several), and tensors by name, of the native tensors named by `outputs`."""
        values = dict(zip(self.outputs, arrays, strict=True))
        for operation in self.tail:
            read = [values[name] for name in operation.reads]
            values[operation.name] = RUN[type(operation)](operation, read, (None, None), False)
        outputs = tuple(values[name] for name in self.graph.outputs)
        kept = {name: values[self.graph.aliases[name]] for name in names}
        return (outputs if len(outputs) > 1 else outputs[0]), kept


def lower(
    network: Architecture | Graph, tensors: Mapping[str, NDArray[np.floating[Any]]], names: Collection[str] = ()
) -> Program:
    """The program of a network.

    Args:
        network: an architecture, or any list of operations.
        tensors: of its checkpoint; batch norm is folded.
        names: tensors that shall be there to ask for. What a shortcut adds to exists by itself only if it is named or
            read elsewhere: the engine adds as it writes.

    Raises:
        ValueError: if the engine has no kernel for an operation; the text names it.
    """
    graph, arrays = fold(network, tensors)
    tail = _tail(graph)
    kept = {*graph.outputs, *(graph.aliases[name] for name in names)}
    kept |= {name for operation in tail for name in operation.reads}
    last = {operation.name for operation in tail}
    native = [operation for operation in _in_order(graph) if operation.name not in last]
    lowering = _Lowering(graph, arrays, kept)
    for operation in native:
        if not has_kernel(operation):
            raise ValueError(
                f"The engine has no kernel for {operation.name!r} ({operation.kind}) as this network has it. Take the "
                "numpy runtime."
            )
        KERNELS[type(operation)](lowering, operation)
    del lowering.numbers[INPUT]
    for alias, name in graph.aliases.items():
        if name in lowering.numbers:
            lowering.numbers.setdefault(alias, lowering.numbers[name])
    outputs = tuple(name for name in graph.by_name if name in kept and name not in last)
    return Program(
        tuple(lowering.layers),
        tuple(lowering.inputs),
        np.concatenate(lowering.parts or [np.zeros(0, np.float32)]),
        lowering.numbers,
        graph,
        tail,
        outputs,
    )


def has_kernel(operation: Operation) -> bool:
    """Whether the engine runs it: on maps and vectors, with the windows that it has kernels for."""
    return type(operation) in KERNELS and len(operation.shape) != 2 and FITS[type(operation)](operation)


def _window_fits(operation: Convolve) -> bool:
    """Depthwise kernels are 3 x 3, others odd and at most 15; what reads the picture is not dilated."""
    kernels: Collection[int] = (3,) if operation.depthwise else range(1, 16, 2)
    first = INPUT in operation.reads
    return operation.kernel in kernels and operation.stride <= 2 and not (first and operation.dilation > 1)


def _reads_layers(operation: Operation) -> bool:
    return INPUT not in operation.reads


def _joins_channels(operation: Concatenate) -> bool:
    return len(operation.shape) == 3 and operation.axis == 2 and len(operation.reads) > 1 and _reads_layers(operation)


def _tail(graph: Graph) -> tuple[Operation, ...]:
    """Operations at the end without kernels and weights: those whose results nothing with a kernel reads."""
    tail: dict[str, Operation] = {}
    for operation in reversed(graph.operations):
        readers = graph.readers[operation.name]
        if not (has_kernel(operation) or operation.tensors) and all(reader in tail for reader in readers):
            tail[operation.name] = operation
    return tuple(reversed(tail.values()))


def _in_order(graph: Graph) -> list[Operation]:
    """The operations, blocks that no other block reads as soon as they can run: what they read need not be kept."""
    native = [group for group in graph.groups if all(map(has_kernel, group.operations))]
    inner = {name for group in native for name in group.reads}
    early = [group for group in native if not inner & {operation.name for operation in group.operations}]
    order: dict[str, Block] = {}
    done = {INPUT}
    for group in graph.groups:
        for next_ in (group, *early):
            if next_.name not in order and (next_ is group or done.issuperset(next_.reads)):
                order[next_.name] = next_
                done.update(operation.name for operation in next_.operations)
    return [operation for group in order.values() for operation in group.operations]


@dataclass
class _Lowering:
    """Layers so far, where their inputs and weights stand, and which tensors have to exist."""

    graph: Graph
    tensors: Mapping[str, NDArray[np.float32]]
    kept: set[str]
    layers: list[ProgramLayer] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=lambda: {INPUT: -1})
    parts: list[NDArray[np.float32]] = field(default_factory=list)
    size: int = 0
    sums: dict[str, str] = field(default_factory=dict)
    """Name of a sum → the convolution that was recorded with it."""

    def record(self, operation: Operation, own: LayerBody, reads: Sequence[str] | None = None) -> None:
        """Appends a layer of an operation that reads these, by default what the operation reads."""
        numbers = [self.numbers[name] for name in reads or operation.reads]
        self.layers.append(ProgramLayer.of(own, len(self.inputs), len(numbers)))
        self.inputs += numbers
        self.numbers[operation.name] = len(self.layers) - 1

    def channels(self, operation: Operation) -> tuple[int, int]:
        """Of its first input and of its output."""
        return self.graph.shape_of(operation.reads[0])[-1], self.graph.shape_of(operation.name)[-1]

    def added_to(self, operation: Operation) -> str | None:
        """What a shortcut adds to an operation, if its sum is all that is read of it: the engine adds as it writes."""
        readers = self.graph.readers[operation.name]
        total = self.graph.by_name[readers[0]] if len(readers) == 1 else None
        if operation.name in self.kept or not isinstance(total, Add):
            return None
        other = next((name for name in total.reads if name != operation.name), None)
        # Of two convolutions with one sum, the later one has it.
        return other if other in self.numbers and other != INPUT and total.name not in self.sums else None

    def places(self, operation: Operation) -> list[int]:
        """Where the values of an operation's weights and bias begin, which are put behind those that are there."""
        return [self.place(self.tensors[name]) for name in operation.tensors]

    def place(self, tensor: NDArray[np.float32]) -> int:
        """Where the values begin of a tensor that is put behind those that are there."""
        values = np.ascontiguousarray(tensor, np.float32).ravel()
        self.parts.append(values)
        self.size += values.size
        return self.size - values.size


def _convolve(lowering: _Lowering, operation: Convolve) -> None:
    window = Window(operation.kernel, operation.stride, operation.dilation, PADDING[operation.padding])
    inputs, outputs = lowering.channels(operation)
    clamp, places = RANGES[operation.activation], lowering.places(operation)
    if operation.depthwise:
        lowering.record(operation, DepthwiseLayer(outputs, window, *clamp, *places))
        return
    added = lowering.added_to(operation)
    own = ConvolutionLayer(inputs, outputs, window, *clamp, *places)
    lowering.record(operation, own, (*operation.reads, *([added] if added else [])))
    if added:
        lowering.sums[lowering.graph.readers[operation.name][0]] = operation.name


def _add(lowering: _Lowering, operation: Add) -> None:
    """A layer of its own, unless one of its terms was recorded with the sum."""
    if (term := lowering.sums.get(operation.name)) is not None:
        lowering.numbers[operation.name] = lowering.numbers[term]
    else:
        lowering.record(operation, AdditionLayer(lowering.channels(operation)[1], *RANGES["linear"]))


def _linear(lowering: _Lowering, operation: Linear) -> None:
    places = lowering.places(operation)
    if not operation.bias:
        places.append(lowering.place(np.zeros(operation.out_channels, np.float32)))
    own = LinearLayer(*lowering.channels(operation), *RANGES[operation.activation], *places)
    lowering.record(operation, own)


def _of_channels(kind: type[PoolingLayer | ConcatenationLayer]) -> Callable[[_Lowering, Operation], None]:
    """Records a layer that has nothing of its own but the channels of its output."""
    return lambda lowering, operation: lowering.record(operation, kind(lowering.channels(operation)[1]))


KERNELS: dict[type[Operation], Callable[[_Lowering, Any], None]] = {
    Convolve: _convolve,
    Add: _add,
    Pool: _of_channels(PoolingLayer),
    Linear: _linear,
    Concatenate: _of_channels(ConcatenationLayer),
}
"""Kind of operation → what records it."""

FITS: dict[type[Operation], Callable[[Any], bool]] = {
    Convolve: lambda operation: _window_fits(operation) and not (operation.depthwise and INPUT in operation.reads),
    Add: _reads_layers,
    Pool: _reads_layers,
    Linear: _reads_layers,
    Concatenate: _joins_channels,
}
"""Kind of operation → whether the engine has a kernel for one."""
