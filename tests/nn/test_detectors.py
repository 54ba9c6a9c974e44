"""Are the torch and numpy detectors the described ones, and does what holds for classifiers hold for them?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from networks import detectors, random_tensors
from torch import Tensor

from linnet import nn
from linnet.architecture import Detector, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.checkpoint import load_checkpoint
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.nn.modules import DETECTOR_DEVIATION, INITIAL_DEVIATION, GraphNetwork, Network

SMALL = ssdlite(width=0.35, resolution=64, classes=5)
DETECTORS = (
    SMALL,
    ssdlite(variant="modern", width=0.35, resolution=(75, 96), classes=2),
    ssd(head_kernel=3, width=0.35, resolution=64, classes=1, shortcut="expansion"),
    ssdlite(backbone="mobilenet_v1", width=0.25, resolution=65, classes=3, padding="symmetric", activation="relu"),
    ssd(head_kernel=3, backbone="mobilenet_v1", convolution="full", width=0.1, resolution=64, classes=3,
        extra_channels=(8,), scales=(0.2, 0.5, 0.9)),
    SMALL.with_options(expansion=1, folded=True),
)  # fmt: skip


def network_of(detector: Detector) -> Network:
    network = Network(detector)
    nn.load_tensors(network, random_tensors(detector))
    return network.eval()


def images_of(detector: Detector, count: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, detector.input_channels, *detector.input_size, generator=generator)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max().item() <= tolerance * max(expected.abs().max().item(), 1e-6)


def both_close(found: Iterable[Tensor], expected: Iterable[Tensor], tolerance: float = 1e-4) -> None:
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, tolerance)


@pytest.mark.parametrize("detector", [ssdlite(), ssd(), ssdlite(variant="modern", width=0.35), *DETECTORS])
def test_as_many_parameters_as_described(detector: Detector) -> None:
    network = Network(detector)
    assert sum(parameter.numel() for parameter in network.parameters()) == cost(detector).parameters
    assert {name: values.shape for name, values in nn.tensors_of(network).items()} == detector.tensors


def test_the_released_detector_s_outputs() -> None:
    network = nn.build(ssdlite()).eval()
    with torch.inference_mode():
        offsets, logits = network(torch.zeros(1, 3, 300, 300))
    assert (offsets.shape, logits.shape) == ((1, 1917, 4), (1, 1917, 91))


@settings(max_examples=10)
@given(detectors(largest_width=0.4, largest_side=100))
def test_torch_and_numpy_agree_on_any_detector(detector: Detector) -> None:
    # In float64: what float32 loses, and in which order, is no part of the law.
    images = images_of(detector).double()
    with torch.no_grad():
        expected = network_of(detector).double()(images)
    twin = NumpyNetwork(detector, random_tensors(detector), dtype=np.float64)
    found, _ = twin.run(images.permute(0, 2, 3, 1).numpy())
    both_close(tuple(map(torch.from_numpy, found)), expected, 1e-9)
    assert expected[0].shape == (2, detector.anchors, 4)
    assert expected[1].shape == (2, detector.anchors, 1 + (detector.classes or 0))


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_intermediate_tensor_agrees(detector: Detector) -> None:
    network, images, names = network_of(detector), images_of(detector), detector.tensor_names
    with torch.no_grad():
        expected, found = network.run(images, names)
        both_close(network(images), expected, 0)
        assert network.features(images, names[:3]).keys() == set(names[:3])
    outputs, kept = NumpyNetwork(detector, random_tensors(detector)).run(images.permute(0, 2, 3, 1).numpy(), names)
    both_close(tuple(map(torch.from_numpy, outputs)), expected)
    assert tuple(found) == tuple(kept) == names
    for name in names:
        assert_close(found[name].permute(0, 2, 3, 1), torch.from_numpy(kept[name]))


def test_outputs_go_level_by_level_row_by_row_cell_by_cell() -> None:
    network, images = network_of(SMALL), images_of(SMALL, 1)
    with torch.no_grad():
        (offsets, logits), maps = network.run(images, ["predictors.0.boxes", "predictors.1.classes"])
    # Level 0 is 4 x 4 cells of 3 anchors, level 1 2 x 2 of 6.
    row, column, anchor = 2, 3, 1
    first = maps["predictors.0.boxes"][0, 4 * anchor : 4 * anchor + 4, row, column]
    assert torch.equal(offsets[0, (4 * row + column) * 3 + anchor], first)
    row, column, anchor = 1, 0, 5
    second = maps["predictors.1.classes"][0, 6 * anchor : 6 * anchor + 6, row, column]
    assert torch.equal(logits[0, 48 + (2 * row + column) * 6 + anchor], second)


def test_the_heads_read_the_expansion_before_its_depthwise() -> None:
    network, images = network_of(SMALL), images_of(SMALL, 1)
    with torch.no_grad():
        tap = network.features(images, ["blocks.13.expand"])["blocks.13.expand"]
        x = tap
        for part in ("depthwise", "pointwise"):
            x = network.module_of(f"predictors.0.boxes.{part}")(x)
        by_hand = x.permute(0, 2, 3, 1).reshape(1, 48, 4)
        assert tap.min() >= 0
        assert tap.max() <= 6
        assert torch.equal(network(images)[0][:, :48], by_hand)


@pytest.mark.parametrize("backbone", ["mobilenet_v1", "mobilenet_v2"])
def test_the_backbone_is_the_classifier_s(backbone: str) -> None:
    kind = {"mobilenet_v1": MobileNetV1, "mobilenet_v2": MobileNetV2}[backbone]
    classifier = kind(width=0.5, resolution=64, classes=7)
    detector = ssdlite(variant="modern", backbone=backbone, width=0.5, resolution=64, classes=2)
    known = random_tensors(classifier)
    network, ours = Network(classifier).eval(), Network(detector).eval()
    nn.load_tensors(network, known)
    # What has the same name is the same, and all of the backbone has.
    nn.load_tensors(ours, random_tensors(detector, seed=1) | {name: known[name] for name in detector.backbone.tensors})
    with torch.no_grad():
        for name, expected in network.features(images_of(detector), detector.backbone.taps).items():
            both_close([ours.features(images_of(detector), [name])[name]], [expected], 1e-6)


def test_a_batch_is_its_pictures_one_by_one_and_may_be_empty() -> None:
    network, images = network_of(SMALL), images_of(SMALL, 3)
    with torch.no_grad():
        together = network(images)
        for number in range(3):
            alone = network(images[number : number + 1])
            both_close(alone, tuple(part[number : number + 1] for part in together), 1e-5)
    numpy_network = NumpyNetwork(SMALL, random_tensors(SMALL))
    offsets, logits = numpy_network.run(np.zeros((0, 64, 64, 3), np.float32))[0]
    assert (offsets.shape, logits.shape) == ((0, SMALL.anchors, 4), (0, SMALL.anchors, 6))


def test_torch_export_takes_it_whole() -> None:
    # Of few blocks: of more, torch only takes longer.
    shallow = ssdlite(width=0.35, resolution=64, classes=5, depth=0.3)
    network = network_of(shallow)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (images_of(shallow),), dynamic_shapes=({0: batch},))
    images = images_of(shallow, 5, seed=3)
    with torch.no_grad():
        both_close(program.module()(images), network(images), 1e-5)


@pytest.mark.slow
def test_torch_compile_takes_it_whole() -> None:
    network, images = network_of(SMALL), images_of(SMALL)
    torch._dynamo.reset()
    with torch.no_grad():
        both_close(torch.compile(network, backend="aot_eager", fullgraph=True)(images), network(images))


def test_training_and_evaluation_give_the_same_type() -> None:
    network, images = nn.build(SMALL), images_of(SMALL)
    for outputs in (network.train()(images), network.eval()(images)):
        assert [type(part) for part in outputs] == [Tensor, Tensor]
        assert outputs[1].shape == (2, SMALL.anchors, 6)


def test_weights_start_as_released() -> None:
    network = nn.build(ssdlite(classes=3), generator=torch.Generator().manual_seed(0))
    for name, parameter in network.named_parameters():
        if name.endswith("convolution.weight"):
            own = name.startswith(("heads", "body.extras"))
            assert parameter.abs().max() <= 2 * (DETECTOR_DEVIATION if own else INITIAL_DEVIATION)
        if name.endswith("convolution.bias"):
            assert parameter.abs().max() == 0


def gradient_of(detector: Detector, dtype: torch.dtype, *, recompute: bool = False) -> Tensor:
    """Of all weights, on 16 pictures: with fewer, 1 x 1 maps leave batch norm next to nothing to go by."""
    network = Network(detector, recompute_expansion=recompute)
    nn.load_tensors(network, random_tensors(detector))
    offsets, logits = network.to(dtype).train()(images_of(detector, 16).to(dtype))
    (offsets.square().mean() + logits.square().mean()).backward()
    return torch.cat([p.grad.double().flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("detector", [SMALL, DETECTORS[3]])
def test_native_kernels_and_recomputing_give_the_gradient(detector: Detector) -> None:
    expected = gradient_of(detector, torch.float64)
    # torch's own float32 is off by about 0.01: these networks are deep and their weights large.
    for recompute in (False, True):
        found = gradient_of(detector, torch.float32, recompute=recompute)
        assert (found - expected).norm() <= 0.05 * expected.norm()


@pytest.mark.parametrize("splits", [1, 3, 4])
def test_slices_give_the_plain_result(splits: int) -> None:
    for detector in DETECTORS:
        network, images = network_of(detector), images_of(detector)
        with torch.no_grad():
            both_close(nn.forward_in_splits(network, images, splits=splits), network(images), 1e-5)


def test_folding_keeps_the_function() -> None:
    folded, tensors = fold(SMALL, random_tensors(SMALL))
    assert {name: values.shape for name, values in tensors.items()} == folded.tensors
    network = GraphNetwork(folded).eval()
    nn.load_tensors(network, tensors)
    with torch.no_grad():
        both_close(network(images_of(SMALL)), network_of(SMALL)(images_of(SMALL)), 1e-5)


def test_freezing_and_other_channels() -> None:
    network = network_of(SMALL).train()
    nn.freeze(network, "extras.1")
    learning = {name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad}
    heads = {f"predictors_{n}_{kind}" for n in range(6) for kind in ("boxes", "classes")}
    assert learning == {"extras_2", "extras_3", *heads}
    grey = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    adapted = nn.adapt_input_channels(network_of(SMALL), 1)
    with torch.no_grad():
        both_close(adapted(grey), network_of(SMALL)(grey.expand(-1, 3, -1, -1)), 1e-5)


def test_save_and_load(tmp_path: Path) -> None:
    detector = ssdlite(variant="modern", width=0.35, resolution=64, classes=2)
    network = network_of(detector)
    nn.save(network, tmp_path / "a.safetensors", classes=("cell", "platelet"), score={"AP": 0.5})
    checkpoint = load_checkpoint(tmp_path / "a.safetensors")
    assert (checkpoint.architecture, checkpoint.task, checkpoint.classes) == (
        detector, "detection", ("cell", "platelet"),
    )  # fmt: skip
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing.resize == "squash"
    with torch.no_grad():
        both_close(nn.from_checkpoint(checkpoint)(images_of(detector)), network(images_of(detector)), 0)
    cropping = replace(checkpoint.preprocessing, resize="shorter_side")
    with pytest.raises(ValueError, match="must be 'squash', not 'shorter_side'"):
        replace(checkpoint, preprocessing=cropping)
