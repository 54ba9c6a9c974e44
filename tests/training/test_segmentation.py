"""Does a segmenter train: the same loss in parts as whole, a start that keeps what it knew, and a run that is whole?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masks import NAMES, write_masks
from networks import checkpoint_of
from PIL import Image
from runs import completed

from linnet.architecture import DeepLab, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.data import find
from linnet.data.batches.loading import Placement
from linnet.evaluation.segmenter import measure_segmenter
from linnet.images import Preprocessing
from linnet.nn import build, from_checkpoint
from linnet.predictor import load
from linnet.tasks.segmentation.objective import SegmentationObjective
from linnet.tasks.segmentation.sizes import usual_size
from linnet.tasks.segmentation.start import find_start
from linnet.training import folder as files
from linnet.training.devices import open_fabric
from linnet.training.optimizers import build_optimizer
from linnet.training.plan import Plan
from linnet.training.recipes import SEGMENT_FINETUNE
from linnet.training.starts import Start, StartOptions
from linnet.training.statistics import batch_statistics, norms_of

SMALL = replace(SEGMENT_FINETUNE, epochs=2, repeats=1, batch=4, learning_rate=0.003, average=0.9, workers=0)
NOTHING = StartOptions("none", None, None, {"width": 0.1})
CONTRACT = Preprocessing(size=(48, 64), resize="squash", crop=1.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "data", test=3)


@pytest.mark.parametrize("variant", ["paper", "modern"])
def test_a_single_picture_can_be_trained_and_no_norm_measures_one_pixel(variant: Any) -> None:
    segmenter = deeplab(variant=variant, width=0.1, resolution=64, classes=3)
    network = build(segmenter, generator=torch.Generator().manual_seed(0)).train()
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in network.state_dict().items() if "image_pooling" in name}
    network(picture).sum().backward()
    with batch_statistics(network):
        network(picture)
    changed = [name for name, value in before.items() if not torch.equal(network.state_dict()[name], value)]
    assert not changed
    assert len(network.pooled_norms) == (variant == "paper")
    assert not {id(norm) for norm in network.pooled_norms} & {id(norm) for norm in norms_of(network)}


def test_what_stands_on_the_backbone_may_learn_faster() -> None:
    segmenter = deeplab(variant="modern", width=0.1, resolution=64, classes=3)
    network = build(segmenter, generator=torch.Generator().manual_seed(0))
    optimizer = build_optimizer(network, replace(SMALL, head_rate=5.0))
    factors = {id(each): group["rate_factor"] for group in optimizer.param_groups for each in group["params"]}
    assert len(factors) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        backbone = name.split(".")[1] == "stem" or name.split(".")[1].startswith("blocks_")
        assert factors[id(parameter)] == (1.0 if backbone else 5.0), name
    plain = build_optimizer(network, replace(SMALL, head_rate=1.0))
    assert {group["rate_factor"] for group in plain.param_groups} == {1.0}


# Starts


def _start(source: Any, tmp_path: Path, data: Path, classes: tuple[str, ...] | None = None, **wanted: Any) -> Start:
    path = tmp_path / "start.safetensors"
    save_checkpoint(checkpoint_of(source, classes=classes), path)
    return find_start(StartOptions(str(path), **wanted), find(data), SMALL)


@pytest.mark.parametrize(
    "source",
    [
        MobileNetV2(width=0.35, resolution=64, classes=5),
        MobileNetV2(width=0.1, resolution=96, classes=5, folded=True),
        MobileNetV1(width=0.25, resolution=64, classes=None, folded=True),
        ssdlite(variant="modern", width=0.35, resolution=64, classes=4),
    ],
    ids=["V2", "folded V2", "folded V1", "detector"],
)
def test_the_features_of_a_classifier_or_a_detector_are_kept(source: Any, tmp_path: Path, data: Path) -> None:
    """Also at another stride: what its weights see is the same where nothing is dilated."""
    start = _start(source, tmp_path, data)
    images = torch.randn(6, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    network = start.ready([images]).eval()
    segmenter = network.architecture
    assert isinstance(segmenter, DeepLab)
    assert (segmenter.classes, segmenter.folded, segmenter.input_size) == (3, False, (48, 64))
    assert (start.contract.resize, start.contract.size) == ("squash", (48, 64))
    assert start.pretrained
    before = from_checkpoint(load_checkpoint(start.file or ""))
    name = "blocks.5"
    with torch.inference_mode():
        own, other = network.features(images, [name])[name], before.features(images, [name])[name]
    assert float((own - other).abs().max()) < 1e-3 * float(other.abs().max())


def test_a_segmenter_keeps_its_size_and_what_it_says_of_classes_it_knows(tmp_path: Path, data: Path) -> None:
    source = deeplab(variant="modern", width=0.1, resolution=(32, 40), classes=3)
    images = torch.randn(2, 3, 32, 40, generator=torch.Generator().manual_seed(1))
    for names, kept in ((NAMES, True), (("line", "sky", "ground"), False)):
        start = _start(source, tmp_path, data, classes=names)
        assert start.keeps_classes is kept
        assert start.contract.size == (32, 40)
        network, before = start.ready([]).eval(), from_checkpoint(load_checkpoint(start.file or ""))
        with torch.inference_mode():
            own, other = network(images), before(images)
        for number, name in enumerate(NAMES):
            if name in names:
                torch.testing.assert_close(own[:, number], other[:, names.index(name)], rtol=1e-3, atol=1e-4)
    assert _start(source, tmp_path, data, resolution=(64, 48)).contract.size == (64, 48)


@pytest.mark.parametrize(
    ("source", "wanted", "message"),
    [
        (MobileNetV2(width=0.1, resolution=64), {"options": {"backbone": "mobilenet_v1"}}, "backbone mobilenet_v2"),
        (MobileNetV2(width=0.1, resolution=64), {"options": {"width": 0.5}}, "width 0.1, not 0.5"),
        (MobileNetV2(width=0.1, resolution=64), {"family": "ssdlite"}, "take --architecture deeplab"),
        (deeplab(width=0.1, resolution=64), {"options": {"variant": "modern"}}, "its weights fit no other"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(
    source: Any, wanted: Any, message: str, tmp_path: Path, data: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        _start(source, tmp_path, data, **wanted)


def test_the_usual_size_is_that_of_the_pictures(tmp_path: Path) -> None:
    alike = find(write_masks(tmp_path / "alike", train=3)).train
    assert usual_size(alike) == (48, 64)
    large = find(write_masks(tmp_path / "large", train=2, validation=1, size=(1000, 600))).train
    assert usual_size(large) == (307, 512)
    turned = find(write_masks(tmp_path / "turned", train=3, validation=1, size=(48, 64))).train
    assert usual_size([*alike, *turned]) == (56, 56)


# Runs


def test_the_loop_sees_what_the_file_s_predictor_sees(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twins: the network on the contract's pixels within the loop; the file, the predictor and its runtime."""
    source = deeplab(variant="modern", width=0.1, resolution=(48, 64), classes=3)
    checkpoint = checkpoint_of(source, classes=NAMES)
    save_checkpoint(checkpoint, tmp_path / "model.safetensors")
    validation = find(data).validation
    assert checkpoint.preprocessing is not None
    task = SegmentationObjective(source, checkpoint.preprocessing, SMALL, (), [], validation)
    figures = task.evaluate(from_checkpoint(checkpoint), open_fabric("cpu", "float32"))
    monkeypatch.setenv("LINNET_FUSED", "0")
    by_torch = task.evaluate(from_checkpoint(checkpoint), open_fabric("cpu", "float32"))
    assert figures == pytest.approx(by_torch, abs=1e-3)
    measured = measure_segmenter(load(tmp_path / "model.safetensors"), validation)
    assert figures["mIoU"] == pytest.approx(measured.figure("mIoU"), abs=1e-3)
    assert figures["pixel_accuracy"] == pytest.approx(measured.figure("pixel_accuracy"), abs=1e-3)


