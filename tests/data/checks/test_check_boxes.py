"""Does the check of boxes find what is wrong, name the files, and stay silent where nothing is? Do anchors cover?"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import standard_anchors, write_coco
from PIL import Image

from linnet.cli import main
from linnet.data import find
from linnet.data.checks.boxes import check_boxes
from linnet.data.checks.coverage import best_overlaps, measure_coverage
from linnet.data.checks.findings import BoxFindings, Problem


def check(path: Path, **options: Any) -> BoxFindings:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* are left out")
        return check_boxes(find(path), **options)


def problems(findings: BoxFindings) -> dict[str, Problem]:
    assert len({problem.kind for problem in findings.problems}) == len(findings.problems)
    return {problem.kind: problem for problem in findings.problems}


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Ten pictures of noise with two objects of each class, and nothing wrong."""
    boxes = {f"{number}.png": [(1, (10, 10, 30, 20)), (2, (50, 30, 40, 40))] for number in range(10)}
    path = write_coco(tmp_path / "data", boxes, size=(128, 96))
    for number in range(10):
        noise = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((128, 96)).save(path.parent / "images" / f"{number}.png")
    return path


def change(path: Path, *entries: dict[str, Any], **changes: Any) -> None:
    """Adds annotations of the first picture, and replaces parts of the document."""
    document = json.loads(path.read_text()) | changes
    for number, entry in enumerate(entries):
        document["annotations"].append({"id": 1000 + number, "image_id": 1, "category_id": 1} | entry)
    path.write_text(json.dumps(document))


# Facts


def test_bccd_has_the_defects_that_its_readme_names(sample_data: Callable[[str], Path]) -> None:
    folder = sample_data("bccd-coco")
    findings = check(folder)
    assert findings.listed == {"train": 205, "validation": 87, "test": 72}
    assert findings.counts == {"train": (2381, 214, 209), "validation": (967, 87, 83), "test": (805, 71, 69)}
    assert {(problem.kind, problem.severity) for problem in findings.problems} == {
        ("box_copies", "warning"),
        ("leak", "warning"),
        # Its voc/ is another form of the same boxes.
        ("reading", "note"),
    }
    copies = problems(findings)["box_copies"]
    assert sorted(Path(file).stem[-5:] for file in copies.files) == [
        "00020", "00100", "00104", "00251", "00284", "00331", "00403"
    ]  # fmt: skip
    assert [Path(file).stem[-5:] for file in problems(findings)["leak"].files] == ["00038", "00037"]
    of_voc = problems(check(folder / "voc"))
    assert of_voc.keys() - problems(findings).keys() == {"degenerate"}
    assert [Path(file).stem[-5:] for file in of_voc["degenerate"].files] == ["00343", "00338"]


def test_standard_anchors_miss_the_platelets_of_bccd(sample_data: Callable[[str], Path]) -> None:
    data = find(sample_data("bccd-coco"))
    samples = (*data.train, *data.validation, *data.test)
    boxes = np.concatenate([sample.boxes / np.array([640, 480, 640, 480]) for sample in samples])
    indices = np.concatenate([sample.indices for sample in samples])
    anchors = standard_anchors(300)
    assert len(anchors) == 1917
    red, white, platelets, whole = measure_coverage(boxes, indices, data.classes, anchors, (300, 300))
    assert (red.objects, white.objects, platelets.objects, whole.objects) == (4153, 372, 361, 4886)
    assert red.recall == pytest.approx(0.96, abs=0.005)
    assert white.recall > 0.99
    assert platelets.recall == pytest.approx(0.277, abs=0.005)
    assert "stride 8" in platelets.suggestion
    assert red.suggestion == white.suggestion == whole.suggestion == ""
    # What is suggested helps: boxes of that size on a grid of stride 8.
    scale = float(platelets.suggestion.split()[3])
    places = (np.arange(38) + 0.5) / 38
    extra = [(x, y, scale * ratio, scale / ratio) for x in places for y in places for ratio in (0.8, 1, 1.2)]
    more = measure_coverage(boxes, indices, data.classes, np.concatenate([anchors, extra]), (300, 300))
    assert more[2].recall > 0.9


# Problems


def test_a_clean_set_has_no_problem(clean: Path) -> None:
    findings = check(clean)
    assert findings.problems == ()
    assert (findings.pictures, findings.checked, findings.format) == (10, 10, "COCO")
    assert findings.coverage == ()


