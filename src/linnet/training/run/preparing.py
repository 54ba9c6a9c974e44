"""The first stage of a run: its folder is opened, the data are found, and the run begins or goes on."""

from __future__ import annotations

from dataclasses import replace

from linnet.data import DataSet, find_for
from linnet.tasks import TASKS
from linnet.training import folder as files
from linnet.training.devices import open_fabric
from linnet.training.plan import Plan, Reporter
from linnet.training.run.beginning import begin
from linnet.training.run.begun import read_begun
from linnet.training.run.prepared import Prepared
from linnet.training.run.resuming import go_on


def prepare(plan: Plan, reporter: Reporter) -> Prepared:
    """Opens the run's folder and finds data, start and recipe; or reads what the run that goes on has written there.

    Raises:
        ValueError: if data, start and recipe do not fit each other.
        OSError: if a file cannot be read or written.
    """
    begun = read_begun(plan)
    if begun is None:
        files.refuse_inside(plan.out, plan.data)
    # A run that goes on keeps its precision.
    recipe = plan.recipe if begun is None else begun.recipe
    fabric = open_fabric(plan.device, recipe.precision, synchronise=recipe.synchronise)
    leads = fabric.global_rank == 0
    reporter = reporter if leads else Reporter()
    found = find_for(
        plan.recipe.task, plan.data, format=plan.format, images=plan.images, ignore=plan.ignore
    ).for_training()
    task = TASKS[found.task]
    if leads:
        files.prepare_run_folder(plan.out, resume=plan.resume, overwrite=plan.overwrite)
    begun = fabric.broadcast(begun)
    for sentence in found.remarks():
        reporter.say(sentence)
    if begun is None:
        prepared = begin(plan, fabric, reporter, task, found)
    else:
        prepared = go_on(begun, plan, fabric, reporter, task, found)
    prepared = replace(prepared, data=_keep_evaluated(prepared))
    _describe(prepared)
    return prepared


def _keep_evaluated(prepared: Prepared) -> DataSet:
    """Validation and test shards behind http are read after every epoch: the folder keeps copies, made once."""
    trainer, out = prepared.trainer, prepared.plan.out
    if prepared.leads:
        trainer.keep(prepared.data, out)
    prepared.fabric.barrier()
    return trainer.keep(prepared.data, out)


def _describe(prepared: Prepared) -> None:
    data, say = prepared.data, prepared.reporter.say
    parts = f"{len(data.train):,} for training, {len(data.validation):,} for validation"
    what = f"{data.path}: {len(data.classes)} classes"
    say(f"{what}, {parts}, {len(data.test):,} for the final score ({data.split}).")
    for decision in prepared.decisions:
        say(decision)
