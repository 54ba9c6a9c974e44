"""Does a detector train: the same loss in parts as whole, a start that keeps what it knew, and a run that is whole?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import checkpoint_of
from pictures import SHADES, write_pictures, write_scenes
from runs import completed

from linnet.architecture import Detector, MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.data import find
from linnet.evaluation.detector import MEASURING, measure_detector
from linnet.images import Preprocessing
from linnet.nn import Network, from_checkpoint
from linnet.predictor import load
from linnet.tasks.detection.objective import DetectionObjective
from linnet.tasks.detection.start import FOCAL_BIAS
from linnet.tasks.detection.start import find_start as find_detector_start
from linnet.training.detection_recipe import DetectionRecipe
from linnet.training.devices import open_fabric
from linnet.training.plan import Plan
from linnet.training.recipes import DETECT_FINETUNE, DETECT_PAPER, FINETUNE
from linnet.training.starts import Start, StartOptions

SMALL = replace(
    DETECT_FINETUNE, epochs=2, repeats=1, batch=4, learning_rate=0.003, average=0.9, workers=0, batch_norm="trained"
)
NOTHING = StartOptions("none", None, 64, {"width": 0.1})
NAMES = tuple(SHADES)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "data", test=4)


# Starts


def _start(source: Any, tmp_path: Path, recipe: DetectionRecipe = SMALL, **wanted: Any) -> Start:
    path = tmp_path / "start.safetensors"
    save_checkpoint(checkpoint_of(source, classes=wanted.pop("classes", None)), path)
    return find_detector_start(StartOptions(str(path), **wanted), NAMES, recipe)


@pytest.mark.parametrize(
    "source",
    [
        MobileNetV2(width=0.35, resolution=64, classes=5),
        MobileNetV2(width=0.35, resolution=96, classes=5, folded=True),
        MobileNetV1(width=0.25, resolution=64, classes=None, folded=True),
    ],
)
def test_a_classifier_s_features_are_kept(source: Any, tmp_path: Path) -> None:
    """Also of a folded one: the batch norm that it gets back changes nothing."""
    start = _start(source, tmp_path, resolution=64)
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    network = start.ready([images]).eval()
    detector = network.architecture
    assert isinstance(detector, Detector)
    assert (detector.classes, detector.folded, detector.input_size) == (2, False, (64, 64))
    assert start.contract.resize == "squash"
    before = from_checkpoint(load_checkpoint(start.file or ""))
    names = [level.source for level in detector.levels[:3]]
    with torch.inference_mode():
        own, other = network.features(images, names), before.features(images, names)
    for name in names:
        assert float((own[name] - other[name]).abs().max()) < 1e-3 * float(other[name].abs().max()), name


@pytest.mark.parametrize("folded", [False, True])
def test_a_detector_keeps_what_it_knows_of_boxes_and_of_classes_by_their_names(folded: bool, tmp_path: Path) -> None:
    source = ssdlite(variant="modern", width=0.1, resolution=64, classes=5, folded=folded)
    start = _start(source, tmp_path)
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    network = start.ready([images]).eval()
    before = from_checkpoint(load_checkpoint(start.file or ""))
    with torch.inference_mode():
        offsets, logits = network(images)
        expected, _ = before(images)
    torch.testing.assert_close(offsets, expected, rtol=1e-3, atol=1e-3)
    assert logits.shape[-1] == 3
    assert not start.keeps_classes
    # Two of its three classes, in another order.
    other = _start(replace(source, classes=3), tmp_path, classes=("red", "green", "blue"))
    kept = other.ready([images]).eval()
    with torch.inference_mode():
        before = from_checkpoint(load_checkpoint(other.file or ""))
        torch.testing.assert_close(kept(images)[1], before(images)[1][..., [0, 3, 1]], rtol=1e-3, atol=1e-3)
    assert other.contract.size == (64, 64)


def test_a_classifier_s_backbone_takes_the_recipe_s_resolution(tmp_path: Path) -> None:
    source = MobileNetV2(width=0.1, resolution=64, classes=2)
    assert _start(source, tmp_path).contract.size == (256, 256)
    assert _start(source, tmp_path, resolution=96).contract.size == (96, 96)


def test_focal_loss_begins_where_everything_is_improbable(tmp_path: Path) -> None:
    recipe = replace(SMALL, loss="focal")
    source = MobileNetV2(width=0.35, resolution=64, classes=5)
    # Softmax shares cannot be asked one by one.
    with pytest.raises(ValueError, match="--loss mined"):
        _start(source, tmp_path, recipe, resolution=64, options={"variant": "modern"})
    detector = ssdlite(variant="modern", width=0.1, resolution=64, classes=2)
    with pytest.raises(ValueError, match="--loss mined"):
        DetectionObjective(detector, Preprocessing(size=(64, 64), resize="squash"), recipe, NAMES, [], [])
    options = {"variant": "modern", "scoring": "sigmoid"}
    start = _start(source, tmp_path, recipe, resolution=64, options=options)
    network: Network = start.ready([])
    with torch.inference_mode():
        logits = network.eval()(torch.zeros(1, 3, 64, 64))[1]
    assert float((logits - FOCAL_BIAS).abs().max()) < 2


@pytest.mark.parametrize(
    ("source", "wanted", "message"),
    [
        (MobileNetV2(width=0.35, resolution=64), {"options": {"backbone": "mobilenet_v1"}}, "backbone mobilenet_v2"),
        (MobileNetV2(width=0.35, resolution=64), {"options": {"width": 0.5}}, "width 0.35, not 0.5"),
        (MobileNetV2(width=0.35, resolution=64), {"options": {"variant": "tensorflow"}}, "--variant modern"),
        (MobileNetV2(width=0.35, resolution=64), {"family": "mobilenet_v2"}, "--backbone"),
        (ssdlite(width=0.1, resolution=64), {"family": "ssd"}, "not an ssd"),
        (ssdlite(width=0.1, resolution=64), {"options": {"variant": "modern"}}, "its weights fit no other"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(source: Any, wanted: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        _start(source, tmp_path, **wanted)


# Runs


def test_the_loop_sees_what_the_file_s_predictor_sees(data: Path, tmp_path: Path) -> None:
    """Twins: the network on the contract's pixels within the loop; the file, the predictor and its runtime."""
    source = ssdlite(variant="modern", width=0.1, resolution=64, classes=2)
    checkpoint = checkpoint_of(source, classes=NAMES)
    save_checkpoint(checkpoint, tmp_path / "model.safetensors")
    validation = find(data).validation
    assert checkpoint.preprocessing is not None
    task = DetectionObjective(source, checkpoint.preprocessing, SMALL, NAMES, [], validation)
    fabric = open_fabric("cpu", "float32")
    found, _ = task._look(from_checkpoint(checkpoint), fabric, len(validation))
    predict = load(tmp_path / "model.safetensors", suppression=MEASURING)
    for sample, own in zip(validation, found, strict=True):
        other = predict(sample.picture)
        assert len(own) == len(other) > 10
        assert np.array_equal(own.indices[:10], other.indices[:10])
        assert np.abs(own.boxes[:10] - other.boxes[:10]).max() < 0.01
    figures = task.evaluate(from_checkpoint(checkpoint), fabric)
    expected = measure_detector(predict, validation).precision.figures
    assert figures["AP50"] == pytest.approx(expected["AP50"], abs=1e-3)


