"""Do the embedded models load, say where they come from, and score what their cards claim?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import linnet
from linnet.catalogue import DEFAULT_MODEL, EMBEDDED, models_in
from linnet.checkpoint import load_checkpoint
from linnet.data.labelled import find_samples
from linnet.evaluation.accuracy import measure_accuracy

MODELS = {"cifar10": ("cifar10", "test.parquet"), "clothing": ("clothing", "test")}
"""Embedded model → sample data and the part that measures it."""


def test_there_are_these() -> None:
    assert models_in(EMBEDDED).keys() == MODELS.keys()
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("name", MODELS)
def test_it_is_small_and_says_where_it_comes_from(name: str) -> None:
    path = EMBEDDED / f"{name}.safetensors"
    assert path.stat().st_size < 8e6
    checkpoint = load_checkpoint(path)
    assert {"data", "recipe", "command", "date", "licence", "machine"} <= checkpoint.provenance.keys()
    card = (EMBEDDED / f"{name}.md").read_text(encoding="utf-8")
    assert f"{checkpoint.score['top1']:.2%}" in card
    assert f"{checkpoint.score['images']:,} pictures" in card
    for value in (checkpoint.provenance["licence"], checkpoint.provenance["command"]):
        assert value in card
    # A path of the machine that trained it says nothing to anybody.
    assert "/tmp" not in card
    assert "/work" not in card + str(checkpoint.provenance) + str(checkpoint.score)


@pytest.mark.parametrize("name", MODELS)
def test_it_predicts_by_name(name: str, picture_file: Path) -> None:
    predict = linnet.load(name)
    assert predict(picture_file).label in (predict.classes or ())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_scores_what_it_claims(name: str, sample_data: Callable[[str], Path]) -> None:
    folder, part = MODELS[name]
    predictor = linnet.load(name)
    samples = find_samples(
        sample_data(folder) / part, classes=predictor.architecture.classes or 0, names=predictor.classes
    )
    accuracy = measure_accuracy(predictor, samples)
    claimed = predictor.checkpoint.score
    assert accuracy.images == claimed["images"]
    # Rounding differs from machine to machine, and may turn a picture.
    assert accuracy.top1 == pytest.approx(claimed["top1"], abs=2 / accuracy.images)
