"""A network in eight bits against the same in float: figures, equal answers, the noise of each layer, a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.data import Sample
from linnet.engine.runtimes import RuntimeName
from linnet.evaluation.detector import MEASURING
from linnet.evaluation.figures import Figures
from linnet.evaluation.uncertainty import Difference, Interval, wilson
from linnet.images import decode, prepare
from linnet.predictor import Predictor
from linnet.quantisation.post_training.quantising import Quantised
from linnet.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from linnet.images import Picture

Progress = Callable[[int], None]

LOUD = 3
"""Layers that are named."""

LAYER_PICTURES = 16
"""Pictures on which the noise of layers is measured."""

SEARCHED, SHOWN = 128, 6
"""Pictures that are looked at for the picture of both, and of these so many shown: those with other answers first."""

TILE, GAP, HEADING = 320, 8, 26
"""Longer side of a picture in the picture of both, what lies between pictures, and what stands above them."""


@dataclass(frozen=True)
class RunOptions:
    """How networks are run.

    Attributes:
        runtime: what runs them.
        threads: cores; None lets the runtime decide.
        batch: pictures a forward pass.
    """

    runtime: RuntimeName = "auto"
    threads: int | None = None
    batch: int = 8

    def load(self, checkpoint: Checkpoint, *, shown: bool = False) -> Predictor:
        """A predictor; of a detector everything it finds counts, unless it is to be shown."""
        suppression = None if shown else MEASURING
        return Predictor(checkpoint, runtime=self.runtime, threads=self.threads, suppression=suppression)


@dataclass(frozen=True, eq=False)
class Measured:
    """What two networks came to on the same pictures.

    Attributes:
        pictures: how many both could read.
        same: share of these on which the best answers are equal.
        before: figures of the float network; None without labels.
        after: figures of the other.
        differences: of each figure, the second less the first, with intervals.
        failed: name and error of each picture that could not be read.
    """

    pictures: int
    same: float
    before: Figures | None = None
    after: Figures | None = None
    differences: Sequence[Difference] = ()
    failed: Sequence[tuple[str, str]] = ()

    @property
    def same_interval(self) -> Interval | None:
        """95 % of the share of equal answers."""
        return wilson(round(self.same * self.pictures), self.pictures)

    @property
    def headline(self) -> Difference | None:
        """The difference of the figure that tells models apart; None where it cannot be measured."""
        if self.before is None:
            return None
        found = next(each for each in self.differences if each.name == self.before.headline)
        return found if found.value is not None else None


def measure(predictor: Predictor, samples: Sequence[Sample], *, batch: int, progress: Progress) -> Figures:
    """Figures of a model on pictures with labels."""
    return TASKS[predictor.architecture.task].measure(predictor, samples, batch=batch, progress=progress)


def compare(before: Figures, after: Figures) -> Measured:
    """Both networks' figures of the same pictures, and how sure their differences are."""
    return Measured(
        after.images,
        after.same_answers(before),
        before.with_intervals(),
        after.with_intervals(),
        after.against(before),
        after.failed,
    )


def compare_answers(
    before: Predictor, after: Predictor, pictures: Sequence[Picture], *, batch: int, progress: Progress
) -> Measured:
    """How often both networks say the same of pictures without labels.

    Raises:
        ValueError: if not one picture can be read.
    """
    same, failed = [], []
    pairs = zip(before.stream(pictures, batch=batch), after.stream(pictures, batch=batch), strict=True)
    for number, ((picture, first), (_, second)) in enumerate(pairs, start=1):
        if isinstance(first, Exception) or isinstance(second, Exception):
            failed.append((str(picture), str(first if isinstance(first, Exception) else second)))
        else:
            same.append(first.agrees(second))
        progress(number)
    if not same:
        raise ValueError(f"Not one of {len(pictures)} pictures could be read. The first: {failed[0][1]}")
    return Measured(len(same), sum(same) / len(same), failed=failed)


