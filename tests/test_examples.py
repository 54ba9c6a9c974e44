"""Do the examples run as they are shown, each on what it draws and, where it takes one, on a folder?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from pictures import write_pictures
from PIL import Image

import linnet

pytestmark = pytest.mark.slow


def run_example(name: str, folder: Path, *arguments: str | Path) -> str:
    """What an example prints, in a folder of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"LINNET_CACHE": str(folder / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def share(sentence: str, lines: str) -> float:
    """A figure in percent that stands behind some words."""
    found = re.search(rf"{sentence}.*?([\d.]+) %", lines)
    assert found is not None, lines
    return float(found[1])


def test_a_classifier_of_drawn_shapes(tmp_path: Path) -> None:
    lines = run_example("own_classifier", tmp_path)
    assert share(r"checkpoint\.safetensors: top-1", lines) >= 85
    assert share(r"small\.safetensors: top-1", lines) >= 85
    assert linnet.load_checkpoint(tmp_path / "own_classifier" / "small.safetensors").quantisation is not None


def test_a_classifier_of_a_folder(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=8, validation=3, test=4)
    lines = run_example("own_classifier", tmp_path, data, "--out", tmp_path / "mine", "--start", "cifar10")
    assert "blue, green, red" in lines
    assert "on the test part" in lines
    assert (tmp_path / "mine" / "run" / "card.md").is_file()


def test_a_detector_of_drawn_things(tmp_path: Path) -> None:
    lines = run_example("own_detector", tmp_path)
    found = re.search(r"AP ([\d.]+)", lines)
    assert found is not None
    assert float(found[1]) >= 0.5
    with Image.open(tmp_path / "own_detector" / "found.png") as picture:
        assert min(picture.size) >= 160


def test_an_ablation_of_the_paper(tmp_path: Path) -> None:
    lines = run_example("ablation", tmp_path, "--pictures", "1500").splitlines()
    shares = [float(found[1]) for line in lines if (found := re.search(r"([\d.]+)% of 500", line))]
    assert len(shares) == 4
    assert shares[0] > shares[1]  # figure 6a: a bottleneck is better off without a ReLU6


@pytest.mark.parametrize("name", ["ablation", "own_classifier", "own_detector", "demo", "write_shards"])
def test_it_is_told_of(name: str) -> None:
    assert f"{name}.py" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
