"""The quantised network in numpy, by the integer rule: the reference that every other place has the bits of.

The operations are those of the float reference: what they sum is whole and small enough to be exact there, in float32
up to 2^24 and in float64 beyond. What is rounded is rounded by `linnet.quantisation.rule`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import (
    INPUT,
    Add,
    Architecture,
    Concatenate,
    Convolve,
    Graph,
    Linear,
    Operation,
    Pool,
    Reshape,
    Resize,
)
from linnet.architecture.cost import graph_of
from linnet.engine.reference import LAYOUTS, RUN, NumpyNetwork, Runner
from linnet.quantisation import fixed_point, rule
from linnet.quantisation.scheme import Encoding, Quantisation
from linnet.quantisation.tensors import INPUT_SPAN, centred, check_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[Any]
    Tensors = Mapping[str, NDArray[Any]]

EXACT_IN_SINGLE = 2**24
"""Whole numbers up to this are exact in float32, and so are sums whose terms together stay below it."""


def numpy_network(network: Architecture | Graph, tensors: Tensors, quantisation: Quantisation | None = None) -> Runner:
    """The numpy reference of a network: in float32, or on integers where it is quantised."""
    if quantisation is None:
        return NumpyNetwork(network, tensors)
    return IntegerNetwork(network, tensors, quantisation)


class IntegerNetwork(Runner):
    """A quantised network ready to run.

    Args:
        network: a folded architecture, or any list of operations without batch norm.
        tensors: of its checkpoint, integers with scales.
        quantisation: of its checkpoint.

    Raises:
        ValueError: if they do not fit each other.
    """

    def __init__(self, network: Architecture | Graph, tensors: Tensors, quantisation: Quantisation) -> None:
        super().__init__(graph_of(network))
        check_tensors(self.graph, tensors, quantisation)
        self.quantisation = quantisation
        self._weights = {
            operation.name: _lay_out(operation, tensors, quantisation) for operation in self.graph.weighted.values()
        }

    def integers(self, inputs: NDArray[np.float32], names: Collection[str] = ()) -> tuple[Any, dict[str, Integers]]:
        """As `run`, but the integers themselves: int8 or uint8, as the quantisation says."""
        outputs, kept = self._compute(inputs, names)
        return (outputs if len(outputs) > 1 else outputs[0]), kept

    def _enter(self, inputs: NDArray[np.float32]) -> Integers:
        return rule.quantise(inputs, self.quantisation.encodings[INPUT], self.quantisation.dtype)

    def _leave(self, name: str, value: Integers) -> NDArray[np.float32]:
        return rule.dequantise(value, self.quantisation.encodings[name])

    def _step(self, operation: Operation, read: list[Integers]) -> Integers:
        return compute(operation, read, self.quantisation, self._weights.get(operation.name))


def compute(
    operation: Operation,
    read: list[Integers],
    quantisation: Quantisation,
    weights: _Weights | None = None,
    steps: Steps | None = None,
) -> Integers:
    """Runs one operation of a quantised network: on integers (by `STEPS`), or in float on what they stand for."""
    encodings, dtype = quantisation.encodings, quantisation.dtype
    given, result = [encodings[name] for name in operation.reads], encodings[operation.name]
    if operation.name in quantisation.floating:
        numbers = [rule.dequantise(each, encoding) for each, encoding in zip(read, given, strict=True)]
        pair = (None, None) if weights is None else (weights.weight, weights.bias)
        return rule.quantise(RUN[type(operation)](operation, numbers, pair, False), result, dtype)
    return (steps or STEPS)[type(operation)](_Step(operation, given, result, quantisation, weights), read)


@dataclass(frozen=True)
class _Weights:
    """Weight and bias of an operation, laid out as the float reference reads them, and what sums are multiplied by."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    factor: NDArray[np.float32] | fixed_point.Multipliers | None = None


@dataclass(frozen=True)
class _Step:
    """An operation with the encodings of what it reads and gives."""

    operation: Any
    given: list[Encoding]
    result: Encoding
    quantisation: Quantisation
    weights: _Weights | None


def _lay_out(operation: Operation, tensors: Tensors, quantisation: Quantisation) -> _Weights:
    layout, label = LAYOUTS[type(operation)], operation.label
    if operation.name in quantisation.floating:
        bias = tensors[f"{label}.bias"].astype(np.float32) if f"{label}.bias" in tensors else None
        return _Weights(layout(operation, tensors[f"{label}.weight"].astype(np.float32)), bias)
    whole = centred(tensors, label)
    bias = tensors.get(f"{label}.bias", np.zeros(len(whole), np.int32))
    sums = np.abs(whole).reshape(len(whole), -1).sum(axis=1) * INPUT_SPAN + np.abs(bias.astype(np.int64))
    kind = np.float32 if sums.max(initial=0) < EXACT_IN_SINGLE else np.float64
    encodings = quantisation.encodings
    factor = rule.multiplier(encodings[operation.reads[0]], tensors[f"{label}.weight.scale"], encodings[operation.name])
    return _Weights(layout(operation, whole.astype(kind)), bias.astype(kind), factor)


