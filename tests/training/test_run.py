"""Does a run leave a folder that is whole, a score that `linnet evaluate` gives too, and one sentence for bad input?"""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from pictures import COLOURS, write_pictures
from PIL import Image
from runs import completed
from samples import measured

from linnet import catalogue
from linnet.architecture import MobileNetV1, MobileNetV2, options_of
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.evaluation.accuracy import measure_accuracy
from linnet.images import Preprocessing
from linnet.predictor import load
from linnet.tasks.classification.features import STRENGTHS
from linnet.training import folder as files
from linnet.training.plan import Plan, Reporter
from linnet.training.recipes import FEATURES, FINETUNE, SCRATCH_SMALL
from linnet.training.starts import StartOptions

NOTHING = StartOptions("none", None, 32, {"width": 0.1})
SMALL = replace(SCRATCH_SMALL, epochs=2, batch=8, learning_rate=0.05, average=0.9, workers=0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "data", test=4)


def tensors_equal(first: Path, second: Path) -> bool:
    one, two = load_checkpoint(first).tensors, load_checkpoint(second).tensors
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_a_grey_network_is_trained(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--start", "none", "--resolution", "32", "--width", "0.1", "--epochs", "1", "--workers", "0"]
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *flags, "--input-channels", "1"]) == 0
    checkpoint = load_checkpoint(tmp_path / "run" / files.BEST)
    assert checkpoint.architecture.input_channels == 1
    assert checkpoint.preprocessing is not None
    assert (checkpoint.preprocessing.colours, checkpoint.preprocessing.crop) == ("grey", 1.0)
    # Trained and predicted alike: its score is what `linnet evaluate` gives.
    samples = measured(data, classes=len(COLOURS), names=checkpoint.classes)
    assert checkpoint.score["top1"] == measure_accuracy(load(tmp_path / "run" / files.BEST), samples).top1
    capsys.readouterr()
    assert main(["train", str(data), "--out", str(tmp_path / "two"), *flags, "--input-channels", "2"]) == 1
    assert "--input-channels (=2) must be 3, or 1 for grey" in capsys.readouterr().err


@pytest.mark.slow
def test_a_start_with_slow_statistics_gets_quick_ones_and_the_run_says_so(data: Path, tmp_path: Path) -> None:
    """Keras' networks take a thousandth of each batch, of which a short training would see little."""
    slow = MobileNetV2(width=0.1, resolution=32, classes=3, batch_norm_momentum=0.001)
    start = tmp_path / "slow.safetensors"
    save_checkpoint(checkpoint_of(slow, classes=("a", "b", "c")), start)
    said: list[str] = []
    plan = Plan(data, tmp_path / "run", replace(SMALL, batch_norm="trained"), StartOptions(str(start)))
    completed(plan, Reporter(say=said.append))
    for name in (files.BEST, files.LAST):
        assert options_of(load_checkpoint(tmp_path / "run" / name).architecture)["batch_norm_momentum"] == 0.1
    assert any(sentence.startswith("batch_norm_momentum 0.1: the start's statistics") for sentence in said)
    kept = replace(plan, out=tmp_path / "kept", recipe=replace(plan.recipe, batch_norm="frozen"))
    outcome = completed(kept, Reporter(say=said.append))
    assert options_of(load_checkpoint(outcome.checkpoint).architecture)["batch_norm_momentum"] == 0.001


