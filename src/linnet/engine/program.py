"""An architecture lowered to what the native engine runs: one record a convolution, and all weights in one array."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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
from linnet.engine.library import ProgramLayer

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONVOLUTION, DEPTHWISE, POOLING, LINEAR = range(4)
"""Kinds of layers, as linnet.h numbers them."""

PADDING = {"same": 0, "symmetric": 1}
RANGES = {"linear": (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


@dataclass(frozen=True, eq=False)
class Program:
    """Layers for `linnet_network_open`, with names.

    Attributes:
        layers: in the order in which they run.
        weights: of all layers, flat.
        numbers: names of tensors (`Architecture.tensor_names`) → number of the layer that gives them.
        architecture: what was lowered, folded.
    """

    layers: tuple[ProgramLayer, ...]
    weights: NDArray[np.float32]
    numbers: Mapping[str, int]
    architecture: Architecture


def lower(
    architecture: Architecture, tensors: Mapping[str, NDArray[np.floating[Any]]], names: Collection[str] = ()
) -> Program:
    """The program of a network.

    Args:
        architecture: any of the family.
        tensors: of its checkpoint; batch norm is folded.
        names: tensors that shall be there to ask for. A projection before the shortcut's sum exists only if it is
            named: the engine adds as it writes.
    """
    folded, arrays = fold(architecture, tensors)
    lowering = _Lowering(arrays, frozenset(names))
    heads = [layer for layer in folded.layers if isinstance(layer, LevelHead)]
    for layer in folded.layers:
        if isinstance(layer, LevelHead):
            continue
        lowering.add(layer)
        # As soon as they can run: what they read need not be kept to the end.
        for head in [head for head in heads if head.source in lowering.numbers]:
            lowering.add_head(head)
            heads.remove(head)
    return Program(tuple(lowering.layers), lowering.joined(), lowering.numbers, folded)


class _Lowering:
    """Records so far, and what the next ones read."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]], names: frozenset[str]) -> None:
        self.tensors, self.names = tensors, names
        self.layers: list[ProgramLayer] = []
        self.numbers: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.parts: list[NDArray[np.float32]] = []
        self.size = 0
        self.last, self.expansion = -1, -1

    def add(self, layer: Layer) -> None:
        """Records of one layer of the architecture."""
        if isinstance(layer, Pooling):
            self.last = self.record(layer.name, POOLING, layer.channels, layer.channels)
        elif isinstance(layer, Classifier):
            places = (self.place(f"{layer.name}.weight"), self.place(f"{layer.name}.bias"))
            self.last = self.record(layer.name, LINEAR, layer.in_channels, layer.classes, places=places)
        elif isinstance(layer, InvertedResidual):
            self.add_inverted_residual(layer)
        else:
            for convolution in convolutions_of(layer):
                self.convolve(convolution)
        self.numbers[layer.name] = self.last

    def add_head(self, head: LevelHead) -> None:
        """A detector's head reads what stands before the end of the network; what follows reads on where it was."""
        end, self.last = self.last, self.numbers[head.source]
        self.add(head)
        self.last = end

    def add_inverted_residual(self, layer: InvertedResidual) -> None:
        """The shortcut's sum belongs to the layer that it follows."""
        entered = self.last
        if layer.expand is not None:
            self.expansion = self.convolve(layer.expand, added=self.expansion if layer.adds_expansion else -1)
        filtered = self.convolve(layer.depthwise)
        if layer.adds_input and layer.project.name in self.names:
            self.convolve(layer.project)
            self.last = filtered
            named = self.numbers[layer.project.name]
            self.convolve(layer.project, added=entered)
            self.numbers[layer.project.name] = named
        else:
            self.convolve(layer.project, added=entered if layer.adds_input else -1)

    def convolve(self, convolution: Convolution, added: int = -1) -> int:
        """The record of a convolution, which reads what came last."""
        name = convolution.name
        self.last = self.record(
            name,
            DEPTHWISE if convolution.depthwise else CONVOLUTION,
            convolution.in_channels,
            convolution.out_channels,
            places=(self.place(f"{name}.weight"), self.place(f"{name}.bias")),
            kernel=convolution.kernel,
            stride=convolution.stride,
            dilation=convolution.dilation,
            padding=PADDING[convolution.padding],
            added=added,
            clamp=RANGES[convolution.activation],
        )
        self.numbers[name] = self.last
        return self.last

    def record(
        self,
        name: str,
        kind: int,
        inputs: int,
        outputs: int,
        *,
        places: tuple[int, int] = (0, 0),
        clamp: tuple[float, float] = RANGES["linear"],
        added: int = -1,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        padding: int = 0,
    ) -> int:
        """Appends a record and gives its number."""
        self.layers.append(
            ProgramLayer(kind, self.last, added, inputs, outputs, kernel, stride, dilation, padding, *clamp, *places)
        )
        self.numbers[name] = len(self.layers) - 1
        return self.numbers[name]

    def place(self, name: str) -> int:
        """Where a tensor's values begin among the weights."""
        if name not in self.places:
            values = np.ascontiguousarray(self.tensors[name], np.float32).ravel()
            self.places[name] = self.size
            self.parts.append(values)
            self.size += values.size
        return self.places[name]

    def joined(self) -> NDArray[np.float32]:
        """All weights."""
        return np.concatenate(self.parts)