def test_boxes_that_are_odd(clean: Path) -> None:
    change(
        clean,
        {"bbox": [11, 10, 30, 20]},
        {"bbox": [11, 10, 30, 20], "category_id": 2},
        {"bbox": [0, 0, 128, 96]},
        {"bbox": [70, 5, 2, 30]},
        {"bbox": [70, 50, 20, 20], "iscrowd": 1},
    )
    found = problems(check(clean))
    assert {kind: problem.severity for kind, problem in found.items()} == {
        "box_copies": "warning",
        "tiny_box": "warning",
        "huge_box": "note",
        "crowd": "note",
    }
    first = str(clean.parent / "images" / "0.png")
    assert all(problem.files == (first,) for problem in found.values())
    assert found["box_copies"].lines == ("images/0.png: ant at 11, 10, 41, 30",)
    assert found["tiny_box"].lines == ("images/0.png: ant at 70, 5, 72, 35",)
    assert check(clean).counts == {"train": (13, 11)}
    # Two pixels of 128 are eight of 512.
    assert "tiny_box" not in problems(check(clean, resolution=512))


def test_what_reading_left_out_is_an_error(clean: Path) -> None:
    change(
        clean,
        {"bbox": [10, 10, 0, 5]},
        {"bbox": [200, 10, 5, 5]},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 30, 40], "category_id": 9},
        {"bbox": [1, 2, 30, 40], "image_id": 99},
        {"bbox": [90, 60, 50, 30]},
        {"bbox": [90, 30, -20, -10]},
    )
    found = problems(check(clean))
    severities = {kind: problem.severity for kind, problem in found.items()}
    lost = ("degenerate", "beyond", "malformed", "unknown_category", "orphan")
    assert severities == dict.fromkeys(lost, "error") | dict.fromkeys(("outside", "inverted"), "warning")
    assert found["degenerate"].sentence == "1 box without an area is left out."
    assert found["inverted"].sentence == "1 box has its corners swapped: put in order."
    assert found["beyond"].lines == ("images/0.png: ant at 200, 10, 205, 15",)
    assert found["orphan"].lines == ("instances_train.json: annotation 1004 is of the picture 99",)
    change(clean, {"bbox": [10, 10, 0, 5]})
    assert problems(check(clean))["degenerate"].sentence == "2 boxes without an area are left out."


def test_categories_pictures_and_sizes(clean: Path) -> None:
    images = clean.parent / "images"
    document = json.loads(clean.read_text())
    document["images"][2]["width"], document["images"][2]["height"] = 96, 128
    document["images"][3]["width"] = 256
    document["categories"] = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}, {"id": 7, "name": "bee"}]
    document["annotations"] = [entry for entry in document["annotations"] if entry["image_id"] != 5]
    change(clean, **document)
    (images / "5.png").unlink()
    Image.effect_noise((128, 96), 90).convert("RGB").save(images / "unlisted.png")
    findings = check(clean.parent)
    found = problems(findings)
    assert {kind: problem.severity for kind, problem in found.items() if kind != "grey"} == {
        "broken": "error",
        "size": "error",
        "few": "warning",
        "category_names": "warning",
        "category_ids": "note",
        "empty": "note",
        "unlisted": "note",
    }
    assert found["broken"].lines == ("images/5.png is missing.",)
    assert [Path(file).name for file in found["unlisted"].files] == ["unlisted.png"]
    assert [Path(file).name for file in found["empty"].files] == ["4.png"]
    assert found["size"].lines == (
        "images/2.png: 128 x 96 (turned by EXIF), but annotated as 96 x 128",
        "images/3.png: 128 x 96, but annotated as 256 x 96",
    )
    assert {Path(name).name for name in findings.broken} == {"5.png", "2.png", "3.png"}


def test_copies_with_other_boxes_contradict_each_other(clean: Path) -> None:
    document = json.loads(clean.read_text())
    for number, (source, shift) in enumerate(((0, 0), (1, 9)), start=11):
        file = f"{number}.png"
        (clean.parent / "images" / file).write_bytes((clean.parent / "images" / f"{source}.png").read_bytes())
        document["images"].append({"id": number, "file_name": file, "width": 128, "height": 96})
        for entry in [entry for entry in document["annotations"] if entry["image_id"] == source + 1]:
            x, *rest = entry["bbox"]
            document["annotations"].append(entry | {"image_id": number, "bbox": [x + shift, *rest]})
    change(clean, **document)
    found = problems(check(clean))
    assert found.keys() == {"contradiction", "copies"}
    assert [Path(file).name for file in found["contradiction"].files] == ["1.png", "12.png"]
    assert "with different boxes" in found["contradiction"].sentence
    assert [Path(file).name for file in found["copies"].files] == ["0.png", "11.png"]


