"""Are detectors of pytorch-ssd and mmdetection read as what their libraries compute, boxes and scores included?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_detectors import Mmdetection, PytorchSsd, boxes_of, mmdetection_priors, pytorch_ssd_priors
from state_dicts import Arrays, detector_layout, detector_state_dict_of, save_with_torch

from linnet.architecture import Detector
from linnet.architecture.cost import cost
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.detection import anchors, decode
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.weights import read
from linnet.weights.conversion import Conversion
from linnet.weights.layouts import STATISTICS
from linnet.weights.parity import compare
from linnet.weights.to_pytorch import archive

ORDER = [0, 2, 3, 4, 5, 1]
"""linnet's anchors of a cell among theirs: they have the larger square second."""

MODULES: dict[str, Callable[..., Any]] = {
    "mb2-ssd-lite": lambda width=1.0: PytorchSsd("mb2-ssd-lite", 4, width),
    "mb1-ssd-lite": lambda width=1.0: PytorchSsd("mb1-ssd-lite", 4, width),
    "mb1-ssd": lambda width=1.0: PytorchSsd("mb1-ssd", 4, width),
    "mmdetection": lambda width=1.0: Mmdetection(3, width),
}
"""Each with three classes and a background."""

NARROW = {"mb2-ssd-lite": 0.5, "mb1-ssd-lite": 0.25, "mb1-ssd": 0.25, "mmdetection": 0.35}


def lively(name: str, width: float) -> Any:
    """A module whose batch norm is not the neutral one, with activations that stay alive."""
    torch.manual_seed(0)
    module = MODULES[name](width)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(part.weight)
                if part.bias is not None:
                    part.bias.normal_(0, 0.1)
            if isinstance(part, torch.nn.BatchNorm2d):
                drawn: Any = ((part.weight, 1), (part.running_var, 1), (part.bias, 0), (part.running_mean, 0))
                for values, centre in drawn:
                    numbers = 0.2 * torch.randn(values.shape)
                    values.copy_(numbers.exp() if centre else numbers)
    return module.eval()


def arrays_of(module: Any) -> Arrays:
    return {name: values.numpy() for name, values in module.state_dict().items() if values.dtype == torch.float32}


def converted(path: Path, module: Any, **meta: Any) -> Conversion:
    """As training scripts save it."""
    save_with_torch(path, {"state_dict": arrays_of(module), "meta": meta})
    return read(path)


def both(name: str, width: float, path: Path) -> tuple[Any, ...]:
    """Boxes and logits of the library's arithmetic and of linnet's, in linnet's order."""
    module = lively(name, width)
    conversion = converted(path, module)
    detector = conversion.checkpoint.architecture
    assert isinstance(detector, Detector)
    pixels = np.random.default_rng(0).normal(size=(1, *detector.input_size, 3)).astype(np.float32)
    with torch.no_grad():
        offsets, logits = (each[0].double().numpy() for each in module(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
    priors = mmdetection_priors() if name == "mmdetection" else pytorch_ssd_priors()
    theirs = boxes_of(offsets, priors).reshape(-1, 6, 4)[:, ORDER].reshape(-1, 4)
    if name == "mmdetection":
        logits = np.roll(logits, 1, axis=1)
    logits = logits.reshape(-1, 6, 4)[:, ORDER].reshape(-1, 4)
    found, _ = NumpyNetwork(detector, conversion.checkpoint.tensors).run(pixels)
    return theirs, logits, decode(found[0][0], anchors(detector)), found[1][0], detector


def check_equal(name: str, width: float, path: Path) -> Detector:
    theirs, their_logits, ours, our_logits, detector = both(name, width, path)
    assert np.abs(our_logits - their_logits).max() <= 1e-4 * np.abs(their_logits).max()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1, np.abs(theirs).max()))
    assert np.ptp(their_logits) > 0.1
    return detector


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_boxes_and_scores_are_the_library_s(name: str, tmp_path: Path) -> None:
    check_equal(name, 1.0, tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["mb2-ssd-lite", "mmdetection"])
def test_boxes_and_scores_are_the_library_s_at_other_widths(name: str, tmp_path: Path) -> None:
    detector = check_equal(name, NARROW[name], tmp_path / "weights.pth")
    assert detector.width == NARROW[name]


