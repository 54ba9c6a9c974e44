"""Does `linnet evaluate` measure a detector alike on the three formats, and say what it cannot measure?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from networks import checkpoint_of
from pictures import SHADES, write_pictures, write_scenes
from PIL import Image
from smear import draw_smear

import linnet
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.cli import main
from linnet.detection import Suppression

NAMES = tuple(SHADES)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "detector.safetensors"
    architecture = ssdlite(variant="modern", width=0.1, resolution=64, classes=2)
    save_checkpoint(checkpoint_of(architecture, classes=NAMES), path)
    return path


SIZE = (640, 480)
"""Of the drawn smear."""

Objects = list[tuple[str, list[int]]]
"""Label and x0, y0, x1, y1 of each."""


def _as_coco(picture: Image.Image, objects: Objects, folder: Path) -> Path:
    names = sorted({name for name, _ in objects})
    annotations = [
        {"id": number, "image_id": 1, "category_id": names.index(name) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for number, (name, (x0, y0, x1, y1)) in enumerate(objects)
    ]
    document = {
        "images": [{"id": 1, "file_name": "smear.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
    }
    (folder / "images").mkdir(parents=True)
    picture.save(folder / "images" / "smear.png")
    (folder / "instances_train.json").write_text(json.dumps(document))
    return folder


def _as_voc(picture: Image.Image, objects: Objects, folder: Path) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    picture.save(folder / "JPEGImages" / "smear.png")
    # VOC counts pixels from 1, both ends included.
    entries = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in objects
    )
    size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>"
    text = f"<annotation><filename>smear.png</filename>{size}{entries}</annotation>"
    (folder / "Annotations" / "smear.xml").write_text(text)
    return folder


def _as_yolo(picture: Image.Image, objects: Objects, folder: Path) -> Path:
    names, (width, height) = sorted({name for name, _ in objects}), SIZE
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    picture.save(folder / "images" / "smear.png")
    lines = [
        f"{names.index(name)} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} {(x1 - x0) / width} {(y1 - y0) / height}"
        for name, (x0, y0, x1, y1) in objects
    ]
    (folder / "labels" / "smear.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("\n".join(names))
    return folder


def _evaluated(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_three_formats_of_the_same_objects_score_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the embedded detector finds, in whole pixels, is the truth: it finds it again."""
    picture = draw_smear(red=6, white=1, platelets=2)
    found = linnet.load("blood-cells", suppression=Suppression(score_threshold=0.5))(picture)
    objects: Objects = [(one.label, [round(side) for side in one.box]) for one in found.top()]
    assert {name for name, _ in objects} == {"RBC", "WBC", "Platelets"}
    writers = {"coco": _as_coco, "voc": _as_voc, "yolo": _as_yolo}
    figures = [
        _evaluated(capsys, write(picture, objects, tmp_path / name), "--model", "blood-cells")
        for name, write in writers.items()
    ]
    assert figures[0]["images"] == 1
    assert figures[0]["AP50"] == 1
    assert 0.8 < figures[0]["AP"] <= 1
    assert sum(entry["objects"] for entry in figures[0]["per_class"]) == len(objects)
    assert figures[1] == figures[2] == figures[0]


def test_a_picture_that_cannot_be_read_counts_nowhere(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = write_scenes(tmp_path / "coco", train=5, validation=0)
    (coco / "images" / "train3.png").write_bytes(b"no picture")
    report = tmp_path / "report"
    assert main(["evaluate", str(coco), "--model", str(detector), "--json", "--report", str(report)]) == 1
    assert (report / "confusion.png").is_file()
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["images"] == 4
    assert [Path(entry["file"]).name for entry in document["failed"]] == ["train3.png"]
    assert "train3.png" in captured.err


def test_what_does_not_fit_is_one_sentence(
    detector: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = write_scenes(tmp_path / "coco", train=4, validation=0)
    folders = write_pictures(tmp_path / "folders", train=2, validation=0)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for data, model, message in (
        (coco, small_model, "has boxes, and"),
        (folders, detector, "has classes of whole pictures, and"),
        (tmp_path / "a.png", detector, "is no data set"),
        (tmp_path / "nowhere", detector, "There is no file or folder"),
    ):
        assert main(["evaluate", str(data), "--model", str(model)]) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert message in lines[-1]
        assert lines[-1].startswith("linnet: ")
