"""Operations lowered to what the native engine runs: its layers, and the data that they point to.

The engine computes a quantised network with bytes, whichever of int8 and uint8 it has: an integer of int8 is its byte
less 128.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from mmap import mmap
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
    Resize,
)
from linnet.architecture.cost import graph_of
from linnet.architecture.operations import Grid
from linnet.engine.fold import fold
from linnet.engine.integer_reference import compute
from linnet.engine.library import (
    FLOAT32,
    UINT8,
    AdditionLayer,
    ConcatenationLayer,
    ConvolutionLayer,
    DepthwiseLayer,
    DequantizeLayer,
    IntegerRule,
    LayerBody,
    LinearLayer,
    PoolingLayer,
    ProgramLayer,
    QuantizeLayer,
    ResizingLayer,
    SumRule,
    Window,
)
from linnet.engine.reference import RUN, Output
from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding, IntegerType, Quantisation
from linnet.quantisation.tensors import check_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

PADDING = {"same": 0, "symmetric": 1}
GRIDS: dict[Grid, int] = {"align_corners": 0, "half_pixel": 1, "asymmetric": 2}
"""As linnet.h numbers them."""
RANGES = {"linear": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, eq=False)
class Program:
    """Layers for `linnet_network_open`, with names, and what is left to do behind them.

    Attributes:
        layers: in the order in which they run.
        inputs: numbers of the layers that each reads, one after the other; -1 is the picture.
        data: weights, biases and what else layers point to, as bytes; each begins at a multiple of 4.
        numbers: names of tensors (`tensor_names`) → number of the layer that gives them.
        graph: what was lowered, folded.
        tail: operations at the end that only arrange results in rows; numpy runs them.
        outputs: names of the native tensors that `finish` is given.
        quantisation: of a quantised network.
    """

    layers: tuple[ProgramLayer, ...]
    inputs: tuple[int, ...]
    data: NDArray[np.uint8]
    numbers: Mapping[str, int]
    graph: Graph
    tail: tuple[Operation, ...]
    outputs: tuple[str, ...]
    quantisation: Quantisation | None = None

    def without_weights(self) -> Program:
        """The same without the weights, which a network holds packed."""
        return replace(self, data=np.zeros(0, np.uint8))

    def table(self, values: Array) -> NDArray[np.float32 | np.uint8]:
        """What each value of a picture's bytes stands for, (channels, 256), in the numbers that layers compute with.

        Of a quantised network these are integers, or what they stand for if what reads the picture stays in float.
        """
        if self.quantisation is None:
            return values
        encoding, dtype = self.quantisation.encodings[INPUT], self.quantisation.dtype
        whole = rule.quantise(values, encoding, dtype)
        if self.layers[0].precision == FLOAT32:
            return rule.dequantise(whole, encoding)
        return whole.view(np.uint8) + np.uint8(zero_of(dtype))

    def finish(self, arrays: Sequence[NDArray[Any]], names: Collection[str] = ()) -> tuple[Output, dict[str, Array]]:
        """The network's output (a tuple of several), and tensors by name, of the native tensors named by `outputs`.

        All are float32: of a quantised network what its integers stand for.
        """
        # What is a map of one pixel to the network is a vector to the engine.
        shaped = [
            array.reshape(len(array), *self.graph.shape_of(name)) if array.ndim == 2 else array
            for name, array in zip(self.outputs, arrays, strict=True)
        ]
        values, wanted = dict(zip(self.outputs, shaped, strict=True)), {self.graph.aliases[name] for name in names}
        if self.quantisation is not None:
            dtype, encodings = self.quantisation.dtype, self.quantisation.encodings
            values = {name: (array - np.uint8(zero_of(dtype))).view(dtype) for name, array in values.items()}
        for operation in self.tail:
            read = [values[name] for name in operation.reads]
            if self.quantisation is None:
                values[operation.name] = RUN[type(operation)](operation, read, (None, None), False)
            else:
                values[operation.name] = compute(operation, read, self.quantisation)
        if self.quantisation is not None:
            values = {name: rule.dequantise(values[name], encodings[name]) for name in wanted.union(self.graph.outputs)}
        outputs = tuple(values[name] for name in self.graph.outputs)
        kept = {name: values[self.graph.aliases[name]] for name in names}
        return (outputs if len(outputs) > 1 else outputs[0]), kept


def zero_of(dtype: IntegerType) -> int:
    """The byte of the engine that is the integer 0 of a type."""
    return 128 if dtype == "int8" else 0


def lower(
    network: Architecture | Graph,
    tensors: Mapping[str, NDArray[Any]],
    names: Collection[str] = (),
    quantisation: Quantisation | None = None,
) -> Program:
    """The program of a network.

    Args:
        network: an architecture, or any list of operations.
        tensors: of its checkpoint; batch norm is folded.
        names: tensors that shall be there to ask for. What a shortcut adds to exists by itself only if it is named or
            read elsewhere: the engine adds as it writes.
        quantisation: of its checkpoint, if that is quantised.

    Raises:
        ValueError: if the engine has no kernel for an operation; the text names it.
    """
    if quantisation is None:
        graph, arrays = fold(network, tensors)
    else:
        graph, arrays = graph_of(network), dict(tensors)
        check_tensors(graph, arrays, quantisation)
    tail = _tail(graph)
    kept = {*graph.outputs, *(graph.aliases[name] for name in names)}
    kept |= {name for operation in tail for name in operation.reads}
    last = {operation.name for operation in tail}
    native = [operation for operation in _in_order(graph) if operation.name not in last]
    lowering = _Lowering(graph, arrays, kept, quantisation)
    for operation in native:
        if not has_kernel(operation):
            raise ValueError(
                f"The engine has no kernel for {operation.name!r} ({operation.kind}) as this network has it. Take the "
                "numpy runtime."
            )
        lowering.lower(operation)
    del lowering.numbers[INPUT]
    for alias, name in graph.aliases.items():
        if name in lowering.numbers:
            lowering.numbers.setdefault(alias, lowering.numbers[name])
    outputs = tuple(name for name in graph.by_name if name in kept and name not in last)
    return Program(
        tuple(lowering.layers),
        tuple(lowering.inputs),
        lowering.data(),
        lowering.numbers,
        graph,
        tail,
        outputs,
        quantisation,
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
    tensors: Mapping[str, NDArray[Any]]
    kept: set[str]
    quantisation: Quantisation | None = None
    layers: list[ProgramLayer] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=lambda: {INPUT: -1})
    parts: list[NDArray[np.uint8]] = field(default_factory=list)
    size: int = 0
    sums: dict[str, str] = field(default_factory=dict)
    """Name of a sum → the convolution that was recorded with it."""
    vectors: set[str] = field(default_factory=set)
    """Names of maps of one pixel that are vectors to the engine: what was pooled, and convolutions of that."""

    def lower(self, operation: Operation) -> None:
        """Records an operation; in a quantised network one that runs in float between two conversions."""
        if self.quantisation is None or operation.name not in self.quantisation.floating:
            KERNELS[type(operation)](self, operation)
            return
        own = {name: self.numbers[name] for name in operation.reads if name != INPUT or self.mixes_readers}
        for name, number in own.items():
            channels, zero = self.graph.shape_of(name)[-1], self.zero(name)
            given = DequantizeLayer(channels, zero, self.encoding(name).scale)
            self.numbers[name] = self._append(given, [self.picture if name == INPUT else number], FLOAT32)
        KERNELS[type(operation)](self, operation)
        self.numbers |= own
        body = QuantizeLayer(
            self.graph.shape_of(operation.name)[-1], self.zero(operation.name), self.encoding(operation.name).scale
        )
        self.numbers[operation.name] = self._append(body, [self.numbers[operation.name]], UINT8, IntegerRule())

    @property
    def mixes_readers(self) -> bool:
        """Whether some operations that read the picture compute with bytes and others in float."""
        readers = [self.graph.by_name[name] for name in self.graph.readers[INPUT]]
        return len({self.computes_with_bytes(operation) for operation in readers}) > 1

    @cached_property
    def picture(self) -> int:
        """The layer that gives the picture's bytes as they are: of those that read the picture all compute alike."""
        channels, zero = self.graph.shape_of(INPUT)[-1], self.zero(INPUT)
        places = [self.place(np.eye(channels, dtype=np.int8)), self.place(np.zeros(channels, np.int32))]
        body = ConvolutionLayer(channels, channels, Window(1, 1, 1, PADDING["same"]), *RANGES["linear"], *places)
        integers = IntegerRule(input_zero=zero, zero=zero, lowest=0, highest=255)
        integers.multipliers = self.place(np.ones(channels, np.float32))
        return self._append(body, [self.numbers[INPUT]], UINT8, integers)

    def record(self, operation: Operation, own: LayerBody, reads: Sequence[str] | None = None) -> None:
        """Appends a layer of an operation that reads these, by default what the operation reads."""
        reads = reads or operation.reads
        numbers, integers = [self.numbers[name] for name in reads], None
        if self.computes_with_bytes(operation):
            integers = INTEGERS[type(operation)](self, operation)
            if len(reads) > len(operation.reads):
                integers.sum = self.sum_rule(operation.name, reads[-1], self.graph.readers[operation.name][0])
        precision = FLOAT32 if integers is None else UINT8
        self.numbers[operation.name] = self._append(own, numbers, precision, integers)

    def _append(
        self, own: LayerBody, numbers: Sequence[int], precision: int, integers: IntegerRule | None = None
    ) -> int:
        layer = ProgramLayer.of(own, len(self.inputs), len(numbers), precision=precision, integers=integers)
        self.layers.append(layer)
        self.inputs += numbers
        return len(self.layers) - 1

    def computes_with_bytes(self, operation: Operation) -> bool:
        """Whether an operation runs on integers."""
        return self.quantisation is not None and operation.name not in self.quantisation.floating

    def encoding(self, name: str) -> Encoding:
        """Of a tensor of a quantised network."""
        assert self.quantisation is not None
        return self.quantisation.encodings[name]

    def zero(self, name: str) -> int:
        """The byte that stands for 0 in a tensor."""
        assert self.quantisation is not None
        return self.encoding(name).zero + zero_of(self.quantisation.dtype)

    def rule_of(self, operation: Operation, activation: str = "linear") -> IntegerRule:
        """Zeros and bounds of an operation."""
        assert self.quantisation is not None
        dtype = self.quantisation.dtype
        lowest, highest = (
            bound + zero_of(dtype) for bound in rule.bounds(dtype, self.encoding(operation.name), activation)
        )
        return IntegerRule(
            input_zero=self.zero(operation.reads[0]), zero=self.zero(operation.name), lowest=lowest, highest=highest
        )

    def sum_rule(self, first: str, other: str, total: str) -> SumRule:
        """How two tensors are added."""
        factors, shift = rule.addition((self.encoding(first), self.encoding(other)), self.encoding(total))
        return SumRule(*factors, shift, self.zero(first), self.zero(other), self.zero(total), 0, 255)

    def channels(self, operation: Operation) -> tuple[int, int]:
        """Of its first input and of its output."""
        return self.graph.shape_of(operation.reads[0])[-1], self.graph.shape_of(operation.name)[-1]

    def added_to(self, operation: Operation) -> str | None:
        """What a shortcut adds to an operation, if its sum is all that is read of it: the engine adds as it writes."""
        readers = self.graph.readers[operation.name]
        total = self.graph.by_name[readers[0]] if len(readers) == 1 else None
        if operation.name in self.kept or total is None or not total.adds:
            return None
        if self.quantisation is not None and not {operation.name, total.name}.isdisjoint(self.quantisation.floating):
            return None
        other = next((name for name in total.reads if name != operation.name), None)
        # Of two convolutions with one sum, the later one has it.
        return other if other in self.numbers and other != INPUT and total.name not in self.sums else None

    def places(self, operation: Operation) -> list[int]:
        """Where the values of an operation's weights and bias begin, which are put behind those that are there."""
        weight, bias = (self.tensors.get(f"{operation.label}.{part}") for part in ("weight", "bias"))
        assert weight is not None
        if bias is None:
            bias = np.zeros(len(weight), np.int32)
        if not self.computes_with_bytes(operation):
            weight, bias = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
        elif weight.dtype == np.uint8:
            weight = (weight - np.uint8(128)).view(np.int8)
        return [self.place(weight), self.place(bias)]

    def data(self) -> NDArray[np.uint8]:
        """All values that were placed, in memory that the system has back as soon as nobody holds them.

        What an allocator has given once it often keeps, and a network's weights are twice there then.
        """
        if not self.parts:
            return np.zeros(0, np.uint8)
        whole = np.frombuffer(mmap(-1, self.size), np.uint8)
        return np.concatenate(self.parts, out=whole)

    def place(self, values: NDArray[Any]) -> int:
        """Where values begin that are put behind those that are there."""
        flat = np.ascontiguousarray(values).ravel().view(np.uint8)
        self.parts += [flat, np.zeros(-flat.size % 4, np.uint8)]
        self.size += flat.size + -flat.size % 4
        return self.size - flat.size - -flat.size % 4


