"""The loop: a generator that trains an epoch, evaluates, and yields what came of it.

Nothing in it knows what is trained: an objective turns batches into inputs and losses, and says how good a network is.
Nothing in it writes files: whoever takes the epochs does. Devices, precision and many processes are lightning-fabric's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from linnet.data.batches.loading import Batch
from linnet.training.averages import Average, averaged, copy_into
from linnet.training.devices import joined
from linnet.training.objective import Batches, Diverged, Epoch, Objective, PlainBatches, PlainObjective, Stopped
from linnet.training.optimizers import build_optimizer, learning_rate, set_rate
from linnet.training.quantising import begin_quantised, is_quantised, ranges_of, set_learning
from linnet.training.recipe import Recipe
from linnet.training.state import Parts, TrainingState
from linnet.training.statistics import freeze_statistics, norms_of, recalculate

STOP_CHECK = 10
"""Steps between two agreements of several processes on whether to stop."""


def train(
    network: nn.Module,
    batches: Batches | Iterable[tuple[Tensor, Tensor]],
    *,
    recipe: Recipe | None = None,
    task: Objective | None = None,
    fabric: Fabric | None = None,
    state: TrainingState | None = None,
    restore: Callable[[Parts], TrainingState] | None = None,
    save: Callable[[TrainingState, Parts], None] = lambda state, parts: None,
    save_seconds: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[TrainingState, float], None] = lambda state, loss: None,
) -> Iterator[Epoch]:
    """Trains a network, and yields after every epoch.

    Args:
        network: what to train, in place; at the end it has the last weights, the best ones came with their epoch.
        batches: `linnet.data.batches.loading.PictureBatches`, or simply what gives (images, classes) each time it is
            gone through: (N, C, H, W) float and (N,) int64.
        recipe: how; all fields that an epoch needs must be decided (`Recipe.resolve`).
        task: what is learned; None classifies, with no evaluation.
        fabric: device, precision and processes; None takes this process and the CPU.
        state: where to begin.
        restore: puts a saved state into the run's parts before it begins, and gives its position.
        save: called with the position and the parts after every epoch, every `save_seconds` in between (of a single
            process), and before a stop.
        save_seconds: see `save`.
        stop: asked after every step; if it says so, the state is saved and `Stopped` raised.
        progress: called after every step with the position and the loss.

    Raises:
        Diverged: if the loss becomes NaN or infinite; it names the pictures.
        Stopped: see `stop`.

    Examples:
        >>> for epoch in linnet.train(module, batches):  # doctest: +SKIP
        ...     print(epoch.number, epoch.losses)
    """
    task = task or PlainObjective()
    recipe = recipe or Recipe(average=0.0)
    source = cast(Batches, batches) if hasattr(batches, "epoch") else PlainBatches(cast(Any, batches))
    run = _Run(network, source, recipe, task, fabric or Fabric(accelerator="cpu", devices=1))
    run.hooks(save, save_seconds, stop, progress)
    run.state = restore(run.parts) if restore is not None else state or TrainingState(epochs=recipe.epochs or 1)
    while not run.ended():
        yield run.train_epoch()
        # Not before the caller has written what it makes of the epoch: what is killed in between repeats it.
        run.save_state()


class _Run:
    """A run's parts, its position and one epoch of it."""

    def __init__(self, network: nn.Module, batches: Batches, recipe: Recipe, task: Objective, fabric: Fabric) -> None:
        self.network, self.batches, self.recipe, self.task, self.fabric = network, batches, recipe, task, fabric
        self.state = TrainingState(epochs=recipe.epochs or 1)
        if recipe.synchronise and fabric.world_size > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        network.to(device=fabric.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = build_optimizer(network, recipe)
        # Sizes are few and known: as unknowns they would keep the compiler at algebra for minutes.
        forward: Any = torch.compile(network, dynamic=False) if recipe.compile else network
        self.module, self.optimizer = fabric.setup(forward, optimizer)
        average = Average(network, recipe.average) if recipe.average else None
        self.parts = Parts(network, optimizer, average, getattr(fabric.strategy.precision, "scaler", None))
        self.last_save = time.perf_counter()
        # On the device, so that a step need not wait for the one before it.
        self.loss_sums: dict[str, Tensor] = {}

    def hooks(self, save: Any, save_seconds: float, stop: Any, progress: Any) -> None:
        """Sets what is called from within."""
        self.save, self.save_seconds, self.stop, self.progress = save, save_seconds, stop, progress

    @property
    def quantised(self) -> bool:
        """Whether the epoch that has begun, or is next, is one of those in integers."""
        return self.state.epoch >= self.recipe.quantised_from(self.state.epochs)

    def ended(self) -> bool:
        """Whether the run is at its end: all epochs, patience, or time.

        Patience and time end the epochs in float first, where others in integers are to follow.
        """
        state, recipe = self.state, self.recipe
        if state.epoch >= state.epochs:
            return True
        impatient = recipe.patience is not None and state.since_best >= recipe.patience
        late = recipe.minutes is not None and state.epoch > 0 and state.seconds >= 60 * recipe.minutes
        if (impatient or late) and self._owes_quantised:
            state.epochs = min(state.epochs, state.epoch + state.epochs - recipe.quantised_from(state.epochs))
            return False
        return impatient or late

    @property
    def _owes_quantised(self) -> bool:
        """Whether epochs in integers were asked for, and there was none yet."""
        return self.recipe.quantise and not (self.state.history and self.state.history[-1].get("quantised"))

    def train_epoch(self) -> Epoch:
        """One epoch: its steps, the evaluation, the state."""
        state = self.state
        begun = time.perf_counter() - state.epoch_seconds
        sums = state.sums or {"pictures": 0.0}
        state.sums = sums
        self._begin_quantised()
        self._set_mode()
        pending: tuple[Tensor, Sequence[Batch]] | None = None
        rate = self._set_rate()
        waited = time.perf_counter()
        for parts in self.batches.epoch(state.epoch, state.step):
            _add(sums, "waiting", time.perf_counter() - waited)
            rate = self._set_rate()
            loss = self._step(parts, sums)
            # The loss before this one is looked at now: a GPU need not be waited for.
            known = self._check(pending)
            pending = (loss, parts)
            state.step += 1
            state.steps += 1
            state.epoch_seconds = time.perf_counter() - begun
            self.progress(state, known)
            self._between_steps(pending)
            waited = time.perf_counter()
        self._check(pending)
        training = time.perf_counter() - begun
        losses = self._mean_losses(sums)
        evaluating = time.perf_counter()
        figures, weights = self._evaluate()
        sums["evaluating"] = time.perf_counter() - evaluating
        return self._finish(figures, weights, losses, sums, rate, training, time.perf_counter() - begun)

    def save_state(self) -> None:
        """Hands the state to whoever keeps it."""
        self.save(self.state, self.parts)
        self.last_save = time.perf_counter()

    def _begin_quantised(self) -> None:
        """Where the epochs in integers begin, the better of the two versions does; what was best in float is past."""
        if not self.quantised or is_quantised(self.network):
            return
        state, average = self.state, self.parts.average
        figures = state.history[-1]["figures"] if state.history else {}
        if average is not None and figures.get(f"average_{self.task.score}", -1.0) >= figures.get(self.task.score, 0.0):
            copy_into(averaged(self.network), average.values)
        self._recalculate()
        begin_quantised(self.network, lambda pictures: self.task.calibration(self.fabric.device, pictures))
        if average is not None:
            average.restart(self.network)
        state.best, state.since_best = None, 0

    def _recalculate(self) -> None:
        """Measures the statistics of batch norm anew, where the recipe has it so and they are not folded away."""
        if self.recipe.batch_norm == "recalculated" and not is_quantised(self.network):
            recalculate(self.network, self.task.calibration(self.fabric.device, self.recipe.recalculate_pictures))

    def _set_mode(self) -> None:
        self.network.train()
        if self.recipe.batch_norm == "frozen":
            freeze_statistics(self.network)
        first, epochs = self.recipe.quantised_from(self.state.epochs), self.state.epochs
        # The ranges stand still for the second half, so that the weights can settle in their grid.
        set_learning(self.network, self.state.epoch - first < (epochs - first) // 2)

    def _set_rate(self) -> float:
        state = self.state
        # A run that was stopped after an epoch's last step has none left in it.
        place = state.epoch + (min(state.step, self.batches.steps - 1) + 0.5) / self.batches.steps
        rate = learning_rate(self.recipe, epoch=place, epochs=state.epochs)
        set_rate(self.optimizer, rate)
        return rate

    def _step(self, parts: Sequence[Batch], sums: dict[str, float]) -> Tensor:
        """One update from all of this process's parts; the mean loss over the parts' pictures."""
        total_loss = torch.zeros((), device=self.fabric.device)
        self.task.begin_step(parts, self.fabric)
        for number, batch in enumerate(parts):
            start = time.perf_counter()
            inputs, targets = self.task.inputs(batch, self.network, self.fabric.device)
            middle = time.perf_counter()
            _add(sums, "augmenting", middle - start)
            _add(sums, "decoding", batch.decoding)
            accumulating = number + 1 < len(parts)
            context: AbstractContextManager[Any] = nullcontext()
            if accumulating:
                context = self.fabric.no_backward_sync(self.module)
            with context:
                losses = self.task.losses(self.module(inputs), targets)
                # Processes average their gradients: with this factor the result is the mean over all pictures.
                loss = torch.stack(list(losses.values())).sum()
                self.fabric.backward(loss * (self.fabric.world_size / batch.total))
            total_loss += loss.detach() / len(batch.seeds)
            for name, value in (*losses.items(), ("loss", loss)):
                total = self.loss_sums.setdefault(name, torch.zeros((), dtype=torch.float64, device=value.device))
                total += value.detach()
            _add(sums, "pictures", len(batch.seeds))
            _add(sums, "network", time.perf_counter() - middle)
        start = time.perf_counter()
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.parts.average is not None:
            self.parts.average.update(self.network)
        _add(sums, "network", time.perf_counter() - start)
        return total_loss / len(parts)

    def _check(self, pending: tuple[Tensor, Sequence[Batch]] | None) -> float:
        """The mean loss of a step, if it is a number; 0 before the first one."""
        loss = 0.0 if pending is None else float(pending[0])
        if pending is None or math.isfinite(loss):
            return loss
        names = [self.batches.name(seed) for batch in pending[1] for seed in batch.seeds]
        raise Diverged(
            f"The loss became {loss} in epoch {self.state.epoch + 1}, near step {self.state.step}. Lower "
            "--learning-rate, or look at the pictures of that batch.",
            names,
        )

    def _between_steps(self, pending: tuple[Tensor, Sequence[Batch]] | None) -> None:
        """Saves from time to time, and stops if asked to; never with a loss that was not looked at."""
        alone = self.fabric.world_size == 1
        stopping = bool(self.stop())
        if not alone:
            if self.state.step % STOP_CHECK:
                return
            stopping = bool(joined(torch.tensor(float(stopping)), self.fabric, how="sum") > 0)
        due = alone and time.perf_counter() - self.last_save > self.save_seconds
        if stopping or due:
            self._check(pending)
            self._join_statistics()
            self._flush(self.state.sums)
            self.save_state()
        if stopping:
            raise Stopped

    def _join_statistics(self) -> None:
        """Every process has measured its own part: the mean is what one process would have."""
        statistics = [values for norm in norms_of(self.network) for values in (norm.running_mean, norm.running_var)]
        statistics += ranges_of(self.network)
        if self.parts.average is not None:
            statistics += [values for name, values in self.parts.average.values.items() if "running_" in name]
        for values in statistics:
            if values is not None:
                values.copy_(joined(values, self.fabric, how="mean"))

    def _flush(self, sums: dict[str, float]) -> None:
        """Moves the losses from the device to the sums that a state keeps."""
        for name, value in self.loss_sums.items():
            _add(sums, f"loss/{name}", float(value))
        self.loss_sums = {}

    def _mean_losses(self, sums: dict[str, float]) -> dict[str, float]:
        self._flush(sums)
        names = sorted(name for name in sums if name.startswith("loss/"))
        values = torch.tensor([*(sums[name] for name in names), sums["pictures"]], dtype=torch.float64)
        values = joined(values, self.fabric, how="sum")
        return {
            name.removeprefix("loss/"): float(value / values[-1]) for name, value in zip(names, values, strict=False)
        }

    def _evaluate(self) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Figures of the weights and of their average, and a copy of the better of the two."""
        self._join_statistics()
        figures = self._measure()
        weights = _copy(self.network)
        if self.parts.average is None:
            return figures, weights
        with self.parts.average.applied(self.network):
            others = self._measure()
            if others.get(self.task.score, 0.0) >= figures.get(self.task.score, 0.0):
                weights = _copy(self.network)
        return figures | {f"average_{name}": value for name, value in others.items()}, weights

    def _measure(self) -> dict[str, float]:
        self._recalculate()
        self.network.eval()
        return self.task.evaluate(self.network, self.fabric)

    def _finish(
        self,
        figures: dict[str, float],
        weights: dict[str, Tensor],
        losses: dict[str, float],
        sums: dict[str, float],
        rate: float,
        training: float,
        seconds: float,
    ) -> Epoch:
        """Moves the position to the next epoch."""
        state, name = self.state, self.task.score
        score = max((figures[key] for key in (name, f"average_{name}") if key in figures), default=None)
        best = score is None or state.best is None or score > state.best
        state.best = score if best else state.best
        state.since_best = 0 if best else state.since_best + 1
        stages = {key: sums.get(key, 0.0) for key in ("waiting", "augmenting", "network", "evaluating", "decoding")}
        pictures = len(self.batches)
        epoch = Epoch(
            state.epoch + 1,
            losses,
            figures,
            rate,
            seconds,
            stages,
            pictures / training,
            best,
            weights if best else None,
            self.quantised,
        )
        state.history.append(epoch.to_json())
        state.epoch += 1
        state.step, state.epoch_seconds, state.sums = 0, 0.0, {}
        state.seconds += seconds
        if self.recipe.minutes is not None and state.epoch == 1:
            # All processes must agree on the length of the run.
            fitting: float = self.fabric.broadcast(60 * self.recipe.minutes / seconds)
            state.epochs = max(min(state.epochs, int(fitting)), 1 + self._owes_quantised)
        return epoch


def _add(sums: dict[str, float], name: str, value: float) -> None:
    sums[name] = sums.get(name, 0.0) + value


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in averaged(network).items()}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts the weights that came with an epoch into a network."""
    copy_into(averaged(network), weights)
