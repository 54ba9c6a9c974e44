"""Training pictures streamed from shards: each process reads only its share, and all see what one would see.

The order of an epoch is computed from the index, before anything is read, and depends on neither processes nor workers.
The shards are put into a random order and cut into stretches of equal length, whatever the length of the shards. Two
of them make a track; a pair of pictures, one from each, is what may be mixed. Steps take their pairs from the tracks in
turn. A process reads each `world`-th track, and its workers share these out among themselves in the same way: every
stretch is read by one worker, forwards, once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, Literal, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from linnet.data.batches.crops import CropOptions, random_crop
from linnet.data.batches.decoding import Seed, leave_signals_to_the_loop
from linnet.data.batches.loading import (
    CROP,
    ORDER,
    Batch,
    PictureBatches,
    Placement,
    StepOptions,
    part_of_all,
    split_in_pairs,
)
from linnet.data.samples import Sample
from linnet.data.sources import Address, Span, open_shard
from linnet.images import Preprocessing

TRACKS = 256
"""Most tracks of an epoch, and so most processes times workers that can read one."""

WINDOW = 2048
"""Pictures that are held back, in all processes together, so that neighbours of a shard come apart."""

Order = Literal["shuffled", "balanced"]


def open_batches(
    samples: Sequence[Sample],
    contract: Preprocessing,
    crop: CropOptions,
    *,
    order: Order = "shuffled",
    **options: Unpack[StepOptions],
) -> PictureBatches | ShardBatches:
    """Training pictures, step by step: streamed if they lie in shards, else each from its own file.

    Args: see `PictureBatches`.

    Raises:
        ValueError: if the pictures are behind http and every class shall come equally often, or a step would leave a
            process without pictures.
    """
    streamed = bool(samples) and isinstance(samples[0].source, Span)
    if streamed and order == "balanced" and any(isinstance(sample.file, Address) for sample in samples):
        raise ValueError(
            "--order balanced takes pictures from anywhere; shards behind http are read from front to back. "
            "--class-weights balanced does without."
        )
    if not streamed or order == "balanced":
        return PictureBatches(samples, contract, crop, order=order, **options)
    return ShardBatches(samples, contract, crop, **options)


@dataclass(frozen=True, eq=False)
class _Plan:
    """An epoch of N pictures: which comes when, and which is read when.

    Attributes:
        tracks: how many.
        cuts: (steps + 1,) places in the order where steps begin and end, all even but perhaps the last.
        order: (N,) numbers of the pictures in the order of the epoch.
        reading: (N,) numbers in the order in which they are read, stretch after stretch.
        bounds: (2 x tracks, 2) places in `reading` where each stretch begins and ends; 2 l and 2 l + 1 are track l.
        turns: (N,) places in `reading` in the order of use, stretch after stretch.
    """

    tracks: int
    cuts: NDArray[np.int64]
    order: NDArray[np.int64]
    reading: NDArray[np.int64]
    bounds: NDArray[np.int64]
    turns: NDArray[np.int64]

    def track_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The track of each place of the order."""
        return places // 2 % self.tracks


