"""Everything that a run depends on, decided and written down before anything is trained."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from linnet.architecture import Architecture, from_options, options_of
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.data import DataSet, find_for
from linnet.data.batches.loading import Placement
from linnet.data.sources import Address, locate
from linnet.images import Preprocessing
from linnet.machine import usable_cores
from linnet.nn import Network, checkpoint_of, freeze
from linnet.tasks import TASKS, Task
from linnet.tasks.task import CheckOptions, Sharing, Trainer
from linnet.training import folder as files
from linnet.training.devices import open_fabric
from linnet.training.inputs import calibration_inputs
from linnet.training.plan import Plan, Reporter, check_same
from linnet.training.provenance import describe_origin
from linnet.training.recipe import Recipe
from linnet.training.recipes import recipe_from
from linnet.training.split import read_split, split_document

FORMAT = 2
"""Of a run's folder. Runs of version 0.1 have none: their networks' parts and their recipes' fields had other names."""

CHECKED_PICTURES = 20_000
"""Looked at before a training; of more a random part, since decoding all of them would take too long."""

USED_AT_ONCE = {"features_only", "class_weights", "fraction", "seed", "validation", "workers", "precision"}
"""Fields of a recipe that have an effect where features are computed once."""

UNFOLDING_PICTURES = 512
"""Training pictures on which a folded start's statistics are measured."""


@dataclass(frozen=True)
class Begun:
    """What the folder of a run says of it.

    Attributes:
        recipe: with every field decided.
        given: the recipe as it was given.
        decisions: a sentence for each field that was decided.
        contract: how pictures become inputs.
        architecture: of the network.
        provenance: of the checkpoints.
        classes: of the data.
        asked: `Plan.asked` of that time.
    """

    recipe: Recipe
    given: Recipe
    decisions: Sequence[str]
    contract: Preprocessing
    architecture: Architecture
    provenance: dict[str, Any]
    classes: tuple[str, ...]
    asked: dict[str, Any]


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


def prepare(plan: Plan, reporter: Reporter) -> Prepared:
    """Opens the run's folder and finds data, start and recipe; or reads what the run that goes on has written there.

    Raises:
        ValueError: if data, start and recipe do not fit each other.
        OSError: if a file cannot be read or written.
    """
    begun = _begun(plan)
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
        prepared = _begin(plan, fabric, reporter, task, found)
    else:
        prepared = _go_on(begun, plan, fabric, reporter, task, found)
    prepared = replace(prepared, data=_keep_evaluated(prepared))
    _describe(prepared)
    return prepared


