"""What the blocks of a network hold: positive channels after each expansion, and how many dimensions both ends use.

Measured by `benchmarks/activations.py`, one small JSON file a model; the pages figure7 and manifold show them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture.cost import INVERTED
from linnet.paper.page import MissingResultsError
from linnet.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMMAND = "python benchmarks/activations.py PICTURES --model MODEL"

SHARE = 0.99
"""Of the variance, for the number of components that are needed."""

POSITIONS = 64
"""Places of a map whose vectors go into a picture's covariance, at most: neighbours say the same."""


class Covariance:
    """Covariance of (N, channels) vectors that come in any number of pieces, in float64."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._sum, self._products = np.zeros(channels), np.zeros((channels, channels))

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Takes (N, channels) more."""
        values = vectors.astype(np.float64)
        self.count += len(values)
        self._sum += values.sum(axis=0)
        self._products += values.T @ values

    def eigenvalues(self) -> NDArray[np.float64]:
        """(channels,) of the covariance, largest first, none below zero."""
        mean = self._sum / self.count
        spread = np.linalg.eigvalsh(self._products / self.count - np.outer(mean, mean))
        return np.maximum(spread[::-1], 0)


def participation_ratio(eigenvalues: NDArray[np.float64]) -> float:
    """(Σλ)² / Σλ²: n of n equal eigenvalues, 1 where one holds everything; 0 where nothing varies."""
    squares = float((eigenvalues**2).sum())
    return float(eigenvalues.sum()) ** 2 / squares if squares else 0.0


def components_needed(eigenvalues: NDArray[np.float64], share: float = SHARE) -> int:
    """Fewest of (C,) eigenvalues, largest first, that hold a share of their sum; 0 where nothing varies."""
    total = np.cumsum(eigenvalues)
    # A sum that ends a rounding below its own last value would otherwise need one more than there are.
    return int((total < share * total[-1]).sum()) + 1 if total[-1] > 0 else 0


@dataclass
class Counts:
    """Positive channels over positions: their number, sum, sum of squares, least and most."""

    count: int = 0
    total: int = 0
    squares: int = 0
    least: int = field(default=1 << 30)
    most: int = 0

    def add(self, tensor: NDArray[np.float32]) -> None:
        """Takes (N, H, W, C): C channels at N x H x W positions."""
        positive = np.count_nonzero(tensor > 0, axis=-1)
        self.count += positive.size
        self.total += int(positive.sum())
        self.squares += int((positive.astype(np.int64) ** 2).sum())
        self.least, self.most = min(self.least, int(positive.min())), max(self.most, int(positive.max()))

    def to_json(self) -> dict[str, float]:
        """Mean, standard deviation, least and most channels at a position."""
        mean = self.total / self.count
        deviation = max(self.squares / self.count - mean**2, 0) ** 0.5
        return {"mean": mean, "deviation": deviation, "least": self.least, "most": self.most}


def measure_activations(
    predictor: Predictor, batches: Iterable[NDArray[np.uint8]], positions: int = POSITIONS
) -> list[dict[str, Any]]:
    """Of every block that expands: channels, positive ones after the expansion, and the spectrum of both ends.

    Args:
        predictor: of a network with inverted residuals.
        batches: (N, H, W, 3) uint8 pictures of the network's size.
        positions: of each map that go into the covariance, drawn anew for each batch; the positive channels are counted
            at all.

    Raises:
        ValueError: if no block expands, or there is no picture.
    """
    layers = predictor.architecture.layers
    blocks = {layer.name: layer for layer in layers if layer.kind == INVERTED and layer.convolution("expand")}
    if not blocks:
        raise ValueError("The network has no block that expands: this is about MobileNetV2's.")
    expansions = {name: f"{name}.expand" for name in blocks}
    counts = {name: Counts() for name in blocks}
    spectra = {name: tuple(Covariance(part.out_channels) for part in block.convolutions[-2:])
               for name, block in blocks.items()}  # fmt: skip
    generator = np.random.default_rng(0)
    for pixels in batches:
        tensors = predictor.tensors(pixels, [*expansions.values(), *blocks])
        for name, (inner, outer) in spectra.items():
            expanded = tensors[expansions[name]]
            counts[name].add(expanded)
            for covariance, tensor in ((inner, expanded), (outer, tensors[name])):
                covariance.add(_some(tensor, positions, generator))
    if not next(iter(counts.values())).count:
        raise ValueError("There is not one picture to measure.")
    return [
        {
            "block": name,
            "inputs": block.convolutions[0].in_channels,
            "positive": counts[name].to_json(),
            "expansion": _spectrum(spectra[name][0]),
            "bottleneck": _spectrum(spectra[name][1]),
        }
        for name, block in blocks.items()
    ]


