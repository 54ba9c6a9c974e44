"""Does a detector's predictor find what its weights say, in pixels of the picture that it was given?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image

import linnet
from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.cli import main
from linnet.detection import Suppression, anchors, detect
from linnet.engine.library import native_version
from linnet.images import prepare
from linnet.predictor import Predictor
from linnet.results import Detections
from linnet.results.drawing import Box, draw, draw_boxes

SMALL = ssdlite(width=0.35, resolution=64, classes=2)


@pytest.fixture
def detector() -> Checkpoint:
    """Random weights."""
    return checkpoint_of(SMALL, classes=("cell", "platelet"), seed=3)


@pytest.fixture
def constant() -> Checkpoint:
    """Whatever it sees, it finds a platelet on the coarsest level's first anchor and a cell on its second."""
    checkpoint = checkpoint_of(SMALL, classes=("cell", "platelet"))
    tensors = dict(checkpoint.tensors)
    for level in range(6):
        for kind in ("boxes", "classes"):
            name = f"predictors.{level}.{kind}.pointwise"
            tensors[f"{name}.weight"] = np.zeros_like(tensors[f"{name}.weight"])
            tensors[f"{name}.bias"] = np.full_like(tensors[f"{name}.bias"], 0 if kind == "boxes" else -9)
    slots = tensors["predictors.5.classes.pointwise.bias"].reshape(6, 3)
    slots[0, 2], slots[1, 1] = 3, 2
    return replace(checkpoint, tensors=tensors)


def found_by_hand(width: int, height: int) -> list[tuple[str, float, list[float]]]:
    """The anchors of scale 0.95: the square one, and the one of ratio 2, which reaches beyond the sides."""
    square = [0.025 * width, 0.025 * height, 0.975 * width, 0.975 * height]
    half = 0.95 / 2**0.5 / 2
    wide = [0, (0.5 - half) * height, width, (0.5 + half) * height]
    return [("platelet", 1 / (1 + np.exp(-3)), square), ("cell", 1 / (1 + np.exp(-2)), wide)]


@pytest.mark.parametrize("size", [(640, 480), (7, 300), (1, 1)])
@pytest.mark.parametrize("runtime", ["numpy", "torch"])
def test_boxes_are_in_pixels_of_the_original(constant: Checkpoint, size: tuple[int, int], runtime: Any) -> None:
    result = Predictor(constant, runtime=runtime)(Image.new("RGB", size))
    assert isinstance(result, Detections)
    assert len(result) == 2
    for found, (label, score, box) in zip(result.top(), found_by_hand(*size), strict=True):
        assert (found.label, found.index) == (label, ["cell", "platelet"].index(label))
        assert found.score == pytest.approx(score, rel=1e-5)
        assert found.box == pytest.approx(box, rel=1e-4, abs=1e-4)
    assert repr(result) == "Detections(platelet 95.3%, cell 88.1%, 2 objects)"


def test_a_turned_picture_has_boxes_as_it_is_seen(constant: Checkpoint, tmp_path: Path) -> None:
    image = Image.new("RGB", (100, 200))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    result = Predictor(constant)(tmp_path / "turned.jpg")
    assert result.boxes[0] == pytest.approx(found_by_hand(200, 100)[0][2], rel=1e-4)


def test_forward_and_the_runtimes_agree(detector: Checkpoint, picture: NDArray[np.uint8]) -> None:
    by_numpy, by_torch = (Predictor(detector, runtime=runtime, threads=2) for runtime in ("numpy", "torch"))
    pixels = np.stack([prepare(picture, by_numpy.preprocessing), np.zeros((64, 64, 3), np.uint8)])
    ours, theirs = by_numpy.forward(pixels), by_torch.forward(pixels)
    assert [part.shape for part in ours] == [(2, SMALL.anchors, 4), (2, SMALL.anchors, 3)]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(one).max())
    names = SMALL.tensor_names
    first, second = by_numpy.tensors(pixels, names), by_torch.tensors(pixels, names)
    for name in names:
        np.testing.assert_allclose(second[name], first[name], atol=1e-4 * np.abs(first[name]).max(), err_msg=name)


def test_calling_is_detecting_in_what_forward_gives(detector: Checkpoint, picture: NDArray[np.uint8]) -> None:
    rule = Suppression(score_threshold=0.5, iou_threshold=0.4, total=7)
    predict = Predictor(detector, suppression=rule)
    offsets, logits = predict.forward(prepare(picture, predict.preprocessing)[None])
    boxes, scores, classes = detect(offsets[0], logits[0], anchors(SMALL), scoring="sigmoid", suppression=rule)
    result = predict(picture)
    assert len(result) == 7
    np.testing.assert_allclose(result.boxes, boxes * [120, 90, 120, 90], rtol=1e-6)
    np.testing.assert_array_equal(result.scores, scores)
    np.testing.assert_array_equal(result.indices, classes)


