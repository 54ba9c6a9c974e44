"""Does `linnet train --quantise` leave a quantised checkpoint, measured as such, that goes on and starts others?"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import checkpoint_of
from pictures import COLOURS, write_pictures, write_scenes
from samples import measured

from linnet.architecture import MobileNetV2
from linnet.checkpoint import load_checkpoint, read_header, save_checkpoint
from linnet.cli import main
from linnet.evaluation.accuracy import measure_accuracy
from linnet.predictor import load
from linnet.training import folder as files
from linnet.training.objective import Stopped
from linnet.training.plan import Plan, Reporter
from linnet.training.recipes import DETECT_FINETUNE, SCRATCH_SMALL
from linnet.training.run import run_training
from linnet.training.starts import StartOptions

NOTHING = StartOptions("none", None, 32, {"width": 0.1})
SMALL = replace(
    SCRATCH_SMALL, epochs=3, batch=8, learning_rate=0.05, average=0.9, workers=0, quantise=True, quantise_epochs=2
)
FLAGS = ["--start", "none", "--resolution", "32", "--width", "0.1", "--workers", "0", "--recipe", "scratch-small"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "data", test=4)


def test_the_folder_holds_a_quantised_checkpoint_with_its_score(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = tmp_path / "run"
    outcome = run_training(Plan(data, run, SMALL, NOTHING), Reporter(epoch=lambda *parts: said.append(parts[2])))
    assert outcome is not None
    assert len(said) == 3
    for name in (files.BEST, files.LAST):
        checkpoint = load_checkpoint(run / name)
        assert checkpoint.quantisation is not None
        assert checkpoint.architecture.folded
        assert read_header(run / name)["format"] == 3
        assert checkpoint.tensors["stem.weight"].dtype == np.int8
    # Trained and run by the same integers: its score is what `linnet evaluate` gives.
    checkpoint = load_checkpoint(run / files.BEST)
    samples = measured(data, classes=len(COLOURS), names=checkpoint.classes)
    assert checkpoint.score["top1"] == measure_accuracy(load(run / files.BEST), samples).top1
    assert "| weights and activations | int8 |" in (run / files.CARD).read_text()
    with (run / files.LOG).open(newline="") as file:
        assert [row["quantised"] for row in csv.DictReader(file)] == ["", "1", "1"]
    assert json.loads((run / files.RECIPE).read_text())["resolved"]["quantise_epochs"] == 2


@pytest.mark.slow
def test_a_stop_leaves_what_goes_on_to_the_bit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, stopped = Plan(data, tmp_path / "whole", SMALL, NOTHING), Plan(data, tmp_path / "run", SMALL, NOTHING)
    run_training(whole)
    from linnet.training.run import learning

    real, count = learning._save, 0

    def stopping(*parts: object) -> None:
        nonlocal count
        real(*parts)  # type: ignore[arg-type]
        count += 1
        if count == 3:  # of the begin, after the epoch in float, after the first in integers
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(learning, "_save", stopping)
        with pytest.raises(Stopped):
            run_training(stopped)
    assert load_checkpoint(tmp_path / "run" / files.BEST).quantisation is not None
    run_training(replace(stopped, resume=True))
    first, second = (load_checkpoint(tmp_path / name / files.LAST) for name in ("whole", "run"))
    assert first.quantisation == second.quantisation
    assert all(np.array_equal(values, second.tensors[name]) for name, values in first.tensors.items())


def test_a_quantised_run_is_a_start_and_a_float_one_is_quantised_from_its_first_epoch(
    data: Path, tmp_path: Path
) -> None:
    start = tmp_path / "float.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.1, resolution=32, classes=3)), start)
    eight = ["--batch", "8", "--epochs", "1", "--workers", "0", "--quantise"]
    assert main(["train", str(data), "--out", str(tmp_path / "eight"), "--start", str(start), *eight]) == 0
    found = tmp_path / "eight" / files.BEST
    assert load_checkpoint(found).quantisation is not None
    again = ["train", str(data), "--out", str(tmp_path / "again"), "--start", str(found), *eight[:-1]]
    assert main(again) == 0
    assert load_checkpoint(tmp_path / "again" / files.BEST).quantisation is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--quantise", "--half"], "leave --half away"),
        (["--quantise", "--recipe", "features"], "only a classifier is fitted to its features"),
        (["--quantise-epochs", "2"], "--quantise-epochs (=2) has no meaning without `quantise`"),
        (["--quantise", "--quantise-epochs", "9", "--epochs", "3"], "--quantise-epochs (=9) must be at most the 3"),
        (["--quantise", "--compile"], "--compile (=True) does not go with `quantise`"),
    ],
)
def test_flags_without_meaning_are_refused(
    flags: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *FLAGS, *flags]) != 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.slow
def test_a_detector_learns_in_integers(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", test=4)
    recipe = replace(
        DETECT_FINETUNE, epochs=2, repeats=1, batch=4, learning_rate=0.003, average=0.9, workers=0, quantise=True,
        quantise_epochs=1,
    )  # fmt: skip
    outcome = run_training(Plan(data, tmp_path / "run", recipe, StartOptions("none", None, 64, {"width": 0.1})))
    assert outcome is not None
    checkpoint = load_checkpoint(outcome.checkpoint)
    assert checkpoint.quantisation is not None
    assert checkpoint.score["AP"] is not None
