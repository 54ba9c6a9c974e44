"""Trains the variants of Figure 6 and the matched MobileNetV1 on CIFAR-10; runs that have a result are skipped.

    python benchmarks/ablations.py cifar10/                  # 64 thousand pictures seen, and the sweeps
    python benchmarks/ablations.py cifar10/ --budget 650k    # Figure 6 alone, with ten times the training

Results lie in docs/experiments, in a folder for each budget, from where `linnet paper figure6` reads all of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import linnet
from linnet.architecture import Architecture
from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.data import DataSet, Sample, find
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import PictureBatches
from linnet.images import Preprocessing
from linnet.nn import Network
from linnet.nn.files import tensors_of
from linnet.paper.ablations import BUDGETS, SHORTEST, Budget, check_budget, experiments, folder_of, plan, write_run
from linnet.tasks.classification.objective import ClassificationObjective
from linnet.training.recipes import SCRATCH_SMALL
from linnet.training.starts import from_nothing

CONTRACT = Preprocessing(size=(32, 32), crop=1.0)
CLASSES = 10


def load(path: Path, budget: Budget) -> DataSet:
    """CIFAR-10 with as many pictures as the budget allows, the first of a fixed permutation; test is validation.

    The test part chooses nothing: the score of a run is that of its last epoch.
    """
    data = find(path)
    if len(data.classes) != CLASSES:
        raise ValueError(f"'{path}' has {len(data.classes)} classes; CIFAR-10 has {CLASSES}, as the networks have.")

    def first(samples: Sequence[Sample], count: int) -> tuple[Sample, ...]:
        order = np.random.default_rng(0).permutation(len(samples))[:count]
        return tuple(samples[number] for number in order.tolist())

    train, test = first(data.train, budget.pictures), first(data.test, budget.test_pictures)
    return replace(data, train=train, validation=test, test=())


def run(architecture: Architecture, seed: int, budget: Budget, data: DataSet) -> tuple[Network, dict[str, Any]]:
    """One training from nothing: the network, and its curve and what it cost."""
    recipe = replace(
        SCRATCH_SMALL,
        epochs=budget.epochs,
        batch=budget.batch,
        learning_rate=budget.learning_rate,
        average=0.0,
        # Some hundred steps are too few for running statistics.
        batch_norm="recalculated",
        recalculate_pictures=1024,
        seed=seed,
    )
    network = from_nothing(architecture, recipe)
    batches = PictureBatches(data.train, CONTRACT, recipe.crop_options, batch=recipe.batch, seed=seed)
    validation = EvaluationPictures(data.validation, CONTRACT, batch=500)
    objective = ClassificationObjective(CONTRACT, recipe, data.counts, list(data.train), validation)
    begun = time.perf_counter()
    epochs = list(linnet.train(network, batches, recipe=recipe, task=objective))
    return network, {
        "seed": seed,
        "multiply_adds": cost(architecture).multiply_adds,
        "parameters": cost(architecture).parameters,
        "budget": asdict(budget),
        "top1": [epoch.figures["top1"] for epoch in epochs],
        "loss": [epoch.losses["loss"] for epoch in epochs],
        "seconds": time.perf_counter() - begun,
    }


FIGURE, SWEEPS = ("variants", "first"), ("expansions", "matched", "widths")
SEEDS = {"64k": 5, "650k": 5, "2.5M": 3}
"""Of the networks of Figure 6; minutes, a quarter of an hour and an hour a run on one core."""
SWEEP_SEEDS = 3


def read_options() -> argparse.Namespace:
    """What is to be run; what is not given is the budget's."""
    groups = list(experiments())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train.parquet and test.parquet")
    parser.add_argument("--budget", choices=list(BUDGETS), default=SHORTEST, help="pictures seen in a training")
    parser.add_argument(
        "--out", type=Path, help="folder of this budget's results; without it the one in docs/experiments"
    )
    parser.add_argument("--only", nargs="+", choices=groups, help="groups to run; the sweeps are for 64k unless named")
    parser.add_argument("--seeds", type=int, help="of the variants and of MobileNetV1")
    parser.add_argument("--sweep-seeds", type=int, default=SWEEP_SEEDS)
    parser.add_argument("--epochs", type=int, help="for a budget of one's own, which needs an --out of its own")
    parser.add_argument("--pictures", type=int, help="likewise; of the training part")
    parser.add_argument("--keep", type=Path, help="folder for the trained networks; runs with a result have none")
    options = parser.parse_args()
    options.only = options.only or [*FIGURE, *(SWEEPS if options.budget == SHORTEST else ())]
    options.seeds = options.seeds or SEEDS[options.budget]
    options.out = options.out or folder_of(Path("docs/experiments"), options.budget)
    return options


def main() -> None:
    """All runs that have no result yet: Figure 6 and MobileNetV1, all five of a seed together, then the sweeps."""
    options = read_options()
    own = {"epochs": options.epochs, "pictures": options.pictures}
    budget = replace(BUDGETS[options.budget], **{name: value for name, value in own.items() if value is not None})
    check_budget(options.out, budget)
    data = load(options.data, budget)
    groups = experiments()
    # Whole seeds first: only what all networks have can be compared.
    figure = {name: network for group in FIGURE if group in options.only for name, network in groups[group].items()}
    sweeps = [groups[group] for group in SWEEPS if group in options.only]
    for networks, seeds in [(figure, options.seeds), *((sweep, options.sweep_seeds) for sweep in sweeps)]:
        for name, seed, path in plan(list(networks), seeds, options.out):
            network, document = run(networks[name], seed, budget, data)
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
