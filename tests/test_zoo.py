"""Do the embedded models load, say where they come from, and score what their cards claim?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from samples import measured
from smear import draw_smear

import linnet
from linnet.catalogue import DEFAULT_MODEL, EMBEDDED, models_in
from linnet.checkpoint import load_checkpoint
from linnet.evaluation.accuracy import measure_accuracy
from linnet.evaluation.detector import MEASURING, measure_detector

MODELS = {"cifar10": ("cifar10", "test.parquet"), "clothing": ("clothing", "test")}
"""Embedded classifier → sample data and the part that measures it."""

DETECTORS = {"blood-cells": "bccd-coco"}
"""Embedded detector → sample data whose test part measures it."""


def test_there_are_these() -> None:
    assert models_in(EMBEDDED).keys() == MODELS.keys() | DETECTORS.keys()
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("name", [*MODELS, *DETECTORS])
def test_it_is_small_and_says_where_it_comes_from(name: str) -> None:
    path = EMBEDDED / f"{name}.safetensors"
    assert path.stat().st_size < 8e6
    checkpoint = load_checkpoint(path)
    assert {"data", "recipe", "command", "date", "licence", "machine"} <= checkpoint.provenance.keys()
    card = (EMBEDDED / f"{name}.md").read_text(encoding="utf-8")
    figure = f"{checkpoint.score['AP50']:.3f}" if name in DETECTORS else f"{checkpoint.score['top1']:.2%}"
    assert figure in card
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


def test_the_detector_finds_the_cells_of_the_demo_s_smear() -> None:
    """Drawn by the project itself: red cells alone, a white one, platelets."""
    result = linnet.load("blood-cells")(draw_smear(red=9, white=1, platelets=2))
    counts = Counter(found.label for found in result.top())
    assert counts["WBC"] == 1
    assert 8 <= counts["RBC"] <= 11
    assert counts["Platelets"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_it_detects_as_it_claims(name: str, sample_data: Callable[[str], Path]) -> None:
    predictor = linnet.load(name, suppression=MEASURING)
    classes = predictor.architecture.classes or 0
    samples = measured(sample_data(DETECTORS[name]), classes=classes, names=predictor.classes)
    figures = measure_detector(predictor, samples).precision
    claimed = predictor.checkpoint.score
    assert figures.images == claimed["images"]
    for key in ("AP", "AP50"):
        assert figures.figures[key] == pytest.approx(claimed[key], abs=0.005)
    # Below that a default has become worse.
    assert (figures.figures["AP50"] or 0) >= 0.85
    assert (figures.figures["AP"] or 0) >= 0.52


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_scores_what_it_claims(name: str, sample_data: Callable[[str], Path]) -> None:
    folder, part = MODELS[name]
    predictor = linnet.load(name)
    samples = measured(sample_data(folder) / part, classes=predictor.architecture.classes or 0, names=predictor.classes)
    accuracy = measure_accuracy(predictor, samples)
    claimed = predictor.checkpoint.score
    assert accuracy.images == claimed["images"]
    # Rounding differs from machine to machine, and may turn a picture.
    assert accuracy.top1 == pytest.approx(claimed["top1"], abs=2 / accuracy.images)
