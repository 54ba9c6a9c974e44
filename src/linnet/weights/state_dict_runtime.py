"""A state dict run as its library's classes run it, in numpy: what conversions of it are compared with.

A state dict has no graph. What is run here is what the libraries' code says of their blocks, with the file's own
tensors under its own names: convolution, batch norm where it stands, activation; a block's input is added where it does
not stride and gives as many channels as it takes. Nothing of linnet's operations is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import MobileNetV2
from linnet.architecture.mobilenet_v2 import STAGES
from linnet.architecture.ssdlite import BOX_CODE
from linnet.weights.detector_layouts import detector_layers, recognise_detector
from linnet.weights.layouts import layers_of, recognise
from linnet.weights.matching import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.weights.conversion import Conversion
    from linnet.weights.named import Named

    Array = NDArray[np.float32]

FIRST_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Of MobileNetV1's blocks."""

SECOND_STRIDES = (1, 2, 2, 2, 1, 2, 1)
"""Of the first block of each of MobileNetV2's stages."""


BEYOND: dict[str, tuple[str, str, bool]] = {
    "mb2-ssd-lite": ("blocks.13.expand", "head", True),
    "mb1-ssd-lite": ("blocks.10", "blocks.12", True),
    "mb1-ssd": ("blocks.10", "blocks.12", False),
    "mmdetection": ("blocks.12", "head", False),
}
"""Detector → the maps of its first two levels, and whether extra levels end without an activation."""