def test_validation_is_shared_out_among_processes(data: Path) -> None:
    found = find(data)
    segmenter = deeplab(variant="modern", width=0.1, resolution=(48, 64), classes=3)
    network = build(segmenter, generator=torch.Generator().manual_seed(0)).eval()
    fabric = open_fabric("cpu", "float32")

    def confusion(place: Placement) -> torch.Tensor:
        task = SegmentationObjective(segmenter, CONTRACT, SMALL, (), found.train, found.validation, place)
        return torch.stack([each.confusion for each in task._look(network, fabric, 100)]).sum(dim=0)

    parts = [confusion(Placement(rank, 2)) for rank in range(2)]
    assert torch.equal(parts[0] + parts[1], confusion(Placement()))


@pytest.mark.slow
def test_less_memory_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    """`--recompute` computes the same again."""
    runs = [
        completed(Plan(data, tmp_path / str(saving), replace(SMALL, epochs=1, recompute=saving), NOTHING))
        for saving in (False, True)
    ]
    one, two = (load_checkpoint(run.checkpoint).tensors for run in runs)
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_recipe_follows_from_the_data(data: Path, tmp_path: Path) -> None:
    from linnet.cli.train import read_plan

    plan = read_plan([str(data), "--out", str(tmp_path / "run"), "--resolution", "48", "64"])[1]
    assert plan.recipe == SEGMENT_FINETUNE
    assert plan.start.resolution == (48, 64)
    resolved, reasons = SEGMENT_FINETUNE.resolve(20, pretrained=True)
    assert (resolved.repeats, resolved.epochs, resolved.batch_norm) == (30, 8, "trained")
    # The more pictures, the more is seen, up to a limit.
    more = [SEGMENT_FINETUNE.resolve(count, pretrained=True)[0] for count in (367, 100_000)]
    assert [(recipe.repeats, recipe.epochs) for recipe in more] == [(2, 40), (1, 3)]
    assert any("20 pictures" in reason for reason in reasons)
    assert replace(SEGMENT_FINETUNE, batch=1).resolve(20, pretrained=True)[0].batch_norm == "frozen"


@pytest.mark.parametrize(
    ("value", "message"), [(255, "every pixel of every training mask is ignored"), (1, "is of one class ('disc')")]
)
def test_masks_of_nothing_or_of_one_class_are_refused_before_training(
    value: int, message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "masks" / "train").iterdir():
        Image.new("L", (64, 48), value).save(path)
    arguments = ["train", str(data), "--out", str(tmp_path / "run"), "--start", "none", "--width", "0.1"]
    assert main([*arguments, "--workers", "0"]) == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / files.STATE).exists()


@pytest.mark.slow
def test_thin_lines_and_discs_are_learned(tmp_path: Path) -> None:
    """Through the trainer, from nothing: what is two pixels wide too."""
    data = write_masks(tmp_path / "data", train=24, validation=6, test=8)
    recipe = replace(SMALL, epochs=12, repeats=4, batch=8, learning_rate=0.01, average=0.95)
    outcome = completed(Plan(data, tmp_path / "run", recipe, StartOptions("none", None, None, {"width": 0.25})))
    figures = outcome.measured
    assert figures.figure("mIoU") > 0.75
    assert figures.of_class(NAMES.index("line")) > 0.55