def small(name: str, **options: Any) -> Detector:
    """A narrow one that only has to be read."""
    narrow: dict[str, Any] = {"width": 0.25, "classes": 3, "extra_channels": (64, 32, 32, 32)} | options
    if name == "mb2-ssd-lite":
        narrow["reduced_channels"] = (32, 64, 64, 32)
    return detector_layout(name).usual.with_options(**narrow)


def test_priors_are_the_anchors(tmp_path: Path) -> None:
    for name, priors in (("mb2-ssd-lite", pytorch_ssd_priors()), ("mmdetection", mmdetection_priors())):
        found = anchors(detector_layout(name).usual)
        np.testing.assert_allclose(found, priors.reshape(-1, 6, 4)[:, ORDER].reshape(-1, 4), atol=1e-6)
    assert len(pytorch_ssd_priors()) == 3000
    assert len(mmdetection_priors()) == 3234


@pytest.mark.parametrize("name", MODULES)
def test_every_tensor_has_its_place(name: str, tmp_path: Path) -> None:
    # As the modules of the library name them, at the channels that they have.
    with torch.device("meta"):
        shapes = {key: tuple(values.shape) for key, values in MODULES[name]().state_dict().items()}
    detector = replace(detector_layout(name).usual, classes=3)
    places = detector_layout(name).places(detector)
    expected: dict[str, tuple[int, ...]] = {}
    for convolution in detector.convolutions:
        module, norm = places[convolution.label]
        expected[f"{module}.weight"] = detector.tensors[f"{convolution.label}.weight"]
        if norm:
            vectors = (*STATISTICS, "num_batches_tracked")
            expected |= {
                f"{norm}.{each}": () if each.startswith("num") else (convolution.out_channels,) for each in vectors
            }
        if f"{module}.bias" in shapes:
            expected[f"{module}.bias"] = (convolution.out_channels,)
    assert shapes == expected


# What no tensor says: padding, epsilon, activation; side, mean, deviation.
UNSAID: dict[str, tuple[str, float, str, int, float, float]] = {
    "mb2-ssd-lite": ("symmetric", 1e-5, "relu6", 300, 127 / 255, 128 / 255),
    "mb1-ssd-lite": ("symmetric", 1e-5, "relu", 300, 127 / 255, 128 / 255),
    "mb1-ssd": ("symmetric", 1e-5, "relu", 300, 127 / 255, 128 / 255),
    "mmdetection": ("symmetric", 1e-3, "relu6", 320, 123.675 / 255, 58.395 / 255),
}