def _convolve(lowering: _Lowering, operation: Convolve) -> None:
    window = Window(operation.kernel, operation.stride, operation.dilation, PADDING[operation.padding])
    inputs, outputs = lowering.channels(operation)
    clamp, places = RANGES[operation.activation], lowering.places(operation)
    if operation.reads[0] in lowering.vectors:
        if operation.kernel > 1 or operation.depthwise:
            raise ValueError(f"The engine has no kernel for {operation.name!r}, which filters a single pixel.")
        lowering.record(operation, LinearLayer(inputs, outputs, *clamp, *places))
        lowering.vectors.add(operation.name)
        return
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
    own = LinearLayer(*lowering.channels(operation), *RANGES[operation.activation], *lowering.places(operation))
    lowering.record(operation, own)


def _pool(lowering: _Lowering, operation: Pool) -> None:
    lowering.record(operation, PoolingLayer(lowering.channels(operation)[1]))
    lowering.vectors.add(operation.name)


def _concatenate(lowering: _Lowering, operation: Concatenate) -> None:
    lowering.record(operation, ConcatenationLayer(lowering.channels(operation)[1]))


def _resize(lowering: _Lowering, operation: Resize) -> None:
    lowering.record(operation, ResizingLayer(lowering.channels(operation)[1], operation.stride, GRIDS[operation.grid]))


