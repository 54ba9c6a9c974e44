"""Does `linnet quantize` keep its contract: JSON keys, the gate, warnings, nothing written when it refuses?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_commands import run, run_json

from linnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from linnet.cli import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pictures of the four classes of the small model, in a training and a test part."""
    generator = np.random.default_rng(11)
    for part, count in (("train", 5), ("test", 2)):
        for name in ("ant", "bee", "cat", "dog"):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                small = generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)
                image = Image.fromarray(small).resize((72, 70), Image.Resampling.BICUBIC)
                image.save(folder / f"{number}.png")
    return tmp_path / "data"


def test_the_document(small_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made" / "small-int8.safetensors"
    document = run_json(["quantize", small_model, data, "--out", out, "--most-drop", 1], capsys)
    assert document["passed"]
    assert document["bytes"] == out.stat().st_size < 0.5 * small_model.stat().st_size
    assert document["calibration"]["pictures"] == 20
    assert document["images"] == document["float"]["images"] == document["int8"]["images"] == 8
    assert len(document["float"]["top1_95"]) == 2
    assert {each["figure"] for each in document["differences"]} >= {"top1", "top5"}
    assert 0 <= document["same_95"][0] <= document["same"] <= document["same_95"][1] <= 1
    checkpoint = load_checkpoint(out)
    assert [each["name"] for each in document["layers"]] == list(checkpoint.architecture.graph.by_name)
    assert set(document["worst"]) <= {each["name"] for each in document["layers"]}
    assert len(document["worst"]) == 3
    assert checkpoint.quantisation is not None
    assert checkpoint.score["top1"] == document["int8"]["top1"]
    assert checkpoint.score["data"] == "data, test part"
    with Image.open(out.with_name("small-int8-both.png")) as sheet:
        assert sheet.width > 100
    # It is a model like any other, and what was measured is what evaluate measures.
    assert run_json(["evaluate", data, "--model", out], capsys)["top1"] == document["int8"]["top1"]


def test_tables(small_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    code, text, err = run(["quantize", small_model, data, "--out", out, "--most-drop", 1, "--pictures", 9], capsys)
    assert code == 0, err
    assert "calibrated on 9 pictures" in text
    assert "furthest from float: " in text
    assert "best answers equal" in text
    assert "blocks.16.project" in text
    assert f"written: {out}" in text
    assert "warning" not in err


def refused(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> str:
    code, out, err = run(["quantize", *arguments], capsys)
    assert code == 1
    assert "written:" not in out
    return err


@pytest.fixture
def close(small_checkpoint: Checkpoint, data: Path, tmp_path: Path) -> Path:
    """Two classes that are equal but for less than a step: int8 takes the first of them, and is always wrong."""
    tensors = dict(small_checkpoint.tensors)
    weight, bias = np.zeros_like(tensors["classifier.weight"]), np.zeros_like(tensors["classifier.bias"])
    bias[:] = [5, 5 + 1e-4, -900, -900]
    path = tmp_path / "close.safetensors"
    save_checkpoint(
        replace(small_checkpoint, tensors=tensors | {"classifier.weight": weight, "classifier.bias": bias}), path
    )
    for name in ("ant", "cat", "dog"):
        for file in (data / "test" / name).iterdir():
            file.unlink()
    return path


def test_the_gate_writes_nothing(close: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    out.write_text("an older file")
    err = refused([close, data, "--out", out], capsys)
    assert "top1 falls by 1.0000; by 0.0100 it may (--most-drop)" in err
    assert "Layers to look at: " in err
    assert out.read_text() == "an older file"
    assert not (tmp_path / "out-both.png").exists()
    code, text, _ = run(["quantize", close, data, "--out", out, "--json"], capsys)
    document = json.loads(text)
    assert (code, document["passed"], document["file"], document["bytes"]) == (1, False, None, None)
    assert out.read_text() == "an older file"


@pytest.mark.slow
def test_the_gate_refuses_too_what_no_layer_in_float_mends(
    close: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # What goes wrong is in the classifier's encoding, which stays: auto tries, says what it tried, and refuses too.
    err = refused([close, data, "--out", tmp_path / "out.safetensors", "--keep-float", "auto"], capsys)
    assert " in float: " in err
    assert "dB at the outputs for" in err


def test_pictures_alone(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    for number in range(24):
        small = generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 64)).save(tmp_path / "photos" / f"{number}.png")
    out = tmp_path / "out.safetensors"
    arguments = ["quantize", small_model, tmp_path / "photos", "--out", out, "--most-drop", 1]
    document = run_json(arguments, capsys)
    assert (document["float"], document["int8"], document["images"]) == ({}, {}, 12)
    assert 0 <= document["same"] <= 1
    assert load_checkpoint(out).score == {}
    code, _, err = run(arguments, capsys)
    assert code == 0
    assert "taken without labels" in err


@pytest.mark.filterwarnings("always:.*calibrat:UserWarning")
def test_warnings_and_wrong_usage(
    small_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    few = ["quantize", small_model, data, "--out", out, "--most-drop", 1, "--pictures", 3]
    assert "warning: Only 3 pictures calibrate" in run(few, capsys)[2]
    for file in (data / "train").rglob("*.png"):
        Image.new("RGB", (40, 40)).save(file)
    black = ["quantize", small_model, data, "--out", out, "--most-drop", 1]
    assert "warning: The calibration pictures are all black" in run(black, capsys)[2]
    assert run(["quantize", small_model, data, "--out", small_model], capsys)[0] == 2
    assert run(["quantize", small_model, data, "--out", tmp_path], capsys)[0] == 2
    assert run(["quantize", small_model, data, "--out", out, "--most-drop", 3], capsys)[0] == 2
    assert run(["quantize", small_model, data, "--out", out, "--pictures", 0], capsys)[0] == 2
    code, _, err = run(["quantize", small_model, data, "--out", out, "--keep-float", "nowhere"], capsys)
    assert code == 2
    assert "--keep-float: There is no layer 'nowhere'" in err
    assert "quantised already" in refused([out, data, "--out", tmp_path / "twice.safetensors"], capsys)
    assert refused([small_model, tmp_path / "nothing", "--out", out], capsys).count("\n") == 1


@pytest.mark.slow
def test_the_embedded_classifier(
    sample_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trained network, on few of its pictures."""
    import pyarrow.parquet as pq

    source = sample_data("cifar10")
    for part, count in (("train", 64), ("test", 200)):
        pq.write_table(pq.read_table(source / f"{part}.parquet").slice(0, count), tmp_path / f"{part}.parquet")
    code = main(["quantize", "cifar10", str(tmp_path), "--out", str(tmp_path / "out.safetensors"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["same"] >= 0.95
    assert code == 0 or document["float"]["top1"] - document["int8"]["top1"] <= 0.02
    assert min(each["sqnr_db"] for each in document["layers"]) > 10
