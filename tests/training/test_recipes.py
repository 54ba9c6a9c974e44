"""Are recipes whole, is nonsense refused by name, and does what is decided follow from the data?"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.architecture.network import OptionError
from linnet.training.classification_recipe import ClassificationRecipe
from linnet.training.detection_recipe import DetectionRecipe
from linnet.training.recipes import RECIPES
from linnet.training.segmentation_recipe import SegmentationRecipe

NONSENSE: dict[str, Any] = {
    "epochs": 0, "batch": 0, "accumulate": 0, "optimizer": "adam", "learning_rate": -1.0, "momentum": 1.5,
    "rmsprop_decay": 1.0, "rmsprop_epsilon": 0.0, "weight_decay": -1.0, "clip": 0.0, "schedule": "linear",
    "decay_factor": 0.0, "decay_epochs": 0.0, "warmup_epochs": -1.0, "label_smoothing": 1.0, "class_weights": "some",
    "order": "sorted", "average": 1.0, "batch_norm": "off", "initial": "zeros", "dropout": 1.0, "crop": "none",
    "least_area": 2.0, "shift": 2.0, "flip": 2.0, "colour": -1.0, "policy": "auto", "erasing": 2.0, "mixup": -1.0,
    "cutmix": -1.0, "recalculate_pictures": 0, "validation": 1.0, "fraction": 0.0, "patience": 0, "minutes": 0.0,
    "seed": -1, "precision": "float8", "workers": -1, "repeats": 0, "loss": "hinge", "cut": 2.0, "aspect": 0.5,
    "zoom_out": -1.0, "canvas": 0.5, "quantise_epochs": 0, "head_rate": 0.0, "dice": -1.0, "smallest": 0.0,
    "largest": 11.0, "view_side": 8,
}  # fmt: skip

FREE = {"depthwise_decay", "features_only", "compile", "recompute", "synchronise", "freeze", "quantise"}
"""Booleans, and a layer's name that only the network can check."""


KINDS: tuple[Any, ...] = (ClassificationRecipe, DetectionRecipe, SegmentationRecipe)


def test_nonsense_covers_every_field() -> None:
    kinds: list[Any] = list(KINDS)
    flags = {field.name for kind in kinds for field in fields(kind) if field.metadata.get("flag", True)}
    assert NONSENSE.keys() | FREE == flags


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_by_name(name: str) -> None:
    kind: Any = next(kind for kind in KINDS if name in kind.__dataclass_fields__)
    with pytest.raises(OptionError, match=f"`{name}`"):
        kind(**{name: NONSENSE[name]})


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_whole_and_keeps_what_is_given(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    resolved, reasons = recipe.resolve(1000, pretrained=recipe.start == "auto")
    for field, value in asdict(recipe).items():
        if value not in (None, "auto"):
            assert asdict(resolved)[field] == value, field
    # Views of pictures with masks have scales instead of an area.
    area = () if recipe.task == "segmentation" else ("least_area",)
    for needed in ("epochs", "learning_rate", "average", "warmup_epochs", *area):
        assert getattr(resolved, needed) is not None, needed
    assert resolved.batch_norm != "auto"
    assert all(": " in reason for reason in reasons)
    assert "Command: `linnet train " in recipe.about or "Command: `torchrun" in recipe.about


@given(st.integers(2, 10**6), st.integers(2, 10**6))
def test_fewer_pictures_are_seen_more_often(first: int, second: int) -> None:
    few, many = sorted((first, second))
    recipe = RECIPES["finetune"]
    epochs = [recipe.resolve(count, pretrained=True)[0].epochs or 0 for count in (few, many)]
    assert epochs[0] >= epochs[1] >= 1


def test_few_steps_keep_the_starts_statistics_and_nothing_has_none_to_keep() -> None:
    recipe = RECIPES["finetune"]
    assert recipe.resolve(40, pretrained=True)[0].batch_norm == "frozen"
    assert recipe.resolve(40, pretrained=False)[0].batch_norm == "trained"
    assert recipe.resolve(3000, pretrained=True)[0].batch_norm == "trained"


@pytest.mark.parametrize("name", RECIPES)
def test_a_sixth_of_the_epochs_is_quantised_where_that_is_asked_for(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.resolve(1000, pretrained=True)[0].quantise_epochs is None
    asked = replace(recipe, quantise=True)
    resolved, reasons = asked.resolve(1000, pretrained=True)
    assert resolved.epochs is not None
    assert resolved.quantise_epochs is not None
    assert 1 <= resolved.quantise_epochs <= min(resolved.epochs, 15)
    assert any(reason.startswith("quantise_epochs") for reason in reasons)
    assert resolved.quantised_from(resolved.epochs) == resolved.epochs - resolved.quantise_epochs
    assert recipe.quantised_from(7) == 7
    # With none in float, a rate that is decided is one for a network that has learned already.
    whole = replace(recipe, quantise=True, epochs=6, quantise_epochs=6, learning_rate=None).resolve(
        1000, pretrained=True
    )
    part = replace(recipe, quantise=True, epochs=6, quantise_epochs=2, learning_rate=None).resolve(
        1000, pretrained=True
    )
    assert whole[0].learning_rate == pytest.approx(part[0].learning_rate / 10)  # type: ignore[operator]


def test_epochs_in_eight_bits_are_within_the_run() -> None:
    with pytest.raises(OptionError, match=r"`quantise_epochs` \(=4\) has no meaning without `quantise`"):
        ClassificationRecipe(quantise_epochs=4)
    with pytest.raises(OptionError, match=r"`quantise_epochs` \(=4\) must be at most the 3 epochs"):
        ClassificationRecipe(quantise=True, quantise_epochs=4, epochs=3)
    with pytest.raises(OptionError, match=r"`compile` \(=True\) does not go with `quantise`"):
        ClassificationRecipe(quantise=True, compile=True)


def test_what_has_moved_is_found_where_it_was() -> None:
    from linnet.training import recipe

    for name, module in recipe.MOVED.items():
        with pytest.warns(DeprecationWarning, match=f"`{name}` has moved to {module}"):
            assert getattr(recipe, name) is getattr(import_module(module), name)
    with pytest.raises(AttributeError, match="has no attribute 'NoRecipe'"):
        recipe.NoRecipe  # noqa: B018