def _weighted(step: _Step, read: list[Integers]) -> Integers:
    """A convolution or a linear layer: exact sums, rounded once."""
    operation, weights, dtype = step.operation, step.weights, step.quantisation.dtype
    assert weights is not None
    assert isinstance(weights.factor, np.ndarray)
    limits = rule.bounds(dtype, step.result, operation.activation)
    sums = _sums(operation, read[0], step.given[0], weights)
    return rule.requantise(sums, weights.factor, step.result, dtype, limits)


def _sums(operation: Convolve | Linear, read: Integers, given: Encoding, weights: _Weights) -> NDArray[Any]:
    """What a convolution or a linear layer sums, bias included, before anything is rounded."""
    plain = replace(operation, activation="linear") if operation.activation != "linear" else operation
    kind = weights.weight.dtype
    inputs = read.astype(kind) - kind.type(given.zero)
    return RUN[type(operation)](plain, [inputs], (weights.weight, weights.bias), False)


def _add(step: _Step, read: list[Integers]) -> Integers:
    first, second = step.given
    return rule.add(read[0], read[1], (first, second), step.result, step.quantisation.dtype)


def _pool(step: _Step, read: list[Integers], mean: Callable[..., Integers] = rule.pool_mean) -> Integers:
    dtype = step.quantisation.dtype
    if step.quantisation.pooling == "average":
        pooled = rule.pool_average(read[0], dtype)
    else:
        pooled = mean(read[0], step.given[0], step.result, dtype)
    return pooled[:, None, None] if step.operation.keeps_map else pooled


def _resize(step: _Step, read: list[Integers]) -> Integers:
    return rule.resize(read[0], step.operation.output_size, step.quantisation.dtype, step.operation.grid)


def _concatenate(step: _Step, read: list[Integers]) -> Integers:
    axis = 1 + step.operation.axis
    scheme = step.quantisation
    return rule.concatenate(read, step.given, step.result, scheme.dtype, axis=axis, how=scheme.joining)


Steps = Mapping[type[Operation], Callable[[_Step, list["Integers"]], "Integers"]]

STEPS: dict[type[Operation], Callable[[_Step, list[Integers]], Integers]] = {
    Convolve: _weighted,
    Linear: _weighted,
    Add: _add,
    Pool: _pool,
    Reshape: lambda step, read: RUN[Reshape](step.operation, read, (None, None), False),
    Concatenate: _concatenate,
    Resize: _resize,
}
"""Kind of operation → what runs it on integers."""


def _fixed(round_sums: Callable[..., Integers]) -> Callable[[_Step, list[Integers]], Integers]:
    """A convolution or a linear layer whose sums are rounded in fixed point."""

    def run(step: _Step, read: list[Integers]) -> Integers:
        operation, weights, dtype = step.operation, step.weights, step.quantisation.dtype
        assert weights is not None
        limits = fixed_point.bounds(dtype, step.result, operation.activation)
        return round_sums(_sums(operation, read[0], step.given[0], weights), weights.factor, step.result, dtype, limits)

    return run


def _add_fixed(step: _Step, read: list[Integers]) -> Integers:
    first, second = step.given
    return fixed_point.add(read[0], read[1], (first, second), step.result, step.quantisation.dtype)


FIXED_STEPS: Steps = STEPS | {
    Convolve: _fixed(fixed_point.requantise),
    Linear: _fixed(fixed_point.requantise_once),
    Add: _add_fixed,
    Pool: lambda step, read: _pool(step, read, fixed_point.pool_mean),
}
"""The same where there is no float."""


class FixedPointNetwork(IntegerNetwork):
    """A quantised network as `linnet.quantisation.fixed_point` rounds it: what runs where there is no float.

    What the quantisation has in float runs in float here, too.
    """

    def __init__(self, network: Architecture | Graph, tensors: Tensors, quantisation: Quantisation) -> None:
        super().__init__(network, tensors, quantisation)
        encodings = quantisation.encodings
        for name, operation in self.graph.weighted.items():
            if name not in quantisation.floating:
                scale, result = tensors[f"{operation.label}.weight.scale"], encodings[name]
                factor = fixed_point.multipliers(encodings[operation.reads[0]], scale, result, operation.out_channels)
                self._weights[name] = replace(self._weights[name], factor=factor)

    def _step(self, operation: Operation, read: list[Integers]) -> Integers:
        return compute(operation, read, self.quantisation, self._weights.get(operation.name), FIXED_STEPS)
