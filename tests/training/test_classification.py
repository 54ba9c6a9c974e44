"""Does the task see what the contract prepares, weigh classes as it says, and count as one counts by hand?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import checkpoint_of
from pictures import write_pictures

from linnet.architecture import MobileNetV2
from linnet.data import find
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Batch
from linnet.images import Preprocessing, normalise
from linnet.nn import Network, load_tensors
from linnet.tasks.classification.objective import ClassificationObjective
from linnet.training.classification_recipe import ClassificationRecipe
from linnet.training.devices import open_fabric
from linnet.training.dropout import PictureDropout
from linnet.training.inputs import as_inputs, ready
from linnet.training.recipes import SCRATCH_SMALL

SIZE = (32, 32)
CONTRACTS = [
    Preprocessing(size=SIZE),
    Preprocessing(size=SIZE, colours="BGR", mean=(0.1, 0.2, 0.3), std=(0.9, 0.8, 0.7)),
    Preprocessing(size=SIZE, colours="grey", mean=(0.4,), std=(0.6,)),
]


def task_of(contract: Preprocessing = CONTRACTS[0], counts: tuple[int, ...] = (3, 1, 2), **changes: Any) -> Any:
    recipe: ClassificationRecipe = replace(
        replace(SCRATCH_SMALL, batch=8, batch_norm="trained", label_smoothing=0.0), **changes
    )
    return ClassificationObjective(contract, recipe, counts, [], EvaluationPictures([], contract))


def network_of(classes: int = 3) -> Network:
    architecture = MobileNetV2(width=0.1, resolution=32, classes=classes, dropout=0.0)
    network = Network(architecture)
    load_tensors(network, checkpoint_of(architecture).tensors)
    return network.eval()


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.colours)
def test_inputs_are_the_twin_of_what_the_runtimes_get(contract: Preprocessing) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, *SIZE, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    expected = normalise(pixels, contract)
    assert np.abs(as_inputs(images, contract).permute(0, 2, 3, 1).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.colours)
def test_the_sheet_shows_the_pictures_that_went_in(contract: Preprocessing) -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, *SIZE), dtype=np.uint8))
    task = task_of(contract, flip=0.0)
    inputs, targets = task.inputs(Batch(pixels, torch.tensor([0, 2]), [(0, 0, 0), (0, 0, 1)], 2, 0.0), None, "cpu")
    shown, labels = task.describe(inputs, targets, ("ant", "bee", "cat"))
    assert labels == ["ant", "cat"]
    assert shown.shape == (2, *SIZE, 3)
    if contract.colours != "grey":
        expected = pixels.permute(0, 2, 3, 1).numpy().astype(int)
        assert np.abs(shown.astype(int) - expected).max() <= 1


def test_a_mixed_picture_is_labelled_with_its_shares() -> None:
    targets = torch.tensor([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0]])
    inputs = torch.zeros(2, 3, *SIZE)
    assert task_of().describe(inputs, targets, ("ant", "bee", "cat"))[1] == ["ant 70%, cat 30%", "bee"]
    smoothed = targets * 0.9 + 0.1 / 3
    task = task_of(label_smoothing=0.1)
    assert task.describe(inputs, smoothed, ("ant", "bee", "cat"))[1] == ["ant 70%, cat 30%", "bee"]


def test_the_loss_is_torchs_cross_entropy() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    indices = torch.tensor([0, 1, 2, 0, 0, 2])
    pixels = torch.zeros(6, 3, *SIZE, dtype=torch.uint8)
    batch = Batch(pixels, indices, [(0, 0, number) for number in range(6)], 6, 0.0)
    for smoothing in (0.0, 0.1):
        task = task_of(label_smoothing=smoothing)
        targets = task.inputs(batch, None, "cpu")[1]
        expected = F.cross_entropy(logits, indices, label_smoothing=smoothing, reduction="sum")
        assert torch.allclose(task.losses(logits, targets)["classification"], expected)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    task = task_of(counts=(30, 10, 0, 20), class_weights="balanced")
    weights = task.class_weights
    # 30 pictures of the first class weigh as much as 10 of the second; one that is never seen weighs nothing.
    assert torch.allclose(weights * torch.tensor([30.0, 10.0, 0.0, 20.0]), torch.tensor([20.0, 20.0, 0.0, 20.0]))
    logits = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    targets = F.one_hot(torch.tensor([1]), 4).float()
    expected = 2 * F.cross_entropy(logits, torch.tensor([1]))
    assert torch.allclose(task.losses(logits, targets)["classification"], expected)


def test_it_evaluates_as_one_counts_by_hand(tmp_path: Path) -> None:
    data = find(write_pictures(tmp_path / "data"))
    contract, network = CONTRACTS[0], network_of()
    task = ClassificationObjective(
        contract,
        replace(SCRATCH_SMALL, batch=8, batch_norm="trained"),
        data.counts,
        data.train,
        EvaluationPictures(data.validation, contract, batch=8),
    )
    figures = task.evaluate(network, open_fabric("cpu", "float32"))
    with torch.inference_mode():
        outputs = torch.cat(
            [network(ready(pixels, task.contract, torch.device("cpu"))) for pixels, _ in task.validation]
        )
    truth = torch.tensor([sample.index for sample in data.validation])
    assert figures["top1"] == pytest.approx(float((outputs.argmax(dim=1) == truth).float().mean()))
    assert figures["top5"] == 1
    assert figures["loss"] == pytest.approx(float(F.cross_entropy(outputs, truth)), rel=1e-5)
    assert "gap" in figures


def test_stale_statistics_show_as_a_gap(tmp_path: Path) -> None:
    """A network that is right in training mode and wrong in evaluation mode: the field's commonest silent failure."""
    data = find(write_pictures(tmp_path / "data"))
    contract, network = CONTRACTS[0], network_of()
    task = ClassificationObjective(
        contract,
        replace(SCRATCH_SMALL, batch=18, batch_norm="trained"),
        data.counts,
        [],
        EvaluationPictures(data.validation, contract, batch=18),
    )
    fabric = open_fabric("cpu", "float32")
    # Labels that the network gives in training mode, so that this mode is right by definition.
    network.train()
    with torch.no_grad():
        pixels, _ = next(iter(task.validation))
        truth = network(ready(pixels, task.contract, torch.device("cpu"))).argmax(dim=1)
    network = network_of()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean += 3
    task.validation._kept = [(pixels, truth)]
    figures = task.evaluate(network, fabric)
    assert figures["top1"] < 1
    assert figures["gap"] == pytest.approx(1 - figures["top1"])


