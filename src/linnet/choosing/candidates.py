"""The networks to choose from: MobileNetV1 and V2 over width and resolution, in float32 and int8, with random weights.

Time and memory do not depend on the weights, so that every candidate can be measured before one is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from linnet.architecture import INPUT, Architecture, Graph, MobileNetV1, MobileNetV2
from linnet.architecture.cost import Cost, cost
from linnet.checkpoint import Checkpoint, default_preprocessing, encode_checkpoint, random_checkpoint
from linnet.choosing.accuracy import PUBLISHED, Accuracy, Network, accuracy_of
from linnet.published import DOWNLOADS
from linnet.quantisation.scheme import Encoding, Quantisation

FAMILIES: dict[Network, type[MobileNetV1 | MobileNetV2]] = {"mobilenet_v2": MobileNetV2, "mobilenet_v1": MobileNetV1}

Precision = Literal["float32", "int8"]

PRECISIONS: tuple[Precision, ...] = ("int8", "float32")

BETWEEN: dict[Network, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "mobilenet_v2": ((0.35, 0.42, 0.5, 0.62, 0.75, 0.87, 1.0, 1.2, 1.3, 1.4), tuple(range(96, 225, 16))),
    "mobilenet_v1": ((0.25, 0.35, 0.5, 0.62, 0.75, 0.87, 1.0), tuple(range(128, 225, 16))),
}
"""Family → widths and resolutions: the published ones, and others between them."""


@dataclass(frozen=True)
class Candidate:
    """A network to choose.

    Attributes:
        network: its family.
        width: the paper's alpha.
        resolution: side in pixels.
        precision: of its arithmetic.
        classes: that it tells apart.
    """

    network: Network
    width: float
    resolution: int
    precision: Precision
    classes: int

    @property
    def key(self) -> str:
        """What it is called in the cache."""
        return f"{self.network} {self.width:g} {self.resolution} {self.precision}"

    @property
    def architecture(self) -> Architecture:
        """The network in detail."""
        return FAMILIES[self.network](width=self.width, resolution=self.resolution, classes=self.classes)

    @property
    def cost(self) -> Cost:
        """Parameters and multiply-adds."""
        return _cost(self.network, self.width, self.resolution, self.classes)

    @property
    def accuracy(self) -> Accuracy:
        """On ImageNet."""
        return accuracy_of(self.network, self.width, self.resolution, int8=self.precision == "int8")

    @property
    def published(self) -> bool:
        """Whether somebody has trained it and said how good it is, in float32."""
        return (self.width, self.resolution) in PUBLISHED[self.network]

    def checkpoint(self) -> Checkpoint:
        """With random weights, folded."""
        return random_integers(self.architecture) if self.precision == "int8" else random_checkpoint(self.architecture)

    def size_bytes(self) -> int:
        """Of the file that a training writes, but for the words about how it was trained."""
        if self.precision == "int8":
            return len(encode_checkpoint(self.checkpoint()))
        architecture = self.architecture
        tensors = {name: np.zeros(shape, np.float32) for name, shape in architecture.tensors.items()}
        return len(encode_checkpoint(Checkpoint(architecture, default_preprocessing(architecture), tensors)))

    def start(self) -> str | None:
        """Name of published ImageNet weights to start from, of the nearest resolution; None where there are none."""
        # Names of deeper networks have a letter behind the width.
        like = re.compile(rf"-v{self.network[-1]}-[\d.]+-")
        fitting = [name for name, entry in DOWNLOADS.items() if like.search(name) and entry.width == self.width]
        return min(fitting, key=lambda name: abs((DOWNLOADS[name].resolution or 0) - self.resolution), default=None)

    def command(self, data: str) -> str:
        """The training that makes it."""
        words = ["linnet train", data, "--out run/", "--architecture", self.network, "--width", f"{self.width:g}"]
        words += ["--resolution", str(self.resolution)]
        if (self.network, self.width) != ("mobilenet_v2", 1.0):
            words += ["--start", self.start() or "none"]
        return " ".join(words + ["--quantise"] * (self.precision == "int8"))


@cache
def _cost(network: Network, width: float, resolution: int, classes: int) -> Cost:
    """The same in every precision."""
    return cost(FAMILIES[network](width=width, resolution=resolution, classes=classes))


def candidates(classes: int, precisions: tuple[Precision, ...] = PRECISIONS) -> Iterator[Candidate]:
    """All of them, the published ones first."""
    places = [
        (network, width, resolution)
        for network, (widths, resolutions) in BETWEEN.items()
        for width in widths
        for resolution in resolutions
    ]
    for published in (True, False):
        for network, width, resolution in places:
            if ((width, resolution) in PUBLISHED[network]) == published:
                for precision in precisions:
                    yield Candidate(network, width, resolution, precision, classes)


def random_integers(architecture: Architecture) -> Checkpoint:
    """A quantised network of random integers, whose scales are all alike."""
    folded = architecture.with_options(folded=True)
    graph: Graph = folded.graph
    generator = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    for operation in graph.operations:
        for name, shape in operation.tensors.items():
            if name.endswith(".weight"):
                tensors[name] = generator.integers(-127, 128, shape, np.int8)
                tensors[f"{name}.scale"] = np.full(shape[0], 2.0**-9, np.float32)
            else:
                tensors[name] = np.zeros(shape, np.int32)
    encodings = dict.fromkeys((INPUT, *graph.by_name), Encoding(2.0**-5, 0))
    return Checkpoint(folded, default_preprocessing(folded), tensors, quantisation=Quantisation("int8", encodings))