def test_the_command_shows_and_tells(clean: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    change(clean, {"bbox": [10, 10, 0, 5]})
    assert main(["check", str(clean.parent)]) == 1
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "Objects of COCO in 10 pictures: 10 for train." in shown.out
    assert "error: 1 box without an area is left out.\n    images/0.png: ant at 10, 10, 10, 15" in shown.out
    assert main(["check", str(clean), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["parts"], document["errors"]) == ("COCO", {"train": 10}, 1)
    assert document["problems"][0]["kind"] == "degenerate"
    (clean.parent / "images").rename(tmp_path / "moved")
    assert main(["check", str(clean), "--images", str(tmp_path / "moved")]) == 1
    capsys.readouterr()
    assert main(["check", str(clean)]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "--images FOLDER tells" in shown.err
    (tmp_path / "folders" / "ant").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "folders" / "ant" / "a.png")
    assert main(["check", str(tmp_path / "folders"), "--images", str(tmp_path / "moved")]) == 2
    assert "--images is for pictures with boxes" in capsys.readouterr().err


# Coverage

fractions = st.floats(0, 1)


@st.composite
def some_boxes(draw: st.DrawFn) -> np.ndarray[Any, np.dtype[np.float64]]:
    corners = np.array(draw(st.lists(st.tuples(*[fractions] * 4), min_size=1, max_size=8)))
    low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
    return np.concatenate([low, np.maximum(high, low + 0.01)], axis=1)


@given(some_boxes(), some_boxes())
def test_overlaps_are_those_of_the_definition(boxes: Any, others: Any) -> None:
    anchors = np.concatenate([(others[:, :2] + others[:, 2:]) / 2, others[:, 2:] - others[:, :2]], axis=1)
    best, centred = best_overlaps(boxes, anchors)
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        by_hand = []
        for u0, v0, u1, v1 in others:
            shared = max(min(x1, u1) - max(x0, u0), 0) * max(min(y1, v1) - max(y0, v0), 0)
            by_hand.append(shared / ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared))
        assert best[number] == pytest.approx(max(by_hand), abs=1e-3)
        assert best[number] <= centred[number] + 1e-4
    assert (centred <= 1 + 1e-5).all()


@given(some_boxes())
def test_anchors_made_of_the_objects_cover_them_all(boxes: Any) -> None:
    anchors = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    (found,) = measure_coverage(boxes, np.zeros(len(boxes), np.int64), ["ant"], anchors, (300, 300))
    assert (found.recall, found.unreached, found.misshapen, found.suggestion) == (1, 0, 0, "")
    assert found.histogram == (*[0] * 9, len(boxes))


def test_a_few_of_very_many_objects_are_looked_at() -> None:
    boxes = np.tile([[0.1, 0.1, 0.3, 0.3]], (50_000, 1))
    (found,) = measure_coverage(boxes, np.zeros(50_000, np.int64), ["ant"], standard_anchors(96), (96, 96))
    assert found.objects == 20_000


def test_coverage_of_the_check_and_its_table(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from linnet.cli import check as command

    tiny = {f"{number}.png": [(1, (10 + number, 10, 7, 7)), (2, (50, 30, 40, 40))] for number in range(10)}
    write_coco(clean.parent, tiny, size=(128, 96))
    findings = check(clean, anchors=standard_anchors(160), resolution=160)
    problem = problems(findings)["coverage"]
    assert problem.severity == "warning"
    assert len(problem.lines) == 1
    assert problem.lines[0].startswith("ant: 100% of 10 objects; what would help: anchors of scale 0.06")
    document = findings.to_json()["coverage"]
    assert [entry["label"] for entry in document] == ["ant", "bee", "all"]
    assert sum(document[2]["histogram"]) == 20
    command._show(findings, 1.0)
    shown = capsys.readouterr().out
    assert "matched" in shown
    assert "█" in shown


@pytest.mark.parametrize("anchors", [np.zeros((0, 4)), np.zeros((3, 5)), np.zeros(4)])
def test_shapes_that_do_not_fit_are_refused(anchors: Any) -> None:
    with pytest.raises(ValueError, match="Anchors must be"):
        measure_coverage(np.zeros((1, 4)), np.zeros(1, np.int64), ["ant"], anchors, (300, 300))
    with pytest.raises(ValueError, match="Boxes must be"):
        measure_coverage(np.zeros((2, 4)), np.zeros(1, np.int64), ["ant"], np.ones((1, 4)), (300, 300))


def test_the_widest_grid_is_what_geometry_says() -> None:
    """A square of side s, half a step away in both directions, is still overlapped by half if d ≤ 0.367 s."""
    side = 20.0
    for factor, matched in ((0.99, True), (1.01, False)):
        off = 2 * (1 - math.sqrt(2 / 3)) * side / 2 * factor
        anchors = np.array([[side / 2 + off, side / 2 + off, side, side]])
        best, _ = best_overlaps(np.array([[0, 0, side, side]]), anchors)
        assert (best[0] >= 0.5) == matched