class StateDictRuntime:
    """The tensors of a converted file, run as its library does.

    Args:
        conversion: of a PyTorch or safetensors file, or of a Hugging Face folder.

    Raises:
        OSError: if the file cannot be read any more.
        ValueError: if it is another one by now.
    """

    def __init__(self, conversion: Conversion) -> None:
        found = _read(conversion)
        if found.digest != conversion.checkpoint.provenance["sha256"]:
            raise ValueError(f"'{conversion.source}' is not the file any more that was converted.")
        real = {name: values for name, values in found.tensors.items() if values.ndim}
        detector = recognise_detector(found.tensors)
        layout: Any
        if detector is None:
            layout, prefix = recognise(found.tensors)
            self._layers = layers_of(layout, prefix, real, [])
        else:
            layout, prefix = detector
            self._layers = detector_layers(layout, prefix, real)
        self._beyond = BEYOND.get(layout.name)
        network: Any = conversion.checkpoint.architecture
        self._network = network if detector is None else network.backbone
        self._columns = 1 + (network.classes or 0)
        self._dropped = conversion.dropped
        options = {**layout.options, **found.options}
        self._epsilon, self._padding = float(options["batch_norm_epsilon"]), options["padding"]
        self._most = 6.0 if options.get("activation", "relu6") == "relu6" else math.inf
        self._stem_stride = 1 if options.get("early_stride") == 2 else 2
        self._output_stride = options.get("output_stride", 32)

    def run(self, inputs: Array) -> dict[str, Array]:
        """Normalised pictures (N, H, W, C) → the result of every layer and block, by the names of linnet's tensors."""
        found: dict[str, Array] = {}
        x = found["stem"] = self._convolve("stem", inputs, self._stem_stride)
        for number, (stride, dilation) in enumerate(self._strides()):
            name, entered = f"blocks.{number}", x
            for part in ("expand", "depthwise", "project", "pointwise"):
                label = f"{name}.{part}"
                if label in self._layers:
                    spatial = (stride, dilation) if part == "depthwise" else (1, 1)
                    x = found[label] = self._convolve(label, x, *spatial, linear=part == "project")
            if f"{name}.project" in self._layers and stride == 1 and entered.shape == x.shape:
                x = entered + x
            found[name] = x
        if "head" in self._layers:
            x = found["head"] = self._convolve("head", x)
        if self._beyond is not None:
            fine, coarse, linear = self._beyond
            return found | self._detect(found[fine], found[coarse], linear=linear)
        x = found["pool"] = x.mean(axis=(1, 2))
        hidden = [label for label in self._layers if label.startswith("hidden.")]
        for label in sorted(hidden, key=lambda each: int(each.rpartition(".")[2])):
            x = found[label] = np.maximum(_linear(self._layers[label], x), 0)
        if "classifier" in self._layers:
            found["classifier"] = _linear(self._layers["classifier"], x)[:, self._dropped :]
        return found

    def _detect(self, fine: Array, coarse: Array, *, linear: bool) -> dict[str, Array]:
        """Extra levels and heads of a detector, the numbers of a cell in the file's own order."""
        found: dict[str, Array] = {}
        maps = [fine, coarse]
        while (name := f"extras.{len(maps) - 2}") and f"{name}.reduce" in self._layers:
            found[name] = self._in_turn(name, maps[-1], found, stride=2, linear=linear)
            maps.append(found[name])
        for output, kind, numbers in (("offsets", "boxes", BOX_CODE), ("logits", "classes", self._columns)):
            for number, x in enumerate(maps):
                name = f"predictors.{number}.{kind}"
                found[name] = self._in_turn(name, x, found, stride=1, linear=True)
                found[f"{output}.{number}"] = found[name].reshape(len(x), -1, numbers)
            found[output] = np.concatenate([found[f"{output}.{number}"] for number in range(len(maps))], axis=1)
        return found

    def _in_turn(self, name: str, x: Array, found: dict[str, Array], *, stride: int, linear: bool) -> Array:
        """What the convolutions of an extra level or a head give, of which the one that filters strides."""
        parts = ("reduce", "depthwise", "convolution", "pointwise")
        labels = [f"{name}.{part}" for part in parts if f"{name}.{part}" in self._layers]
        for label in labels:
            step = stride if label.endswith(("depthwise", "convolution")) else 1
            x = found[label] = self._convolve(label, x, step, linear=linear and label == labels[-1])
        return x

    def _strides(self) -> Iterator[tuple[int, int]]:
        """Stride and dilation of each block; those that would pass the output stride are dilated instead."""
        strides: list[int] = list(FIRST_STRIDES)
        if isinstance(self._network, MobileNetV2):
            repeats = [self._network.repeats(stage) for stage in STAGES]
            pairs = zip(SECOND_STRIDES, repeats, strict=True)
            strides = [stride if place == 0 else 1 for stride, count in pairs for place in range(count)]
        reached, dilation = self._stem_stride, 1
        for stride in strides:
            if reached == self._output_stride:
                yield 1, dilation
                dilation *= stride
            else:
                reached *= stride
                yield stride, 1

    def _convolve(self, label: str, x: Array, stride: int = 1, dilation: int = 1, *, linear: bool = False) -> Array:
        layer = self._layers[label]
        size = layer.weight.shape[2]
        reach = (size - 1) * dilation + 1
        amounts = []
        for length in x.shape[1:3]:
            total = max((-(-length // stride) - 1) * stride + reach - length, 0)
            amounts.append((total // 2, total - total // 2) if self._padding == "same" else (reach // 2, reach // 2))
        x = np.pad(x, ((0, 0), *amounts, (0, 0)))
        rows, columns = ((length - reach) // stride + 1 for length in x.shape[1:3])
        result: Any = 0.0
        for i in range(size):
            for j in range(size):
                top, left = i * dilation, j * dilation
                seen = x[
                    :, top : top + (rows - 1) * stride + 1 : stride, left : left + (columns - 1) * stride + 1 : stride
                ]
                tap = layer.weight[:, :, i, j]
                result = result + (seen * tap[:, 0] if label.endswith("depthwise") else seen @ tap.T)
        if layer.bias is not None:
            result = result + layer.bias
        norm = layer.norm
        if norm is not None:
            result = (result - norm.mean) / np.sqrt(norm.variance + np.float32(self._epsilon)) * norm.scale + norm.shift
        result = result if linear else np.clip(result, 0, self._most)
        return np.asarray(result, np.float32)


def _linear(layer: Layer, x: Array) -> Array:
    outputs = x @ layer.weight.T
    return np.asarray(outputs if layer.bias is None else outputs + layer.bias, np.float32)


def _read(conversion: Conversion) -> Named:
    from linnet.weights import hugging_face, pytorch, safe_tensors

    path = conversion.source
    if path.is_dir():
        return hugging_face.read_named(path)
    with path.open("rb") as file:
        start = file.read(16)
    return (safe_tensors if safe_tensors.why_not(start) is None else pytorch).read_named(path)
