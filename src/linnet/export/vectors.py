"""Test vectors: three pictures and what the reference says of them, which ride along in an exported file.

Whoever runs the file elsewhere can see within a second whether it computes the same there. The pictures are of cells in
random colours, whose bytes take little room when compressed; of long outputs every few numbers are kept.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.export.written import PICTURES, differences
from linnet.images import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from linnet.architecture import Architecture
    from linnet.images import Preprocessing

CELLS = (4, 12, 24)
"""Cells a side of each picture that a file carries."""

NOISY = PICTURES - len(CELLS)
"""Pictures of noise, on which a file is compared before it is written and which it does not carry."""

FLOAT_ALLOWED = 1e-4
"""Of float32: another processor sums in another order."""

MOST_NUMBERS = 4096
"""Of one output of one picture."""

LARGEST_BYTES = 1 << 26
"""Of one array of a file that somebody else may have changed: a picture of 2,000 pixels a side has a fifth."""


def sample_pictures(architecture: Architecture, contract: Preprocessing | None) -> NDArray[Any]:
    """Pictures to compare on, the noisy ones first: (5, H, W, 3) uint8; (5, H, W, C) float32 where it takes none."""
    generator = np.random.default_rng(0)
    (height, width), channels = architecture.input_size, 3 if contract is not None else architecture.input_channels
    pictures = [generator.integers(0, 256, (height, width, channels), dtype=np.uint8) for _ in range(NOISY)]
    for cells in CELLS:
        values = generator.integers(0, 256, (cells, cells, channels), dtype=np.uint8)
        rows, columns = (np.arange(side) * cells // side for side in (height, width))
        pictures.append(values[rows[:, None], columns[None, :]])
    stacked = np.stack(pictures)
    return stacked if contract is not None else stacked.astype(np.float32) / 128 - 1


def as_fed(pictures: NDArray[Any], contract: Preprocessing | None) -> NDArray[np.float32]:
    """Pictures as the reference takes them, (N, H, W, C) float32."""
    return pictures if contract is None else normalise(pictures, contract)


@dataclass(frozen=True, eq=False)
class Vectors:
    """What an exported file has to give.

    Attributes:
        pictures: (3, H, W, 3) uint8 RGB of the network's size; (3, H, W, C) float32 of one that takes no pictures.
        outputs: of each output (3, numbers), every `steps`-th of them.
        steps: one an output.
        allowed: the largest difference from them, relative to an output's largest number.
    """

    pictures: NDArray[Any]
    outputs: tuple[NDArray[np.float32], ...]
    steps: tuple[int, ...]
    allowed: float

    @classmethod
    def of_samples(cls, pictures: NDArray[Any], outputs: Sequence[NDArray[Any]], allowed: float) -> Vectors:
        """Of what the reference gives for `sample_pictures`, and what another machine may differ by."""
        return cls.of(pictures[NOISY:], [values[NOISY:] for values in outputs], allowed)

    @classmethod
    def of(cls, pictures: NDArray[Any], outputs: Sequence[NDArray[Any]], allowed: float) -> Vectors:
        """Of whole outputs, each (3, …)."""
        rows = [np.asarray(values, np.float32).reshape(len(pictures), -1) for values in outputs]
        steps = tuple(max(1, -(-row.shape[1] // MOST_NUMBERS)) for row in rows)
        thinned = tuple(np.ascontiguousarray(row[:, ::step]) for row, step in zip(rows, steps, strict=True))
        return cls(pictures, thinned, steps, allowed)

    def compare(self, outputs: Sequence[NDArray[Any]]) -> tuple[float, bool]:
        """The largest difference of whole outputs, and whether all are equal (`differences`).

        Raises:
            ValueError: if there are more or fewer numbers.
        """
        found = Vectors.of(self.pictures, outputs, self.allowed).outputs
        shapes = [[values.shape for values in each] for each in (found, self.outputs)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"The outputs have {shapes[0]} numbers, and {shapes[1]} were expected.")
        return differences(found, self.outputs)

    def to_json(self) -> dict[str, Any]:
        """For the file."""
        return {
            "pictures": _packed(self.pictures),
            "outputs": [
                {**_packed(values), "step": step} for values, step in zip(self.outputs, self.steps, strict=True)
            ],
            "allowed": self.allowed,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Vectors:
        """Of what `to_json` gave.

        Raises:
            ValueError: if it is something else.
        """
        try:
            outputs = tuple(_unpacked(each).astype(np.float32, copy=False) for each in document["outputs"])
            steps = tuple(int(each["step"]) for each in document["outputs"])
            return cls(_unpacked(document["pictures"]), outputs, steps, float(document["allowed"]))
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"its test vectors are damaged ({error})") from None


def _packed(values: NDArray[Any]) -> dict[str, Any]:
    """An array as text: little endian, compressed by zlib, in base 64."""
    little = values.astype(values.dtype.newbyteorder("<"))
    text = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()
    return {"type": values.dtype.name, "shape": list(values.shape), "zlib": text}


def _unpacked(document: Mapping[str, Any]) -> NDArray[Any]:
    kind = np.dtype({"uint8": "u1", "float32": "<f4"}[document["type"]])
    shape = tuple(int(side) for side in document["shape"])
    content = zlib.decompressobj().decompress(base64.b64decode(document["zlib"]), LARGEST_BYTES)
    return np.frombuffer(content, kind).reshape(shape).astype(kind.newbyteorder("="))
