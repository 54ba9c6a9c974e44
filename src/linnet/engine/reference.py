"""The network in numpy: the reference that one can read, and the runtime where nothing else is installed.

Pointwise convolutions are matrix products, depthwise ones nine shifted multiply-adds, the stem (and MobileNetV1's full
convolutions) gathers its windows into a matrix first. Activations are (N, H, W, C) float32.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import (
    Architecture,
    Classifier,
    Convolution,
    InvertedResidual,
    Layer,
    LevelHead,
    Pooling,
    convolutions_of,
)
from linnet.engine.fold import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Keep = Callable[[str, Array], Array]

Output = Any
"""(N, classes) logits or (N, C) features; of a detector a pair, (N, A, 4) offsets and (N, A, 1 + classes) logits."""


class NumpyNetwork:
    """A network ready to run, its batch norm folded and its weights laid out for matrix products."""

    def __init__(self, architecture: Architecture, tensors: Mapping[str, NDArray[np.floating[Any]]]) -> None:
        self.architecture, folded = fold(architecture, tensors)
        self._weights = {
            convolution.name: _lay_out(convolution, folded[f"{convolution.name}.weight"])
            for convolution in self.architecture.convolutions
        }
        self._biases = {name: folded[f"{name}.bias"] for name in self._weights}
        for layer in self.architecture.layers:
            if isinstance(layer, Classifier):
                self._weights[layer.name] = np.ascontiguousarray(folded[f"{layer.name}.weight"].T)
                self._biases[layer.name] = folded[f"{layer.name}.bias"]

    def run(self, inputs: Array, names: Collection[str] = ()) -> tuple[Output, dict[str, Array]]:
        """Runs normalised pictures through the network.

        Args:
            inputs: (N, H, W, C) float32, of any size the padding rule can take, not only the described one.
            names: intermediate tensors to keep, from `architecture.tensor_names`.

        Returns:
            Logits (N, classes), or pooled features (N, C) of a network without classifier, or a detector's offsets
            (N, A, 4) and logits (N, A, 1 + classes); and the tensors asked for by name, (N, H, W, C) or (N, C).
        """
        kept: dict[str, Array] = {}
        heads = [layer for layer in self.architecture.layers if isinstance(layer, LevelHead)]
        read = {head.source for head in heads}
        sources: dict[str, Array] = {}

        def keep(name: str, values: Array) -> Array:
            if name in names:
                kept[name] = values.copy()
            if name in read:
                sources[name] = values
            return values

        current, expansion = inputs, inputs
        for layer in self.architecture.layers:
            if isinstance(layer, Pooling):
                current = keep(layer.name, current.mean(axis=(1, 2), dtype=np.float32))
            elif isinstance(layer, Classifier):
                current = keep(layer.name, current @ self._weights[layer.name] + self._biases[layer.name])
            elif isinstance(layer, InvertedResidual):
                current, expansion = self._run_block(layer, current, expansion, keep)
            elif not isinstance(layer, LevelHead):
                current = self._run_chain(layer, current, keep)
        if not heads:
            return current, kept
        parts = [by_anchors(head, self._run_chain(head, sources[head.source], keep)) for head in heads]
        return (np.concatenate(parts[::2], axis=1), np.concatenate(parts[1::2], axis=1)), kept

    def _run_block(self, layer: InvertedResidual, entered: Array, expansion: Array, keep: Keep) -> tuple[Array, Array]:
        """Output and expanded tensor of an inverted residual (that of the block before where it has none)."""
        current = entered
        if layer.expand:
            current = self._convolve(layer.expand, current)
            if layer.adds_expansion:
                current += expansion
            expansion = keep(layer.expand.name, current)
        current = keep(layer.depthwise.name, self._convolve(layer.depthwise, current))
        current = keep(layer.project.name, self._convolve(layer.project, current))
        if layer.adds_input:
            # In place: no head reads a projection.
            current += entered
        return keep(layer.name, current), expansion

    def _run_chain(self, layer: Layer, current: Array, keep: Keep) -> Array:
        """Convolutions one after the other."""
        for convolution in convolutions_of(layer):
            current = keep(convolution.name, self._convolve(convolution, current))
        return keep(layer.name, current)

    def _convolve(self, convolution: Convolution, inputs: Array) -> Array:
        """One convolution with its bias and activation, in an array of its own."""
        weight = self._weights[convolution.name]
        if convolution.kind == "pointwise" and convolution.stride == 1:
            outputs = inputs @ weight
        elif convolution.depthwise:
            outputs = _depthwise(convolution, inputs, weight)
        else:
            outputs = _windows(convolution, inputs) @ weight
        outputs += self._biases[convolution.name]
        if convolution.activation != "linear":
            np.maximum(outputs, np.float32(0), out=outputs)
        if convolution.activation == "relu6":
            np.minimum(outputs, np.float32(6), out=outputs)
        return outputs


def by_anchors(head: LevelHead, values: Array) -> Array:
    """(N, H, W, anchors * slots) → (N, H * W * anchors, slots)."""
    pictures, height, width, channels = values.shape
    return values.reshape(pictures, height * width * (channels // head.slots), head.slots)


def _lay_out(convolution: Convolution, weight: Array) -> Array:
    """(out, in, k, k) → (k, k, C) for depthwise, (k * k * in, out) for all others."""
    if convolution.depthwise:
        return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, convolution.out_channels))


def _pad(convolution: Convolution, inputs: Array) -> Array:
    rows, columns = (convolution.pad_axis(length) for length in inputs.shape[1:3])
    return np.pad(inputs, ((0, 0), rows, columns, (0, 0)))


def _taps(convolution: Convolution, inputs: Array) -> tuple[list[Array], tuple[int, int]]:
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


def _depthwise(convolution: Convolution, inputs: Array, weight: Array) -> Array:
    views, size = _taps(convolution, inputs)
    taps = weight.reshape(-1, weight.shape[-1])
    outputs = np.empty((len(inputs), *size, weight.shape[-1]), np.float32)
    product = np.empty_like(outputs[:1])
    # Picture by picture, so that the running sum stays in the cache.
    for number in range(len(inputs)):
        total = outputs[number : number + 1]
        np.multiply(views[0][number : number + 1], taps[0], out=total)
        for view, tap in zip(views[1:], taps[1:], strict=True):
            np.multiply(view[number : number + 1], tap, out=product)
            total += product
    return outputs


def _windows(convolution: Convolution, inputs: Array) -> Array:
    """The windows under the kernel, (N, H, W, k * k * C)."""
    return np.concatenate(_taps(convolution, inputs)[0], axis=3)
