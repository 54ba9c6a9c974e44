"""Does a run start from the weights it names, and refuse what they cannot be?"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import checkpoint_of
from torch import nn

from linnet.architecture import FAMILIES, MobileNetV1, MobileNetV2, options_of
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli.networks import trainable_flags
from linnet.nn import build, tensors_of
from linnet.tasks.classification.start import find_start
from linnet.training.recipes import FINETUNE, SCRATCH_SMALL
from linnet.training.starts import AUTO, StartOptions, draw_kaiming

NAMES = ("ant", "bee", "cat")
RECIPE = FINETUNE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=3), classes=NAMES), path)
    return path


def test_other_classes_get_a_new_classifier_and_keep_the_rest(file: Path) -> None:
    start = find_start(StartOptions(str(file)), ("x", "y"), RECIPE)
    assert start.pretrained
    assert not start.keeps_classes
    assert start.network.architecture.classes == 2
    tensors = tensors_of(start.network)
    expected = checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=3)).tensors
    for name, values in expected.items():
        if name.startswith("classifier"):
            assert not tensors[name].any()
        else:
            assert np.array_equal(tensors[name], values), name


def test_the_same_classes_keep_their_classifier(file: Path) -> None:
    start = find_start(StartOptions(str(file)), NAMES, RECIPE)
    assert start.keeps_classes
    assert tensors_of(start.network)["classifier.weight"].any()
    # The same names in another order are other classes.
    assert not find_start(StartOptions(str(file)), ("bee", "ant", "cat"), RECIPE).keeps_classes


def test_hidden_layers_can_be_put_on_a_start_that_has_none(file: Path) -> None:
    options = StartOptions(str(file), options={"hidden": (6,), "classifier_bias": False})
    one, again = (find_start(options, NAMES, RECIPE) for _ in range(2))
    tensors, checkpoint = tensors_of(one.network), load_checkpoint(file)
    assert tensors["hidden.0.weight"].shape == (6, one.network.architecture.feature_channels)
    assert tensors["hidden.0.weight"].std() > 0
    assert np.array_equal(tensors["hidden.0.weight"], tensors_of(again.network)["hidden.0.weight"])
    assert tensors["classifier.weight"].shape == (len(NAMES), 6)
    assert not tensors["classifier.weight"].any()
    assert "classifier.bias" not in tensors
    assert np.array_equal(tensors["stem.weight"], checkpoint.tensors["stem.weight"])


def test_another_resolution_goes_into_network_and_contract(file: Path) -> None:
    start = find_start(StartOptions(str(file), resolution=96), NAMES, RECIPE)
    assert start.network.architecture.input_size == (96, 96)
    assert start.contract.size == (96, 96)


def test_a_network_from_nothing_has_the_recipes_resolution_unless_one_is_given() -> None:
    for resolution, expected in ((None, 32), (48, 48)):
        start = find_start(StartOptions("none", resolution=resolution, options={"width": 0.1}), NAMES, SCRATCH_SMALL)
        assert start.network.architecture.input_size == (expected, expected)
    wide = find_start(StartOptions("none", options={"width": 0.1}), NAMES, FINETUNE)
    assert wide.network.architecture.input_size == (224, 224)


def test_everything_that_an_architecture_can_say_can_be_trained() -> None:
    """Each option of each family has a flag, and what flags give arrives in the network."""
    from linnet.cli.train import read_plan

    given = {"expansion": 3.0, "shortcut": "none", "padding": "symmetric", "output_stride": 16, "stem": "fixed"}
    flags = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    plan = read_plan(["nowhere", "--out", "run", "--start", "none", "--recipe", "scratch-small", *flags])[1]
    options = options_of(find_start(plan.start, NAMES, plan.recipe).network.architecture)
    assert {name: options[name] for name in given} == given
    every = {name for name, *_ in trainable_flags()} | {"resolution", "dropout", "classes", "folded"}
    assert {entry.name for kind in FAMILIES.values() for entry in fields(kind)} <= every  # type: ignore[arg-type]


def test_auto_is_the_model_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=5)), tmp_path / f"{AUTO}.safetensors")
    start = find_start(StartOptions(), NAMES, RECIPE)
    assert start.file is not None
    assert start.file.stem == AUTO


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "mobilenet_v1"}, r"is a mobilenet_v2, not a mobilenet_v1\. Give --start none"),
        ({"options": {"width": 1.0}}, r"has width 0\.1, not 1\.0: its weights fit no other"),
        ({"options": {"early_stride": 1}}, "has early stride 4, not 1"),
    ],
)
def test_what_the_weights_cannot_be_is_refused(file: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_start(replace(StartOptions(str(file)), **changes), NAMES, RECIPE)  # type: ignore[arg-type]


def test_channels_that_no_picture_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV1(width=0.1, resolution=64, classes=3, input_channels=5)), path)
    with pytest.raises(ValueError, match="takes 5 channels; pictures have 3"):
        find_start(StartOptions(str(path)), NAMES, RECIPE)


def test_from_nothing_small_pictures_get_small_strides_and_one_seed_one_network() -> None:
    small = find_start(StartOptions("none", None, 32, {"width": 0.25}), NAMES, SCRATCH_SMALL)
    assert options_of(small.network.architecture)["early_stride"] == 2
    assert small.contract.crop == 1.0
    assert not small.pretrained
    large = find_start(StartOptions("none", "mobilenet_v1", 128, {"width": 0.25}), NAMES, FINETUNE)
    assert options_of(large.network.architecture)["early_stride"] == 4
    assert large.contract.crop == 0.875
    again = find_start(StartOptions("none", None, 32, {"width": 0.25}), NAMES, SCRATCH_SMALL)
    other = find_start(StartOptions("none", None, 32, {"width": 0.25}), NAMES, replace(SCRATCH_SMALL, seed=1))
    weights = [tensors_of(start.network)["stem.weight"] for start in (small, again, other)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_kaimings_variance_is_two_over_channels_and_kernel() -> None:
    network = build(MobileNetV2(resolution=32, classes=10))
    draw_kaiming(network, torch.Generator().manual_seed(0))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out, count = module.out_channels * module.kernel_size[0] ** 2, module.weight.numel()
            variance = float(module.weight.detach().square().mean())
            # The mean of n squares strays by sqrt(2 / n).
            assert variance * fan_out / 2 == pytest.approx(1, abs=6 * (2 / count) ** 0.5), name
