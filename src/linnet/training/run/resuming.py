"""A run that goes on, as its folder describes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lightning_fabric import Fabric

from linnet.data import DataSet
from linnet.data.sources import locate
from linnet.nn import Network
from linnet.tasks import Task
from linnet.training import folder as files
from linnet.training.plan import Plan, Reporter, check_same
from linnet.training.run.begun import Begun
from linnet.training.run.prepared import Prepared, check_recipe
from linnet.training.split import read_split


def go_on(begun: Begun, plan: Plan, fabric: Fabric, reporter: Reporter, task: Task, found: DataSet) -> Prepared:
    """The run that goes on, as its folder describes it."""
    data = _data_of_run(plan.out / files.SPLIT, found)
    if begun.classes != data.classes:
        raise ValueError(f"'{locate(plan.data)}' has other classes than the run in '{plan.out}' was begun with.")
    check_recipe(data, begun.recipe, task)
    check_same(plan, begun.given, begun.asked)
    plan = replace(plan, half=begun.asked.get("half", False))
    # How the work is shared out may change: the steps stay what they were.
    recipe = replace(begun.recipe, workers=plan.recipe.workers, accumulate=plan.recipe.accumulate)
    network = Network(begun.architecture, recompute_expansion=recipe.recompute)
    return Prepared(
        plan,
        fabric,
        reporter,
        task,
        task.trainer(),
        data,
        recipe,
        begun.decisions,
        begun.contract,
        network,
        begun.provenance,
    )


def _data_of_run(path: Path, found: DataSet) -> DataSet:
    if not path.is_file():
        raise ValueError(
            f"'{path}' is missing: the run cannot go on with the same pictures. Start anew with --overwrite."
        )
    return read_split(path, found)