class ShardBatches:
    """Training pictures from shards, step by step; the same interface and the same seeds as `PictureBatches`.

    Every picture comes once an epoch. Steps hold whole pairs, so an odd batch counts as the even one below it; only the
    last picture of an odd number is alone. In memory a process keeps some 150 bytes a picture, and while it reads its
    share of `WINDOW` encoded pictures and of 0.25 MB for each of the stretches.

    Args:
        samples: pictures in shards (`linnet.data.sources.Span`).
        contract: size and interpolation.
        crop: how the random crop is drawn.
        batch: pictures a step at most, over all processes.
        seed: of order and crops.
        placement: this process's part.
        workers: processes that read and decode, at most one a track; 0 does both in this one.
        fraction: share of the pictures to use, the same ones in every epoch.
        pin: prepare copies to a GPU.

    Raises:
        ValueError: if a picture is in no shard, or a step would leave a process without pictures.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        contract: Preprocessing,
        crop: CropOptions,
        *,
        batch: int,
        seed: int = 0,
        placement: Placement | None = None,
        workers: int = 0,
        fraction: float = 1.0,
        pin: bool = False,
    ) -> None:
        self.samples = part_of_all(samples, fraction, seed)
        spans = [sample.source for sample in self.samples if isinstance(sample.source, Span)]
        if not spans or len(spans) < len(self.samples):
            raise ValueError("Only pictures in shards can be streamed, and at least one is needed.")
        self.placement = placement or Placement()
        self.contract, self.crop, self.seed, self.pin = contract, crop, seed, pin
        self.pairs = -(-len(self.samples) // 2)
        pairs_a_step = max(batch // 2, 1)
        self.steps = -(-self.pairs // pairs_a_step)
        self.tracks = min(TRACKS, pairs_a_step, self.pairs)
        self._check_shares()
        self.workers = min(workers, len(range(self.placement.rank, self.tracks, self.placement.world)))
        self.labels = np.array([sample.index for sample in self.samples], np.int64)
        self.files = list(dict.fromkeys(span.file for span in spans))
        numbers = {file: number for number, file in enumerate(self.files)}
        self.shards = np.array([numbers[span.file] for span in spans], np.int64)
        self.spans = np.array([(span.offset, span.size) for span in spans], np.int64)
        self.rows = np.array([span.number for span in spans], np.int64)

    def __len__(self) -> int:
        """Pictures an epoch."""
        return len(self.samples)

    def name(self, seed: Seed) -> str:
        """What to call the picture that has this seed."""
        return self.samples[seed[2]].name

    def epoch(self, number: int, start: int = 0) -> Iterator[list[Batch]]:
        """The steps of an epoch from `start` on: this process's parts of each. What came before is not read."""
        plan = self._plan(number)
        place = self.placement
        stream = _Stream(self, plan, number, start)
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_same,
            prefetch_factor=max(2, 2 * place.pieces) if self.workers else None,
            worker_init_fn=leave_signals_to_the_loop,
        )
        loaded = iter(loader)
        workers = max(self.workers, 1)
        try:
            for step in range(start, self.steps):
                places, tracks = stream.own_places(step)
                chunks = [_checked(next(loaded)) for _ in range(workers)]
                pixels = self._joined(chunks, tracks // place.world % workers)
                decoding = sum(seconds for _, seconds in chunks) / len(places)
                total = int(plan.cuts[step + 1] - plan.cuts[step])
                yield [
                    self._batch(number, plan.order[places[part]], pixels[part], total, decoding)
                    for part in map(_as_slice, split_in_pairs(len(places), place.pieces))
                ]
        finally:
            # Even while an error is on its way: workers that nobody ends outlive the run, since they obey no signal.
            del loaded
            stream.close()

    def _joined(self, chunks: list[tuple[Tensor, float]], whose: NDArray[np.int64]) -> Tensor:
        """The pictures of all workers in the order of the step: (N, H, W, 3)."""
        if len(chunks) == 1 and not self.pin:
            return chunks[0][0]
        pixels = torch.empty((len(whose), *self.contract.size, 3), dtype=torch.uint8, pin_memory=self.pin)
        for worker, (part, _) in enumerate(chunks):
            pixels[torch.from_numpy(np.flatnonzero(whose == worker))] = part
        return pixels

    def _batch(self, epoch: int, numbers: NDArray[np.int64], pixels: Tensor, total: int, decoding: float) -> Batch:
        seeds = [(self.seed, epoch, number) for number in numbers.tolist()]
        indices = torch.from_numpy(self.labels[numbers])
        if self.pin:
            indices = indices.pin_memory()
        return Batch(pixels.permute(0, 3, 1, 2), indices, seeds, total, decoding * len(seeds))

    def _cuts(self) -> NDArray[np.int64]:
        pairs = self.pairs * np.arange(self.steps + 1, dtype=np.int64) // self.steps
        return np.minimum(2 * pairs, len(self.samples))

    def _check_shares(self) -> None:
        """Every process must have a pair for each of its pieces in every step; all of them find the same."""
        world, pieces = self.placement.world, self.placement.pieces
        pairs = np.arange(self.pairs)
        step = np.searchsorted(self._cuts()[1:] // 2, pairs, side="right").clip(max=self.steps - 1)
        process = pairs % self.tracks % world
        least = np.bincount(step * world + process, minlength=self.steps * world).min()
        if least < pieces:
            raise ValueError(
                f"A step of {len(self.samples) // self.steps} pictures cannot be shared by {world} processes in "
                f"{pieces} parts of two or more: lower --accumulate or the number of processes, or give a larger "
                "--batch."
            )

    def _plan(self, number: int) -> _Plan:
        count, tracks = len(self.samples), self.tracks
        generator = np.random.default_rng((self.seed, number, ORDER))
        turn = generator.permutation(len(self.files))
        reading = np.lexsort((self.spans[:, 0], turn[self.shards]))
        # Pair number p is the p // tracks-th of track p % tracks; the last may lack its second picture.
        sizes = np.repeat(-(-(self.pairs - np.arange(tracks)) // tracks), 2)
        if count % 2:
            sizes[2 * ((self.pairs - 1) % tracks) + 1] -= 1
        # Which two make a track is drawn too: else a picture of a small data set would always meet the same others.
        slots = generator.permutation(2 * tracks)
        ends = np.cumsum(sizes[slots])
        bounds = np.empty((2 * tracks, 2), np.int64)
        bounds[slots] = np.stack([ends - sizes[slots], ends], axis=1)
        stretch = np.repeat(slots, sizes[slots])
        # Sorted by its place plus a random part of the window, no picture moves further than the window.
        window = max(WINDOW // (2 * tracks), 1)
        moved = np.arange(count) + window * generator.random(count)
        turns = np.lexsort((moved, bounds[stretch, 0]))
        places = 2 * ((np.arange(count) - bounds[stretch, 0]) * tracks + stretch // 2) + stretch % 2
        order = np.empty(count, np.int64)
        order[places] = reading[turns]
        return _Plan(tracks, self._cuts(), order, reading, bounds, turns)


def _as_slice(part: range) -> slice:
    return slice(part.start, part.stop)


def _same(item: Any) -> Any:
    return item


def _checked(chunk: tuple[Tensor, float] | Exception) -> tuple[Tensor, float]:
    if isinstance(chunk, Exception):
        raise chunk
    return chunk


class _Stream(IterableDataset[Any]):
    """What a worker runs: for each step the crops of its tracks' pictures (N, H, W, 3), and the seconds they took.

    An error is an item too: workers would wrap it in a traceback.
    """

    def __init__(self, batches: ShardBatches, plan: _Plan, epoch: int, start: int) -> None:
        self.plan, self.start, self.steps = plan, start, batches.steps
        self.files, self.shards, self.rows, self.spans = batches.files, batches.shards, batches.rows, batches.spans
        self.placement, self.contract, self.crop = batches.placement, batches.contract, batches.crop
        self.seed = (batches.seed, epoch)
        self.open = ExitStack()

    def close(self) -> None:
        """Ends the connections of this process."""
        self.open.close()

    def own_places(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in the order of this process's pictures of a step, and their tracks."""
        places = np.arange(self.plan.cuts[step], self.plan.cuts[step + 1])
        tracks = self.plan.track_of(places)
        own = tracks % self.placement.world == self.placement.rank
        return places[own], tracks[own]

    def __iter__(self) -> Iterator[tuple[Tensor, float] | Exception]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        if info is None:
            self.open = ExitStack()
        stretches: dict[int, Iterator[bytes]] = {}
        for step in range(self.start, self.steps):
            places, tracks = self.own_places(step)
            places = places[tracks // self.placement.world % workers == worker]
            begun = time.perf_counter()
            pixels = np.empty((len(places), *self.contract.size, 3), np.uint8)
            try:
                for row, place in enumerate(places.tolist()):
                    stretch = 2 * (place // 2 % self.plan.tracks) + place % 2
                    if stretch not in stretches:
                        stretches[stretch] = self._read(stretch)
                        self.open.enter_context(closing(stretches[stretch]))  # type: ignore[type-var]
                    pixels[row] = self._crop(next(stretches[stretch]), int(self.plan.order[place]))
            except (OSError, ValueError) as error:
                yield error
                return
            yield torch.from_numpy(pixels), time.perf_counter() - begun

    def _crop(self, content: bytes, number: int) -> NDArray[np.uint8]:
        generator = np.random.default_rng((*self.seed, number, CROP))
        try:
            return random_crop(content, self.contract, self.crop, generator)
        except ValueError as error:
            name = f"{self.files[self.shards[number]]}, picture {self.rows[number]}"
            raise ValueError(f"{name} {str(error).removeprefix('The picture ')}") from None

    def _read(self, stretch: int) -> Iterator[bytes]:
        """The pictures of a stretch in the order of use; only those of the steps to come are read, in file order."""
        plan = self.plan
        first, last = plan.bounds[stretch].tolist()
        # Of the pairs before the first step, those that this track gave.
        past = max(-(-(int(plan.cuts[self.start]) // 2 - stretch // 2) // plan.tracks), 0)
        turns = plan.turns[first + past : last]
        coming = iter(np.sort(turns).tolist())
        held: dict[int, bytes] = {}
        file, reader = None, None
        try:
            for place in turns.tolist():
                while place not in held:
                    at = next(coming)
                    number = plan.reading[at]
                    if reader is None or file != self.shards[number]:
                        if reader is not None:
                            reader.close()
                        file = self.shards[number]
                        reader = open_shard(self.files[file])
                    held[at] = reader.read(*self.spans[number].tolist())
                yield held.pop(place)
        finally:
            if reader is not None:
                reader.close()
