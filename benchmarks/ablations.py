"""Trains the variants of Figure 6 and the matched MobileNetV1 on CIFAR-10; runs that have a result are skipped.

python benchmarks/ablations.py cifar10/ --out docs/experiments/figure6 --seeds 5
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import linnet
from linnet.architecture import Architecture
from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.data.batches.loading import Batch
from linnet.images import Preprocessing
from linnet.nn import Network, build
from linnet.nn.files import tensors_of
from linnet.paper.ablations import Budget, check_budget, experiments, plan, write_run
from linnet.training.classification import PlainTask
from linnet.training.inputs import as_inputs
from linnet.training.recipes import ScratchSmall
from linnet.training.start import draw_kaiming

CONTRACT = Preprocessing(size=(32, 32), crop=1.0)
FARTHEST = 4
SMOOTHING = 0.1


def load(path: Path, count: int) -> tuple[Tensor, Tensor]:
    """(count, 3, 32, 32) uint8 and (count,) classes: the first of a fixed permutation, decoded once."""
    if not path.exists():
        raise FileNotFoundError(f"There is no file '{path}'; CIFAR10 is a folder with train.parquet and test.parquet.")
    table = parquet.read_table(path)
    order = np.random.default_rng(0).permutation(table.num_rows)[:count]
    picture, label = table.column_names[:2]
    rows = table.take(order)
    pictures = [np.asarray(Image.open(io.BytesIO(row)).convert("RGB")) for row in rows.column(picture).to_pylist()]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor(rows.column(label).to_pylist())


class MemoryBatches:
    """Shifted and mirrored pictures from memory: what a seed sees depends on the seed and the epoch alone."""

    def __init__(self, pixels: Tensor, classes: Tensor, batch: int, seed: int) -> None:
        self.pixels, self.classes, self.batch, self.seed = F.pad(pixels, [FARTHEST] * 4), classes, batch, seed
        self.steps = len(classes) // batch

    def __len__(self) -> int:
        return self.steps * self.batch

    def epoch(self, number: int, start: int = 0) -> Iterator[Sequence[Batch]]:
        """See `linnet.training.task.Batches`."""
        generator = np.random.default_rng((self.seed, number))
        order = generator.permutation(len(self.classes))
        moves = generator.integers(0, 2 * FARTHEST + 1, (len(order), 2))
        mirrored = generator.random(len(order)) < 0.5
        for step in range(start, self.steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            parts = []
            for index in chosen:
                top, left = moves[index]
                part = self.pixels[index, :, top : top + 32, left : left + 32]
                parts.append(part.flip(2) if mirrored[index] else part)
            seeds = [(self.seed, number, int(index)) for index in chosen]
            yield [Batch(torch.stack(parts), self.classes[torch.from_numpy(chosen)], seeds, len(chosen))]

    def name(self, seed: tuple[int, int, int]) -> str:
        """See `linnet.training.task.Batches`."""
        return f"picture {seed[2]}"


class MemoryTask(PlainTask):
    """Smoothed cross entropy on pictures from memory, with the accuracy on the test part after every epoch."""

    def __init__(self, train: Tensor, pixels: Tensor, classes: Tensor) -> None:
        self.train, self.pixels, self.classes = train, pixels, classes

    def inputs(self, batch: Batch, network: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
        """Normalised pictures."""
        return ready(batch.pixels), batch.indices

    def losses(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Cross entropy with smoothed targets, summed."""
        loss = F.cross_entropy(outputs, targets, reduction="sum", label_smoothing=SMOOTHING)
        return {"classification": loss}

    def calibration(self, device: torch.device, pictures: int) -> Iterable[Tensor]:
        """The first training pictures, unmoved: some hundred steps are too few for running statistics."""
        return (ready(part) for part in self.train[:pictures].split(256))

    def evaluate(self, network: nn.Module, fabric: Any) -> dict[str, float]:
        """Top-1 of the last weights: no choice of the best epoch, so the test part chooses nothing."""
        with torch.inference_mode():
            right = sum(
                int((network(ready(part)).argmax(1) == classes).sum())
                for part, classes in zip(self.pixels.split(500), self.classes.split(500), strict=True)
            )
        return {"top1": right / len(self.classes)}


def ready(pixels: Tensor) -> Tensor:
    """uint8 → what the network takes."""
    return as_inputs(pixels.float().div_(255), CONTRACT).contiguous(memory_format=torch.channels_last)


def run(
    architecture: Architecture, seed: int, budget: Budget, data: Sequence[Tensor]
) -> tuple[Network, dict[str, Any]]:
    """One training from nothing: the network, and its curve and what it cost."""
    generator = torch.Generator().manual_seed(seed)
    network = build(architecture, generator=generator)
    draw_kaiming(network, torch.Generator().manual_seed(seed))
    recipe = ScratchSmall(
        epochs=budget.epochs,
        batch=budget.batch,
        learning_rate=budget.learning_rate,
        average=0.0,
        batch_norm="recalculated",
        recalculate_pictures=1024,
        seed=seed,
    )
    batches = MemoryBatches(data[0], data[1], budget.batch, seed)
    task = MemoryTask(data[0], data[2], data[3])
    begun = time.perf_counter()
    epochs = list(linnet.train(network, batches, recipe=recipe, task=task))
    return network, {
        "seed": seed,
        "multiply_adds": cost(architecture).multiply_adds,
        "parameters": cost(architecture).parameters,
        "budget": asdict(budget),
        "top1": [epoch.figures["top1"] for epoch in epochs],
        "loss": [epoch.losses["loss"] for epoch in epochs],
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    """All runs that have no result yet: Figure 6 and MobileNetV1 with all seeds, then the sweeps with three."""
    groups = experiments()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train.parquet and test.parquet")
    parser.add_argument("--out", type=Path, default=Path("docs/experiments/figure6"))
    parser.add_argument("--only", nargs="+", choices=list(groups), default=list(groups), help="groups to run")
    parser.add_argument("--seeds", type=int, default=5, help="of the variants and of MobileNetV1")
    parser.add_argument("--sweep-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=Budget.epochs)
    parser.add_argument("--pictures", type=int, default=Budget.pictures)
    parser.add_argument("--keep", type=Path, help="folder for the trained networks; runs with a result have none")
    options = parser.parse_args()
    budget = Budget(epochs=options.epochs, pictures=options.pictures)
    check_budget(options.out, budget)
    data = [*load(options.data / "train.parquet", budget.pictures)]
    data += load(options.data / "test.parquet", budget.test_pictures)
    for group in options.only:
        seeds = options.seeds if group in ("variants", "first") else options.sweep_seeds
        for name, seed, path in plan(list(groups[group]), seeds, options.out):
            network, document = run(groups[group][name], seed, budget, data)
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                checkpoint = Checkpoint(network.architecture, CONTRACT, tensors_of(network))
                save_checkpoint(checkpoint, options.keep / f"{name}-{seed}.safetensors")
            write_run(path, {"name": name, **document})
            print(f"{name} seed {seed}: top-1 {document['top1'][-1]:.1%}, {document['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"ablations.py: {error}")