def test_the_folder_is_whole_and_the_score_is_what_evaluate_gives(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    outcome = completed(Plan(data, tmp_path / "run", SMALL, NOTHING, half=True), Reporter(say=said.append))
    folder = tmp_path / "run"
    for name in files.OWN - {files.FAILED_BATCH, files.FETCHED}:
        assert (folder / name).exists(), name
    assert any("12 for the final score" in sentence for sentence in said)
    checkpoint = load_checkpoint(outcome.checkpoint)
    assert checkpoint.classes == tuple(sorted(COLOURS))
    assert options_of(checkpoint.architecture)["early_stride"] == 2
    assert checkpoint.score["top1"] == outcome.measured.top1
    assert checkpoint.score["images"] == 12
    assert {"data", "recipe", "command", "date"} <= checkpoint.provenance.keys()
    recipe = json.loads((folder / files.RECIPE).read_text())
    assert recipe["resolved"]["epochs"] == 2
    lines = (folder / files.LOG).read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch,learning_rate,train_")
    for name in (files.CURVES, files.BATCH, f"{files.EVALUATION}/confusion.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 100
    assert "top-1" in (folder / files.CARD).read_text()
    assert any(folder.glob("tensorboard/events*"))
    samples = measured(data / "test", classes=3, names=tuple(sorted(COLOURS)))
    again = measure_accuracy(load(outcome.checkpoint), samples).with_intervals()
    assert again.to_json() == outcome.measured.to_json()


def test_a_split_is_made_kept_and_never_mixed(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=10, validation=0)
    shutil.move(data / "train", tmp_path / "flat")
    completed(Plan(tmp_path / "flat", tmp_path / "run", replace(SMALL, epochs=1), NOTHING))
    split = json.loads((tmp_path / "run" / files.SPLIT).read_text())
    assert len(split["validation"]) == 3
    assert split["pictures"] == {"train": 27, "validation": 3, "test": 0}
    score = load_checkpoint(tmp_path / "run" / files.BEST).score
    assert score["images"] == 3
    assert "validation" in score["data"]


def test_a_folded_start_is_unfolded_and_its_origin_kept(data: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    checkpoint = checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=7, folded=True))
    save_checkpoint(replace(checkpoint, provenance={"source": "elsewhere", "licence": "Apache-2.0"}), start)
    recipe = replace(FINETUNE, epochs=1, batch=8, workers=0)
    outcome = completed(Plan(data, tmp_path / "run", recipe, StartOptions(str(start))))
    trained = load_checkpoint(outcome.checkpoint)
    assert not trained.architecture.folded
    assert trained.architecture.classes == 3
    assert trained.provenance["source"] == "elsewhere"
    assert trained.provenance["licence"] == "Apache-2.0"


def test_features_train_only_the_classifier(data: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    source = checkpoint_of(MobileNetV1(width=0.1, resolution=32, classes=7))
    source = replace(source, preprocessing=Preprocessing(size=(32, 32)))
    save_checkpoint(source, start)
    said: list[str] = []
    plan = Plan(data, tmp_path / "run", replace(FEATURES, workers=0), StartOptions(str(start)))
    outcome = completed(plan, Reporter(say=said.append))
    trained = load_checkpoint(outcome.checkpoint)
    for name, values in source.tensors.items():
        if not name.startswith("classifier"):
            assert np.array_equal(trained.tensors[name], values), name
    assert outcome.measured.top1 > 0.6
    for name in files.OWN - {files.FAILED_BATCH, files.FETCHED, "resume", "tensorboard"}:
        assert (tmp_path / "run" / name).exists(), name
    with (tmp_path / "run" / files.LOG).open() as file:
        tried = list(csv.DictReader(file))
    assert [float(row["penalty"]) for row in tried] == list(STRENGTHS)
    assert sum(int(row["best"]) for row in tried) == 1
    said.clear()
    completed(replace(plan, overwrite=True), Reporter(say=said.append))
    assert any("from the cache" in sentence for sentence in said)


def _command(*arguments: Any) -> list[str]:
    return [sys.executable, "-m", "linnet", "train", *map(str, arguments)]


FLAGS = shlex.split(
    "--recipe scratch-small --width 0.1 --epochs 3 --batch 4 --learning-rate 0.02 --average 0.9 --workers 1 "
    "--mixup 0.2 --dropout 0.2"
)


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data, and the folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_pictures(folder / "data", test=2)
    command = _command(data, "--out", folder / "run", *FLAGS)
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr
    return data, folder / "run"


KILLED = """
import os, signal, sys
from linnet.cli import main
left, written = int(sys.argv.pop(1)), os.fsync
def fsync(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    written(descriptor)
os.fsync = fsync
sys.exit(main(sys.argv[1:]))
"""
"""A command that is killed as it writes its file of that number, half of which stands on the disk then."""


@pytest.mark.slow
@pytest.mark.parametrize("written", [0, 1, 3, 6, 10, 13])
def test_killed_at_any_moment_it_resumes_to_the_bit(whole_run: tuple[Path, Path], tmp_path: Path, written: int) -> None:
    data, expected = whole_run
    arguments = [str(part) for part in ("train", data, "--out", tmp_path / "run", *FLAGS)]
    command = [sys.executable, "-c", KILLED, str(written), *arguments]
    assert subprocess.run(command, capture_output=True, env=_environment()).returncode == -signal.SIGKILL
    # Nothing is there to resume until its first file is whole.
    flag = ["--resume"] if any((tmp_path / "run" / name).exists() for name in files.OWN) else []
    assert bool(flag) == (written > 0)
    done = subprocess.run(
        _command(data, "--out", tmp_path / "run", *FLAGS, *flag), capture_output=True, text=True, env=_environment()
    )
    assert done.returncode == 0, done.stderr
    for name in (files.BEST, files.LAST):
        assert tensors_equal(tmp_path / "run" / name, expected / name), name


@pytest.mark.slow
def test_an_interrupt_ends_cleanly_and_resumes_to_the_bit(whole_run: tuple[Path, Path], tmp_path: Path) -> None:
    data, expected = whole_run
    with subprocess.Popen(
        _command(data, "--out", tmp_path / "run", *FLAGS),
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 1/3" in line:
                break
        # As a terminal does it: every process of the group gets the signal, the workers too.
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 1, rest
    assert "stopped" in rest
    assert "Traceback" not in rest
    done = subprocess.run(
        _command(data, "--out", tmp_path / "run", *FLAGS, "--resume"),
        capture_output=True,
        text=True,
        env=_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "Going on after epoch" in done.stderr
    assert tensors_equal(tmp_path / "run" / files.LAST, expected / files.LAST)


def test_a_full_disk_loses_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(data, tmp_path / "run", SMALL, NOTHING)
    completed(replace(plan, out=tmp_path / "whole"))
    real, calls = os.fsync, iter(range(1000))

    def full(descriptor: int) -> None:
        if next(calls) == 14:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        completed(plan)
    monkeypatch.undo()
    completed(replace(plan, resume=True))
    for name in (files.BEST, files.LAST):
        assert tensors_equal(tmp_path / "run" / name, tmp_path / "whole" / name), name


def refusal(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command says."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    captured = capsys.readouterr()
    assert code in (1, 2), captured
    lines = [line for line in captured.err.strip().splitlines() if "warning" not in line]
    assert "Traceback" not in captured.err
    return lines[-1]


def _one_class(data: Path) -> None:
    for part in ("train", "validation", "test"):
        for name in ("red", "green"):
            shutil.rmtree(data / part / name)


def _one_picture_a_class(data: Path) -> None:
    for part in ("validation", "test"):
        shutil.rmtree(data / part)
    for path in (data / "train").rglob("*.png"):
        if path.name != "000.png":
            path.unlink()


def _no_pictures(data: Path) -> None:
    for path in data.rglob("*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "flags", "message"),
    [
        (_no_pictures, [], "holds no labelled pictures"),
        (_one_class, [], "one class only ('blue')"),
        (_one_picture_a_class, [], "none can be kept for validation"),
        (None, ["--batch", "0"], "--batch (=0) must be a whole number from 1"),
        (None, ["--learning-rate", "-1"], "--learning-rate (=-1.0) must be a number above 0"),
        (None, ["--device", "cuda"], "torch finds none here"),
        (None, ["--precision", "float16"], "float16 needs a GPU"),
        (None, ["--synchronise"], "between GPUs only"),
        (None, ["--accumulate", "40"], "cannot be shared"),
        (None, ["--resume", "--overwrite"], "give one of them"),
        (None, ["--resume"], "holds no run to resume"),
        (None, ["--start", "nowhere.safetensors"], "There is no file 'nowhere.safetensors'"),
        (None, ["--freeze", "blocks.99"], "There is no layer 'blocks.99'"),
        (None, ["--resolution", "7"], "--resolution (=7) must be"),
        (None, ["--expansion", "0.5"], "--expansion (=0.5) must be a number at least 1"),
        (None, ["--convolution", "full"], "--convolution is no option of mobilenet_v2, which has --activation"),
        (None, ["--scales", "0.1"], "--scales is for boxes or masks"),
        (None, ["--repeats", "2"], "--repeats is no option of the recipe scratch-small, which is for classification"),
    ],
)
def test_bad_input_is_one_sentence(
    change: Callable[[Path], None] | None,
    flags: list[str],
    message: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change is not None:
        change(data)
    line = refusal(["train", data, "--out", tmp_path / "run", *FLAGS, *flags], capsys)
    assert message in line
    assert line.startswith("linnet: ")


def test_a_run_is_not_written_over(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / files.BEST).write_bytes(b"precious")
    (folder / "notes.txt").write_text("mine")
    line = refusal(["train", data, "--out", folder, *FLAGS], capsys)
    assert "holds a run already" in line
    assert (folder / files.BEST).read_bytes() == b"precious"
    completed(Plan(data, folder, replace(SMALL, epochs=1), NOTHING, overwrite=True))
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_resumed_run_keeps_its_recipe_and_its_data(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", data, "--out", tmp_path / "run", *FLAGS, "--epochs", "1"]
    assert main([str(argument) for argument in arguments]) == 0
    capsys.readouterr()
    assert "--weight-decay 0.1 differs from the run's" in refusal(
        [*arguments, "--resume", "--weight-decay", "0.1"], capsys
    )
    for flags, text in (
        (["--batch", "256"], "--batch 256 differs from the run's 4"),
        (["--width", "0.7"], "--width 0.7 differs from the run's 0.1"),
        (["--expansion", "3"], "--expansion 3.0 differs from the run's None"),
        (["--resolution", "48"], "--resolution 48 differs from the run's None"),
        (["--start", "cifar10"], "--start cifar10 differs from the run's none"),
        (["--half"], "--half True differs from the run's False"),
        (["--precision", "bfloat16"], "--precision bfloat16 differs from the run's auto"),
        (["--recipe", "finetune"], "--recipe finetune differs from the run's scratch-small"),
    ):
        assert text in refusal([*arguments, "--resume", *flags], capsys)
    # What is not said again is what it was.
    assert main(["train", str(data), "--out", str(tmp_path / "run"), "--recipe", "scratch-small", "--resume"]) == 0
    assert json.loads((tmp_path / "run" / files.RECIPE).read_text())["resolved"]["epochs"] == 1
    (data / "train" / "red" / "000.png").unlink()
    assert "has changed since the run was begun" in refusal([*arguments, "--resume"], capsys)


def test_a_wrong_flag_is_refused_before_the_pictures_are_looked_at(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: Any, **__: Any) -> None:
        raise AssertionError("the pictures were looked at")

    monkeypatch.setattr("linnet.training.run.beginning._check", looked)
    for flags, text in (
        (["--start", "nonsense"], "There is no model 'nonsense'"),
        (["--start", "none", "--convolution", "full"], "--convolution is no option of mobilenet_v2"),
        (["--start", "none", "--head-kernel", "3"], "--head-kernel is for boxes or masks"),
        (["--recipe", "detect-finetune"], "is for detection"),
    ):
        assert text in refusal(["train", data, "--out", tmp_path / "run", *flags], capsys)
        assert not list((tmp_path / "run").iterdir())


def test_flags_without_effect_on_features_are_said(data: Path, tmp_path: Path) -> None:
    from linnet.cli.train import read_plan

    said: list[str] = []
    flags = ["--recipe", "features", "--start", "none", "--width", "0.1", "--resolution", "32", "--epochs", "5"]
    plan = read_plan([str(data), "--out", str(tmp_path / "run"), *flags, "--fraction", "0.5", "--workers", "0"])[1]
    completed(plan, Reporter(say=said.append))
    assert any("--epochs has no effect" in sentence for sentence in said)
    assert any("random weights" in sentence for sentence in said)
    assert any(sentence.startswith("18 training features") for sentence in said), said


def test_a_run_of_another_version_is_told_from_a_damaged_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", data, "--out", tmp_path / "run", *FLAGS, "--epochs", "1"]
    assert main([str(argument) for argument in arguments]) == 0
    path = tmp_path / "run" / files.RECIPE
    document = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in document.items() if name != "format"}))
    assert "was begun by another version of linnet" in refusal([*arguments, "--resume"], capsys)
    for text in (json.dumps(document | {"recipe": "nothing"}), "[]", "{"):
        path.write_text(text)
        assert "is damaged" in refusal([*arguments, "--resume"], capsys)


def test_a_checkpoint_of_another_architecture_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=4)), start)
    arguments = ["train", data, "--out", tmp_path / "run", "--start", start]
    assert "is a mobilenet_v2, not a mobilenet_v1" in refusal([*arguments, "--architecture", "mobilenet_v1"], capsys)
    assert "has width 0.35, not 0.5" in refusal([*arguments, "--width", "0.5"], capsys)


def test_without_weights_and_network_it_says_what_to_do(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINNET_MIRROR", "http://127.0.0.1:9")
    nowhere = replace(catalogue.PACKAGED["imagenet"], package="not_installed_at_all")
    monkeypatch.setitem(catalogue.PACKAGED, "imagenet", nowhere)
    line = refusal(["train", data, "--out", tmp_path / "run"], capsys)
    assert "--start FILE" in line
    assert "--start none" in line


def test_a_batch_above_the_data_is_the_data(data: Path, tmp_path: Path) -> None:
    outcome = completed(Plan(data, tmp_path / "run", replace(SMALL, batch=4096, epochs=1), NOTHING))
    assert outcome.measured.images == 12
