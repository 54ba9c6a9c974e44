"""ncnn's files with what its layers need to compute in int8, as its own tool `ncnn2int8` writes it.

The wheel has no such tool. A layer that multiplies has behind its weights and biases the factors that make integers of
the weights, of each output channel, and of what it reads; and, where one such layer alone reads what it gives, of that
too, so that integers go from the one to the other (`8=101` in place of `8=1`). ncnn knows no zero points: every range
is symmetric. Weights may stay float32, it rounds them itself when it opens the file.

Source: ncnn, src/layer/convolution.cpp, convolutiondepthwise.cpp and innerproduct.cpp (`load_model`), src/modelbin.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.export.ncnn_folder import FILES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 127
"""The largest integer that ncnn uses, of either sign."""

PARAMETERS = {
    "Convolution": ("0", "5", "6"),
    "ConvolutionDepthWise": ("0", "5", "6"),
    "InnerProduct": ("0", "1", "2"),
}
"""Kind of a layer with weights → its parameters that say how many outputs, whether biases, and how many weights."""

TAG_BYTES = 4
"""Before weights: 0, which stands for float32. Biases have none."""


@dataclass(frozen=True)
class Layer:
    """One line of a `.param` file."""

    kind: str
    name: str
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    parameters: dict[str, str]

    def line(self) -> str:
        """The line."""
        counts = (str(len(self.reads)), str(len(self.gives)))
        own = (f"{key}={value}" for key, value in self.parameters.items())
        return " ".join((self.kind, self.name, *counts, *self.reads, *self.gives, *own))


def layers_of(text: str) -> list[Layer]:
    """The layers of a `.param` file."""
    found = []
    for line in text.splitlines()[2:]:
        kind, name, reads, gives, *rest = line.split()
        middle, end = int(reads), int(reads) + int(gives)
        own = dict(each.split("=", 1) for each in rest[end:])
        found.append(Layer(kind, name, tuple(rest[:middle]), tuple(rest[middle:end]), own))
    return found


def quantise_ncnn(folder: Path, network: Any, inputs: NDArray[np.float32]) -> None:
    """Makes the files in a folder those of a network in int8.

    Args:
        folder: files in float32, as `write_ncnn` leaves them.
        network: these, open in ncnn.
        inputs: (N, C, H, W), from which the ranges are taken.

    Raises:
        ValueError: if another layer has weights too.
    """
    param, weights = (folder / name for name in FILES)
    text, content = param.read_text(), weights.read_bytes()
    layers = layers_of(text)
    ranges = _ranges(network, {name for layer in layers if layer.kind in PARAMETERS for name in layer.reads}, inputs)
    parts = list(with_factors(layers, content, ranges))
    param.write_text("\n".join([*text.splitlines()[:2], *(layer.line() for layer in layers)]) + "\n")
    weights.write_bytes(b"".join(parts))


def _ranges(network: Any, names: set[str], inputs: NDArray[np.float32]) -> dict[str, float]:
    """The largest magnitude of values, by their names in the file."""
    import ncnn

    largest = dict.fromkeys(sorted(names), 1e-6)
    for picture in inputs:
        extractor = network.create_extractor()
        extractor.set_light_mode(False)  # or what was read would be gone
        extractor.input(network.input_names()[0], ncnn.Mat(picture))
        for name, most in largest.items():
            largest[name] = max(most, float(np.abs(np.array(extractor.extract(name)[1])).max()))
    return largest


def with_factors(layers: list[Layer], content: bytes, ranges: Mapping[str, float]) -> Iterator[bytes]:
    """The weights of a `.bin` file with what belongs behind them; `layers` learn that it is there (parameter 8).

    Args:
        layers: of the `.param` file.
        content: the `.bin` file.
        ranges: the largest magnitude of what each layer with weights reads, by name.

    Raises:
        ValueError: if another layer has weights too.
    """
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        for name in layer.reads:
            readers.setdefault(name, []).append(layer)
    place = 0
    for layer in layers:
        if layer.kind not in PARAMETERS:
            continue
        outputs, biased, count = (int(layer.parameters.get(key, 0)) for key in PARAMETERS[layer.kind])
        values = np.frombuffer(content, "<f4", count, place + TAG_BYTES).reshape(outputs, -1)
        end = place + TAG_BYTES + 4 * (count + outputs * bool(biased))
        yield content[place:end]
        place = end
        after = readers.get(layer.gives[0], [])
        joined = layer.kind != "InnerProduct" and len(after) == 1 and after[0].kind in PARAMETERS
        layer.parameters["8"] = "101" if joined else "1"
        blobs = [ranges[name] for name in (layer.reads[0], *(layer.gives if joined else ()))]
        largest = np.maximum(np.abs(values).max(axis=1), 1e-6)
        yield (LARGEST / np.concatenate([largest, blobs])).astype("<f4").tobytes()
    if place != len(content):
        raise ValueError("layers that linnet does not know have weights in ncnn's files")
