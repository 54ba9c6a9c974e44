"""Pictures from disk to batches: in the same order, with the same crops, on any number of machines and workers.

Every random number belongs to the picture: it is drawn from (run seed, epoch, picture number). So a batch is the same
whatever decodes it, a run goes on after a stop as if there had been none, and two processes see what one would see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import pairwise
from typing import Any, Generic, Literal, Required, Self, TypedDict, TypeVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from linnet.data.batches.crops import CropOptions, random_crop
from linnet.data.batches.decoding import Item, Seed, checked, collated, leave_signals_to_the_loop
from linnet.data.samples import Pictured, Sample
from linnet.images import Preprocessing

ORDER, CROP = 1, 2
"""What a generator is for: a picture's own crop never depends on how many numbers its augmentation draws."""


S = TypeVar("S", bound=Pictured)
"""A sample."""

B = TypeVar("B", bound="Batch")
"""A batch."""


@dataclass
class Batch:
    """A part of one step's pictures.

    Attributes:
        pixels: (N, 3, H, W) uint8, channels last in memory.
        indices: (N,) int64 classes.
        seeds: one a picture.
        total: pictures of the whole step, in all processes and parts: losses are averaged over these.
        decoding: seconds that the workers spent on it.
    """

    pixels: Tensor
    indices: Tensor
    seeds: list[Seed]
    total: int
    decoding: float = 0.0

    def pin_memory(self) -> Self:
        """For fast copies to a GPU; called by the loader."""
        values = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        pinned: dict[str, Any] = {name: value.pin_memory() for name, value in values if isinstance(value, Tensor)}
        return replace(self, **pinned)


@dataclass(frozen=True)
class Placement:
    """Which part of every step this process computes, in how many pieces one after the other."""

    rank: int = 0
    world: int = 1
    pieces: int = 1

    @property
    def parts(self) -> int:
        """Parts of a step in all processes."""
        return self.world * self.pieces