KERNELS: dict[type[Operation], Callable[[_Lowering, Any], None]] = {
    Convolve: _convolve,
    Add: _add,
    Pool: _pool,
    Linear: _linear,
    Concatenate: _concatenate,
    Resize: _resize,
}
"""Kind of operation → what records it."""


def _weighted_rule(lowering: _Lowering, operation: Convolve | Linear) -> IntegerRule:
    integers = lowering.rule_of(operation, operation.activation)
    scale = lowering.tensors[f"{operation.label}.weight.scale"]
    factor = rule.multiplier(lowering.encoding(operation.reads[0]), scale, lowering.encoding(operation.name))
    integers.multipliers = lowering.place(np.broadcast_to(factor, (lowering.channels(operation)[1],)))
    zero = lowering.tensors.get(f"{operation.label}.weight.zero")
    integers.weight_zero = 0 if zero is None else int(zero[0]) - 128
    return integers


def _add_rule(lowering: _Lowering, operation: Add) -> IntegerRule:
    integers = lowering.rule_of(operation)
    first, second = operation.reads
    integers.sum = lowering.sum_rule(first, second, operation.name)
    return integers


def _pool_rule(lowering: _Lowering, operation: Pool) -> IntegerRule:
    assert lowering.quantisation is not None
    integers = lowering.rule_of(operation)
    given, result = (np.float32(lowering.encoding(name).scale) for name in (operation.reads[0], operation.name))
    integers.ratio = given / result
    integers.average = int(lowering.quantisation.pooling == "average")
    integers.raw_zero = zero_of(lowering.quantisation.dtype)
    return integers


