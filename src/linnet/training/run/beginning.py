"""A new run: everything that it depends on is decided, and written down before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch
from lightning_fabric import Fabric

from linnet.data import DataSet
from linnet.data.sources import Address
from linnet.images import Preprocessing
from linnet.nn import Network, freeze
from linnet.tasks import Task
from linnet.tasks.task import CheckOptions, Trainer
from linnet.training import folder as files
from linnet.training.environment import environment
from linnet.training.inputs import calibration_inputs
from linnet.training.plan import Plan, Reporter
from linnet.training.provenance import describe_origin
from linnet.training.recipe import Recipe
from linnet.training.run.begun import Begun, write_begun
from linnet.training.run.prepared import Prepared, check_recipe
from linnet.training.split import split_document
from linnet.training.statistics import USUAL_MOMENTUM, with_quick_statistics

CHECKED_PICTURES = 20_000
"""Looked at before a training; of more a random part, since decoding all of them would take too long."""

USED_AT_ONCE = {"features_only", "class_weights", "fraction", "seed", "validation", "workers", "precision"}
"""Fields of a recipe that have an effect where features are computed once."""

UNFOLDING_PICTURES = 512
"""Training pictures on which a folded start's statistics are measured."""


def begin(plan: Plan, fabric: Fabric, reporter: Reporter, task: Task, found: DataSet) -> Prepared:
    """A new run; its folder gets what it depends on before anything is trained."""
    # What costs nothing comes first: a wrong flag need not wait for all pictures to be looked at.
    check_recipe(found, plan.recipe, task)
    _check_quantise(plan)
    trainer = task.trainer()
    start = trainer.start(found, plan.start, plan.recipe)
    if start.keeps_classes:
        reporter.say("The classes are the start's own: what it has learnt of them is kept.")
    left_out, why = _check(plan, fabric, reporter, task, found)
    data = _split(found.without(set(left_out)), trainer, plan.recipe, why)
    recipe, decisions = plan.recipe.resolve(len(data.train), pretrained=start.pretrained)
    network = start.network
    # A network that is not trained step by step needs no batch norm.
    if recipe.fits_at_once:
        _say_unused(plan, reporter)
        if not start.pretrained:
            reporter.say("The features are those of random weights: give --start a model that was trained.")
    else:
        if network.architecture.folded:
            reporter.say("The start has its batch norm folded: it is unfolded on training pictures first.")
        network = start.ready(_unfolding_inputs(data, start.contract, recipe))
        network, decisions = _quicken(plan, network, recipe.steps(len(data.train)), recipe, decisions)
        freeze(network, recipe.freeze)
    provenance = describe_origin(plan.data, recipe.name, start, plan.licence)
    if fabric.global_rank == 0:
        files.write_json(plan.out / files.SPLIT, split_document(data, left_out))
        files.write_json(plan.out / files.ENVIRONMENT, environment())
        begun = Begun(
            recipe, plan.recipe, decisions, start.contract, network.architecture, provenance, data.classes, plan.asked
        )
        write_begun(begun, plan)
    return Prepared(plan, fabric, reporter, task, trainer, data, recipe, decisions, start.contract, network, provenance)


def _quicken(
    plan: Plan, network: Network, steps: int, recipe: Recipe, decisions: tuple[str, ...]
) -> tuple[Network, tuple[str, ...]]:
    """The network with statistics that follow so many steps, and the decisions with that one."""
    if recipe.batch_norm != "trained" or "batch_norm_momentum" in (plan.start.options or {}):
        return network, decisions
    quick = with_quick_statistics(network, steps)
    if quick is network:
        return network, decisions
    why = f"the start's statistics would reach back over too many of {steps:,} steps, and lag behind the weights"
    return quick, (*decisions, f"batch_norm_momentum {USUAL_MOMENTUM:g}: {why}")


def _split(data: DataSet, trainer: Trainer, recipe: Recipe, why: str) -> DataSet:
    """The data with a validation part.

    Raises:
        ValueError: if too little is left to train on; it says why pictures were left out.
    """
    if not data.train:
        raise ValueError(f"'{data.path}' has no training picture left. {why}")
    try:
        data = data.with_validation(recipe.validation, recipe.seed)
        trainer.refuse(data, recipe)
        if len(data.train) < 2:
            raise ValueError(f"'{data.path}' leaves {len(data.train)} training pictures; at least 2 are needed.")
    except ValueError as error:
        raise ValueError(f"{error} {why}".rstrip()) from None
    return data


def _check_quantise(plan: Plan) -> None:
    """Raises a ValueError on flags that have no meaning beside `--quantise`."""
    if plan.recipe.quantise and plan.half:
        raise ValueError(
            "--quantise writes checkpoints of eight bits, smaller than those of --half: leave --half away."
        )
    if plan.recipe.quantise and plan.recipe.fits_at_once:
        raise ValueError(
            "--quantise trains the network step by step, and here only a classifier is fitted to its features. Take "
            "another recipe."
        )


def _say_unused(plan: Plan, reporter: Reporter) -> None:
    """Names the flags that have no effect where only a classifier is fitted, at once."""
    flags = {entry.name for entry in fields(plan.recipe) if entry.metadata.get("flag", True)}
    if unused := sorted((plan.given or frozenset()) & flags - USED_AT_ONCE):
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        reporter.say(f"Only the classifier is fitted, at once and on whole pictures: {listed} has no effect.")


def _check(plan: Plan, fabric: Fabric, reporter: Reporter, task: Task, data: DataSet) -> tuple[list[str], str]:
    """Says what is wrong with the data; gives every process the pictures that are left out, and sentences on why."""
    left_out: list[str] = []
    why = ""
    if fabric.global_rank == 0:
        # Behind http only the classes are looked at: pictures would come one request each.
        limit = 0 if isinstance(data.train[0].file, Address) else CHECKED_PICTURES
        asked = plan.start.resolution or plan.recipe.resolution
        total = min(len(data.train) + len(data.validation) + len(data.test), limit)
        findings = task.check(
            data,
            CheckOptions(resolution=min(asked) if isinstance(asked, tuple) else asked, limit=limit),
            lambda done: reporter.progress("checking the pictures", done, total),
        )
        left_out = sorted(findings.broken)
        why = " ".join(problem.summary(1) for problem in findings.lost)
        for problem in (*findings.of("error"), *findings.of("warning")):
            reporter.say(problem.summary(3))
        if notes := len(findings.of("note")):
            reporter.say(f"`linnet check {data.path}` has {notes} more to say.")
    agreed: tuple[list[str], str] = fabric.broadcast((left_out, why))
    return agreed


def _unfolding_inputs(data: DataSet, contract: Preprocessing, recipe: Recipe) -> Iterator[torch.Tensor]:
    order = np.random.default_rng((recipe.seed, 7)).permutation(len(data.train))[:UNFOLDING_PICTURES]
    chosen = [data.train[number] for number in order.tolist()]
    return calibration_inputs(chosen, contract, len(chosen), batch=recipe.batch, device=torch.device("cpu"))
