"""Does `linnet choose` say what fits, best first, from the cache, and what to loosen where nothing fits?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from measured import keep_measured
from networks import checkpoint_of
from pictures import write_pictures
from test_commands import run, run_json

from linnet.architecture import MobileNetV1
from linnet.checkpoint import save_checkpoint
from linnet.engine.library import native_version

needs_native = pytest.mark.skipif(native_version() is None, reason="the native library is not built")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "own-cache"))


@pytest.fixture
def measured(_own_cache: None) -> None:
    """A cache in which everything stands."""
    keep_measured(classes=10, threads=1)


CHOOSE = ["choose", "--classes", 10, "--threads", 1]
KEYS = {
    *("network", "width", "resolution", "precision", "parameters", "multiply_adds", "latency_ms", "memory_bytes"),
    *("size_bytes", "imagenet_top1", "imagenet_top1_is", "command"),
}


@needs_native
@pytest.mark.usefixtures("measured")
def test_the_command_lists_the_best_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = run_json([*CHOOSE, "--latency", 5, "--memory", 900_000], capsys)
    assert rows
    assert all(set(each) == KEYS for each in rows)
    assert all(each["latency_ms"] <= 5 and each["memory_bytes"] <= 900_000 for each in rows)
    assert [each["imagenet_top1"] for each in rows] == sorted((each["imagenet_top1"] for each in rows), reverse=True)
    code, out, err = run([*CHOOSE, "--latency", 5, "--memory", 900_000], capsys)
    assert (code, err) == (0, "")
    assert rows[0]["command"] in " ".join(out.split())
    assert "~" in out


@needs_native
@pytest.mark.usefixtures("measured")
def test_the_command_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib: pip install 'linnet[train]'")
    code, _, _ = run([*CHOOSE, "--latency", 5, "--plot", tmp_path / "choice.png"], capsys)
    assert code == 0
    assert (tmp_path / "choice.png").read_bytes().startswith(b"\x89PNG")
    words = ["choose", "--classes", 10, "--target", "c", "--multiply-adds", 12_000_000, "--memory", 30_000]
    code, _, _ = run([*words, "--plot", tmp_path / "c.png"], capsys)
    assert code == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@needs_native
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--latency", 0.001], 1, "loosen --latency to "),
        (["--memory", 10, "--size", 100_000_000], 1, "loosen --memory to "),
        (["--multiply-adds", 5], 1, "loosen"),
        (["--latency", 0], 2, "--latency (=0.0) must be above 0"),
        (["--multiply-adds", -3], 2, "--multiply-adds (=-3) must be above 0"),
        (["--classes", 0], 2, "--classes (=0)"),
        (["--plot", "choice.jpg"], 2, "must end with .png"),
        (["--data", "nowhere"], 1, "'nowhere'"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    flags: list[Any], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got, out, err = run([*CHOOSE, *flags], capsys)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert said in err


@needs_native
@pytest.mark.usefixtures("measured")
def test_own_pictures_rank_what_has_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="--data needs torch")
    # Whatever is installed.
    monkeypatch.setattr("linnet.choosing.ranking.from_package", lambda name: None)
    data = write_pictures(tmp_path / "data", train=4, validation=2, test=1)
    cache = tmp_path / "own-cache"
    bounds = ["--multiply-adds", 20_000_000]
    code, _, err = run([*CHOOSE, *bounds, "--data", data], capsys)
    assert (code, "No ImageNet weights are on this machine" in err) == (1, True)
    save_checkpoint(
        checkpoint_of(MobileNetV1(width=0.25, resolution=128, classes=3)), cache / "imagenet-v1-0.25-128.safetensors"
    )
    code, _, err = run([*CHOOSE, "--latency", 0.001, "--data", data], capsys)
    assert (code, "loosen --latency to" in err) == (1, True)
    code, out, err = run([*CHOOSE, *bounds, "--data", data, "--json"], capsys)
    assert code == 0
    assert "pictures through 1 network: about" in err
    rows = json.loads(out)
    assert {(each["network"], each["width"]) for each in rows} == {("mobilenet_v1", 0.25)}
    assert all(set(each) == {*KEYS, "data_top1"} and 0 <= each["data_top1"] <= 1 for each in rows)
    assert str(data) in rows[0]["command"]


def test_for_microcontrollers_the_c_files_memory_is_bounded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without an engine: nothing runs.
    monkeypatch.setattr("linnet.cli.choose.native_version", lambda: None)
    words = ["choose", "--classes", 10, "--target", "c", "--multiply-adds", 12_000_000]
    rows = run_json([*words, "--memory", 30_000], capsys)
    assert rows
    assert all(set(each) == KEYS and each["latency_ms"] is None and each["precision"] == "int8" for each in rows)
    assert all(each["memory_bytes"] <= 30_000 for each in rows)
    least = min(each["size_bytes"] for each in rows)
    assert all(each["size_bytes"] <= least for each in run_json([*words, "--size", least], capsys))
    code, out, err = run(words, capsys)
    assert (code, err) == (0, "")
    assert "RAM" in out
    assert "program's own few kilobytes are not counted" in " ".join(out.split())
    code, out, err = run([*words, "--memory", 10], capsys)
    assert (code, out) == (1, "")
    assert "loosen --memory to" in err


@pytest.mark.parametrize(
    ("flags", "said"), [(["--latency", 5], "Bound --multiply-adds"), (["--threads", 1], "has no threads")]
)
def test_a_microcontroller_has_neither_latency_nor_threads_here(
    flags: list[Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(["choose", "--target", "c", *flags], capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
