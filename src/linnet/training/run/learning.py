"""The training of a run, and what is written as it goes."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from linnet.training import folder as files
from linnet.training.devices import stop_signals
from linnet.training.drawing import draw_batch, draw_curves
from linnet.training.loop import load_weights, train
from linnet.training.objective import Batches, DescribingObjective, Diverged, Epoch
from linnet.training.run.prepared import Prepared
from linnet.training.starts import prepare_for_training
from linnet.training.state import Parts, TrainingState, load_state, save_state

SAVE_SECONDS = 300
"""Between two saves of the state within an epoch."""


@dataclass(frozen=True)
class Learned:
    """A run whose best checkpoint is written, and not measured yet.

    Attributes:
        prepared: what it was trained from.
        history: the epochs, or the fits that were tried, as lines of the log.
    """

    prepared: Prepared
    history: list[dict[str, Any]]


def learn(run: Prepared) -> Learned:
    """Trains the network; the best and the last version, the log and the curves go into the run's folder.

    Raises:
        ValueError: if the loss diverges; the pictures of the batch are written down.
        Stopped: if it was asked to stop; the state is saved.
    """
    history = _fit(run)
    return Learned(run, _train(run) if history is None else history)


def _fit(run: Prepared) -> list[dict[str, Any]] | None:
    """What is fitted at once; None where it is to be trained."""
    fitted = run.trainer.fit(
        run.network,
        run.data,
        run.contract,
        run.recipe,
        device=run.fabric.device,
        workers=run.workers,
        reporter=run.reporter,
    )
    if fitted is not None and run.leads:
        for name in (files.BEST, files.LAST):
            run.save(run.network, name)
        files.write_log(run.plan.out / files.LOG, fitted.history)
        fitted.draw_curves(run.plan.out / files.CURVES)
        draw_batch(run.plan.out / files.BATCH, fitted.pictures, fitted.labels)
    return None if fitted is None else fitted.history


def _train(run: Prepared) -> list[dict[str, Any]]:
    prepare_for_training(run.network, run.recipe)
    batches = run.trainer.batches(run.data, run.contract, run.recipe, run.sharing)
    objective = run.trainer.objective(run.data, run.network.architecture, run.contract, run.recipe, run.sharing)
    history: list[dict[str, Any]] = []
    _draw_batch(run, batches, objective)
    progress = _Progress(run, batches)
    with stop_signals() as stop, _tensorboard(run) as events:
        epochs = train(
            run.network,
            batches,
            recipe=run.recipe,
            task=objective,
            fabric=run.fabric,
            restore=_restoring(run, history),
            save=lambda state, parts: _save(run, state, parts),
            save_seconds=SAVE_SECONDS,
            stop=stop,
            progress=progress,
        )
        try:
            for epoch in epochs:
                history.append(epoch.to_json())
                if run.leads:
                    _write_epoch(run, epoch, history, events)
                progress.begin()
        except Diverged as error:
            if run.leads:
                document = {"error": str(error), "pictures": error.names}
                files.write_json(run.plan.out / files.FAILED_BATCH, document)
            raise
    return history


class _Progress:
    """Reports every step, with the pictures a second since the epoch's begin."""

    def __init__(self, run: Prepared, batches: Batches) -> None:
        self.reporter, self.batches = run.reporter, batches
        self.begin()

    def begin(self) -> None:
        """At the begin of an epoch."""
        self.begun, self.seen = time.perf_counter(), 0

    def __call__(self, state: TrainingState, loss: float) -> None:
        """After every step."""
        self.seen += 1
        rate = self.seen * len(self.batches) / self.batches.steps / (time.perf_counter() - self.begun)
        self.reporter.step(state, self.batches.steps, loss, rate)


def _restoring(run: Prepared, history: list[dict[str, Any]]) -> Callable[[Parts], TrainingState]:
    """What puts the saved state, if there is one, into the parts of a run and its epochs into the history."""

    def restore(parts: Parts) -> TrainingState:
        path = run.plan.out / files.STATE
        if path.is_file():
            state = load_state(path, parts)
            run.reporter.say(f"Going on after epoch {state.epoch}, step {state.step}.")
        else:
            state = TrainingState(epochs=run.recipe.epochs or 1)
            _save(run, state, parts)
        history.extend(state.history)
        return state

    return restore


def _save(run: Prepared, state: TrainingState, parts: Parts) -> None:
    if run.leads:
        save_state(run.plan.out / files.STATE, state, parts)


def _write_epoch(run: Prepared, epoch: Epoch, history: list[dict[str, Any]], events: Any) -> None:
    out = run.plan.out
    if epoch.weights is not None:
        best = copy.deepcopy(run.network)
        load_weights(best, epoch.weights)
        run.save(best, files.BEST)
    run.save(run.network, files.LAST)
    files.write_log(out / files.LOG, history)
    draw_curves(out / files.CURVES, history, run.trainer.score)
    if events is not None:
        for name, value in (*epoch.losses.items(), *epoch.figures.items(), ("learning_rate", epoch.learning_rate)):
            group = "training" if name in epoch.losses else "validation"
            events.add_scalar(f"{group}/{name}", value, epoch.number)
        events.flush()
    run.reporter.epoch(epoch, run.recipe.epochs or 1, run.task.epoch(epoch.figures))


def _draw_batch(run: Prepared, batches: Batches, objective: DescribingObjective) -> None:
    path = run.plan.out / files.BATCH
    if not run.leads or path.exists():
        return
    steps = batches.epoch(0)
    batch = next(steps)[0]
    steps.close()  # type: ignore[attr-defined]
    seen = objective.inputs(batch, run.network, torch.device("cpu"))
    pixels, labels = objective.describe(*seen, run.data.classes)
    draw_batch(path, pixels, labels, tile=run.trainer.tile)


@contextmanager
def _tensorboard(run: Prepared) -> Iterator[Any]:
    """Event files, where TensorBoard is installed and this process writes."""
    writer = None
    if run.leads:
        try:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(str(run.plan.out / "tensorboard"))
        except ModuleNotFoundError:
            run.reporter.say("There are no TensorBoard events: pip install tensorboard.")
    try:
        yield writer
    finally:
        if writer is not None:
            writer.close()
