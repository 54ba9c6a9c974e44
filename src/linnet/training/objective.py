"""What the loop and those around it have in common: batches in, an objective, epochs out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from linnet.data.batches.loading import Batch


class Batches(Protocol):
    """Where training pictures come from."""

    steps: int

    def __len__(self) -> int:
        """Pictures an epoch."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """The steps of an epoch from `start` on, each as this process's parts."""
        ...

    def name(self, seed: tuple[int, int, int]) -> str:
        """What to call a picture."""
        ...


class Objective(Protocol):
    """What is learned: inputs and losses of a batch, and how good a network is."""

    score: str
    """Name of the figure that chooses the best version: the higher the better."""

    def begin_step(self, parts: Sequence[Batch], fabric: Fabric) -> None:
        """Called before the `inputs` of a step's parts, with all that this process has of it."""
        ...

    def inputs(self, batch: Batch, network: nn.Module, device: torch.device) -> tuple[Tensor, Any]:
        """Network inputs and targets of a batch, augmented."""
        ...

    def losses(self, outputs: Any, targets: Any) -> dict[str, Tensor]:
        """Named losses, each the sum over the batch's pictures; the network learns from their sum."""
        ...

    def evaluate(self, network: nn.Module, fabric: Fabric) -> dict[str, float]:
        """Figures of a network, the same in every process."""
        ...

    def calibration(self, device: torch.device, pictures: int) -> Iterable[Tensor]:
        """Training inputs without augmentation, for measuring statistics."""
        ...


class DescribingObjective(Objective, Protocol):
    """An objective that can also show what the network sees, as a run does before it begins."""

    def describe(self, inputs: Any, targets: Any, classes: Sequence[str]) -> tuple[Any, list[str]]:
        """Inputs as pictures again, and what the targets say of each."""
        ...


@dataclass(frozen=True)
class Epoch:
    """What came of an epoch.

    Attributes:
        number: from 1.
        losses: mean over its pictures, by name, and `loss`, their sum.
        figures: evaluation of the trained weights, and of their average under `average_…`.
        learning_rate: at its end.
        seconds: of the whole epoch, evaluation included.
        stages: of these, `waiting` for pictures, `augmenting`, `network`, `evaluating`; and `decoding`, which the
            workers spent beside it.
        images_per_second: while training.
        best: whether it is the best so far.
        weights: weights and statistics of the better version by name, if it is the best so far.
        quantised: whether it was computed in integers; its figures are those of a quantised network then.
    """

    number: int
    losses: Mapping[str, float]
    figures: Mapping[str, float]
    learning_rate: float
    seconds: float
    stages: Mapping[str, float]
    images_per_second: float
    best: bool
    weights: Mapping[str, Tensor] | None = None
    quantised: bool = False

    def to_json(self) -> dict[str, Any]:
        """Everything but the weights."""
        values = asdict(self) | {"losses": dict(self.losses), "figures": dict(self.figures)}
        return {key: value for key, value in values.items() if key != "weights"}


class Diverged(ValueError):
    """The loss is no longer a number.

    Attributes:
        names: pictures of the batch.
    """

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = list(names)


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""


class PlainBatches:
    """Any iterable of (images, classes) as `Batches`."""

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        self.batches = batches
        sizes = [len(classes) for _, classes in batches]
        if not sizes:
            raise ValueError("There are no batches to train on.")
        self.steps, self.pictures = len(sizes), sum(sizes)

    def __len__(self) -> int:
        return self.pictures

    def epoch(self, number: int, start: int = 0) -> Iterator[list[Batch]]:
        """See `Batches`."""
        first = 0
        for place, (images, classes) in enumerate(self.batches):
            seeds = [(0, number, first + offset) for offset in range(len(classes))]
            first += len(classes)
            if place >= start:
                yield [Batch(images, classes, seeds, len(classes))]

    def name(self, seed: tuple[int, int, int]) -> str:
        """See `Batches`."""
        return f"picture {seed[2]}"


class PlainObjective:
    """Cross entropy on inputs that are ready, without evaluation: for loops of one's own around `linnet.train`."""

    score = "top1"

    def inputs(self, batch: Batch, network: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
        """The batch as it is."""
        return batch.pixels.to(device), batch.indices.to(device)

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross entropy, summed over the pictures."""
        return {"classification": F.cross_entropy(outputs.float(), targets, reduction="sum")}

    def evaluate(self, network: nn.Module, fabric: Fabric) -> dict[str, float]:
        """Nothing: the caller evaluates."""
        return {}

    def begin_step(self, parts: Sequence[Batch], fabric: Fabric) -> None:
        """Every picture's loss is its own: nothing of the others is needed."""

    def calibration(self, device: torch.device, pictures: int) -> Iterable[Tensor]:
        """There are no pictures of its own."""
        raise ValueError("Statistics can be recalculated only where the pictures are known.")
