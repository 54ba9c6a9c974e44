"""Do the embedded models load, say where they come from, and score what their cards claim?"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from safetensors.numpy import save as save_safetensors
from samples import measured
from smear import draw_smear

import linnet
from linnet.architecture import options_of
from linnet.catalogue import EMBEDDED, SMALL_MODEL, models_in
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.evaluation.accuracy import measure_accuracy
from linnet.evaluation.detector import MEASURING, measure_detector

FLOAT_MODELS = {"cifar10": ("cifar10", "test.parquet"), "clothing": ("clothing", "test")}
FLOAT_DETECTORS = {"blood-cells": "bccd-coco"}

MODELS = FLOAT_MODELS | {f"{name}-int8": data for name, data in FLOAT_MODELS.items()}
"""Embedded classifier → sample data and the part that measures it."""

DETECTORS = FLOAT_DETECTORS | {f"{name}-int8": data for name, data in FLOAT_DETECTORS.items()}
"""Embedded detector → sample data whose test part measures it."""

LEAST = {"clothing-int8": 0.895, "cifar10-int8": 0.88, "blood-cells-int8": 0.553}
"""Of the models in eight bits: top-1 or AP, less than which is too much of a loss."""


def test_there_are_these() -> None:
    assert models_in(EMBEDDED).keys() == MODELS.keys() | DETECTORS.keys()
    assert SMALL_MODEL in MODELS


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


@pytest.mark.parametrize("name", LEAST)
def test_the_small_ones_are_small_and_as_good(name: str) -> None:
    large, small = (load_checkpoint(EMBEDDED / f"{each}.safetensors") for each in (name.removesuffix("-int8"), name))
    sizes = [(EMBEDDED / f"{each}.safetensors").stat().st_size for each in (name.removesuffix("-int8"), name)]
    # The large ones are float16.
    assert sizes[1] < 0.56 * sizes[0]
    assert small.quantisation is not None
    assert small.quantisation.floating == ()
    figure = "top1" if "top1" in small.score else "AP"
    assert small.score[figure] >= LEAST[name]
    assert small.score["images"] == large.score["images"]
    origin = small.provenance["quantised"]
    assert origin["float"][figure] == pytest.approx(large.score[figure], abs=2e-3)
    # Which of many cells is found best is decided by little.
    assert origin["same"] >= (0.93 if figure == "AP" else 0.99)
    card = (EMBEDDED / f"{name}.md").read_text(encoding="utf-8")
    assert origin["command"] in card
    assert f"{origin['same']:.1%}" in card


@pytest.mark.parametrize("name", LEAST)
def test_the_page_of_benchmarks_has_its_figures(name: str) -> None:
    path = EMBEDDED / f"{name}.safetensors"
    checkpoint = load_checkpoint(path)
    figure = "top1" if "top1" in checkpoint.score else "AP"
    origin = checkpoint.provenance["quantised"]
    before, after = origin["float"][figure], checkpoint.score[figure]
    text = (lambda value: f"{100 * value:.1f} %") if figure == "top1" else (lambda value: f"{value:.3f}")
    change, low, high = (
        f"{100 * value:+.1f}".replace("-", "−") for value in (after - before, *origin["difference_95"])
    )
    cells = (
        f"`{name}`",
        f"{figure.replace('top1', 'top-1')} of {checkpoint.score['images']:,}",
        text(before),
        text(after),
        f"{change} ({low} to {high})",
        f"{100 * origin['same']:.1f} %",
        f"{path.stat().st_size / 1e6:.1f} MB",
    )
    assert f"| {' | '.join(cells)} |" in (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*FLOAT_MODELS, *FLOAT_DETECTORS])
def test_its_header_of_format_1_is_read_for_ever(name: str, tmp_path: Path) -> None:
    """tests/format1 keeps what stood in the embedded files when they had format 1, whatever they become."""
    kept = json.loads((ROOT / "tests" / "format1" / f"{name}.json").read_text(encoding="utf-8"))
    document = kept["document"]
    assert document["format"] == 1
    now = load_checkpoint(EMBEDDED / f"{name}.safetensors")
    halves = {tensor: values.astype(np.float16) for tensor, values in now.tensors.items()}
    content = save_safetensors(halves, metadata={"linnet": json.dumps(document, separators=(",", ":"))})
    path = tmp_path / "old.safetensors"
    path.write_bytes(content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1))
    old = load_checkpoint(path)
    # The weights' names and shapes belong to a format too.
    shapes = sorted((tensor, list(values.shape)) for tensor, values in old.tensors.items())
    assert hashlib.sha256(json.dumps(shapes).encode()).hexdigest() == kept["tensors"]
    assert old.architecture == now.architecture
    assert list(old.classes or ()) == document["classes"]
    assert old.preprocessing is not None
    assert json.loads(json.dumps(old.preprocessing.to_json())) == document["preprocessing"]
    assert (dict(old.score), dict(old.provenance)) == (document["score"], document["provenance"])
    for option in ("width", "resolution", "classes", "early_stride", "dropout"):
        options = options_of(old.architecture)
        value = options[option] if option in options else options["backbone"][option]
        assert value == document["architecture"][option], option
    save_checkpoint(old, tmp_path / "new.safetensors")
    assert load_checkpoint(tmp_path / "new.safetensors").architecture == old.architecture
