"""Do check, train and evaluate see the same pictures, classes, parts and boxes, in every format?"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from layouts import CLASSES, COUNTS, LAYOUTS, SIZE, Drawn, draw_all
from networks import checkpoint_of

from linnet.architecture import MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.cli import main
from linnet.data import DataSet, find, recognise_task
from linnet.data.formats import FORMATS
from linnet.data.recognition import FormatName
from linnet.images import decode

DRAWN = draw_all()

PICTURES = sum(COUNTS.values()) * len(CLASSES)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=LAYOUTS)
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The drawn pictures in a format; the folder has the format's name."""
    folder = tmp_path / request.param
    folder.mkdir()
    LAYOUTS[request.param](folder, DRAWN)
    return folder


def digest(pixels: Any) -> str:
    return hashlib.sha256(np.asarray(pixels).tobytes()).hexdigest()


BY_PIXELS: dict[str, Drawn] = {digest(one.pixels): one for one in DRAWN}


def seen(found: DataSet, part: str) -> list[Drawn]:
    """The drawn pictures that a part's samples are, by their pixels."""
    return [BY_PIXELS[digest(decode(sample.picture))] for sample in getattr(found, part)]


def test_every_format_has_a_layout_and_a_flag() -> None:
    names = tuple(one.name for one in FORMATS)
    # Of masks, tests/data/formats/test_masks.py draws every layout.
    assert {*LAYOUTS, "masks"} == set(names) == set(get_args(FormatName))
    assert len(set(names)) == len(names)
    for one in FORMATS:
        assert one.layouts


def test_the_door_reads_what_was_drawn(data: Path) -> None:
    found = find(data)
    assert found.classes == CLASSES
    assert found.format == next(one.title for one in FORMATS if one.name == data.name)
    assert recognise_task(data) == found.task
    for part, count in COUNTS.items():
        pictures = seen(found, part)
        assert sorted(one.name for one in pictures) == sorted(one.name for one in DRAWN if one.part == part)
        assert len(pictures) == count * len(CLASSES)
        for sample, one in zip(getattr(found, part), pictures, strict=True):
            if found.task == "classification":
                assert CLASSES[sample.index] == one.label
            else:
                assert np.allclose(sample.boxes, [box[:4] for box in one.boxes], atol=1e-3)
                assert [CLASSES[index] for index in sample.indices] == [box[4] for box in one.boxes]
                assert sample.size == SIZE
    assert (found.unknown, found.flaws, found.unlisted, found.remarks()) == ((), (), (), [])
    named = find(data, format=data.name)
    assert [sample.source for sample in named.train] == [sample.source for sample in found.train]


def counts_of(part: str, task: str) -> list[int]:
    """Pictures, or objects, of each class."""
    own = [one for one in DRAWN if one.part == part]
    labels = Counter(box[4] for one in own for box in one.boxes) if task == "detection" else None
    labels = labels or Counter(one.label for one in own)
    return [labels[name] for name in CLASSES]


def test_check_counts_what_was_drawn(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", str(data), "--json"])
    document = json.loads(capsys.readouterr().out)
    task = recognise_task(data)
    assert task is not None
    assert document["pictures"] == document["checked"] == PICTURES
    assert document["errors"] == 0
    for part in COUNTS:
        assert [entry[part] for entry in document["classes"]] == counts_of(part, task)
    assert [entry["name"] for entry in document["classes"]] == list(CLASSES)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier and a detector of the same classes, in another order."""
    names = ("cat", "ant", "dog", "bee")
    folder = tmp_path_factory.mktemp("models")
    networks = {
        "classification": MobileNetV2(width=0.1, resolution=32, classes=4),
        "detection": ssdlite(variant="modern", width=0.1, resolution=64, classes=4),
    }
    for task, network in networks.items():
        save_checkpoint(checkpoint_of(network, classes=names), folder / f"{task}.safetensors")
    return {task: folder / f"{task}.safetensors" for task in networks}


@pytest.mark.parametrize("part", [None, *COUNTS])
def test_evaluate_measures_what_was_drawn(
    data: Path, part: str | None, models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    task = recognise_task(data)
    assert task is not None
    flags = ["--part", part] if part else []
    assert main(["evaluate", str(data), "--model", str(models[task]), "--json", *flags]) == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    part = part or "test"
    assert document["images"] == COUNTS[part] * len(CLASSES)
    assert f"the {part} part" in shown.err
    key = "objects" if task == "detection" else "images"
    counts = {entry["label"]: entry[key] for entry in document["per_class"] if entry[key]}
    assert counts == dict(zip(CLASSES, counts_of(part, task), strict=True))


def test_neither_check_nor_evaluate_needs_torch(models: dict[str, Path], tmp_path: Path) -> None:
    calls = []
    for name, task in (("folders", "classification"), ("coco", "detection")):
        (tmp_path / name).mkdir()
        LAYOUTS[name](tmp_path / name, DRAWN)
        calls += [["check", str(tmp_path / name)], ["evaluate", str(tmp_path / name), "--model", str(models[task])]]
    script = f"""
import sys
from linnet.cli import main
assert [main(arguments) for arguments in {calls!r}] == [0, 0, 0, 0]
assert not {{"torch", "kornia", "pyarrow", "matplotlib"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


# A run takes seconds: one stands for the others in `make test`, where test_detection.py trains on boxes.
@pytest.mark.parametrize(
    "name", [name if name == "table" else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
)
def test_train_learns_what_was_drawn(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run's folder says which pictures it had."""
    data = tmp_path / name
    data.mkdir()
    LAYOUTS[name](data, DRAWN)
    task = recognise_task(data)
    side = "64" if task == "detection" else "32"
    flags = ["--start", "none", "--width", "0.1", "--resolution", side, "--epochs", "1", "--batch", "8"]
    flags += ["--workers", "0", *(["--repeats", "1"] if task == "detection" else [])]
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["classes"] == list(CLASSES)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["pictures"] == {part: count * len(CLASSES) for part, count in COUNTS.items()}
    found = find(data)
    assert split["validation"] == [found.key(sample) for sample in found.validation]
    assert split["left_out"] == []
    capsys.readouterr()
