"""Are boxes of every format read as they were drawn, parts found, and bad files told in a sentence?"""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import write_coco
from PIL import Image
from samples import measured

from linnet.data import DataSet, Sample, find, recognise_task
from linnet.data.cleaning import clean_boxes
from linnet.data.formats.coco_document import read_json
from linnet.data.formats.voc import read_xml
from linnet.data.parts import part_in

SIZE = (64, 48)

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


def write_voc(folder: Path, boxes: dict[str, list[tuple[Any, ...]]], *, size: bool = True) -> Path:
    """Name without ending → objects: xmin, ymin, xmax, ymax, name and whether it is difficult."""
    for part in ("Annotations", "JPEGImages"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for stem, objects in boxes.items():
        Image.new("RGB", SIZE).save(folder / "JPEGImages" / f"{stem}.png")
        told = [OBJECT.format(*sides, name=name, difficult=difficult) for *sides, name, difficult in objects]
        whole = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>" if size else ""
        (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{whole}{''.join(told)}</annotation>")
    return folder


def write_yolo(
    folder: Path, labels: dict[str, str | None], names: str = "names: [ant, bee]", part: str = "train"
) -> Path:
    """Name without ending → text of the label file."""
    for kind in ("images", "labels"):
        (folder / kind / part).mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(names)
    for stem, text in labels.items():
        Image.new("RGB", SIZE).save(folder / "images" / part / f"{stem}.png")
        if text is not None:
            (folder / "labels" / part / f"{stem}.txt").write_text(text)
    return folder


def listed(samples: tuple[Sample, ...]) -> dict[str, list[tuple[int, ...]]]:
    return {
        sample.path.stem: [
            (index, *box) for index, box in zip(sample.indices.tolist(), sample.boxes.tolist(), strict=True)
        ]
        for sample in samples
    }


def kinds(data: DataSet) -> list[str]:
    return [flaw.kind for flaw in data.flaws]


# Facts


def test_coco_and_voc_of_bccd_tell_the_same_boxes(sample_data: Callable[[str], Path]) -> None:
    folder = sample_data("bccd-coco")
    coco, voc = find(folder), find(folder / "voc")
    assert (coco.format, coco.classes) == ("COCO", ("RBC", "WBC", "Platelets"))
    assert (voc.format, voc.classes) == ("VOC", ("Platelets", "RBC", "WBC"))
    for part, pictures, counts in (
        ("train", 205, (2381, 214, 209)),
        ("validation", 87, (967, 87, 83)),
        ("test", 72, (805, 71, 69)),
    ):
        one = {sample.file: sample for sample in getattr(coco, part)}
        two = {sample.file: sample for sample in getattr(voc, part)}
        assert one.keys() == two.keys()
        assert len(one) == pictures
        assert tuple(np.bincount(np.concatenate([sample.indices for sample in one.values()]))) == counts
        for file, sample in one.items():
            assert np.array_equal(sample.boxes, two[file].boxes)
            assert [coco.classes[index] for index in sample.indices] == [
                voc.classes[index] for index in two[file].indices
            ]
    assert coco.flaws == ()
    assert coco.unlisted == voc.unlisted == ()
    assert [(flaw.kind, Path(flaw.name).stem) for flaw in voc.flaws] == [
        ("degenerate", "BloodImage_00343"),
        ("degenerate", "BloodImage_00338"),
    ]


def test_a_naive_conversion_of_bccd_from_voc_is_noticed(sample_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = sample_data("bccd-coco")
    document = json.loads((folder / "annotations" / "instances_train.json").read_text())
    path = tmp_path / "train.json"
    for shift, expected in ((0, []), (1, ["one_off"])):
        for annotation in document["annotations"]:
            annotation["bbox"][0] += shift
            annotation["bbox"][1] += shift
        path.write_text(json.dumps(document))
        assert [kind for kind in kinds(find(path, images=folder / "images")) if kind == "one_off"] == expected


# The three formats


def test_coco_boxes_are_corner_and_size(tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a.png": [(2, (3, 4, 10, 20)), (1, (0, 0, 64, 48))], "b.png": []})
    for data in (find(path), find(tmp_path)):
        assert data.classes == ("ant", "bee")
        assert listed(data.train) == {"a": [(1, 3, 4, 13, 24), (0, 0, 0, 64, 48)], "b": []}
        assert data.train[0].areas.tolist() == [200, 64 * 48]
        assert data.train[0].size == SIZE
        assert data.counts == (1, 1)
        assert data.flaws == ()


def test_voc_counts_from_one_and_includes_the_last_pixel(tmp_path: Path) -> None:
    data = find(write_voc(tmp_path, {"a": [(1, 1, 64, 48, "bee", 0), (11.5, 2, 20, 30.25, "ant", 1)], "b": []}))
    assert (data.format, data.classes) == ("VOC", ("ant", "bee"))
    assert listed(data.train) == {"a": [(1, 0, 0, 64, 48), (0, 10.5, 1, 20, 30.25)], "b": []}
    assert data.train[0].ignored.tolist() == [False, True]
    assert data.counts == (0, 1)


def test_voc_that_begins_at_zero_is_read_as_counted_from_zero(tmp_path: Path) -> None:
    data = find(write_voc(tmp_path, {"a": [(0, 5, 30, 40, "ant", 0)], "b": [(7, 8, 20, 30, "ant", 0)]}))
    assert listed(data.train) == {"a": [(0, 0, 5, 30, 40)], "b": [(0, 7, 8, 20, 30)]}
    assert kinds(data) == ["one_off"]


def test_yolo_boxes_are_shares_of_the_upright_picture(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": "1 0.5 0.5 0.25 0.5\n\n0 0 0 0.5 0 0.5 1\n", "b": "", "c": None})
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.new("RGB", SIZE).save(tmp_path / "images" / "train" / "d.jpg", exif=turn)
    (tmp_path / "labels" / "train" / "d.txt").write_text("0 0.5 0.5 1 1")
    data = find(tmp_path)
    assert listed(data.train) == {
        "a": [(1, 24, 12, 40, 36), (0, 0, 0, 32, 48)],
        "b": [],
        "c": [],
        "d": [(0, 0, 0, 48, 64)],
    }
    assert [Path(file).stem for file in data.unlisted] == ["c"]
    assert data.flaws == ()
    with pytest.raises(ValueError, match="beside `labels` only"):
        find(tmp_path, images=tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        "names: [ant, bee]",
        "names: ['ant', \"bee\"] # two",
        "nc: 2\nnames:\n  - ant\n  - bee\ntrain: images/train",
        "names:\n- 'ant'\n- bee\n",
        "path: x\nnames:\n  0: ant\n  1: bee  # the second\n",
        "names: {0: ant, 1: 'bee'}",
        "names: [\n  ant,\n  bee,\n]\n",
    ],
)
def test_names_of_yolo_classes(names: str, tmp_path: Path) -> None:
    assert find(write_yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.5"}, names)).classes == ("ant", "bee")


def test_yolo_without_names_has_numbers(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": "2 0.5 0.5 0.5 0.5"}, "train: x")
    assert find(tmp_path).classes == ("0", "1", "2")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    assert find(tmp_path).classes == ("ant", "bee", "cat")


@given(
    st.lists(
        st.tuples(st.integers(0, 62), st.integers(0, 46), st.integers(1, 64), st.integers(1, 48), st.integers(0, 1)),
        min_size=1,
        max_size=5,
    )
)
def test_one_box_is_the_same_in_every_format(tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    boxes = [(x, y, min(x + wide, 64), min(y + high, 48), label) for x, y, wide, high, label in drawn]
    # VOC cannot tell a box of a single row or column from a slip.
    boxes = [(x0, y0, max(x1, x0 + 2), max(y1, y0 + 2), label) for x0, y0, x1, y1, label in boxes]
    boxes += [(0, 0, 9, 9, 0), (0, 0, 9, 9, 1)]
    coco, voc, yolo = [], [], []
    for x0, y0, x1, y1, label in boxes:
        coco.append((label + 1, (x0, y0, x1 - x0, y1 - y0)))
        voc.append((x0 + 1, y0 + 1, x1, y1, ("ant", "bee")[label], 0))
        yolo.append(f"{label} {(x0 + x1) / 128} {(y0 + y1) / 96} {(x1 - x0) / 64} {(y1 - y0) / 48}")
    write_coco(folder / "coco", {"a.png": coco})
    write_voc(folder / "voc", {"a": voc})
    write_yolo(folder / "yolo", {"a": "\n".join(yolo)})
    found = [find(folder / kind) for kind in ("coco", "voc", "yolo")]
    for data in found:
        assert data.classes == ("ant", "bee")
        assert np.allclose(data.train[0].boxes, [box[:4] for box in boxes], atol=1e-4)
        assert data.train[0].indices.tolist() == [box[4] for box in boxes]
        assert data.flaws == ()


# Parts, folders, preferences


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("instances_train2017", "train"),
        ("instances_val2017", "validation"),
        ("valid", "validation"),
        ("my-test-set", "test"),
        ("trainval", "train"),
        ("trains", None),
        ("_annotations", None),
    ],
)
def test_parts_are_told_by_a_word_of_the_name(name: str, part: str | None) -> None:
    assert part_in(name) == part


def test_parts_of_coco(tmp_path: Path) -> None:
    one = {"a.png": [(1, (1, 2, 3, 4))]}
    for part in ("train", "val", "test"):
        write_coco(tmp_path, {f"{part}.png": one["a.png"]}, name=f"annotations/instances_{part}2017.json")
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    data = find(tmp_path)
    assert [[sample.path.stem for sample in part] for part in (data.train, data.validation, data.test)] == [
        ["train"],
        ["val"],
        ["test"],
    ]
    write_coco(tmp_path, one, name="annotations/instances_val2014.json")
    with pytest.raises(ValueError, match=r"val2014\.json' and .*val2017\.json' are both for validation: name one"):
        find(tmp_path)


def test_roboflow_s_layout_has_the_part_in_the_folder(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        write_coco(tmp_path / part, {f"{part}.png": [(1, (1, 2, 3, 4))]}, name="_annotations.coco.json")
        (tmp_path / part / "images" / f"{part}.png").rename(tmp_path / part / f"{part}.png")
    data = find(tmp_path)
    assert (len(data.train), len(data.validation)) == (1, 1)


def test_parts_of_voc_and_yolo(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "voc", {stem: [(2, 2, 9, 9, "ant", 0)] for stem in "abc"})
    assert len(find(voc).train) == 3
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    for name, stems in (("train", "a"), ("val", "b\n"), ("trainval", "a\nb"), ("test", "c 1"), ("ant_train", "c -1")):
        (voc / "ImageSets" / "Main" / f"{name}.txt").write_text(stems)
    data = find(voc)
    assert [sample.path.stem for sample in (*data.train, *data.validation, *data.test)] == ["a", "b", "c"]
    assert (len(data.train), len(data.validation)) == (1, 1)
    for part in ("train", "val", "test"):
        write_yolo(tmp_path / "yolo", {part: "0 0.5 0.5 1 1"}, part=part)
    data = find(tmp_path / "yolo")
    assert [sample.path.stem for sample in (*data.train, *data.validation, *data.test)] == ["train", "val", "test"]
    shutil.copytree(tmp_path / "yolo" / "images" / "train", tmp_path / "other" / "train" / "images")
    shutil.copytree(tmp_path / "yolo" / "labels" / "train", tmp_path / "other" / "train" / "labels")
    assert len(find(tmp_path / "other").train) == 1


def test_of_several_formats_the_first_is_taken_and_said(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [(1, 1, 5, 5, "voc", 0)]})
    write_yolo(tmp_path, {"a": "0 0.5 0.5 1 1"})
    data = find(tmp_path)
    assert data.format == "VOC"
    assert "is read as VOC, because it has Annotations/a.xml; it could also be YOLO (it has " in data.notes[0]
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, name="anything.json")
    data = find(tmp_path)
    assert data.format == "COCO"
    assert "could also be VOC (it has Annotations/a.xml), or YOLO" in data.notes[0]
    for name in ("voc", "yolo", "YOLO", "coco"):
        chosen = find(tmp_path, format=name)
        assert (chosen.format, chosen.notes) == (name.upper(), ())
    with pytest.raises(ValueError, match=r"no format 'vco'; there are shards, table, "):
        find(tmp_path, format="vco")


@pytest.mark.parametrize("place", ["beside", "images", "../images", "elsewhere"])
def test_pictures_of_coco_are_looked_for(place: str, tmp_path: Path) -> None:
    path = write_coco(tmp_path / "set", {"a.png": [(1, (1, 2, 3, 4))]}, name="annotations/instances_train.json")
    target = {"beside": "set/annotations", "images": "set/annotations/images", "../images": "set/images"}.get(
        place, place
    )
    (tmp_path / target).mkdir(parents=True, exist_ok=True)
    if place != "../images":
        (tmp_path / "set" / "images" / "a.png").rename(tmp_path / target / "a.png")
    if place == "elsewhere":
        with pytest.raises(ValueError, match=r"Not one picture of .* --images FOLDER tells"):
            find(path)
        assert find(path, images=tmp_path / place).train[0].path.is_file()
        with pytest.raises(FileNotFoundError, match="no folder"):
            find(path, images=tmp_path / "none")
    else:
        assert find(path).train[0].file == tmp_path / target / "a.png"


def test_class_folders_have_no_boxes(tmp_path: Path) -> None:
    (tmp_path / "ant").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "ant" / "a.png")
    (tmp_path / "notes.json").write_text('{"author": "me"}')
    (tmp_path / "notes.xml").write_text("<a/>")
    assert recognise_task(tmp_path) == find(tmp_path).task == "classification"
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, name="any.json")
    assert recognise_task(tmp_path) == "detection"
    (tmp_path / "labels.csv").write_text("file,label\nant/a.png,ant\n")
    assert recognise_task(tmp_path) == "classification"


def test_validation_is_split_off_by_the_rarest_class(tmp_path: Path) -> None:
    boxes = {f"{number:02}.png": [(1, (1, 2, 30, 30))] + [(2, (5, 5, 9, 9))] * (number < 10) for number in range(30)}
    data = find(write_coco(tmp_path, boxes | {f"empty{number}.png": [] for number in range(5)}))
    split = data.with_validation(0.2, 3)
    assert {sample.name for sample in (*split.train, *split.validation)} == {sample.name for sample in data.train}
    assert sum(len(sample.boxes) == 2 for sample in split.validation) == 2
    assert sum(len(sample.boxes) == 0 for sample in split.validation) == 1
    assert len(split.validation) == 7
    assert split.with_validation(0.5, 0) is split
    assert len(data.without({data.train[0].name}).train) == 34


@pytest.mark.parametrize(
    ("names", "indices"),
    [(("cat", "Bee", "ant"), [2, 1]), (("bee", "ant"), [1, 0]), (("x", "y"), [0, 1]), (None, [0, 1])],
)
def test_classes_of_an_evaluation_are_the_model_s(names: Any, indices: list[int], tmp_path: Path) -> None:
    for part in ("train", "val"):
        boxes = [(1, (1, 2, 3, 4)), (2, (5, 6, 7, 8))]
        write_coco(tmp_path, {f"{part}.png": boxes}, name=f"instances_{part}.json")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (sample,) = measured(tmp_path, classes=len(names or "ab"), names=names)
    assert sample.path.stem == "val"
    assert sample.indices.tolist() == indices
    assert [str(one.message).split("; ")[-1] for one in caught] == (
        [] if names and "ant" in names else ["they are taken in order as its classes."]
    )


@pytest.mark.parametrize(("classes", "names"), [(2, ("bee", "owl")), (3, ("x", "y", "z")), (3, None)])
def test_an_evaluation_of_other_classes_is_refused(classes: int, names: Any, tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4)), (2, (5, 6, 7, 8))]})
    with pytest.raises(ValueError, match=f"objects of classes that are none of the model's {classes}: ant"):
        measured(path, classes=classes, names=names)


