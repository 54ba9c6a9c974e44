"""What exports promise: LiteRT's bits at every size, the checkpoint's figures as shipped, and no file lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.catalogue import find_model
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.detection import EVERYTHING
from linnet.export import export, tflite_export
from linnet.export.vectors import NOISY, sample_pictures
from linnet.predictor import load

pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")

SIDES = (96, 128, 160, 192, 224)
SIZES: list[Architecture] = [
    *(MobileNetV2(width=width, resolution=side) for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4) for side in SIDES),
    *(MobileNetV1(width=width, resolution=side) for width in (0.25, 0.5, 0.75, 1.0) for side in SIDES),
]
"""All sizes in which the networks are published."""


@pytest.mark.slow
@pytest.mark.parametrize("network", SIZES, ids=lambda each: f"{type(each).__name__} {each.width} {each.input_size[0]}")
def test_integers_are_litert_s_at_every_size(
    tmp_path: Path, network: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Fewer pictures: each has a million of numbers in a network's tensors.
    monkeypatch.setattr(tflite_export, "sample_pictures", lambda *given: sample_pictures(*given)[: NOISY + 1])
    assert export(quantised_checkpoint(network), tmp_path / "network.tflite").equal


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar10-int8", "clothing-int8", "blood-cells-int8"])
def test_integers_of_the_embedded_models_are_litert_s(tmp_path: Path, name: str) -> None:
    assert export(load_checkpoint(find_model(name)), tmp_path / "network.tflite", raw=True).equal


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data"), [("clothing-int8", "clothing"), ("blood-cells-int8", "bccd-coco")])
def test_the_figures_of_the_checkpoint_in_every_digit(
    tmp_path: Path, name: str, data: str, sample_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "network.tflite"
    export(load_checkpoint(find_model(name)), path, raw=True)
    first, second = (evaluated(model, sample_data(data), capsys) for model in (name, str(path)))
    assert first == second


def evaluated(model: str, data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    recognised = ["--format", "coco"] if "coco" in data.name else []
    assert main(["evaluate", str(data), "--model", model, "--json", *recognised]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.slow
def test_a_detector_s_file_finds_the_boxes_of_the_checkpoint(
    tmp_path: Path, sample_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same ones in the same order in each picture; LiteRT's softmax rounds in the last bit of a score otherwise."""
    name, path, data = "blood-cells-int8", tmp_path / "network.tflite", sample_data("bccd-coco")
    export(load_checkpoint(find_model(name)), path)
    first, second = (evaluated(model, data, capsys) for model in (name, str(path)))
    for figure in ("AP", "AP50", "AP75"):
        assert second[figure] == pytest.approx(first[figure], abs=5e-5)
    predictors = [load(model, suppression=EVERYTHING) for model in (name, path)]
    for picture in sorted(data.rglob("*.jpg"))[:20]:
        ours, theirs = (predictor(picture) for predictor in predictors)
        assert np.array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(theirs.boxes, ours.boxes, atol=0.01)
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-6)


def test_what_has_no_runtime_is_written_and_said(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("onnxruntime", "ai_edge_litert"):
        monkeypatch.setitem(sys.modules, module, None)
    for ending, runtime in ((".onnx", "onnxruntime"), (".tflite", "ai-edge-litert")):
        path = tmp_path / f"network{ending}"
        assert main(["export", str(small_model), str(path), "--strict"]) == 1
        assert f"without {runtime}, which is not installed (pip install {runtime})" in capsys.readouterr().err
        assert not path.exists()
        assert main(["export", str(small_model), str(path), "--json"]) == 0
        captured = capsys.readouterr()
        assert f"{runtime} is not installed: the file was not run" in captured.err
        assert json.loads(captured.out)["compared"] is None
        assert path.is_file()
        assert main(["export", str(small_model), str(path), "--data", str(tmp_path)]) == 1
        assert f"--data: {runtime} is not installed" in capsys.readouterr().err
        assert main(["predict", "nowhere.png", "--model", str(path)]) != 0


def test_no_space_keeps_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    save_checkpoint(quantised_checkpoint(MobileNetV2(width=0.35, resolution=32, classes=3)), model)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    for arguments in ([str(tmp_path / "network.onnx")], [str(tmp_path / "network.tflite")]):
        Path(arguments[0]).write_bytes(b"an older, good file")
        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            assert main(["export", str(model), *arguments]) == 1
        assert "cannot write: No space left on device" in capsys.readouterr().err
        assert Path(arguments[0]).read_bytes() == b"an older, good file"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".onnx", ".safetensors", ".tflite"]


def test_data_is_for_what_linnet_can_run(tmp_path: Path, small_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: list[Any] = ["export", small_model, tmp_path / "folder", "--format", "engine", "--data", tmp_path]
    assert main(list(map(str, arguments))) == 2
    assert "--data: linnet cannot run engine on pictures; it can run onnx or tflite" in capsys.readouterr().err
    assert main(["export", str(small_model), str(tmp_path / "a.onnx"), "--most-drop", "2"]) == 2
    assert "must be a fraction of 1" in capsys.readouterr().err
    assert main(["export", str(small_model), str(tmp_path / "a.onnx"), "--most-drop", "0.1"]) == 2
    assert "nothing is without --data" in capsys.readouterr().err


def test_the_model_itself_is_not_written_over(
    tmp_path: Path, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = small_model.read_bytes()
    (tmp_path / "other.tflite").symlink_to(small_model)
    for name in (str(small_model), str(tmp_path / "other.tflite")):
        assert main(["export", str(small_model), name, "--format", "tflite"]) == 2
        assert "is the model itself. Name another file." in capsys.readouterr().err
    assert small_model.read_bytes() == before


def test_an_onnx_file_in_place_of_a_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08\x12\x06linnet" + bytes(64))
    assert main(["export", str(tmp_path / "a.onnx"), str(tmp_path / "a.tflite")]) == 1
    assert "is an ONNX file, which `linnet convert` reads" in capsys.readouterr().err
