"""One training run, from a data set to a folder with a checkpoint that was measured from disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from linnet.architecture import from_options, options_of
from linnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from linnet.data import find
from linnet.data.batches.loading import EvaluationPictures, Placement
from linnet.data.sources import Address, locate
from linnet.files import write_atomically
from linnet.images import Preprocessing
from linnet.machine import usable_cores
from linnet.nn import Network, tensors_of
from linnet.nn.memory import trim
from linnet.training import folder as files
from linnet.training.box_subject import BoxSubject
from linnet.training.card import write_card
from linnet.training.class_subject import ClassSubject
from linnet.training.classification import ClassificationTask
from linnet.training.devices import open_fabric, stop_signals
from linnet.training.features import draw_penalties, train_classifier
from linnet.training.inputs import calibration_inputs
from linnet.training.loop import load_weights, train
from linnet.training.plan import Outcome, Plan, Voice, check_same
from linnet.training.provenance import describe_origin
from linnet.training.recipes import RECIPES
from linnet.training.split import read_split, split_document
from linnet.training.start import prepare_for_training
from linnet.training.state import Parts, TrainingState, load_state, save_state
from linnet.training.subject import RunTask, Sharing, Subject
from linnet.training.task import Batches, Diverged, Epoch

CHECKED_PICTURES = 20_000
"""Looked at before a training; of more a random part, since decoding all of them would take too long."""

SAVE_SECONDS = 300
"""Between two saves of the state within an epoch."""

UNFOLDING_PICTURES = 512
"""Training pictures on which a folded start's statistics are measured."""


def run_training(plan: Plan, voice: Voice | None = None) -> Outcome | None:
    """Trains as planned and writes everything into the run's folder.

    Returns:
        What the run came to; None in all processes but the first, which alone measures and writes.

    Raises:
        ValueError: if data, start and recipe do not fit each other, or the loss diverges.
        OSError: if a file cannot be read or written.
        Stopped: if it was asked to stop; `--resume` goes on.
    """
    return _Runner(plan, voice or Voice()).run()