# What is wrong is told, and nothing else is lost


@given(
    st.lists(
        st.tuples(*[st.floats(-200, 200) | st.sampled_from([0.0, 64.0, 48.0, float("nan"), float("inf")])] * 4),
        max_size=6,
    )
)
def test_cleaned_boxes_lie_in_the_picture_and_good_ones_stay(told: list[tuple[float, ...]]) -> None:
    boxes = np.array(told, np.float64).reshape(-1, 4)
    cleaned, found, kept = clean_boxes(boxes, SIZE)
    assert len(cleaned) == len(found) == len(kept) == len(boxes)
    for box, after, kind, keep in zip(boxes, cleaned, found, kept, strict=True):
        assert keep == (kind not in ("malformed", "degenerate", "beyond"))
        if keep:
            x0, y0, x1, y1 = after
            assert 0 <= x0 < x1 <= 64
            assert 0 <= y0 < y1 <= 48
        if kind is None:
            assert np.allclose(box, after, atol=0.11)
    again = clean_boxes(cleaned[kept], SIZE)
    assert again[1] == [None] * int(kept.sum())
    assert np.array_equal(again[0], cleaned[kept])


def test_every_flaw_of_coco_is_named(tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))], "b.png": []})
    document = json.loads(path.read_text())
    polygon = {"segmentation": [[5, 6, 20, 6, 20, 30]]}
    entries: list[dict[str, Any]] = [
        {"bbox": [10, 10, 0, 5]},
        {"bbox": [70, 10, 5, 5]},
        {"bbox": [60, 40, 10, 10]},
        {"bbox": [20, 20, -10, -10]},
        {"bbox": [1, 2, 3]},
        {"bbox": ["1", 2, 3, 4]},
        {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": [1e300, 2, 3, 4]},
        {"bbox": [1, 2, 3, 4], "category_id": 7},
        {"bbox": [1, 2, 3, 4], "category_id": [1]},
        {"bbox": [1, 2, 3, 4], "image_id": 99},
        polygon,
        {"segmentation": {"counts": "abc", "size": [48, 64]}},
        {"bbox": [30, 30, 8, 8], "iscrowd": 1, "area": 17.5},
    ]
    document["annotations"] += [
        {"image_id": 1, "category_id": 2, "id": 100 + number} | entry for number, entry in enumerate(entries)
    ]
    path.write_text(json.dumps(document))
    data = find(path)
    assert any(re.match(r"9 annotations are left out .* `linnet check` names them", one) for one in data.remarks())
    assert listed(data.train)["a"] == [
        (0, 1, 2, 4, 6),
        (1, 60, 40, 64, 48),
        (1, 10, 10, 20, 20),
        (1, 1, 2, 4, 6),
        (1, 5, 6, 20, 30),
        (1, 30, 30, 38, 38),
    ]
    assert data.train[0].ignored.tolist() == [False] * 5 + [True]
    assert data.train[0].areas[-1] == 17.5
    assert sorted(kinds(data)) == sorted(
        ["malformed"] * 4 + ["unknown_category"] * 2 + ["orphan", "degenerate", "beyond", "outside", "inverted"]
    )
    assert all("a.png" in flaw.name or flaw.kind == "orphan" for flaw in data.flaws)


def test_category_ids_with_gaps_and_equal_names(tmp_path: Path) -> None:
    classes = {90: "bee", 3: "ant", 17: "ant"}
    data = find(
        write_coco(tmp_path, {"a.png": [(90, (1, 2, 3, 4)), (3, (1, 2, 3, 4)), (17, (1, 2, 3, 4))]}, classes=classes)
    )
    assert data.classes == ("ant (id 3)", "ant (id 17)", "bee")
    assert data.train[0].indices.tolist() == [2, 0, 1]
    assert kinds(data) == ["category_names", "category_ids"]


def test_classes_that_training_lacks(tmp_path: Path) -> None:
    write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, name="instances_train.json")
    write_coco(
        tmp_path,
        {"b.png": [(1, (1, 2, 3, 4)), (2, (2, 2, 3, 4))]},
        name="instances_val.json",
        classes={1: "bee", 2: "owl"},
    )
    data = find(tmp_path)
    assert "1 boxes of 'owl' are left out: training has no such class." in data.remarks()
    # By name and not by id.
    assert listed(data.validation) == {"b": [(1, 1, 2, 4, 6)]}
    assert data.unknown_names == {"owl": (str(tmp_path / "images" / "b.png"),)}


