"""Pictures that a network is measured on: prepared by the contract, in their order, decoded once if they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from linnet.data.batches.decoding import Item, checked, collated, leave_signals_to_the_loop
from linnet.data.batches.loading import Placement, join_pictures
from linnet.data.samples import Pictured, Sample
from linnet.images import Preprocessing, prepare


class EvaluationPictures:
    """Pictures as the contract prepares them, kept decoded if they fit into `keep_bytes`.

    Args:
        samples: pictures.
        contract: the preprocessing.
        labels: a whole number for each picture, given beside it; its class if this is not given.
        batch: pictures a forward pass.
        placement: every process gets each `world`-th picture, so that all together see each once.
        workers: processes that decode.
    """

    def __init__(
        self,
        samples: Sequence[Pictured],
        contract: Preprocessing,
        *,
        labels: Sequence[int] | None = None,
        batch: int = 64,
        placement: Placement | None = None,
        workers: int = 0,
        keep_bytes: int = 1 << 30,
    ) -> None:
        place = placement or Placement()
        self.samples = samples[place.rank :: place.world]
        labels = [cast(Sample, sample).index for sample in samples] if labels is None else labels
        self.labels = labels[place.rank :: place.world]
        self.contract, self.batch, self.workers = contract, batch, workers
        self._keeps = len(self.samples) * contract.size[0] * contract.size[1] * 3 <= keep_bytes
        self._kept: list[tuple[Tensor, Tensor]] | None = None

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(N, 3, H, W) uint8 pixels and (N,) int64 classes, or what was given in their place."""
        if self._kept is not None:
            yield from self._kept
            return
        kept = []
        loader = DataLoader(
            _Prepared(self.samples, self.labels, self.contract),
            batch_size=self.batch,
            num_workers=self.workers,
            collate_fn=partial(collated, join_pictures),
            worker_init_fn=leave_signals_to_the_loop,
        )
        for batch in map(checked, loader):
            if self._keeps:
                # What a worker hands over lies in shared memory and keeps a file open each: copies do not.
                kept.append((batch.pixels.clone(), batch.indices.clone()))
            yield batch.pixels, batch.indices
        if self._keeps:
            self._kept = kept


class _Prepared(Dataset[Any]):
    def __init__(self, samples: Sequence[Pictured], labels: Sequence[int], contract: Preprocessing) -> None:
        self.samples, self.labels, self.contract = samples, labels, contract

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Item:
        content: Any
        try:
            content = prepare(self.samples[number].picture, self.contract), self.labels[number]
        except (OSError, ValueError) as error:
            content = error
        return Item(content, (0, 0, number), len(self.samples), 0.0)