def _joining_rule(lowering: _Lowering, operation: Concatenate) -> IntegerRule:
    """With a table of what becomes of each byte of each tensor that is joined."""
    assert lowering.quantisation is not None
    dtype, zero = lowering.quantisation.dtype, np.uint8(zero_of(lowering.quantisation.dtype))
    every = (np.arange(256, dtype=np.uint8) - zero).view(dtype)
    given, result = (lowering.encoding(name) for name in operation.reads), lowering.encoding(operation.name)
    how = lowering.quantisation.joining
    tables = [rule.recode(every, encoding, result, dtype, how).view(np.uint8) + zero for encoding in given]
    integers = lowering.rule_of(operation)
    integers.tables = lowering.place(np.concatenate(tables))
    return integers


INTEGERS: dict[type[Operation], Callable[[_Lowering, Any], IntegerRule]] = {
    Convolve: _weighted_rule,
    Add: _add_rule,
    Pool: _pool_rule,
    Linear: _weighted_rule,
    Concatenate: _joining_rule,
    Resize: _Lowering.rule_of,
}
"""Kind of operation → what its layer has beside its body where it computes with bytes."""

FITS: dict[type[Operation], Callable[[Any], bool]] = {
    Convolve: lambda operation: _window_fits(operation) and not (operation.depthwise and INPUT in operation.reads),
    Add: _reads_layers,
    Pool: _reads_layers,
    Linear: _reads_layers,
    Concatenate: _joins_channels,
    Resize: _reads_layers,
}
"""Kind of operation → whether the engine has a kernel for one."""
