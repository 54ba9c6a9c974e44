"""A run that is ready to train."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.data import DataSet
from linnet.data.batches.loading import Placement
from linnet.images import Preprocessing
from linnet.machine import usable_cores
from linnet.nn import Network, checkpoint_of
from linnet.tasks import Task
from linnet.tasks.task import Sharing, Trainer
from linnet.training.plan import Plan, Reporter
from linnet.training.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to train.

    Attributes:
        plan: what was asked for.
        fabric: device, precision and processes.
        reporter: what hears of the run; nothing in all processes but the first.
        task: what is learned.
        trainer: how it is.
        data: with a validation part.
        recipe: with every field decided.
        decisions: a sentence for each field that was decided.
        contract: how pictures become inputs.
        network: at its start, or as a run that goes on described it.
        provenance: of the checkpoints.
    """

    plan: Plan
    fabric: Fabric
    reporter: Reporter
    task: Task
    trainer: Trainer
    data: DataSet
    recipe: Recipe
    decisions: Sequence[str]
    contract: Preprocessing
    network: Network
    provenance: dict[str, Any]

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return bool(self.fabric.global_rank == 0)

    @property
    def workers(self) -> int:
        """Processes that decode for this one."""
        if self.recipe.workers is not None:
            return self.recipe.workers
        # The processes of one machine share its cores, and the network needs some too.
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(min(usable_cores() // local - 1, 8), 1)

    @property
    def sharing(self) -> Sharing:
        """This process's part of the work."""
        place = Placement(self.fabric.global_rank, self.fabric.world_size, self.recipe.accumulate)
        return Sharing(place, self.workers, self.fabric.device.type == "cuda")

    def save(self, network: Network, name: str) -> None:
        """Writes a version of the network into the run's folder."""
        self.write(checkpoint_of(network, self.contract, self.data.classes, provenance=self.provenance), name)

    def write(self, checkpoint: Checkpoint, name: str) -> None:
        """Writes a checkpoint in the precision that was asked for."""
        save_checkpoint(checkpoint, self.plan.out / name, dtype=np.float16 if self.plan.half else np.float32)


def check_recipe(data: DataSet, recipe: Recipe, task: Task) -> None:
    """Raises a ValueError if a recipe is for another task than the data show."""
    if recipe.task != task.name:
        raise ValueError(
            f"'{data.path}' has {task.labels}; --recipe {recipe.name} is for {recipe.task}. Take {task.recipe}, the "
            "default here."
        )