def test_flaws_of_voc_and_yolo(tmp_path: Path) -> None:
    folder = write_voc(
        tmp_path / "voc", {"a": [(2, 2, 30, 30, "ant", 0), ("x", 2, 3, 4, "ant", 0), (2, 2, 3, 4, " ", 0)]}, size=False
    )
    (folder / "Annotations" / "b.xml").write_text("<annotation><object><name>ant</name></object></annotation>")
    (folder / "Annotations" / "c.xml").write_text("<annotation>")
    data = find(folder)
    assert listed(data.train)["a"] == [(0, 1, 1, 30, 30)]
    assert kinds(data) == ["malformed"] * 4
    assert [flaw.text.split(":")[0] for flaw in data.flaws[:3]] == [
        "object 2 has no xmin",
        "object 3 has no name",
        "object 1 has no xmin, ymin, xmax, ymax",
    ]
    yolo = write_yolo(
        tmp_path / "yolo",
        {"a": "0 .5 .5 1 1\n2 .5 .5 1 1\n0 .5 .5 1\nant .5 .5 1 1\n0 nan .5 1 1\n0 .5 .5 1 1.2\n-1 .5 .5 1 1"},
    )
    (yolo / "labels" / "train" / "z.txt").write_text("0 .5 .5 1 1")
    (yolo / "images" / "train" / "bad.png").write_text("no picture")
    (yolo / "labels" / "train" / "bad.txt").write_text("0 .5 .5 1 1")
    data = find(yolo)
    assert listed(data.train) == {"a": [(0, 0, 0, 64, 48)] * 2, "bad": []}
    assert sorted(kinds(data)) == sorted(["unknown_category", *["malformed"] * 4, "orphan", "outside"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>', "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "document type"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "document type"),
        ("<annotation>&x;</annotation>", "no XML"),
        ("", "no XML"),
        ("\0\0", "no XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "no XML|klingon|unknown"),
        ("<a>" * 100_000, "no XML"),
    ],
)
def test_hostile_xml_is_refused(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(content)
    found = read_xml(path)
    assert isinstance(found, str)
    assert any(word in found for word in reason.split("|"))


def test_deep_and_large_xml_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a>" * 100_000 + "</a>" * 100_000)
    assert not isinstance(read_xml(path), str)
    os.truncate(path, 1 << 30)
    assert "1,073,741,824 bytes" in str(read_xml(path))


HEAD = 1 << 16

GARBAGE: dict[str, bytes] = {
    "zeros": b"",
    "noise": np.random.default_rng(0).bytes(2 * HEAD),
    "spaces": b" " * 2 * HEAD,
    "brackets": b"[" * 2 * HEAD,
    "braces": b"{" * 2 * HEAD,
    "string": b'{"a": "' + b"a" * 2 * HEAD,
    "words": b'{"images": [' + b"cat dog " * HEAD,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_gigabyte_of_garbage_is_refused_unread(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "instances_train.json"
    path.write_bytes(GARBAGE[kind])
    os.truncate(path, 1 << 30)
    tracemalloc.start()
    try:
        for data in (path, tmp_path):
            with pytest.raises(ValueError, match=r"instances_train\.json' cannot be read as a COCO json"):
                find(data)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("[]", "does not begin with an object"),
        ('{"images": []', "Expecting"),
        ('{"a": ' + "[" * 200_000, "recursion|Expecting|nested"),
        ('{"a": [' + "1, " * 100_000 + "x", "Expecting|no JSON"),
        ('{"a": ' + "9" * 5000 + "}", "digits|limit"),
    ],
)
def test_what_is_no_json_is_told(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"a\.json' cannot be read as a COCO json \(.*({reason})"):
        read_json(path)


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.text(max_size=4),
        st.recursive(st.none() | st.floats() | st.text(max_size=9), st.lists, max_leaves=30),
        max_size=9,
    ),
    st.sampled_from([None, 1, "\t"]),
)
def test_every_json_object_is_read(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], indent: Any
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    document["last"] = 1
    path.write_text("\ufeff" + " " * 50 + json.dumps(document, indent=indent, ensure_ascii=indent is None), "utf-8")
    assert json.dumps(read_json(path)) == json.dumps(document)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": []}, "lists no pictures"),
        ({"annotations": []}, "no box for training"),
        ({"categories": []}, "has no categories"),
        ({"images": 3}, "`images` must be a list"),
        ({"annotations": [1]}, "`annotations` must be a list of objects"),
        ({"annotations": None}, "has no `annotations`"),
        ({"categories": [{"id": 1}]}, "must have an `id` and a `name`"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "two categories with the id 1"),
        ({"images": [{"id": 1}]}, "must have an `id` and a `file_name`"),
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2}, "two pictures with the id 1"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "segmentation": {"counts": "x"}}]}, "has a `bbox` of four"),
        (
            {"annotations": [{"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}]},
            "first that is wrong: .*category 5",
        ),
    ],
)
def test_a_coco_json_that_makes_no_sense_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))]}, **changes)
    with pytest.raises(ValueError, match=reason):
        find(path).for_training()


