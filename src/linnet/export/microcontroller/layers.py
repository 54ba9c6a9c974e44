"""What a microcontroller computes of a network: the engine's program, layer by layer, in int8.

The engine's bytes less 128 are int8, of uint8 networks too: zero points and limits move along, results stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Add, Convolve, Linear, Operation, Pool
from linnet.architecture.operations import Weighted
from linnet.engine.library import FLOAT32, ProgramLayer
from linnet.engine.program import Program, lower, zero_of
from linnet.quantisation import fixed_point, rule
from linnet.quantisation.scheme import Encoding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.checkpoint import Checkpoint

BYTE_ZERO = 128
"""The byte of the engine that is 0 in int8."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What a layer sums, and how its sums become int8.

    Attributes:
        weights: int8, (outputs, inputs of an output), those of a window tap by tap; of a depthwise layer (9, channels).
        bias: int32, (outputs,), with what the zero points make of all weights.
        factors: float32 (outputs,), or `fixed_point.Multipliers`.
        zero: of the result.
        limits: the least and the largest result.
        weight_zero: of the weights.
        once: fixed point rounds the sums once, as those of a linear layer, not twice.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    factors: NDArray[np.float32] | fixed_point.Multipliers
    zero: int
    limits: tuple[int, int]
    weight_zero: int
    once: bool

    @property
    def outputs(self) -> int:
        """Channels that it gives."""
        return len(self.bias)


@dataclass(frozen=True)
class Sum:
    """How two tensors are added: multipliers, how far the sum is shifted, zero points of both and of the sum.

    In fixed point the multipliers are those of both terms and of the sum, each with its shift.
    """

    factors: tuple[int, ...]
    shifts: tuple[int, ...]
    zeros: tuple[int, int, int]


@dataclass(frozen=True)
class Mean:
    """How the sum of a map becomes its mean.

    Attributes:
        pixels: of the map.
        raw: what an integer of the network is more than its int8: 128 of uint8, else 0.
        average: the sum over the pixels, halves away from zero: then no factor and no offset.
        factor: the sum, less `zero` in fixed point, is multiplied by it: a number, or multiplier and shift.
        offset: added to that, with the zero point of the result.
        zero: what all pixels sum up to where they are 0.
        limits: the least and the largest result, of the network's own integers.
    """

    pixels: int
    raw: int
    average: bool
    factor: float | tuple[int, int]
    offset: float | int
    zero: int
    limits: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    Attributes:
        operation: what it computes.
        reads: number of the layer that it reads; -1 for the picture.
        added: number of the layer that is added to that of the result (of an addition: to what it reads); None: none.
        input_zero: zero point of what it reads: what stands outside of a map.
        total: how it adds.
        weights: of a convolution or a linear layer.
        window: the convolution, where it has a window of more than one pixel or steps over some.
        mean: of a pooling.
    """

    operation: Operation
    reads: int
    added: int | None
    input_zero: int
    total: Sum | None
    weights: Weights | None = None
    window: Convolve | None = None
    mean: Mean | None = None

    @property
    def name(self) -> str:
        """Of the tensor that it gives, without the sum."""
        return self.operation.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of its result; a vector is a map of one pixel."""
        shape = self.operation.shape
        return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, shape[0])

    @property
    def depthwise(self) -> bool:
        """Whether each channel is filtered by itself."""
        return self.operation.depthwise


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of an output: a layer's result, whose integers go through a table if their encoding is another."""

    layer: int
    table: NDArray[np.int8] | None


@dataclass(frozen=True, eq=False)
class Output:
    """What the network gives: integers, scale and zero point."""

    name: str
    pieces: tuple[Piece, ...]
    scale: float
    zero: int
    size: int


@dataclass(frozen=True, eq=False)
class Network:
    """All layers, what each value of a picture's bytes is, (channels, 256) int8, and the outputs.

    `input_shape` is height, width and channels of the picture.
    """

    layers: tuple[Layer, ...]
    table: NDArray[np.int8]
    outputs: tuple[Output, ...]
    input_shape: tuple[int, int, int]


