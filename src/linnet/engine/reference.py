"""The network in numpy: the reference that one can read, and the runtime where nothing else is installed.

Pointwise convolutions are matrix products, depthwise ones nine shifted multiply-adds, the stem (and MobileNetV1's full
convolutions) gathers its windows into a matrix first. Maps are (N, H, W, C) float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
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
from linnet.architecture.operations import Activation
from linnet.engine.fold import fold
from linnet.engine.resizing import resize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

Output = Any
"""What a network with one output gives, or a tuple of what one with several gives: (N, classes) logits, (N, C)
features, of a segmenter (N, H, W, classes) logits of a coarse map, of a detector (N, A, 4) offsets and
(N, A, 1 + classes) logits. Not a union, which would have everybody who
uses a classifier ask which of them it is."""


class Runner(ABC):
    """The loop over a network's operations; what the arithmetic is, a subclass says.

    Attributes:
        graph: the folded operations.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._free = _last_uses(graph)

    def run(self, inputs: Array, names: Collection[str] = ()) -> tuple[Output, dict[str, Array]]:
        """Runs normalised pictures through the network.

        Args:
            inputs: (N, H, W, C) float32, of any size the padding rule can take, not only the described one.
            names: intermediate tensors to keep, from `tensor_names`.

        Returns:
            The output, or a tuple of the outputs where there are several; and the tensors asked for by name, each
            (N, …) as the operations describe it.
        """
        results, kept = self._compute(inputs, names)
        outputs = tuple(self._leave(name, value) for name, value in zip(self.graph.outputs, results, strict=True))
        aliases = self.graph.aliases
        tensors = {name: self._leave(aliases[name], value) for name, value in kept.items()}
        return (outputs if len(outputs) > 1 else outputs[0]), tensors

    def _compute(self, inputs: Array, names: Collection[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The outputs, and the tensors asked for by name, as the arithmetic has them."""
        values: dict[str, Any] = {INPUT: self._enter(inputs)}
        asked: dict[str, list[str]] = {}
        for name in names:
            asked.setdefault(self.graph.aliases[name], []).append(name)
        kept: dict[str, Any] = {}
        for operation in self.graph.operations:
            read = [values[name] for name in operation.reads]
            for name in self._free[operation.name]:
                del values[name]
            result = self._step(operation.at(inputs.shape[1:3]), read)
            values[operation.name] = result
            kept |= {name: result.copy() for name in asked.get(operation.name, ())}
        return tuple(values[name] for name in self.graph.outputs), {name: kept[name] for name in names}

    @abstractmethod
    def _enter(self, inputs: Array) -> Any:
        """Normalised pictures as the arithmetic has them."""

    @abstractmethod
    def _step(self, operation: Operation, read: list[Any]) -> Any:
        """What an operation gives of what it reads."""

    @abstractmethod
    def _leave(self, name: str, value: Any) -> Array:
        """A tensor of the arithmetic as numbers."""


class NumpyNetwork(Runner):
    """A network ready to run, its batch norm folded and its weights laid out for matrix products.

    Args:
        network: an architecture, or any list of operations.
        tensors: of its checkpoint.
        dtype: of the arithmetic. float64 is what the rounding of float32 is measured against; the folded weights are
            those of float32 all the same.
    """

    def __init__(
        self,
        network: Architecture | Graph,
        tensors: Mapping[str, NDArray[np.floating[Any]]],
        *,
        dtype: type[np.floating[Any]] = np.float32,
    ) -> None:
        graph, folded = fold(network, tensors, dtype=dtype)
        super().__init__(graph)
        self._weights = {
            operation.name: LAYOUTS[type(operation)](operation, folded[f"{operation.label}.weight"])
            for operation in self.graph.operations
            if operation.tensors
        }
        labels = {name: self.graph.by_name[name].label for name in self._weights}
        self._biases = {name: folded.get(f"{label}.bias") for name, label in labels.items()}
        # What nothing reads any more may be written over, but not what shares its memory with something.
        self._overwriting = {
            name
            for name, read in self._free.items()
            if (first := self.graph.by_name[name].reads[0]) in read
            and self.graph.by_name[first].storage == "own"
            and not any(self.graph.by_name[reader].storage == "view" for reader in self.graph.readers[first])
        }

    def _enter(self, inputs: Array) -> Array:
        return inputs

    def _step(self, operation: Operation, read: list[Array]) -> Array:
        weights = self._weights.get(operation.name), self._biases.get(operation.name)
        return RUN[type(operation)](operation, read, weights, operation.name in self._overwriting)

    def _leave(self, name: str, value: Array) -> Array:
        return value


def _last_uses(graph: Graph) -> dict[str, list[str]]:
    """Name of each operation → the tensors that are read there for the last time, and are no output."""
    last = {name: readers[-1] for name, readers in graph.readers.items() if readers and name not in graph.outputs}
    return {
        operation.name: [name for name, reader in last.items() if reader == operation.name and name != INPUT]
        for operation in graph.operations
    }


Weights = tuple[Any, Any]
"""Weight and bias of an operation that has them."""


def _convolve(operation: Convolve, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    """One convolution with its bias and activation, in an array of its own."""
    (given,), (weight, bias) = inputs, weights
    if operation.kind == "pointwise" and operation.stride == 1:
        outputs = given @ weight
    elif operation.depthwise:
        outputs = _depthwise(operation, given, weight)
    else:
        outputs = _windows(operation, given) @ weight
    outputs += bias
    return _activate(operation.activation, outputs)


def _activate(activation: Activation, outputs: Array) -> Array:
    """In place."""
    if activation != "linear":
        np.maximum(outputs, 0, out=outputs)
    if activation == "relu6":
        np.minimum(outputs, 6, out=outputs)
    return outputs


def _add(operation: Add, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    first, second = inputs
    return np.add(first, second, out=first if free else None)


def _pool(operation: Pool, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    # (N, H, W, C) → (N, C) or (N, 1, 1, C)
    return inputs[0].mean(axis=(1, 2), dtype=inputs[0].dtype, keepdims=operation.keeps_map)


def _linear(operation: Linear, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    weight, bias = weights
    outputs = inputs[0] @ weight if bias is None else inputs[0] @ weight + bias
    return _activate(operation.activation, outputs)


def _reshape(operation: Reshape, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    slots = operation.shape[-1]
    # Written out: a batch may be empty.
    rows = int(np.prod(inputs[0].shape[1:])) // slots
    return inputs[0].reshape(len(inputs[0]), rows, slots)  # (N, H, W, anchors * slots) → (N, H * W * anchors, slots)


def _concatenate(operation: Concatenate, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    return np.concatenate(inputs, axis=1 + operation.axis)


def _resize(operation: Resize, inputs: Sequence[Array], weights: Weights, free: bool) -> Array:
    return resize(inputs[0], operation.output_size, operation.grid)


RUN: dict[type[Operation], Callable[[Any, Sequence[Array], Weights, bool], Array]] = {
    Convolve: _convolve,
    Add: _add,
    Pool: _pool,
    Linear: _linear,
    Reshape: _reshape,
    Concatenate: _concatenate,
    Resize: _resize,
}
"""Kind of operation → what runs it, of the tensors read, weight and bias, and whether the first may be written over."""


def _lay_out(convolution: Convolve, weight: Array) -> Array:
    """(out, in, k, k) → (k, k, C) for depthwise, (k * k * in, out) for all others."""
    if convolution.depthwise:
        return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, convolution.out_channels))


def _pad(convolution: Convolve, inputs: Array) -> Array:
    rows, columns = (convolution.pad_axis(length) for length in inputs.shape[1:3])
    return np.pad(inputs, ((0, 0), rows, columns, (0, 0)))


def _taps(convolution: Convolve, inputs: Array) -> tuple[list[Array], tuple[int, int]]:
    """For each kernel position the strided view of the padded input that it meets; and the output's size."""
    height, width = (-(-length // convolution.stride) for length in inputs.shape[1:3])
    padded, stride, dilation = _pad(convolution, inputs), convolution.stride, convolution.dilation
    offsets = [
        (row * dilation, column * dilation) for row in range(convolution.kernel) for column in range(convolution.kernel)
    ]
    views = [
        padded[:, row : row + (height - 1) * stride + 1 : stride, column : column + (width - 1) * stride + 1 : stride]
        for row, column in offsets
    ]
    return views, (height, width)


def _depthwise(convolution: Convolve, inputs: Array, weight: Array) -> Array:
    views, size = _taps(convolution, inputs)
    taps = weight.reshape(-1, weight.shape[-1])
    outputs = np.empty((len(inputs), *size, weight.shape[-1]), inputs.dtype)
    product = np.empty_like(outputs[:1])
    # Picture by picture, so that the running sum stays in the cache.
    for number in range(len(inputs)):
        total = outputs[number : number + 1]
        np.multiply(views[0][number : number + 1], taps[0], out=total)
        for view, tap in zip(views[1:], taps[1:], strict=True):
            np.multiply(view[number : number + 1], tap, out=product)
            total += product
    return outputs


def _windows(convolution: Convolve, inputs: Array) -> Array:
    """The windows under the kernel, (N, H, W, k * k * C)."""
    return np.concatenate(_taps(convolution, inputs)[0], axis=3)


LAYOUTS: dict[type[Operation], Callable[[Any, Array], Array]] = {
    Convolve: _lay_out,
    Linear: lambda _, weight: np.ascontiguousarray(weight.T),
}
"""Kind of operation → how its weight is laid out."""