@pytest.mark.parametrize("size", [(1, 1), (12_000, 8_000)])
def test_pictures_of_any_size_have_boxes(size: tuple[int, int], tmp_path: Path) -> None:
    write_coco(tmp_path, {"a.png": [(1, (0, 0, *size))]}, size=size)
    assert find(tmp_path).train[0].boxes.tolist() == [[0, 0, *size]]


def test_files_that_are_missing_or_unlisted(tmp_path: Path) -> None:
    path = write_coco(tmp_path, {"a.png": [(1, (1, 2, 3, 4))], "gone.png": [], "free.png": []})
    document = json.loads(path.read_text())
    document["images"] = document["images"][:2]
    path.write_text(json.dumps(document))
    (tmp_path / "images" / "gone.png").unlink()
    data = find(tmp_path)
    assert [Path(file).name for file in data.unlisted] == ["free.png"]
    assert [sample.path.is_file() for sample in data.train] == [True, False]
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        find(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is no data set: .*COCO"):
        find(tmp_path / "images" / "a.png")


# Any damage: a sentence or a data set, never another exception

nodes: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)
nodes |= st.sampled_from(
    [[1], [[1, 2]], [["x"]], {"id": 1}, [{"id": []}], 10**30, "../../a.png", "/", "a\0b", "1", -1e400]
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all nodes of a JSON document."""
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *[place for key, value in inside for place in places(value, (*path, key))]]


@settings(max_examples=30)
@given(st.data())
def test_any_change_of_a_coco_json_is_survived(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = write_coco(folder, {"a.png": [(1, (1, 2, 3, 4)), (2, (9, 9, 9, 9))], "b.png": []})
    document = json.loads(path.read_text())
    document["annotations"][1]["segmentation"] = [[1, 2, 9, 9, 4, 5]]
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(places(document)[1:]))
        parent = document
        for key in parents:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[last] = data.draw(nodes)
        else:
            del parent[last]
    path.write_text(json.dumps(document))
    survive(path)


@given(st.binary(max_size=6), st.integers(0, 400), st.integers(0, 9), st.sampled_from(["voc", "yolo", "coco"]))
def test_any_damaged_bytes_are_survived(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int, lost: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    if kind == "voc":
        file = write_voc(folder, {"a": [(1, 1, 20, 20, "ant", 0)]}) / "Annotations" / "a.xml"
    elif kind == "yolo":
        file = write_yolo(folder, {"a": "0 .5 .5 .2 .2\n1 .1 .1 .1 .1"}) / "labels" / "train" / "a.txt"
        file = (file, folder / "data.yaml")[place % 2]
    else:
        file = write_coco(folder, {"a.png": [(1, (1, 2, 3, 4))]})
    content = file.read_bytes()
    place %= len(content)
    file.write_bytes(content[:place] + noise + content[place + lost :])
    survive(folder)


def survive(path: Path) -> None:
    try:
        data = find(path)
    except ValueError as error:
        sentence = str(error)
    else:
        sentence = "."
        for one in data.train:
            assert np.isfinite(one.boxes).all()
            assert (one.boxes[:, 2:] > one.boxes[:, :2]).all()
            assert len(one.boxes) == len(one.indices) == len(one.ignored) == len(one.areas)
            assert set(one.indices.tolist()) <= set(range(len(data.classes)))
    assert sentence.endswith(".")
    assert "\n" not in sentence