def network_of(checkpoint: Checkpoint, values: NDArray[np.float32], *, fixed: bool) -> Network:
    """The layers of a quantised network.

    Args:
        checkpoint: of it.
        values: what each value of a picture's bytes stands for, (channels, 256).
        fixed: sums are multiplied by integers, as in TensorFlow Lite's reference kernels, not by floats.

    Raises:
        ValueError: if something of it cannot run; the text says what.
    """
    assert checkpoint.quantisation is not None
    program = lower(checkpoint.architecture, checkpoint.tensors, quantisation=checkpoint.quantisation)
    reading = _Reading(program, checkpoint.tensors, fixed)
    layers = tuple(reading.layer(number) for number in range(len(program.layers)))
    height, width, channels = program.graph.input_shape
    outputs = tuple(_output(program, name) for name in program.graph.outputs)
    table = np.broadcast_to(_moved(program.table(values)), (channels, 256))
    return Network(layers, table, outputs, (height, width, channels))


def _moved(values: NDArray[Any]) -> NDArray[np.int8]:
    """The engine's bytes as int8."""
    return (values.astype(np.int16) - BYTE_ZERO).astype(np.int8)


class _Reading:
    """A program, read layer by layer.

    Attributes:
        operations: number of each layer → the operation that it begins with.
        sums: number of each layer that adds → the addition.
    """

    def __init__(self, program: Program, scales: Mapping[str, NDArray[Any]], fixed: bool) -> None:
        assert program.quantisation is not None
        self.program, self.scales, self.fixed, self.quantisation = program, scales, fixed, program.quantisation
        self.operations: dict[int, Operation] = {}
        self.sums: dict[int, Operation] = {}
        for name, operation in program.graph.by_name.items():
            if name in program.numbers:
                self.operations.setdefault(program.numbers[name], operation)
                if operation.adds:
                    self.sums[program.numbers[name]] = operation

    def layer(self, number: int) -> Layer:
        """One layer."""
        given, operation = self.program.layers[number], self.operations.get(number)
        if operation is None or given.precision == FLOAT32:
            names = ", ".join(self.quantisation.floating)
            raise ValueError(f"The network computes {names} in float; a C file is made of integers only. Quantize all.")
        reads = self.program.inputs[given.first_input : given.first_input + given.input_count]
        return Layer(
            operation,
            reads[0],
            reads[1] if len(reads) > 1 else None,
            given.integers.input_zero - BYTE_ZERO,
            self.total(number) if len(reads) > 1 else None,
            **PARTS.get(type(operation), _refuse)(self, given, operation),
        )

    def encoding(self, name: str) -> Encoding:
        return self.quantisation.encodings[name]

    def moved(self, value: int) -> int:
        """An integer of the network as int8."""
        return value + zero_of(self.quantisation.dtype) - BYTE_ZERO

    def array(self, place: int, count: int, kind: Any) -> NDArray[Any]:
        size = count * np.dtype(kind).itemsize
        return self.program.data[place : place + size].view(kind)

    def weights(self, given: ProgramLayer, operation: Weighted, *, once: bool = False) -> Weights:
        own: Any = given.own
        integers, depthwise = given.integers, operation.depthwise
        shape = operation.tensors[f"{operation.label}.weight"]
        outputs, inputs = shape[:2]
        raw = self.array(own.weights, math.prod(shape), np.int8).reshape(outputs, inputs, -1)
        bias = self.array(own.bias, outputs, np.int32)
        centred = raw.astype(np.int64) - integers.weight_zero
        folded = bias - (integers.input_zero - BYTE_ZERO) * centred.sum(axis=(1, 2))
        # An output reads its window tap by tap, each with all channels; a filter is read channel by channel.
        weights = raw[:, 0].T if depthwise else raw.transpose(0, 2, 1).reshape(outputs, -1)
        factors: Any = self.array(integers.multipliers, outputs, np.float32)
        limits = integers.lowest - BYTE_ZERO, integers.highest - BYTE_ZERO
        if self.fixed:
            result, scale = self.encoding(operation.name), self.scales[f"{operation.label}.weight.scale"]
            factors = fixed_point.multipliers(self.encoding(operation.reads[0]), scale, result, outputs)
            low, high = fixed_point.bounds(self.quantisation.dtype, result, operation.activation)
            limits = self.moved(low), self.moved(high)
        return Weights(
            np.ascontiguousarray(weights),
            folded.astype(np.int32),
            factors,
            integers.zero - BYTE_ZERO,
            limits,
            integers.weight_zero,
            once,
        )

    def total(self, number: int) -> Sum:
        own = self.program.layers[number].integers.sum
        zeros = own.first_zero - BYTE_ZERO, own.second_zero - BYTE_ZERO, own.zero - BYTE_ZERO
        if not self.fixed:
            return Sum((own.first, own.second), (own.shift,), zeros)
        # What a convolution gives is the first term, whichever side of the sum it stands on.
        total, operation = self.sums[number], self.operations[number]
        first = operation.name if operation is not total else total.reads[0]
        other = total.reads[1] if total.reads[0] == first else total.reads[0]
        pairs = fixed_point.addition((self.encoding(first), self.encoding(other)), self.encoding(total.name))
        return Sum(tuple(factor for factor, _ in pairs), tuple(shift for _, shift in pairs), zeros)

    def mean(self, given: ProgramLayer, operation: Pool) -> Mean:
        integers = given.integers
        height, width = self.program.graph.shape_of(operation.reads[0])[:2]
        pixels, raw_zero, average = height * width, integers.raw_zero, bool(integers.average)
        if self.fixed and not average:
            encodings = self.encoding(operation.reads[0]), self.encoding(operation.name)
            factors = fixed_point.mean(*encodings, pixels)
            zeros = integers.zero - BYTE_ZERO, pixels * (integers.input_zero - BYTE_ZERO)
            return Mean(pixels, 0, average, factors, zeros[0], zeros[1], (-128, 127))
        factor = np.float32(integers.ratio) * (np.float32(1) / np.float32(pixels))
        offset = np.float32(integers.zero - raw_zero) - np.float32(pixels * (integers.input_zero - raw_zero)) * factor
        limits = -raw_zero, 255 - raw_zero
        return Mean(pixels, BYTE_ZERO - raw_zero, average, float(factor), float(offset), 0, limits)