def _some(tensor: NDArray[np.float32], positions: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(N, H, W, C) → (N x at most `positions`, C): the same places of each picture."""
    vectors = tensor.reshape(len(tensor), -1, tensor.shape[-1])
    places = generator.permutation(vectors.shape[1])[:positions]
    return vectors[:, places].reshape(-1, tensor.shape[-1])


def _spectrum(covariance: Covariance) -> dict[str, Any]:
    eigenvalues = covariance.eigenvalues()
    return {
        "channels": len(eigenvalues),
        "participation": participation_ratio(eigenvalues),
        "components": components_needed(eigenvalues),
        "samples": covariance.count,
    }


def read_activations(folder: Path) -> dict[str, dict[str, Any]]:
    """Name → result, of all models in a folder.

    Raises:
        MissingResultsError: if there are none, or one is broken, naming it.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_bytes(), parse_constant=_refuse)
            _check(document)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MissingResultsError(
                f"'{path}' holds no measured activations ({type(error).__name__}: {error}). Delete it and make it "
                f"again by `{COMMAND} --out '{path}'`."
            ) from None
        found[path.stem] = document
    if not found:
        raise MissingResultsError(
            f"there are no measured activations in '{folder}'. Make them by `{COMMAND} --out "
            f"'{folder / 'NAME.json'}'`, or give --results the folder that has them."
        )
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no measured number")


def block_numbers(blocks: Sequence[Mapping[str, Any]]) -> list[int]:
    """Numbers of measured blocks in their network: 5 of `blocks.5`."""
    return [int(block["block"].rpartition(".")[2]) for block in blocks]


def _check(document: Mapping[str, Any]) -> None:
    """Raises what `read_activations` turns into a sentence, if a page could not be made of a result."""
    trained = document["trained"]
    initial = document.get("initial", trained)
    if not trained or block_numbers(trained) != block_numbers(initial):
        raise ValueError("it has no blocks, or others with random weights than trained")
    if not (document["width"] > 0 and document["resolution"][0] > 0 and document["pictures"] > 0):
        raise ValueError("it has no width, no resolution or no pictures")
    if not (isinstance(document["data"], str) and document["positions"] > 0):
        raise ValueError("it does not say of which data, or has no positions")
    for block in (*trained, *initial):
        for end in ("expansion", "bottleneck"):
            found = block[end]
            # A participation ratio may end a rounding above the channels.
            if not max(found["components"], found["participation"] - 1e-6) <= found["channels"]:
                raise ValueError(f"{block['block']} needs more components than it has channels")
            if min(found["components"], found["participation"], found["channels"] - 1, found["samples"] - 1) < 0:
                raise ValueError(f"{block['block']} has no channels, no samples or less than no components")
        positive = block["positive"]
        if not 0 <= positive["least"] <= positive["mean"] <= positive["most"] <= block["expansion"]["channels"]:
            raise ValueError(f"{block['block']} has more positive channels than channels, or a mean beyond them")
        if not (positive["deviation"] >= 0 and block["inputs"] > 0):
            raise ValueError(f"{block['block']} has no deviation or no inputs")