def test_a_variant_that_the_start_is_not_is_refused(tmp_path: Path) -> None:
    modern = ssdlite(variant="modern", width=0.1, resolution=64, classes=2)
    assert _start(modern, tmp_path, options={"variant": "modern"}).pretrained
    with pytest.raises(ValueError, match="its weights fit no other"):
        _start(modern, tmp_path, options={"variant": "tensorflow"})
    released = ssdlite(width=0.1, resolution=64, classes=2)
    assert _start(released, tmp_path, options={"variant": "tensorflow"}).pretrained
    with pytest.raises(ValueError, match="its weights fit no other"):
        _start(released, tmp_path, options={"variant": "modern"})


def test_the_recipe_follows_from_the_data(data: Path, tmp_path: Path) -> None:
    from linnet.cli.train import read_plan

    assert read_plan([str(data), "--out", str(tmp_path / "run")])[1].recipe == DETECT_FINETUNE
    given = read_plan([f"--out={tmp_path}", str(data), "--epochs", "3"])[1].recipe
    assert given == replace(DETECT_FINETUNE, epochs=3)
    folders = write_pictures(tmp_path / "classes", train=2, validation=1)
    # A folder of boxes that is not the data decides nothing.
    assert read_plan([str(folders), "--out", str(data)])[1].recipe == FINETUNE
    assert read_plan([str(data), "--out", "x", "--recipe", "detect-paper"])[1].recipe == DETECT_PAPER
    resolved, reasons = DETECT_FINETUNE.resolve(205, pretrained=True)
    assert (resolved.repeats, resolved.epochs) == (7, 4)
    assert any("205 pictures" in reason for reason in reasons)


def test_flags_of_boxes_are_refused_for_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = write_pictures(tmp_path / "classes", train=2, validation=1)
    for flags, message in (
        (["--variant", "modern"], "--variant is for boxes"),
        (["--recipe", "detect-finetune"], "--recipe detect-finetune is for detection. Take finetune"),
        (["--images", str(folders)], "--images is for pictures with boxes"),
    ):
        arguments = ["train", str(folders), "--out", str(tmp_path / "run"), "--start", "none", "--overwrite"]
        assert main([*arguments, *flags]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_eight_pictures_are_learned_by_heart(tmp_path: Path) -> None:
    """Through the trainer: AP50 above 0.9 on the pictures that were learned."""
    data = write_scenes(tmp_path / "data", train=8, validation=0)
    for part in ("val", "test"):
        text = (data / "annotations" / "instances_train.json").read_text()
        (data / "annotations" / f"instances_{part}.json").write_text(text)
    recipe = replace(
        DETECT_FINETUNE, epochs=4, repeats=40, batch=8, learning_rate=3e-3, cut=0.0, colour=0.0, average=0.0, workers=0
    )
    plan = Plan(data, tmp_path / "run", recipe, StartOptions("none", None, 96, {"width": 0.35}))
    outcome = completed(plan)
    assert (outcome.measured.precision.figures["AP50"] or 0) > 0.9