def split_in_pairs(count: int, parts: int) -> list[range]:
    """`count` positions in `parts` runs of nearly equal length, cut at even positions: pairs are mixed together."""
    pairs = -(-count // 2)
    cuts = [min(2 * (pairs * part // parts), count) for part in range(parts + 1)]
    return [range(start, stop) for start, stop in pairwise(cuts)]


class StepOptions(TypedDict, total=False):
    """Keywords of `Steps` that everything made of it takes too."""

    batch: Required[int]
    seed: int
    placement: Placement | None
    workers: int
    fraction: float
    pin: bool


def part_of_all(samples: Sequence[S], fraction: float, seed: int) -> list[S]:
    """A share of the samples, the same ones for a seed, in their order; at least one."""
    if fraction >= 1:
        return list(samples)
    kept = max(round(fraction * len(samples)), 1)
    chosen = np.random.default_rng((seed, ORDER)).permutation(len(samples))[:kept]
    return [samples[number] for number in sorted(chosen.tolist())]


class Steps(Generic[S, B]):
    """Training samples of any kind, step by step.

    An epoch's pictures are divided evenly over its steps, so there is no small last batch. Every process and every
    worker computes the same order from the seed alone.

    Args:
        samples: pictures.
        decode: what becomes of a sample, given the generator of its random crop; runs in the workers.
        join: makes a batch of what was decoded, seeds, pictures of the whole step and seconds.
        batch: pictures a step at most, over all processes.
        seed: of order and crops.
        placement: this process's part.
        workers: processes that decode; 0 decodes in this one.
        fraction: share of the pictures to use, the same ones in every epoch.
        repeats: times that an epoch shows each of them, every time differently.
        pin: prepare copies to a GPU.

    Raises:
        ValueError: if a step would leave a process without pictures.
    """

    def __init__(
        self,
        samples: Sequence[S],
        decode: Callable[[S, np.random.Generator], Any],
        join: Callable[[list[Any], list[Seed], int, float], B],
        *,
        batch: int,
        seed: int = 0,
        placement: Placement | None = None,
        workers: int = 0,
        fraction: float = 1.0,
        repeats: int = 1,
        pin: bool = False,
    ) -> None:
        self.samples = part_of_all(samples, fraction, seed) * repeats
        self.dataset, self.collate = _Decoding(self.samples, decode), partial(collated, join)
        self.batch, self.seed = batch, seed
        self.placement = placement or Placement()
        self.workers, self.pin = workers, pin
        self.steps = max(-(-len(self.samples) // batch), 1)
        smallest = len(self.samples) // self.steps
        if smallest < 2 * self.placement.parts - 1:
            raise ValueError(
                f"{smallest} pictures a step cannot be shared by {self.placement.parts} parts of two or more: lower "
                "--accumulate or the number of processes, or give a larger --batch."
            )

    def __len__(self) -> int:
        """Pictures an epoch."""
        return len(self.samples)

    def name(self, seed: Seed) -> str:
        """What to call the picture that has this seed."""
        return self.samples[seed[2]].name

    def epoch(self, number: int, start: int = 0) -> Iterator[list[B]]:
        """The steps of an epoch from `start` on: this process's parts of each."""
        steps = self._keys(number)[start:]
        flat = [keys for step in steps for keys in step]
        loader = DataLoader(
            self.dataset,
            batch_sampler=flat,
            num_workers=self.workers,
            collate_fn=self.collate,
            pin_memory=self.pin,
            # Enough to ride out a slow file, few enough to stay small.
            prefetch_factor=max(2, 2 * self.placement.pieces) if self.workers else None,
            worker_init_fn=leave_signals_to_the_loop,
        )
        loaded = iter(loader)
        try:
            for step in steps:
                yield [checked(next(loaded)) for _ in step]
        finally:
            # The traceback of an error would keep it, and with it the workers, which no signal ends.
            del loaded

    def _keys(self, number: int) -> list[list[list[tuple[Seed, int]]]]:
        """For each step, for each of this process's parts: seed of each picture and pictures of the whole step."""
        order = self._order(number)
        steps = []
        for chunk in np.array_split(order, self.steps):
            parts = split_in_pairs(len(chunk), self.placement.parts)
            own = parts[self.placement.rank :: self.placement.world]
            steps.append([[((self.seed, number, int(chunk[place])), len(chunk)) for place in part] for part in own])
        return steps

    def _order(self, number: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, number, ORDER)).permutation(len(self.samples))


class PictureBatches(Steps[Sample, Batch]):
    """Labelled pictures, step by step.

    Args:
        samples: labelled pictures.
        contract: size and interpolation.
        crop: how the random crop is drawn.
        order: `shuffled`, or `balanced`: every class as often as every other, with repetition.
        options: those of `Steps`.

    Raises:
        ValueError: if a step would leave a process without pictures.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        contract: Preprocessing,
        crop: CropOptions,
        *,
        order: Literal["shuffled", "balanced"] = "shuffled",
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(samples, partial(_cropped, contract, crop), join_pictures, **options)
        self.order = order

    def _order(self, number: int) -> NDArray[np.int64]:
        if self.order == "shuffled":
            return super()._order(number)
        classes = np.array([sample.index for sample in self.samples])
        chance = 1 / np.bincount(classes)[classes]
        generator = np.random.default_rng((self.seed, number, ORDER))
        return generator.choice(len(classes), size=len(classes), p=chance / chance.sum())


def _cropped(
    contract: Preprocessing, options: CropOptions, sample: Sample, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], int]:
    return random_crop(sample.picture, contract, options, generator), sample.index


class _Decoding(Dataset[Any]):
    """Keys of `Steps` → items."""

    def __init__(self, samples: Sequence[Any], decode: Callable[[Any, np.random.Generator], Any]) -> None:
        self.samples, self.decode = samples, decode

    def __getitem__(self, key: tuple[Seed, int]) -> Item:
        seed, total = key
        start = time.perf_counter()
        try:
            content = self.decode(self.samples[seed[2]], np.random.default_rng((*seed, CROP)))
        except (OSError, ValueError) as error:
            content = error
        return Item(content, seed, total, time.perf_counter() - start)


def stack_pixels(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Pictures (H, W, 3) of one size as (N, 3, H, W), channels last in memory."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (N, 3, H, W)


def join_pictures(contents: list[Any], seeds: list[Seed], total: int, seconds: float) -> Batch:
    """A batch of pictures (H, W, 3) and a whole number each."""
    pixels, indices = zip(*contents, strict=True)
    return Batch(stack_pixels(pixels), torch.tensor(indices), seeds, total, seconds)