@dataclass(frozen=True)
class LayerNoise:
    """How far a layer of the quantised network is from the float one, all layers before it rounded too.

    Attributes:
        name: of its tensor.
        sqnr_db: 10 log10 of the ratio of the squares of its values to those of the differences; infinite where there
            are none.
        weighted: whether it has weights.
    """

    name: str
    sqnr_db: float
    weighted: bool


def layer_noises(
    before: Predictor, quantised: Quantised, after: Predictor, pictures: Sequence[Picture]
) -> list[LayerNoise]:
    """The noise of every layer, in the order in which they run, in the float network's numbers.

    Raises:
        ValueError: if not one picture can be read.
    """
    graph = after.architecture.graph
    names = [operation.name for operation in graph.operations if operation.storage != "view"]
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for pixels in readable(pictures, before, LAYER_PICTURES):
        wanted, got = (predictor.tensors(pixels[None], names) for predictor in (before, after))
        for name in names:
            factors = quantised.factors.get(name)
            values = got[name] if factors is None else got[name] * factors
            signal[name] += float(np.square(wanted[name], dtype=np.float64).sum())
            noise[name] += float(np.square(values - wanted[name], dtype=np.float64).sum())
    return [LayerNoise(name, _decibels(signal[name], noise[name]), bool(graph.by_name[name].tensors)) for name in names]


def loudest(noises: Sequence[LayerNoise], count: int = LOUD) -> list[LayerNoise]:
    """The layers with weights that are furthest from the float network, the worst first."""
    return sorted((each for each in noises if each.weighted), key=lambda each: each.sqnr_db)[:count]


def readable(pictures: Sequence[Picture], predictor: Predictor, count: int) -> Iterator[NDArray[np.uint8]]:
    """The first pictures that can be read, at the network's size; the others have been named elsewhere.

    Raises:
        ValueError: if there is none.
    """
    read = 0
    for picture in pictures:
        if read == count:
            return
        try:
            pixels = prepare(picture, predictor.preprocessing)
        except (ValueError, OSError):
            continue
        read += 1
        yield pixels
    if not read:
        raise ValueError(f"Not one of {len(pictures)} pictures could be read.")


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def picture_of_both(before: Predictor, after: Predictor, pictures: Sequence[Picture]) -> Image.Image | None:
    """Pictures with what the float network says on the left and what the other says on the right; None of none.

    Args:
        before: the float network.
        after: the quantised one.
        pictures: the first `SEARCHED` are looked at, and those shown on which the answers differ, then others.
    """
    from PIL import Image, ImageDraw, ImageFont

    from linnet.results.drawing import draw

    pairs = zip(before.stream(pictures[:SEARCHED]), after.stream(pictures[:SEARCHED]), strict=True)
    both = [
        (picture, first, second)
        for (picture, first), (_, second) in pairs
        if not (isinstance(first, Exception) or isinstance(second, Exception))
    ]
    both.sort(key=lambda one: one[1].agrees(one[2]))
    rows = []
    for picture, first, second in both[:SHOWN]:
        whole = decode(picture)
        image = whole.copy()
        image.thumbnail((TILE, TILE))
        scale = (image.width / whole.width, image.height / whole.height)
        rows.append([draw(image, result.scaled(scale)) for result in (first, second)])
    if not rows:
        return None
    width = max(100, *(tile.width for row in rows for tile in row))
    heights = [max(tile.height for tile in row) for row in rows]
    sheet = Image.new("RGB", (2 * width + GAP, HEADING + sum(heights) + GAP * (len(rows) - 1)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for place, heading in enumerate(("in float", "in eight bits")):
        pen.text((place * (width + GAP) + GAP, 3), heading, "black", font)
    top = HEADING
    for row, height in zip(rows, heights, strict=True):
        for place, tile in enumerate(row):
            sheet.paste(tile, (place * (width + GAP), top))
        top += height + GAP
    return sheet
