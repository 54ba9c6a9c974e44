"""Do several processes train what one would, count every picture once, and leave a run that others can go on with?"""

from __future__ import annotations

import csv
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from masks import write_masks
from pictures import write_pictures, write_scenes

from linnet.checkpoint import load_checkpoint
from linnet.data import find
from linnet.evaluation.accuracy import measure_accuracy
from linnet.predictor import load
from linnet.training import folder as files
from linnet.training.plan import Plan
from linnet.training.recipes import SCRATCH_SMALL
from linnet.training.run import run_training
from linnet.training.starts import StartOptions

FLAGS = shlex.split(
    "--recipe scratch-small --epochs 2 --batch 10 --learning-rate 0.001 --average 0.9 --workers 0 "
    "--mixup 0.2 --cutmix 1.0 --dropout 0.3 --colour 0.2 --erasing 0.3"
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures, 37 for training so that no step divides evenly, and weights to start from."""
    folder = tmp_path_factory.mktemp("desk")
    data = write_pictures(folder / "data", train=13, validation=5)
    for name in ("green", "red"):
        (data / "train" / name / "000.png").unlink()
    # Trained a little: with statistics that fit, a step is stable, and rounding stays rounding.
    recipe = replace(
        SCRATCH_SMALL, epochs=3, batch=12, learning_rate=0.02, batch_norm="recalculated", average=0.0, workers=0
    )
    run_training(Plan(data, folder / "start", recipe, StartOptions("none", None, 32, {"width": 0.1})))
    start = folder / "start" / files.BEST
    return data, start


def command(desk: tuple[Path, Path], out: Path, *flags: Any, processes: int = 1) -> list[str]:
    data, start = desk
    # `--` keeps torchrun from taking our --start for an abbreviation of its own.
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "--", "linnet"]
    return [
        sys.executable,
        *(launcher if processes > 1 else ["-m", "linnet"]),
        *map(str, ("train", data, "--out", out, "--start", start, *FLAGS, *flags)),
    ]


def run(desk: tuple[Path, Path], out: Path, *flags: Any, processes: int = 1) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(desk, out, *flags, processes=processes), capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def assert_close(first: Path, second: Path, start: Path, *, share: float, statistics: bool = True) -> None:
    """The same weights within rounding: a share of how far the training moved each tensor."""
    origin, one, two = (load_checkpoint(path).tensors for path in (start, first, second))
    moved = 0
    for name, values in one.items():
        if statistics or not name.endswith((".mean", ".variance")):
            distance = float(np.abs(values - origin[name]).max())
            moved += distance > 1e-5
            np.testing.assert_allclose(two[name], values, rtol=0, atol=share * distance + 1e-6, err_msg=name)
    assert moved > len(one) / 4


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / files.LOG).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_processes_train_what_one_does(desk: tuple[Path, Path], tmp_path: Path) -> None:
    """Frozen statistics: no picture feels its neighbours, so only rounding is left.

    For one epoch: rounding grows from step to step in so small a network, by as much as any other change of 1e-7.
    """
    flags = ("--batch-norm", "frozen", "--epochs", 1, "--learning-rate", 1e-4)
    run(desk, tmp_path / "one", *flags)
    run(desk, tmp_path / "two", *flags, processes=2)
    assert_close(tmp_path / "one" / files.LAST, tmp_path / "two" / files.LAST, desk[1], share=0.05)
    (one,), (two,) = rows(tmp_path / "one"), rows(tmp_path / "two")
    # Every validation picture is counted exactly once: 15 cannot be shared evenly.
    for name in ("top1", "average_top1", "loss", "train_loss"):
        assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-4), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "figures"),
    [(write_scenes, ("train_boxes", "train_classes", "AP50")), (write_masks, ("train_pixels", "train_dice", "mIoU"))],
    ids=["detector", "segmenter"],
)
def test_two_processes_train_the_network_that_one_does(write: Any, figures: tuple[str, ...], tmp_path: Path) -> None:
    """Losses are divided by the anchors or the pixels that count in the whole step; each process has some of them."""
    data = write(tmp_path / "data", train=16, validation=6)
    flags = shlex.split(
        "--start none --width 0.1 --resolution 64 --epochs 1 --repeats 1 --batch 8 --learning-rate 1e-3 --average 0 "
        "--batch-norm frozen --workers 0"
    )
    for processes, name in ((1, "one"), (2, "two")):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "--", "linnet"]
        program = [sys.executable, *(launcher if processes > 1 else ["-m", "linnet"])]
        done = subprocess.run(
            [*program, "train", str(data), "--out", str(tmp_path / name), *flags],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    one, two = (load_checkpoint(tmp_path / name / files.LAST).tensors for name in ("one", "two"))
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=0, atol=2e-5, err_msg=name)
    (first,), (second,) = rows(tmp_path / "one"), rows(tmp_path / "two")
    for name in figures:
        assert float(second[name]) == pytest.approx(float(first[name]), abs=2e-4), name


@pytest.mark.slow
def test_trained_statistics_are_those_of_each_part(desk: tuple[Path, Path], tmp_path: Path) -> None:
    """Each process normalises its own part: as one process that takes the same parts one after the other."""
    run(desk, tmp_path / "one", "--accumulate", 2, "--epochs", 1)
    run(desk, tmp_path / "two", "--epochs", 1, processes=2)
    # One process sees twice as many parts, so its running statistics lie nearer to the end of the epoch.
    assert_close(tmp_path / "one" / files.LAST, tmp_path / "two" / files.LAST, desk[1], share=1e-3, statistics=False)


@pytest.mark.slow
def test_two_processes_learn_in_integers_with_the_same_ranges(desk: tuple[Path, Path], tmp_path: Path) -> None:
    """Each sees its own pictures; what is evaluated and written is one network."""
    run(desk, tmp_path / "two", "--quantise", "--quantise-epochs", 2, processes=2)
    checkpoint = load_checkpoint(tmp_path / "two" / files.BEST)
    assert checkpoint.quantisation is not None
    # Of 15 validation pictures, each counted once, by integers that are the same in both processes.
    samples = find(desk[0]).validation
    best = [row for row in rows(tmp_path / "two") if row["best"] == "1"][-1]
    top1 = measure_accuracy(load(tmp_path / "two" / files.BEST), samples).top1
    assert max(float(best["top1"]), float(best["average_top1"])) == pytest.approx(top1, abs=1e-4)


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_another_number_goes_on(desk: tuple[Path, Path], tmp_path: Path) -> None:
    flags = ("--batch-norm", "frozen", "--epochs", 12)
    # Cut in two as the two processes cut it, so that even the sums are the same.
    run(desk, tmp_path / "whole", *flags, "--accumulate", 2)
    with subprocess.Popen(
        command(desk, tmp_path / "run", *flags, processes=2),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "epoch 2/12" in line:
                break
        workers = [int(pid) for pid in subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()]
        os.kill(workers[-1], signal.SIGKILL)
        said += process.stderr.readlines()
        assert process.wait(timeout=120) != 0
    assert any("Another process of this run has ended" in line or "linnet: stopped" in line for line in said), said
    assert "Going on after epoch" in run(desk, tmp_path / "run", *flags, "--accumulate", 2, "--resume")
    assert_close(tmp_path / "whole" / files.LAST, tmp_path / "run" / files.LAST, desk[1], share=1e-3)
