"""Does the loop train, repeat itself to the bit, go on after a stop as if there were none, and stop when it must?"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import write_pictures
from torch import Tensor

import linnet
from linnet.architecture import MobileNetV2
from linnet.data import find
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import PictureBatches, Placement
from linnet.engine.integer_reference import IntegerNetwork
from linnet.images import Preprocessing
from linnet.nn import Network, build, checkpoint_of
from linnet.tasks.classification.objective import ClassificationObjective
from linnet.training.averages import averaged
from linnet.training.classification_recipe import ClassificationRecipe
from linnet.training.inputs import ready
from linnet.training.loop import load_weights, train
from linnet.training.objective import Diverged, Epoch, Stopped
from linnet.training.starts import draw_kaiming, prepare_for_training
from linnet.training.state import load_state, save_state
from linnet.training.statistics import norms_of

TINY = MobileNetV2(width=0.1, resolution=32, early_stride=2, classes=3, dropout=0.3)
CONTRACT = Preprocessing(size=(32, 32), crop=1.0)
RECIPE = ClassificationRecipe(
    epochs=2,
    batch=8,
    learning_rate=0.02,
    average=0.9,
    mixup=0.2,
    colour=0.2,
    erasing=0.5,
    crop="resized",
    least_area=0.5,
)


class Desk:
    """A small data set, a network from a fixed seed, and the pieces that the loop takes."""

    def __init__(self, folder: Path) -> None:
        self.data = find(write_pictures(folder))

    def network(
        self, recipe: ClassificationRecipe = RECIPE, seed: int = 3, architecture: MobileNetV2 = TINY
    ) -> Network:
        generator = torch.Generator().manual_seed(seed)
        network = build(architecture, generator=generator)
        draw_kaiming(network, generator)
        prepare_for_training(network, recipe)
        return network

    def batches(self, recipe: ClassificationRecipe = RECIPE, *, placement: Placement | None = None) -> PictureBatches:
        return PictureBatches(
            self.data.train,
            CONTRACT,
            recipe.crop_options,
            batch=recipe.batch,
            seed=recipe.seed,
            placement=placement or Placement(pieces=recipe.accumulate),
            order=recipe.order,
        )

    def task(self, recipe: ClassificationRecipe = RECIPE) -> ClassificationObjective:
        validation = EvaluationPictures(self.data.validation, CONTRACT)
        return ClassificationObjective(CONTRACT, recipe, self.data.counts, list(self.data.train), validation)

    def run(self, recipe: ClassificationRecipe = RECIPE, **options: Any) -> tuple[Network, list[Epoch]]:
        network = options.pop("network", None) or self.network(recipe)
        epochs = train(network, self.batches(recipe), recipe=recipe, task=self.task(recipe), **options)
        return network, list(epochs)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "data")


def weights(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in averaged(network).items()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.slow
def test_it_learns_colours(desk: Desk) -> None:
    recipe = replace(
        RECIPE, epochs=15, learning_rate=0.05, mixup=0.0, erasing=0.0, batch_norm="recalculated", average=0.0
    )
    _, epochs = desk.run(recipe)
    assert epochs[-1].losses["loss"] < epochs[0].losses["loss"]
    assert max(epoch.figures["top1"] for epoch in epochs) > 0.8


def test_a_seed_repeats_to_the_bit_and_another_does_not(desk: Desk) -> None:
    first, second = (desk.run()[0] for _ in range(2))
    assert_equal(weights(first), weights(second))
    other = desk.run(replace(RECIPE, seed=1))[0]
    assert not torch.equal(first.body["stem"].convolution.weight, other.body["stem"].convolution.weight)  # type: ignore[union-attr, arg-type]


def run_with_stops(
    desk: Desk, recipe: ClassificationRecipe, path: Path, stops: set[int]
) -> tuple[Network, list[Epoch]]:
    """The same run, stopped after each of these steps, and gone on with by a network of other weights each time."""
    steps = itertools.count(1)
    finished: list[Epoch] = []
    for number in range(len(stops) + 1):
        network = desk.network(recipe, seed=3 if number == 0 else 99 + number)
        options: dict[str, Any] = {"save": lambda state, parts: save_state(path, state, parts)}
        if number:
            options["restore"] = lambda parts: load_state(path, parts)
        epochs = train(
            network,
            desk.batches(recipe),
            recipe=recipe,
            task=desk.task(recipe),
            stop=lambda: next(steps) in stops,
            **options,
        )
        if number == len(stops):
            finished.extend(epochs)
            return network, finished
        with pytest.raises(Stopped):
            finished.extend(epochs)
    raise AssertionError


@pytest.mark.parametrize(("optimizer", "stops"), [("sgd", {3}), ("rmsprop", {6}), ("adamw", {1, 3, 5, 6, 9})])
def test_a_stopped_run_goes_on_to_the_bit(desk: Desk, tmp_path: Path, optimizer: Any, stops: set[int]) -> None:
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=0.005)
    whole, expected = desk.run(recipe)
    other, epochs = run_with_stops(desk, recipe, tmp_path / "state.safetensors", stops)
    assert_equal(weights(other), weights(whole))
    assert [epoch.number for epoch in epochs] == [1, 2]
    for name in ("top1", "loss", "average_top1", "average_loss"):
        assert epochs[-1].figures[name] == expected[-1].figures[name]
    assert epochs[-1].losses == pytest.approx(expected[-1].losses, abs=1e-12)


def test_an_epoch_is_saved_once_the_caller_has_what_came_of_it(desk: Desk) -> None:
    recipe = replace(RECIPE, epochs=2)
    saved: list[int] = []
    epochs = train(
        desk.network(recipe),
        desk.batches(recipe),
        recipe=recipe,
        task=desk.task(recipe),
        save=lambda state, parts: saved.append(state.epoch),
    )
    # Killed while it writes the first epoch's checkpoint, a run must go on before that epoch.
    next(epochs)
    assert saved == []
    next(epochs)
    assert saved == [1]
    assert next(epochs, None) is None
    assert saved == [1, 2]


def test_the_best_weights_come_with_their_epoch(desk: Desk) -> None:
    recipe = replace(RECIPE, epochs=4)
    _, epochs = desk.run(recipe)
    best = [epoch for epoch in epochs if epoch.best]
    assert all((epoch.weights is not None) == epoch.best for epoch in epochs)
    network = Network(TINY)
    network.dropout = desk.network().dropout
    assert best[-1].weights is not None
    load_weights(network, best[-1].weights)
    from lightning_fabric import Fabric

    figures = desk.task(recipe).evaluate(network.eval(), Fabric(accelerator="cpu", devices=1))
    kept = max(best[-1].figures["top1"], best[-1].figures["average_top1"])
    assert figures["top1"] == kept
    assert kept == max(max(e.figures["top1"], e.figures["average_top1"]) for e in epochs)


def test_parts_of_a_step_sum_to_the_step(desk: Desk) -> None:
    """With frozen statistics a picture does not feel its neighbours, so cutting a step changes rounding alone."""
    recipe = replace(RECIPE, batch_norm="frozen", learning_rate=1e-3, epochs=1)
    whole = desk.run(recipe)[0]
    parts = desk.run(replace(recipe, accumulate=2))[0]
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, atol=2e-6, rtol=1e-4, msg=name)


def test_frozen_statistics_stay_and_frozen_layers_do_not_move(desk: Desk) -> None:
    recipe = replace(RECIPE, batch_norm="frozen", freeze="blocks.3")
    before = weights(desk.network(recipe))
    after = weights(desk.run(recipe)[0])
    stay = ("body.stem", *(f"body.blocks_{number}." for number in range(4)))
    for name, value in before.items():
        if "running_" in name or name.startswith(stay):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["heads.classifier.bias"], after["heads.classifier.bias"])


def test_a_loss_that_is_no_number_names_its_pictures(desk: Desk) -> None:
    network = desk.network()
    with torch.no_grad():
        network.classifier.weight[0, 0] = float("nan")  # type: ignore[union-attr]
    with pytest.raises(Diverged, match=r"loss became nan in epoch 1") as caught:
        desk.run(network=network)
    assert 0 < len(caught.value.names) <= RECIPE.batch
    assert all(Path(name).is_file() for name in caught.value.names)


def test_patience_ends_a_run(desk: Desk) -> None:
    # A rate of nearly nothing: no epoch is better than the first.
    recipe = replace(RECIPE, epochs=9, patience=2, learning_rate=1e-9, warmup_epochs=0.0, average=0.0)
    assert len(desk.run(recipe)[1]) == 3


def test_a_time_budget_shortens_the_schedule(desk: Desk) -> None:
    recipe = replace(RECIPE, epochs=50, minutes=1e-6)
    _, epochs = desk.run(recipe)
    assert len(epochs) == 1


def test_balanced_order_and_weights_train(desk: Desk) -> None:
    recipe = replace(RECIPE, order="balanced", class_weights="balanced", epochs=1)
    assert np.isfinite(desk.run(recipe)[1][0].losses["loss"])


def test_any_batches_will_do() -> None:
    """The loop of the README: a list of (images, classes), no task, no files."""
    # Of plain dropout, which draws from torch's own numbers: the other tests' share of them must not matter.
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(24) % 3
    images = torch.randn(24, 3, 32, 32, generator=generator) * 0.1
    images[torch.arange(24), classes] += 1
    batches = list(zip(images.split(8), classes.split(8), strict=True))
    module = linnet.nn.build(TINY, generator=generator)
    recipe = ClassificationRecipe(epochs=6, average=0.0, optimizer="adamw", learning_rate=3e-3)
    losses = [epoch.losses["loss"] for epoch in linnet.train(module, batches, recipe=recipe)]
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2


def test_empty_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="no batches"):
        next(iter(linnet.train(linnet.nn.build(TINY), [])))


QUANTISED = replace(RECIPE, epochs=4, quantise=True, quantise_epochs=2)


def test_the_last_epochs_are_computed_in_integers(desk: Desk) -> None:
    network, epochs = desk.run(QUANTISED)
    assert [epoch.quantised for epoch in epochs] == [False, False, True, True]
    assert network.quantised
    # What was best in float is past; what is best now comes with its ranges.
    assert epochs[2].best
    best = [epoch for epoch in epochs if epoch.quantised and epoch.best][-1]
    assert best.weights is not None
    copied = desk.network(QUANTISED, seed=9)
    load_weights(copied, best.weights)
    assert copied.quantised
    # The figures of an epoch are those of the checkpoint in another place: the integers in numpy.
    checkpoint = checkpoint_of(copied, CONTRACT, None)
    assert checkpoint.quantisation is not None
    reference = IntegerNetwork(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
    hits = 0
    for pixels, indices in EvaluationPictures(desk.data.validation, CONTRACT):
        inputs = ready(pixels, CONTRACT, torch.device("cpu")).permute(0, 2, 3, 1).numpy()
        hits += int((reference.run(inputs)[0].argmax(axis=1) == indices.numpy()).sum())
    kept = max(best.figures["top1"], best.figures["average_top1"])
    assert kept == pytest.approx(hits / len(desk.data.validation))


def test_ranges_stand_still_before_the_end_and_statistics_from_the_begin(desk: Desk) -> None:
    network = desk.network(QUANTISED)
    ranges, statistics = [], []
    for _ in train(network, desk.batches(QUANTISED), recipe=QUANTISED, task=desk.task(QUANTISED)):
        assert network.quantisation is not None
        ranges.append(network.quantisation.running_ranges.clone())
        statistics.append({name: value for name, value in weights(network).items() if "running_" in name})
        statistics[-1].pop("quantisation.running_ranges")
    assert not ranges[1].any()
    assert ranges[2].any()
    assert torch.equal(ranges[2], ranges[3])
    assert_equal(statistics[2], statistics[3])


@pytest.mark.slow
def test_a_run_stopped_before_among_and_behind_its_integers_goes_on_to_the_bit(desk: Desk, tmp_path: Path) -> None:
    recipe = replace(QUANTISED, epochs=5, quantise_epochs=3)
    whole, expected = desk.run(recipe)
    # Three steps of twelve pictures an epoch: two epochs in float, one that moves the ranges, two that do not.
    other, epochs = run_with_stops(desk, recipe, tmp_path / "state.safetensors", {4, 7, 8, 11})
    assert_equal(weights(other), weights(whole))
    assert epochs[-1].figures == expected[-1].figures


def test_patience_and_time_end_the_float_epochs_first(desk: Desk) -> None:
    still = replace(QUANTISED, epochs=9, patience=2, learning_rate=1e-9, warmup_epochs=0.0, average=0.0)
    epochs = desk.run(still)[1]
    assert [epoch.quantised for epoch in epochs] == [False] * 3 + [True] * 2
    late = replace(QUANTISED, epochs=50, minutes=1e-6)
    assert [epoch.quantised for epoch in desk.run(late)[1]] == [False, True]


def test_statistics_are_recalculated_before_the_integers_and_not_among_them(desk: Desk) -> None:
    network, epochs = desk.run(replace(QUANTISED, batch_norm="recalculated", epochs=2, quantise_epochs=1))
    assert epochs[-1].quantised
    for norm in norms_of(network):
        assert norm.running_mean is not None
        assert norm.running_mean.any()


def test_only_a_network_that_was_made_ready_is_trained_in_integers() -> None:
    recipe = ClassificationRecipe(epochs=1, average=0.0, quantise=True, quantise_epochs=1)
    batches = [(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1]))]
    with pytest.raises(ValueError, match="prepare_for_training has made ready"):
        list(linnet.train(linnet.nn.build(TINY), batches, recipe=recipe))


@pytest.mark.slow
def test_a_compiled_run_is_the_same_within_rounding(desk: Desk) -> None:
    # One batch size and few blocks: a second graph, or more layers, would only make the compiler work longer.
    recipe = replace(RECIPE, epochs=1, batch=12, learning_rate=1e-3, batch_norm="frozen")
    shallow = replace(TINY, depth=0.2)
    eager = weights(desk.run(recipe, network=desk.network(recipe, architecture=shallow))[0])
    recipe = replace(recipe, compile=True)
    compiled = weights(desk.run(recipe, network=desk.network(recipe, architecture=shallow))[0])
    for name, value in eager.items():
        torch.testing.assert_close(compiled[name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_bfloat16_trains(desk: Desk) -> None:
    from linnet.training.devices import open_fabric

    recipe = replace(RECIPE, epochs=1)
    _, epochs = desk.run(recipe, fabric=open_fabric("cpu", "bfloat16"))
    assert np.isfinite(epochs[0].losses["loss"])