def test_a_stream_of_pictures_of_many_sizes(constant: Checkpoint, tmp_path: Path) -> None:
    sizes = [(30, 40), (300, 20), (64, 64), (5, 900)]
    pictures: list[Any] = [Image.new("RGB", size) for size in sizes]
    pictures.insert(2, tmp_path / "missing.png")
    results = list(Predictor(constant).stream(pictures, batch=2))
    assert isinstance(results.pop(2)[1], FileNotFoundError)
    for (_, result), (width, height) in zip(results, sizes, strict=True):
        assert result.boxes[1] == pytest.approx(found_by_hand(width, height)[1][2], rel=1e-4, abs=1e-4)


def test_softmax_is_used_where_the_detector_says_so() -> None:
    modern = ssdlite(variant="modern", width=0.35, resolution=64, classes=3)
    predict = Predictor(checkpoint_of(modern), suppression=Suppression(score_threshold=0.1, iou_threshold=1.0))
    result = predict(np.zeros((64, 64, 3), np.uint8))
    _, logits = predict.forward(np.zeros((1, 64, 64, 3), np.uint8))
    powers = np.exp(logits[0].astype(np.float64))
    assert result.scores[0] == pytest.approx((powers / powers.sum(axis=1, keepdims=True))[:, 1:].max(), rel=1e-4)
    assert result.top(1)[0].label == str(result.indices[0])


@pytest.fixture
def constant_model(constant: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(constant, tmp_path / "constant.safetensors")
    return tmp_path / "constant.safetensors"


def test_predict_prints_and_draws(
    constant_model: Path, picture_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(picture_file), "--model", str(constant_model)]
    assert main([*arguments, "--json", "--draw", str(tmp_path / "drawn")]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert [entry["label"] for entry in document["predictions"]] == ["platelet", "cell"]
    assert set(document["predictions"][0]) == {"label", "index", "score", "box"}
    assert document["predictions"][0]["box"] == pytest.approx([3, 2.25, 117, 87.75], rel=1e-4)
    with Image.open(tmp_path / "drawn" / "picture.png") as image:
        # 120 x 90 is enlarged four times.
        assert image.size == (480, 360)
        # The far corner of the platelet's box, in the colour of class 1.
        assert image.getpixel((467, 350)) == (86, 180, 233)
        assert image.getpixel((469, 352)) != (86, 180, 233)
    assert main(arguments) == 0
    assert "3, 2, 117, 88" in capsys.readouterr().out
    assert main([*arguments, "--json", "--top", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["predictions"]) == 1
    assert main([*arguments, "--score-threshold", "0.9", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["predictions"]) == 1
    assert main([*arguments, "--score-threshold", "0.99"]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--score-threshold", "--iou-threshold"])
def test_senseless_thresholds_are_wrong_usage(
    flag: str, constant_model: Path, picture_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(picture_file), "--model", str(constant_model), flag, "1.5"]) == 2
    err = capsys.readouterr().err
    assert err == f"linnet: {flag} (=1.5) must be a number at least 0 and at most 1.\n"


def test_detectors_are_evaluated_on_boxes_only(
    constant_model: Path, picture_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(picture_file.parent), "--model", str(constant_model)]) == 1
    err = capsys.readouterr().err
    assert "holds no labelled pictures" in err
    assert err.count("\n") == 1


def test_damaged_weights_are_told_in_a_sentence(constant: Checkpoint) -> None:
    tensors = dict(constant.tensors)
    tensors["predictors.0.boxes.pointwise.bias"] = np.full(12, np.nan, np.float32)
    with pytest.raises(ValueError, match="not a number: its weights are damaged"):
        Predictor(replace(constant, tensors=tensors), runtime="numpy")(Image.new("RGB", (5, 5)))


def test_loading_takes_thresholds(constant_model: Path) -> None:
    predict = linnet.load(constant_model, suppression=Suppression(score_threshold=0.9))
    assert isinstance(predict.architecture, Detector)
    assert [found.label for found in predict(Image.new("RGB", (9, 9))).top()] == ["platelet"]


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (5000, 8), (1200, 900)])
def test_any_picture_can_be_drawn_on(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    width, height = size
    boxes = [Box((0, 0, width, height), number, "a class of a long name 99%") for number in range(8)]
    boxes += [Box((width - 0.2, height - 0.2, width, height), 1, "corner"), Box((0.1, 0.1, 0.2, 0.2), 2, "")]
    drawn = draw_boxes(image, boxes)
    assert drawn.size[0] / size[0] == drawn.size[1] / size[1]
    assert max(drawn.size) <= max(4000, *size)
    assert image.getextrema() == ((0, 0),) * 3
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert draw(image, empty).getextrema() == ((0, 0),) * 3
    assert repr(empty) == "Detections(0 objects)"
    assert empty.top() == empty.top(3) == []


@pytest.mark.parametrize("runtime", ["native", "torch"])
def test_the_runtimes_agree_on_detectors(runtime: Any) -> None:
    if runtime == "native" and native_version() is None:
        pytest.skip("the native library is not built")
    checkpoint = checkpoint_of(ssdlite(variant="modern", width=0.35, resolution=96, classes=3))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    expected = Predictor(checkpoint, runtime="numpy").forward(pixels)
    for ours, theirs in zip(Predictor(checkpoint, runtime=runtime).forward(pixels), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
