"""Does every task keep what a run promises: parts are the whole step, a resumed run the same, bad flags a sentence?"""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from masks import NAMES, write_masks
from pictures import SHADES, write_scenes
from PIL import Image
from runs import completed

from linnet.architecture import Architecture
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import load_checkpoint
from linnet.cli import main
from linnet.data import find
from linnet.data.batches.loading import Placement
from linnet.evaluation.average_precision import FIGURES
from linnet.images import Preprocessing
from linnet.nn import build
from linnet.tasks import TASKS
from linnet.tasks.task import Sharing
from linnet.training import folder as files
from linnet.training.devices import open_fabric
from linnet.training.objective import Stopped
from linnet.training.plan import Plan, Reporter
from linnet.training.recipe import Recipe
from linnet.training.recipes import DETECT_FINETUNE, SEGMENT_FINETUNE
from linnet.training.run import run_training
from linnet.training.starts import StartOptions
from linnet.training.statistics import freeze_statistics

LITTLE: dict[str, Any] = {
    "epochs": 2, "repeats": 1, "batch": 4, "learning_rate": 0.003, "average": 0.9, "workers": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A task, data of it, and what is to be found in a run's folder."""

    network: Architecture
    write: Callable[[Path], Path]
    recipe: Recipe
    side: int | None
    classes: tuple[str, ...]
    scored: set[str]
    logged: set[str]
    sheets: tuple[str, ...]
    card: str


CASES = {
    "detection": Case(
        ssdlite(variant="modern", width=0.1, resolution=64, classes=2, scoring="sigmoid"),
        lambda folder: write_scenes(folder, test=4),
        replace(DETECT_FINETUNE, batch_norm="trained", **LITTLE),
        64,
        tuple(SHADES),
        {*FIGURES, "images", "data", "per_class"},
        {"train_boxes", "train_classes", "AP", "AP50", "average_AP", "loss"},
        ("curves", "confusion"),
        "AP50",
    ),
    "segmentation": Case(
        deeplab(variant="modern", width=0.1, resolution=(48, 64), classes=3, dropout=0.0),
        lambda folder: write_masks(folder, test=3),
        replace(SEGMENT_FINETUNE, **LITTLE),
        None,
        NAMES,
        {"mIoU", "mIoU_95", "pixel_accuracy", "IoU", "images", "data", "per_class"},
        {"train_pixels", "train_dice", "mIoU", "average_mIoU", "pixel_accuracy", "loss"},
        ("worst", "confusion"),
        "mean IoU",
    ),
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("detection", {"loss": "mined"}),
        ("detection", {"loss": "focal"}),
        ("segmentation", {}),
        ("segmentation", {"dice": 0.0, "class_weights": "balanced"}),
    ],
)
def test_a_step_in_parts_is_the_step_as_a_whole(task: str, changes: Any, tmp_path: Path) -> None:
    """What the losses are divided by, anchors or pixels, is counted in the whole step."""
    case, trainer, fabric = CASES[task], TASKS[task].trainer(), open_fabric("cpu", "float32")
    found = find(case.write(tmp_path / "data"))
    contract = Preprocessing(size=case.network.input_size, resize="squash", crop=1.0)
    recipe = replace(case.recipe, batch=8, **changes)
    network = build(case.network, generator=torch.Generator().manual_seed(0)).train()
    freeze_statistics(network)
    objective = trainer.objective(found, case.network, contract, recipe, Sharing(Placement()))
    gradients, sums = [], []
    for pieces in (1, 2):
        parts = next(iter(trainer.batches(found, contract, recipe, Sharing(Placement(pieces=pieces))).epoch(0)))
        assert len(parts) == pieces
        objective.begin_step(parts, fabric)
        network.zero_grad()
        whole = torch.zeros(())
        for part in parts:
            inputs, targets = objective.inputs(part, network, torch.device("cpu"))
            losses = objective.losses(network(inputs), targets)
            whole = whole + torch.stack(list(losses.values())).sum() / part.total
        whole.backward()
        sums.append(float(whole.detach()))
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert sums[0] == pytest.approx(sums[1], rel=1e-5)
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("task", CASES)
def test_a_run_is_whole_resumes_to_the_bit_and_scores_as_evaluate_does(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[task]
    data = case.write(tmp_path / "data")
    plan = Plan(data, tmp_path / "whole", case.recipe, StartOptions("none", None, case.side, {"width": 0.1}), half=True)
    outcome = completed(plan)
    folder = plan.out
    for name in files.OWN - {files.FAILED_BATCH, files.FETCHED}:
        assert (folder / name).exists(), name
    for name in (files.CURVES, files.BATCH, *(f"{files.EVALUATION}/{sheet}.png" for sheet in case.sheets)):
        with Image.open(folder / name) as image:
            assert min(image.size) > 100
    checkpoint = load_checkpoint(outcome.checkpoint)
    assert (checkpoint.task, checkpoint.classes) == (task, case.classes)
    assert checkpoint.score.keys() >= case.scored
    assert case.card in (folder / files.CARD).read_text()
    with (folder / files.LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert case.logged <= rows[0].keys()
    # By the command, which reads the file anew.
    assert main(["evaluate", str(data), "--model", str(outcome.checkpoint), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == outcome.measured.to_json() | {"part": "test"}
    # Stopped by Ctrl-C amid its second epoch, and gone on with.
    stopped, steps = replace(plan, out=tmp_path / "stopped"), iter((1, 2, 3))
    with pytest.raises(Stopped):
        completed(stopped, Reporter(step=lambda *_: signal.raise_signal(signal.SIGINT) if next(steps) == 3 else None))
    completed(replace(stopped, resume=True))
    for name in (files.BEST, files.LAST):
        one, two = (load_checkpoint(run / name).tensors for run in (folder, stopped.out))
        assert all(np.array_equal(one[key], two[key]) for key in one), name


@pytest.mark.parametrize(
    ("task", "flags", "message"),
    [
        ("detection", ["--mixup", "0.2"], "--mixup is no option of the recipe detect-finetune, which is for detection"),
        ("detection", ["--cut", "2"], "--cut (=2.0) must be a number from 0 to 1"),
        ("detection", ["--repeats", "0"], "--repeats (=0) must be a whole number from 1"),
        ("detection", ["--recipe", "finetune"], "has boxes; --recipe finetune is for classification. Take detect-fi"),
        ("detection", ["--batch", "1"], "leave single pictures"),
        ("detection", ["--loss", "focal"], "--variant tensorflow, or --loss mined"),
        ("detection", ["--architecture", "mobilenet_v2"], "take --architecture ssdlite or ssd"),
        ("segmentation", ["--mixup", "0.2"], "--mixup is no option of the recipe segment-finetune, which is for segm"),
        ("segmentation", ["--smallest", "3"], "--smallest (=3.0) must be at most 2, the largest"),
        ("segmentation", ["--dice", "-1"], "--dice (=-1.0) must be"),
        ("segmentation", ["--recipe", "finetune"], "has masks; --recipe finetune is for classification. Take segment-"),
        ("segmentation", ["--architecture", "mobilenet_v2"], "take --architecture deeplab"),
        ("segmentation", ["--least-area", "0.5"], "views of masks have `smallest` and `largest`"),
        ("segmentation", ["--resolution", "48", "64", "3"], "--resolution takes one side or height and width"),
    ],
)
def test_bad_input_is_one_sentence(
    task: str, flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = CASES[task].write(tmp_path / "data")
    side = [] if CASES[task].side is None else ["--resolution", str(CASES[task].side)]
    arguments = ["train", str(data), "--out", str(tmp_path / "run"), "--start", "none", "--width", "0.1", *side, *flags]
    try:
        code = main([*arguments, "--workers", "0"])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    assert code in (1, 2)
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("where", "said"), [("data", "is the folder of the data"), ("data/run", "lies in the folder of the data")]
)
def test_a_run_within_its_data_is_refused_and_nothing_written(where: str, said: str, tmp_path: Path) -> None:
    """The pictures that it draws would be a class of the data the next time."""
    data = CASES["segmentation"].write(tmp_path / "data")
    before = sorted(data.rglob("*"))
    plan = Plan(data, tmp_path / where, CASES["segmentation"].recipe, StartOptions("none", None, None, {"width": 0.1}))
    with pytest.raises(ValueError, match=said):
        run_training(plan)
    assert sorted(data.rglob("*")) == before


def test_a_run_in_a_hidden_folder_or_beside_an_annotation_file_is_none_of_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "coco.json").touch()
    files.refuse_inside(data / ".runs" / "one", data)
    files.refuse_inside(data / "run", data / "coco.json")
    files.refuse_inside(tmp_path / "data2", data)
    with pytest.raises(ValueError, match="Name a folder outside"):
        files.refuse_inside(data / "deep" / ".." / "run", data)


def test_data_whose_masks_all_have_other_sizes_are_refused_with_this_reason(tmp_path: Path) -> None:
    data = CASES["segmentation"].write(tmp_path / "data")
    for path in (data / "masks").rglob("*.png"):
        with Image.open(path) as image:
            image.resize((32, 24)).save(path)
    plan = Plan(data, tmp_path / "run", CASES["segmentation"].recipe, StartOptions("none", None, None, {"width": 0.1}))
    with pytest.raises(ValueError, match=r"no training picture left.*masks are of another size than their pictures"):
        run_training(plan)