@pytest.mark.parametrize("name", UNSAID)
def test_what_no_tensor_says_is_that_of_the_library(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(archive(detector_state_dict_of(name, small(name))[0]))
    conversion = read(path)
    detector, contract = conversion.checkpoint.architecture, conversion.checkpoint.preprocessing
    assert isinstance(detector, Detector)
    assert contract is not None
    padding, epsilon, activation, side, mean, deviation = UNSAID[name]
    backbone = detector.backbone
    assert (backbone.padding, backbone.batch_norm_epsilon, backbone.activation) == (padding, epsilon, activation)
    assert (detector.scoring, detector.input_size, contract.size) == ("softmax", (side, side), (side, side))
    assert contract.mean[0] == pytest.approx(mean, abs=1e-6)
    assert contract.std[0] == pytest.approx(deviation, abs=1e-6)
    assert (contract.resize, contract.antialias, contract.colours) == ("squash", False, "RGB")
    with pytest.raises(ValueError, match=f"for pictures of {side} x {side} pixels, not of 512"):
        read(path, resolution=512)


@pytest.mark.parametrize("name", MODULES)
def test_a_state_dict_becomes_the_detector_with_its_own_weights(name: str, tmp_path: Path) -> None:
    detector = small(name)
    tensors, own = detector_state_dict_of(name, detector)
    path = tmp_path / "weights.pth"
    path.write_bytes(archive({f"module.{key}": values for key, values in reversed(list(tensors.items()))}))
    found = read(path).checkpoint
    # Where the library leaves batch norm away behind some convolutions it is folded everywhere.
    folded = name.startswith("mb1")
    assert found.architecture == detector.with_options(folded=folded)
    expected = fold(detector, own)[1] if folded else own
    assert found.tensors.keys() == expected.keys()
    for each, values in expected.items():
        np.testing.assert_allclose(found.tensors[each], values, rtol=1e-6 if folded else 0, atol=1e-7 if folded else 0)
    save_checkpoint(found, tmp_path / "mine.safetensors")
    assert load_checkpoint(tmp_path / "mine.safetensors").architecture == found.architecture


@pytest.mark.parametrize("name", MODULES)
def test_pictures_are_compared_with_the_library_s_arithmetic(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(archive(detector_state_dict_of(name, small(name))[0]))
    conversion = read(path)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    parity = compare(conversion, [pixels])
    assert min(parity.correlations.values()) > 0.9999
    assert {"offsets", "logits", "extras.3", "predictors.0.boxes", "blocks.12"} <= parity.correlations.keys()
    # Of a cell whose numbers stand elsewhere, or a background at the other end, nothing correlates.
    moved = replace(conversion, columns={})
    assert compare(moved, [pixels]).correlations["offsets"] < 0.9


def test_names_of_classes_come_from_the_file_or_the_library(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    tensors = detector_state_dict_of("mmdetection", small("mmdetection"))[0]
    for meta in ({"CLASSES": ("cat", "dog", "cow")}, {"dataset_meta": {"CLASSES": ("cat", "dog", "cow")}}):
        save_with_torch(path, {"meta": meta, "state_dict": tensors})
        assert read(path).checkpoint.classes == ("cat", "dog", "cow")
    path.write_bytes(archive(tensors))
    assert read(path).checkpoint.classes is None
    assert read(path, labels=("BACKGROUND", "a", "b", "c")).checkpoint.classes == ("a", "b", "c")
    with pytest.raises(ValueError, match="finds 3 classes, but there are 2 labels"):
        read(path, labels=("a", "b"))
    path.write_bytes(archive(detector_state_dict_of("mb2-ssd-lite", small("mb2-ssd-lite", classes=20))[0]))
    names = read(path).checkpoint.classes
    assert names is not None
    assert (names[0], names[14], names[19]) == ("aeroplane", "person", "tvmonitor")


def test_mmdetection_s_detector_has_the_published_size() -> None:
    price = cost(detector_layout("mmdetection").usual.with_options(classes=80))
    # 4.23 M parameters and 746 M multiply-adds, counted by hand from its configuration.
    assert (round(price.parameters / 1e6, 2), round(price.multiply_adds / 1e6)) == (4.23, 746)


WRONG: list[tuple[str, str, tuple[int, ...], str]] = [
    ("mb2-ssd-lite", "classification_headers.2.3.weight", (22, 16, 1, 1), "gives 22 numbers a cell; 24 were expected"),
    ("mb2-ssd-lite", "extras.1.conv.3.weight", (16, 1, 5, 5), "has shape [16, 1, 5, 5]; [16, 1, 3, 3] was expected"),
    (
        "mb2-ssd-lite",
        "extras.4.conv.0.weight",
        (8, 8, 1, 1),
        "which pytorch-ssd's SSDLite on MobileNetV2 (mb2-ssd-lite) has not",
    ),
    ("mb1-ssd", "classification_headers.0.weight", (25, 128, 3, 3), "numbers for the 6 anchors that a cell"),
    ("mmdetection", "backbone.layer3.0.se.conv1.conv.weight", (8, 8, 1, 1), "it is another network"),
    ("mmdetection", "neck.l2_norm.weight", (8,), "it is another network"),
]


@pytest.mark.parametrize(("name", "tensor", "shape", "reason"), WRONG)
def test_what_differs_is_named(name: str, tensor: str, shape: tuple[int, ...], reason: str, tmp_path: Path) -> None:
    tensors = detector_state_dict_of(name, small(name))[0]
    path = tmp_path / "weights.pth"
    path.write_bytes(archive(tensors | {tensor: np.zeros(shape, np.float32)}))
    with pytest.raises(ValueError, match=r"weights\.pth") as refusal:
        read(path)
    assert reason in str(refusal.value)
    assert tensor in str(refusal.value)


def test_other_detectors_of_the_libraries_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    zeros = np.zeros((8, 8, 1, 1), np.float32)
    for names, said in (
        (("base_net.0.weight", "extras.0.0.weight", "regression_headers.0.weight"), "a detector of pytorch-ssd"),
        (
            ("backbone.conv1.weight", "neck.lateral_convs.0.conv.weight", "bbox_head.cls_convs.0.conv.weight"),
            "mmdetection",
        ),
    ):
        path.write_bytes(archive(dict.fromkeys(names, zeros)))
        with pytest.raises(ValueError, match=said):
            read(path)