def test_a_pictures_dropout_is_its_own() -> None:
    seeds = [(3, 1, number) for number in range(40)]
    dropout = PictureDropout(0.25)
    dropout.draw(seeds, 500, torch.device("cpu"))
    together = dropout(torch.ones(40, 500))
    assert together.unique().tolist() == pytest.approx([0, 4 / 3])
    assert abs(float((together == 0).float().mean()) - 0.25) < 0.01
    assert not torch.equal(together[0], together[1])
    parts = []
    for part in (seeds[:1], seeds[1:17], seeds[17:]):
        dropout.draw(part, 500, torch.device("cpu"))
        parts.append(dropout(torch.ones(len(part), 500)))
    assert torch.equal(torch.cat(parts), together)
    assert torch.equal(dropout.eval()(torch.ones(40, 500)), torch.ones(40, 500))
    nothing = PictureDropout(0.0)
    nothing.draw(seeds, 500, torch.device("cpu"))
    assert torch.equal(nothing(torch.ones(40, 500)), torch.ones(40, 500))


def test_behind_hidden_layers_the_masks_are_theirs() -> None:
    network = Network(MobileNetV2(width=0.1, resolution=32, classes=3, hidden=(7,), dropout=0.5)).train()
    dropout = PictureDropout(0.5)
    network.dropout = dropout  # type: ignore[assignment]
    pixels = torch.zeros(2, 3, *SIZE)
    batch = Batch(pixels.byte(), torch.tensor([0, 2]), [(0, 0, 0), (0, 0, 1)], 2, 0.0)
    inputs, _ = task_of().inputs(batch, network, torch.device("cpu"))
    assert dropout.masks is not None
    assert dropout.masks.shape == (2, 7)
    assert network(inputs).shape == (2, 3)