def _convolution(reading: _Reading, given: ProgramLayer, operation: Convolve) -> dict[str, Any]:
    window = operation if operation.kernel > 1 or operation.stride > 1 else None
    return {"weights": reading.weights(given, operation), "window": window}


def _refuse(reading: _Reading, given: ProgramLayer, operation: Operation) -> dict[str, Any]:
    raise ValueError(f"A C file has nothing that computes {operation.name} ({operation.kind}).")


PARTS: dict[type[Operation], Callable[[_Reading, ProgramLayer, Any], dict[str, Any]]] = {
    Convolve: _convolution,
    Add: lambda reading, given, operation: {},
    Pool: lambda reading, given, operation: {"mean": reading.mean(given, operation)},
    Linear: lambda reading, given, operation: {"weights": reading.weights(given, operation, once=True)},
}
"""Kind of operation → what its layer has beside what all have; of others a C file has nothing."""


def _output(program: Program, name: str) -> Output:
    """An output of a network: a layer's result, or those of several behind each other in rows."""
    quantisation = program.quantisation
    assert quantisation is not None
    encoding, dtype = quantisation.encodings[name], quantisation.dtype
    shift = zero_of(dtype) - BYTE_ZERO
    pieces = tuple(_pieces(program, name, encoding))
    size = math.prod(program.graph.shape_of(name))
    return Output(name, pieces, encoding.scale, encoding.zero + shift, size)


def _pieces(program: Program, name: str, result: Encoding) -> Iterator[Piece]:
    """The layers whose results an output consists of, each recoded as the integer rule joins tensors."""
    assert program.quantisation is not None
    tail = {operation.name: operation for operation in program.tail}
    operation = tail.get(name)
    if operation is None:
        dtype, given = program.quantisation.dtype, program.quantisation.encodings[name]
        every = (np.arange(-128, 128) - (zero_of(dtype) - BYTE_ZERO)).astype(dtype)
        whole = rule.recode(every, given, result, dtype, program.quantisation.joining).astype(np.int16)
        recoded = whole + (zero_of(dtype) - BYTE_ZERO)
        yield Piece(program.numbers[name], None if given == result else recoded.astype(np.int8))
    elif operation.lays_behind:
        for read in operation.reads:
            yield from _pieces(program, read, result)
    else:
        raise ValueError(f"A C file has nothing that computes {name} ({operation.kind}).")