class _Runner:
    """The steps of a run in their order; what they share stands here."""

    def __init__(self, plan: Plan, voice: Voice) -> None:
        self.plan = plan
        self.fabric = open_fabric(plan.device, plan.recipe.precision, synchronise=plan.recipe.synchronise)
        self.leads = self.fabric.global_rank == 0
        self.voice = voice if self.leads else Voice()
        self.out = plan.out
        self.found = find(plan.data, format=plan.format, images=plan.images).for_training()
        self.subject: Subject[Any] = BoxSubject() if self.found.task == "detection" else ClassSubject()

    def run(self) -> Outcome | None:
        going_on = self._open_folder()
        self.data = self._find_data(going_on)
        if going_on:
            self._read_recipe()
        else:
            self._begin()
        self._fetch_evaluated()
        self._describe()
        history = self._train_classifier() if self.recipe.features_only else self._train()
        self.fabric.barrier()
        return self._finish(history)

    def _open_folder(self) -> bool:
        """Makes the folder, once for all processes."""
        going_on = False
        if self.leads:
            going_on = files.prepare_run_folder(self.out, resume=self.plan.resume, overwrite=self.plan.overwrite)
        return bool(self.fabric.broadcast(going_on))

    def _find_data(self, going_on: bool) -> Any:
        data = self.found
        for sentence in data.remarks():
            self.voice.say(sentence)
        path = self.out / files.SPLIT
        if going_on and path.is_file():
            return read_split(path, data)
        self.left_out = self._check(data)
        recipe = self.plan.recipe
        return data.without(set(self.left_out)).with_validation(recipe.validation, recipe.seed)

    def _check(self, data: Any) -> list[str]:
        """Says what is wrong with the data; returns the names of pictures that cannot be read."""
        broken: list[str] = []
        if self.leads:
            # Behind http only the classes are looked at: pictures would come one request each.
            limit = 0 if isinstance(data.train[0].file, Address) else CHECKED_PICTURES
            total = min(len(data.train) + len(data.validation) + len(data.test), limit)
            findings = self.subject.check(
                data,
                self.plan.wanted,
                limit=limit,
                progress=lambda done: self.voice.measured("checking the pictures", done, total),
            )
            broken = sorted(findings.broken)
            for problem in (*findings.of("error"), *findings.of("warning")):
                self.voice.say("; ".join((problem.sentence.rstrip("."), *problem.first_lines(3))) + ".")
            if notes := len(findings.of("note")):
                self.voice.say(f"`linnet check {data.path}` has {notes} more to say.")
        return self.fabric.broadcast(broken)

    def _begin(self) -> None:
        """Start and recipe of a new run; the folder gets them before anything is trained."""
        plan = self.plan
        self.subject.refuse(self.data, plan.recipe)
        start = self.subject.start(self.data, plan.wanted, plan.recipe)
        self.recipe, self.decisions = plan.recipe.resolve(len(self.data.train), pretrained=start.pretrained)
        self.contract = start.contract
        self.provenance = describe_origin(plan.data, self.recipe.name, start, plan.licence)
        if start.network.architecture.folded and not self.recipe.features_only:
            self.voice.say("The start has its batch norm folded: it is unfolded on training pictures first.")
        self.network = start.network
        if not self.recipe.features_only:
            self.network = start.ready(self._unfolding_inputs())
        if self.leads:
            files.write_json(self.out / files.SPLIT, split_document(self.data, self.left_out))
            files.write_json(self.out / files.ENVIRONMENT, files.environment())
            files.write_json(
                self.out / files.RECIPE,
                {
                    "recipe": self.recipe.name,
                    "given": asdict(plan.recipe),
                    "resolved": asdict(self.recipe),
                    "decisions": list(self.decisions),
                    "data": str(locate(plan.data)),
                    "start": plan.wanted.start,
                    "architecture": options_of(self.network.architecture),
                    "preprocessing": self.contract.to_json(),
                    "classes": list(self.data.classes),
                    "provenance": self.provenance,
                },
            )

    def _read_recipe(self) -> None:
        """Recipe and network of the run that goes on."""
        path = self.out / files.RECIPE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            self.recipe = RECIPES[document["recipe"]](**document["resolved"])
            given = RECIPES[document["recipe"]](**document["given"])
            self.decisions = tuple(document["decisions"])
            self.contract = Preprocessing.from_json(document["preprocessing"])
            self.network = Network(from_options(document["architecture"]), recompute_expansion=self.recipe.recompute)
            self.provenance = document["provenance"]
            classes = tuple(document["classes"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"'{path}' is damaged ({error}). Start anew with --overwrite.") from None
        if classes != self.data.classes:
            data = locate(self.plan.data)
            raise ValueError(f"'{data}' has other classes than the run in '{self.out}' was begun with.")
        check_same(self.plan.recipe, given)
        # How the work is shared out may change: the steps stay what they were.
        given_now = self.plan.recipe
        self.recipe = replace(self.recipe, workers=given_now.workers, accumulate=given_now.accumulate)

    def _fetch_evaluated(self) -> None:
        """Validation and test shards behind http are read after every epoch: the folder keeps copies, made once."""
        if self.leads:
            self.subject.keep(self.data, self.out)
        self.fabric.barrier()
        self.data = self.subject.keep(self.data, self.out)

    def _unfolding_inputs(self) -> Iterator[torch.Tensor]:
        order = np.random.default_rng((self.recipe.seed, 7)).permutation(len(self.data.train))[:UNFOLDING_PICTURES]
        chosen = [self.data.train[number] for number in order.tolist()]
        batch, device = self.recipe.batch, torch.device("cpu")
        return calibration_inputs(chosen, self.contract, len(chosen), batch=batch, device=device)

    def _task(self) -> RunTask:
        return self.subject.make_task(self.data, self.network.architecture, self.contract, self.recipe, self._sharing)

    @property
    def _sharing(self) -> Sharing:
        place = Placement(self.fabric.global_rank, self.fabric.world_size, self.recipe.accumulate)
        return Sharing(place, self._choose_workers(), self.fabric.device.type == "cuda")

    def _choose_workers(self) -> int:
        if self.recipe.workers is not None:
            return self.recipe.workers
        # The processes of one machine share its cores, and the network needs some too.
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return max(min(usable_cores() // local - 1, 8), 1)

    def _describe(self) -> None:
        data, say = self.data, self.voice.say
        parts = f"{len(data.train):,} for training, {len(data.validation):,} for validation"
        what = f"{data.path}: {len(data.classes)} classes"
        say(f"{what}, {parts}, {len(data.test):,} for the final score ({data.split}).")
        for decision in self.decisions:
            say(decision)

    def _train(self) -> list[dict[str, Any]]:
        """The loop, and what is written as it goes."""
        prepare_for_training(self.network, self.recipe)
        batches = self.subject.batches(self.data, self.contract, self.recipe, self._sharing)
        task = self._task()
        path = self.out / files.STATE
        history: list[dict[str, Any]] = []

        def restore(parts: Parts) -> TrainingState:
            if path.is_file():
                state = load_state(path, parts)
                self.voice.say(f"Going on after epoch {state.epoch}, step {state.step}.")
            else:
                state = TrainingState(epochs=self.recipe.epochs or 1)
                self._save(state, parts)
            history.extend(state.history)
            return state

        self._draw_batch(batches, task)
        begun, seen = time.perf_counter(), 0

        def progress(state: TrainingState, loss: float) -> None:
            nonlocal seen
            seen += 1
            rate = seen * len(batches) / batches.steps / (time.perf_counter() - begun)
            self.voice.step(state, batches.steps, loss, rate)

        with stop_signals() as stop, self._tensorboard(history) as events:
            epochs = train(
                self.network,
                batches,
                recipe=self.recipe,
                task=task,
                fabric=self.fabric,
                restore=restore,
                save=self._save,
                save_seconds=SAVE_SECONDS,
                stop=stop,
                progress=progress,
            )
            try:
                for epoch in epochs:
                    history.append(epoch.to_json())
                    self._write_epoch(epoch, history, events)
                    begun, seen = time.perf_counter(), 0
            except Diverged as error:
                if self.leads:
                    files.write_json(self.out / files.FAILED_BATCH, {"error": str(error), "pictures": error.names})
                raise
        return history

    def _save(self, state: TrainingState, parts: Parts) -> None:
        if self.leads:
            save_state(self.out / files.STATE, state, parts)

    def _write_epoch(self, epoch: Epoch, history: list[dict[str, Any]], events: Any) -> None:
        if not self.leads:
            return
        if epoch.weights is not None:
            best = Network(self.network.architecture)
            best.dropout = self.network.dropout
            load_weights(best, epoch.weights)
            save_checkpoint(self._checkpoint(best), self.out / files.BEST, dtype=self._dtype)
        save_checkpoint(self._checkpoint(self.network), self.out / files.LAST, dtype=self._dtype)
        files.write_log(self.out / files.LOG, history)
        files.draw_curves(self.out / files.CURVES, history, self.subject.score)
        if events is not None:
            for name, value in (*epoch.losses.items(), *epoch.figures.items(), ("learning_rate", epoch.learning_rate)):
                group = "training" if name in epoch.losses else "validation"
                events.add_scalar(f"{group}/{name}", value, epoch.number)
            events.flush()
        self.voice.epoch(epoch, TrainingState(epochs=self.recipe.epochs or 1, epoch=epoch.number))

    @property
    def _dtype(self) -> type[np.floating[Any]]:
        return np.float16 if self.plan.half else np.float32

    def _checkpoint(self, network: Network, score: dict[str, Any] | None = None) -> Checkpoint:
        return Checkpoint(
            network.architecture,
            self.contract,
            tensors_of(network),
            self.data.classes,
            provenance=self.provenance,
            score=score or {},
        )

    def _train_classifier(self) -> list[dict[str, Any]]:
        """Frozen features once, then the classifier alone; the log has a line for each penalty that was tried."""
        begun = time.perf_counter()
        task = self._task()
        assert isinstance(task, ClassificationTask)
        fits = train_classifier(
            self.network,
            self.data,
            self.contract,
            class_weights=task.class_weights,
            device=self.fabric.device,
            workers=self._choose_workers(),
            voice=self.voice,
        )
        history = [fit.to_json(number, time.perf_counter() - begun) for number, fit in enumerate(fits, start=1)]
        if self.leads:
            for name in (files.BEST, files.LAST):
                save_checkpoint(self._checkpoint(self.network), self.out / name, dtype=self._dtype)
            files.write_log(self.out / files.LOG, history)
            draw_penalties(self.out / files.CURVES, fits)
            pixels, indices = next(iter(EvaluationPictures(self.data.train[: files.SHOWN], self.contract)))
            files.draw_batch(
                self.out / files.BATCH,
                list(pixels.permute(0, 2, 3, 1).numpy()),
                [self.data.classes[index] for index in indices.tolist()],
            )
        return history

    def _draw_batch(self, batches: Batches, task: RunTask) -> None:
        if not self.leads or (self.out / files.BATCH).exists():
            return
        steps = batches.epoch(0)
        batch = next(steps)[0]
        steps.close()  # type: ignore[attr-defined]
        pixels, labels = task.describe(*task.inputs(batch, self.network, torch.device("cpu")), self.data.classes)
        files.draw_batch(self.out / files.BATCH, pixels, labels, tile=self.subject.tile)

    @contextmanager
    def _tensorboard(self, history: list[dict[str, Any]]) -> Iterator[Any]:
        """Event files, where TensorBoard is installed and this process writes."""
        writer = None
        if self.leads:
            try:
                from torch.utils.tensorboard import SummaryWriter

                writer = SummaryWriter(str(self.out / "tensorboard"))
            except ModuleNotFoundError:
                self.voice.say("There are no TensorBoard events: pip install tensorboard.")
        try:
            yield writer
        finally:
            if writer is not None:
                writer.close()

    def _finish(self, history: list[dict[str, Any]]) -> Outcome | None:
        """The score of the checkpoint that was written, measured by the code of `linnet evaluate`; the card."""
        # What measures runs on memory of its own: the steps' need not stay beside it.
        trim()
        path = self.out / files.BEST
        samples, part = (self.data.test, "test") if self.data.test else (self.data.validation, "validation")
        data = f"{locate(self.plan.data)}, {part} part"
        if not self.leads:
            return None
        self.voice.say(f"Measuring {path} on the {part} part ({len(samples):,} pictures).")
        measured = self.subject.measure(
            path, samples, lambda done: self.voice.measured("evaluating", done, len(samples))
        )
        score = {**self.subject.score_of(measured), "data": data}
        scored = replace(load_checkpoint(path), score=score)
        save_checkpoint(scored, path, dtype=self._dtype)
        self.subject.report(measured, self.out / files.EVALUATION)
        counts = {name: len(getattr(self.data, name)) for name in ("train", "validation", "test")}
        card = write_card(scored, name=str(path), counts=counts, decisions=self.decisions, history=history)
        write_atomically(self.out / files.CARD, card.encode())
        return Outcome(path, measured, data)
