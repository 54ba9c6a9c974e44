"""What the tensors of a network hold on some pictures: the ends of every channel, and a part of the values."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Graph
from linnet.checkpoint import Checkpoint
from linnet.engine.runtimes import RuntimeName
from linnet.files import describe_failure
from linnet.images import picture_name, prepare
from linnet.machine import usable_cores
from linnet.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.images import Picture

    Floats = NDArray[np.float32]

VALUES = 1 << 18
"""Values of a tensor that are kept, of all pictures together."""

FEWEST_ROWS = 1024
"""Of a tensor of many channels so many rows are kept all the same: their means are taken."""

BATCH = 2
"""Pictures that are run at a time: all tensors of one take 27 MB in MobileNetV2 1.0 at 224."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What one tensor held. A row is what one pixel (or the whole of a vector) has in all channels.

    Attributes:
        low: (C,) the least value of each channel on all pictures.
        high: (C,) the largest.
        rows: (n, C) rows drawn from all pictures.
    """

    low: Floats
    high: Floats
    rows: Floats

    @property
    def reach(self) -> Floats:
        """(C,) the largest absolute value of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def divided(self, factors: Floats | None) -> Observation:
        """The same tensor with each channel divided by a factor above 0."""
        if factors is None:
            return self
        return Observation(self.low / factors, self.high / factors, self.rows / factors)


@dataclass(frozen=True, eq=False)
class Observed:
    """What all tensors of a network held on some pictures.

    Attributes:
        tensors: by the name of their operation; a Reshape has none of its own.
        pictures: how many were read.
        black: how many of them were black all over.
        failed: name and error of each that could not be read.
    """

    tensors: Mapping[str, Observation]
    pictures: int
    black: int
    failed: list[tuple[str, str]]


class _Tally:
    """Collects what the threads see."""

    def __init__(self, graph: Graph, pictures: int) -> None:
        names = [operation.name for operation in graph.operations if operation.storage != "view"]
        channels = {name: graph.shape_of(name)[-1] for name in names}
        self.names = tuple(names)
        self.low = {name: np.full(count, np.inf, np.float32) for name, count in channels.items()}
        self.high = {name: np.full(count, -np.inf, np.float32) for name, count in channels.items()}
        rows = {name: max(FEWEST_ROWS, VALUES // count) for name, count in channels.items()}
        self.share = {name: max(1, -(-count // pictures)) for name, count in rows.items()}
        self.rows: dict[str, dict[int, Floats]] = {name: {} for name in names}
        self.lock = threading.Lock()
        self.read = self.black = 0
        self.failed: dict[int, tuple[str, str]] = {}

    def add(self, numbers: Sequence[int], pixels: NDArray[np.uint8], tensors: Mapping[str, Floats]) -> None:
        """Adds what some pictures gave; the numbers of the pictures say which rows are drawn."""
        found: dict[str, tuple[Floats, Floats, list[Floats]]] = {}
        for name, values in tensors.items():
            low, high = _ends(values)
            flat = values.reshape(len(values), -1, values.shape[-1])
            places = [_places(name, number, flat.shape[1], self.share[name]) for number in numbers]
            found[name] = low, high, [part[place] for part, place in zip(flat, places, strict=True)]
        with self.lock:
            for name, (low, high, rows) in found.items():
                np.minimum(self.low[name], low, out=self.low[name])
                np.maximum(self.high[name], high, out=self.high[name])
                self.rows[name] |= dict(zip(numbers, rows, strict=True))
            self.read += len(numbers)
            self.black += int((pixels.reshape(len(pixels), -1).max(axis=1) == 0).sum())

    def finish(self) -> Observed:
        """Everything, the rows in the order of the pictures: whichever thread was faster."""
        tensors = {
            name: Observation(
                self.low[name],
                self.high[name],
                np.concatenate([rows for _, rows in sorted(self.rows[name].items())]),
            )
            for name in self.names
        }
        return Observed(tensors, self.read, self.black, [failure for _, failure in sorted(self.failed.items())])


def _places(name: str, number: int, rows: int, count: int) -> NDArray[np.int64]:
    """Which rows of a picture are kept: the same in every run."""
    if count >= rows:
        return np.arange(rows)
    return np.random.default_rng((zlib.crc32(name.encode()), number)).integers(0, rows, count)


def _ends(values: Floats) -> tuple[Floats, Floats]:
    """(N, …, C) → the least and the largest of each channel."""
    channels = values.shape[-1]
    # Long rows first: numpy compares them with vector instructions.
    lines = values.reshape(-1, values.shape[-2] * channels) if values.ndim == 4 else values.reshape(-1, channels)
    low, high = lines.min(axis=0), lines.max(axis=0)
    return low.reshape(-1, channels).min(axis=0), high.reshape(-1, channels).max(axis=0)


def observe(
    checkpoint: Checkpoint,
    pictures: Sequence[Picture],
    *,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Observed:
    """Runs pictures through a network and looks at every tensor.

    Args:
        checkpoint: a network that takes pictures.
        pictures: as `linnet.load(…)` takes them.
        runtime: what runs it.
        threads: cores; None takes all.
        progress: called with the number of pictures done.

    Raises:
        ValueError: if there is no picture or not one can be read.
    """
    if not pictures:
        raise ValueError("There are no pictures to calibrate with.")
    graph = checkpoint.architecture.graph.folded
    tally = _Tally(graph, len(pictures))
    local = threading.local()
    groups = [range(start, min(start + BATCH, len(pictures))) for start in range(0, len(pictures), BATCH)]

    def look(numbers: range) -> int:
        if not hasattr(local, "predictor"):
            local.predictor = Predictor(checkpoint, runtime=runtime, threads=1)
        predictor: Predictor = local.predictor
        prepared: dict[int, NDArray[np.uint8]] = {}
        for number in numbers:
            try:
                prepared[number] = prepare(pictures[number], predictor.preprocessing)
            except (ValueError, OSError) as error:
                tally.failed[number] = picture_name(pictures[number]), describe_failure(error)
        if prepared:
            pixels = np.stack(list(prepared.values()))
            tally.add(list(prepared), pixels, predictor.tensors(pixels, tally.names))
        return len(numbers)

    done = 0
    with ThreadPoolExecutor(min(threads or usable_cores(), len(groups))) as pool:
        for count in pool.map(look, groups):
            done += count
            progress(done)
    if not tally.read:
        raise ValueError(f"Not one of {len(pictures)} pictures could be read. The first: {tally.failed[0][1]}")
    return tally.finish()


def scaled(observations: Mapping[str, Observation], factors: Mapping[str, Any]) -> dict[str, Observation]:
    """The tensors of a network whose channels are divided by factors."""
    return {name: observation.divided(factors.get(name)) for name, observation in observations.items()}