def _begun(plan: Plan) -> Begun | None:
    """What a run that is to go on has written down; None where one is to begin.

    Raises:
        ValueError: if what stands there is damaged, or of another version.
    """
    if not (plan.resume and files.goes_on(plan.out)):
        return None
    path = plan.out / files.RECIPE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("format") == FORMAT:
            return Begun(
                recipe_from(document["recipe"], document["resolved"]),
                recipe_from(document["recipe"], document["given"]),
                tuple(document["decisions"]),
                Preprocessing.from_json(document["preprocessing"]),
                from_options(document["architecture"]),
                document["provenance"],
                tuple(document["classes"]),
                dict(document["asked"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'{path}' is damaged ({error}). Start anew with --overwrite.") from None
    raise ValueError(
        f"The run in '{plan.out}' was begun by another version of linnet, and this one cannot go on with it to the "
        f"bit. Begin a new run from its weights: --start {plan.out / files.LAST} and another --out."
    )


def _begin(plan: Plan, fabric: Fabric, reporter: Reporter, task: Task, found: DataSet) -> Prepared:
    """A new run; its folder gets what it depends on before anything is trained."""
    # What costs nothing comes first: a wrong flag need not wait for all pictures to be looked at.
    check_recipe(found, plan.recipe, task)
    _check_quantise(plan)
    trainer = task.trainer()
    start = trainer.start(found, plan.start, plan.recipe)
    if start.keeps_classes:
        reporter.say("The classes are the start's own: what it has learnt of them is kept.")
    left_out = _check(plan, fabric, reporter, task, found)
    data = found.without(set(left_out)).with_validation(plan.recipe.validation, plan.recipe.seed)
    trainer.refuse(data, plan.recipe)
    recipe, decisions = plan.recipe.resolve(len(data.train), pretrained=start.pretrained)
    network = start.network
    # A network that is not trained step by step needs no batch norm.
    if _fits_at_once(recipe):
        _say_unused(plan, reporter)
        if not start.pretrained:
            reporter.say("The features are those of random weights: give --start a model that was trained.")
    else:
        if network.architecture.folded:
            reporter.say("The start has its batch norm folded: it is unfolded on training pictures first.")
        network = start.ready(_unfolding_inputs(data, start.contract, recipe))
        freeze(network, recipe.freeze)
    provenance = describe_origin(plan.data, recipe.name, start, plan.licence)
    if fabric.global_rank == 0:
        files.write_json(plan.out / files.SPLIT, split_document(data, left_out))
        files.write_json(plan.out / files.ENVIRONMENT, files.environment())
        files.write_json(
            plan.out / files.RECIPE,
            {
                "format": FORMAT,
                "recipe": recipe.name,
                "given": asdict(plan.recipe),
                "resolved": asdict(recipe),
                "decisions": list(decisions),
                "data": str(locate(plan.data)),
                "start": plan.start.start,
                "asked": plan.asked,
                "architecture": options_of(network.architecture),
                "preprocessing": start.contract.to_json(),
                "classes": list(data.classes),
                "provenance": provenance,
            },
        )
    return Prepared(plan, fabric, reporter, task, trainer, data, recipe, decisions, start.contract, network, provenance)


def check_recipe(data: DataSet, recipe: Recipe, task: Task) -> None:
    """Raises a ValueError if a recipe is for another task than the data show."""
    if recipe.task != task.name:
        raise ValueError(
            f"'{data.path}' has {task.labels}; --recipe {recipe.name} is for {recipe.task}. Take {task.recipe}, the "
            "default here."
        )


def _check_quantise(plan: Plan) -> None:
    """Raises a ValueError on flags that have no meaning beside `--quantise`."""
    if plan.recipe.quantise and plan.half:
        raise ValueError(
            "--quantise writes checkpoints of eight bits, smaller than those of --half: leave --half away."
        )
    if plan.recipe.quantise and _fits_at_once(plan.recipe):
        raise ValueError(
            "--quantise trains the network step by step, and here only a classifier is fitted to its features. Take "
            "another recipe."
        )


def _fits_at_once(recipe: Recipe) -> bool:
    return getattr(recipe, "features_only", False)


def _say_unused(plan: Plan, reporter: Reporter) -> None:
    """Names the flags that have no effect where only a classifier is fitted, at once."""
    flags = {entry.name for entry in fields(plan.recipe) if entry.metadata.get("flag", True)}
    if unused := sorted((plan.given or frozenset()) & flags - USED_AT_ONCE):
        listed = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        reporter.say(f"Only the classifier is fitted, at once and on whole pictures: {listed} has no effect.")


def _check(plan: Plan, fabric: Fabric, reporter: Reporter, task: Task, data: DataSet) -> list[str]:
    """Says what is wrong with the data; returns the names of pictures that cannot be read, in every process."""
    broken: list[str] = []
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
        broken = sorted(findings.broken)
        for problem in (*findings.of("error"), *findings.of("warning")):
            reporter.say("; ".join((problem.sentence.rstrip("."), *problem.first_lines(3))) + ".")
        if notes := len(findings.of("note")):
            reporter.say(f"`linnet check {data.path}` has {notes} more to say.")
    agreed: list[str] = fabric.broadcast(broken)
    return agreed


def _go_on(begun: Begun, plan: Plan, fabric: Fabric, reporter: Reporter, task: Task, found: DataSet) -> Prepared:
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


def _keep_evaluated(prepared: Prepared) -> DataSet:
    """Validation and test shards behind http are read after every epoch: the folder keeps copies, made once."""
    trainer, out = prepared.trainer, prepared.plan.out
    if prepared.leads:
        trainer.keep(prepared.data, out)
    prepared.fabric.barrier()
    return trainer.keep(prepared.data, out)


def _unfolding_inputs(data: DataSet, contract: Preprocessing, recipe: Recipe) -> Iterator[torch.Tensor]:
    order = np.random.default_rng((recipe.seed, 7)).permutation(len(data.train))[:UNFOLDING_PICTURES]
    chosen = [data.train[number] for number in order.tolist()]
    return calibration_inputs(chosen, contract, len(chosen), batch=recipe.batch, device=torch.device("cpu"))


def _describe(prepared: Prepared) -> None:
    data, say = prepared.data, prepared.reporter.say
    parts = f"{len(data.train):,} for training, {len(data.validation):,} for validation"
    what = f"{data.path}: {len(data.classes)} classes"
    say(f"{what}, {parts}, {len(data.test):,} for the final score ({data.split}).")
    for decision in prepared.decisions:
        say(decision)
