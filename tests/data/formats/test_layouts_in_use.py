"""Are boxes read as tools and people lay them out: Label Studio, Roboflow, CVAT, Darknet, labelImg, FiftyOne?"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from linnet.data import DataSet, find

SIZE = (64, 48)

NAMES = ("red", "white", "flat")

Box = tuple[int, int, int, int, int]
"""x, y, width, height and the index of the class."""

DRAWN: dict[str, tuple[Box, ...]] = {
    f"cell_{number}.jpg": ((4 + number, 6, 20, 18, number % 3), (30, 20 + number, 16, 12, 0)) for number in range(6)
}
TRAIN = dict(list(DRAWN.items())[:4])
VALIDATION = dict(list(DRAWN.items())[4:])


def draw(path: Path) -> None:
    """A picture that no other equals: its grey is told by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (sum(path.stem.encode()) % 256, 80, 90)).save(path)


def line(box: Box, form: str = "{} {:.6f} {:.6f} {:.6f} {:.6f}") -> str:
    x, y, wide, high, index = box
    shares = (x + wide / 2) / SIZE[0], (y + high / 2) / SIZE[1], wide / SIZE[0], high / SIZE[1]
    return form.format(index, *shares)


def lines(boxes: Sequence[Box]) -> str:
    return "\n".join(map(line, boxes)) + "\n"


def write_yolo(
    pictures: Path, labels: Path, drawn: Mapping[str, Sequence[Box]], text: Callable[[Sequence[Box]], str] = lines
) -> None:
    labels.mkdir(parents=True, exist_ok=True)
    for name, boxes in drawn.items():
        draw(pictures / name)
        (labels / name).with_suffix(".txt").write_text(text(boxes))


def coco(drawn: Mapping[str, Sequence[Box]], *, first: int = 1, number: Callable[[int], Any] = int) -> dict[str, Any]:
    """A COCO json; category ids are class indices and `first`."""
    return {
        "images": [
            {"id": number(place), "file_name": name, "width": SIZE[0], "height": SIZE[1]}
            for place, name in enumerate(drawn)
        ],
        "annotations": [
            {
                "id": 10 * place + count,
                "image_id": number(place),
                "category_id": number(index + first),
                "bbox": [x, y, wide, high],
                "area": wide * high,
                "iscrowd": 0,
                "segmentation": [],
            }
            for place, boxes in enumerate(drawn.values())
            for count, (x, y, wide, high, index) in enumerate(boxes)
        ],
        "categories": [{"id": number(place + first), "name": name} for place, name in enumerate(NAMES)],
    }


def voc(boxes: Sequence[Box], name: str, *, head: str = "", size: tuple[int, int] = SIZE, label: str = "") -> str:
    objects = "".join(
        f"<object><name>{label or NAMES[index]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<xmax>{x + wide}</xmax><ymax>{y + high}</ymax></bndbox></object>"
        for x, y, wide, high, index in boxes
    )
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"{head}<annotation><filename>{name}</filename>{told}{objects}</annotation>"


def seen(data: DataSet) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
    """Part → name of a picture that is there → its boxes with the names of their classes."""
    return {
        part: {
            sample.path.name: [
                (*np.round(box, 3).tolist(), data.classes[index])
                for box, index in zip(sample.boxes.tolist(), sample.indices, strict=True)
            ]
            for sample in getattr(data, part)
            if sample.path.is_file()
        }
        for part in ("train", "validation", "test")
    }


def expected(**parts: Mapping[str, Sequence[Box]]) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
    return {
        part: {
            name: [(float(x), float(y), float(x + wide), float(y + high), NAMES[i]) for x, y, wide, high, i in boxes]
            for name, boxes in parts.get(part, {}).items()
        }
        for part in ("train", "validation", "test")
    }


def check(folder: Path, **parts: Mapping[str, Sequence[Box]]) -> DataSet:
    """The data set, if it has these pictures and boxes and nothing was amiss."""
    data = find(folder)
    assert seen(data) == expected(**parts)
    assert set(data.classes) == set(NAMES)
    assert len(data.classes) == len(NAMES)
    assert (data.flaws, data.unlisted, data.unknown) == ((), (), ())
    assert [one for one in data.omissions if one.kind == "not_read"] == []
    return data


# YOLO


def test_label_studio_s_notes_are_no_coco_json(tmp_path: Path) -> None:
    write_yolo(tmp_path / "images", tmp_path / "labels", DRAWN)
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    notes = {"categories": [{"id": 0, "name": "red"}], "info": {"contributor": "Label Studio"}}
    (tmp_path / "notes.json").write_text(json.dumps(notes))
    data = find(tmp_path)
    assert (data.format, data.classes, seen(data)) == ("YOLO", NAMES, expected(train=DRAWN))


@pytest.mark.parametrize("beside", ['{"images": 6, "annotations": 12}', '{"images": [], "info": "annotations"}', "[1]"])
def test_numbers_of_pictures_are_no_coco_json(beside: str, tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        draw(tmp_path / "folders" / name / f"{name}.png")
    write_yolo(tmp_path / "yolo" / "images", tmp_path / "yolo" / "labels", DRAWN)
    for folder, kind in (("folders", "class folders"), ("yolo", "YOLO")):
        (tmp_path / folder / "stats.json").write_text(beside)
        assert find(tmp_path / folder).format == kind


def test_cvat_s_yolo_has_its_pictures_beside_the_texts(tmp_path: Path) -> None:
    for part, drawn in (("train", TRAIN), ("valid", VALIDATION)):
        folder = tmp_path / f"obj_{part}_data"
        write_yolo(folder, folder, drawn)
        (tmp_path / f"{part}.txt").write_text("".join(f"data/obj_{part}_data/{name}\n" for name in drawn))
    (tmp_path / "obj.names").write_text("\n".join(NAMES) + "\n")
    (tmp_path / "obj.data").write_text(
        "classes = 3\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    assert check(tmp_path, train=TRAIN, validation=VALIDATION).format == "YOLO"
    for name in ("obj.data", "train.txt", "valid.txt"):
        (tmp_path / name).unlink()
    check(tmp_path, train=TRAIN, validation=VALIDATION)


def test_yolo_texts_beside_the_pictures(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    write_yolo(flat, flat, DRAWN)
    (flat / "classes.txt").write_text("\n".join(NAMES))
    assert check(flat, train=DRAWN).classes == NAMES
    for part, drawn in (("train", TRAIN), ("valid", VALIDATION)):
        folder = tmp_path / "darknet" / part
        write_yolo(folder, folder, drawn)
        (folder / "_darknet.labels").write_text("\n".join(NAMES))
    data = find(tmp_path / "darknet")
    assert (data.classes, seen(data)) == (NAMES, expected(train=TRAIN, validation=VALIDATION))


def test_yolo_names_beside_the_labels(tmp_path: Path) -> None:
    write_yolo(tmp_path / "images" / "train", tmp_path / "labels" / "train", DRAWN)
    (tmp_path / "labels" / "train" / "classes.txt").write_text("\n".join(NAMES))
    assert check(tmp_path, train=DRAWN).classes == NAMES


NUMBERS: dict[str, Callable[[Sequence[Box]], str]] = {
    "numpy.savetxt": lambda boxes: "\n".join(line(box, " ".join(["{:.18e}"] * 5)) for box in boxes),
    "windows": lambda boxes: "\ufeff" + "  \r\n".join(map(line, boxes)) + "\r\n\r\n",
    "tabs": lambda boxes: lines(boxes).replace(" ", "\t"),
    "floats": lambda boxes: "\n".join(line(box, "{:.1f} {:f} {:f} {:f} {:f}") for box in boxes),
}


@pytest.mark.parametrize("style", NUMBERS)
def test_yolo_numbers_as_they_are_written(style: str, tmp_path: Path) -> None:
    write_yolo(tmp_path / "images" / "train", tmp_path / "labels" / "train", DRAWN, NUMBERS[style])
    (tmp_path / "data.yaml").write_text(f"train: images/train\nnc: 3\nnames: {list(NAMES)}\n")
    check(tmp_path, train=DRAWN)


@pytest.mark.parametrize("changed", [lambda text: text.replace(" ", ","), lambda text: text.replace("\n", " 0.87\n")])
def test_yolo_lines_of_another_kind_are_refused_with_the_line(changed: Callable[[str], str], tmp_path: Path) -> None:
    write_yolo(tmp_path / "images" / "train", tmp_path / "labels" / "train", DRAWN, lambda boxes: changed(lines(boxes)))
    (tmp_path / "data.yaml").write_text("names: [red, white, flat]")
    shown = changed(line(DRAWN["cell_0.jpg"][0]) + "\n").strip()
    with pytest.raises(ValueError, match=f"cell_0.jpg': line 1 is not class, x, y, width, height: {shown}"):
        find(tmp_path).for_training()


def write_parts(root: Path, train: str, validation: str) -> None:
    for folder, drawn in ((train, TRAIN), (validation, VALIDATION)):
        write_yolo(root / "images" / folder, root / "labels" / folder, drawn)


NUMBERED = "nc: 3\nnames:\n  0: red\n  1: white\n  2: flat\n"


@pytest.mark.parametrize(
    ("train", "validation", "text"),
    [
        ("2023", "2024", "path: .\ntrain: images/2023\nval: images/2024\n"),
        ("2023", "2024", "path: /content/set\ntrain: ../images/2023\nval: ./images/2024/\n"),
        ("2023", "2024", "train: [images/2023]\nval:\n  - images/2024\n  - images/2025\n"),
        ("2023", "2024", "train: images\\2023\nvalid: C:\\data\\set\\images\\2024\n"),
        ("train/day", "val/day", "train: images/train\nval: images/val\n"),
        ("train/day", "val/day", ""),
    ],
)
def test_data_yaml_is_obeyed(train: str, validation: str, text: str, tmp_path: Path) -> None:
    write_parts(tmp_path, train, validation)
    (tmp_path / "data.yaml").write_text(text + NUMBERED)
    for place in (tmp_path, tmp_path / "data.yaml"):
        data = find(place)
        assert seen(data) == expected(train=TRAIN, validation=VALIDATION)
        assert any("images/2025" in note for note in data.notes) == ("2025" in text)


def test_folders_below_a_part_of_yolo_are_read(tmp_path: Path) -> None:
    first, night = dict(list(TRAIN.items())[:2]), dict(list(TRAIN.items())[2:])
    write_yolo(tmp_path / "images/train", tmp_path / "labels/train", first)
    write_yolo(tmp_path / "images/train/night", tmp_path / "labels/train/night", night)
    write_yolo(tmp_path / "images/val", tmp_path / "labels/val", VALIDATION)
    for text in ("path: .\ntrain: images/train\nval: images/val\n", ""):
        (tmp_path / "data.yaml").write_text(text + NUMBERED)
        check(tmp_path, train=TRAIN, validation=VALIDATION)


def test_list_files_of_yolo(tmp_path: Path) -> None:
    write_yolo(tmp_path / "images", tmp_path / "labels", DRAWN)
    for part, drawn in (("train", TRAIN), ("val", VALIDATION)):
        (tmp_path / f"{part}.txt").write_text("".join(f"./images/{name}\n" for name in drawn))
    (tmp_path / "data.yaml").write_text("path: .\ntrain: train.txt\nval: val.txt\n" + NUMBERED)
    assert check(tmp_path, train=TRAIN, validation=VALIDATION).notes == ()
    (tmp_path / "val.txt").write_text("./images/cell_0.jpg\n./images/gone.jpg\n./images/cell_5.jpg\n")
    data = find(tmp_path)
    assert list(seen(data)["validation"]) == ["cell_5.jpg"]
    assert any("cell_0.jpg" in note and "are train already" in note for note in data.notes)
    assert any("'./images/gone.jpg'" in note for note in data.notes)
    assert [Path(name).name for name in data.unlisted] == ["cell_4.jpg"]


@pytest.mark.parametrize(("points", "numbers"), [(4, 3), (5, 2), (17, 3)])
def test_the_box_stands_before_key_points(points: int, numbers: int, tmp_path: Path) -> None:
    behind = " " + " ".join(["0.1", "0.2", "2"][place % numbers] for place in range(points * numbers))
    write_yolo(
        tmp_path / "images/train",
        tmp_path / "labels/train",
        DRAWN,
        lambda boxes: "\n".join(line(box) + behind for box in boxes),
    )
    (tmp_path / "data.yaml").write_text(f"path: .\ntrain: images/train\nkpt_shape: [{points}, {numbers}]\n{NUMBERED}")
    check(tmp_path, train=DRAWN)
    (tmp_path / "labels/train/cell_0.txt").write_text(line(DRAWN["cell_0.jpg"][0]) + " 0.1 0.2 0.3 0.4 0.5 0.6")
    (flaw,) = find(tmp_path).flaws
    assert f"and {points * numbers} numbers of key points" in flaw.text


def test_a_text_file_of_two_pictures_is_said(tmp_path: Path) -> None:
    write_yolo(tmp_path / "images", tmp_path / "labels", DRAWN)
    draw(tmp_path / "images" / "cell_0.png")
    (note,) = (note for note in find(tmp_path).notes if "text file" in note)
    assert note.startswith("1 text file tells the boxes of two pictures of one name")
    assert "cell_0.txt" in note


# COCO


def test_roboflow_s_root_category_is_no_class(tmp_path: Path) -> None:
    for part, drawn in (("train", TRAIN), ("valid", VALIDATION)):
        document = coco(drawn)
        for category in document["categories"]:
            category["supercategory"] = "cells"
        document["categories"].insert(0, {"id": 0, "name": "cells", "supercategory": "none"})
        for name in drawn:
            draw(tmp_path / part / name)
        (tmp_path / part / "_annotations.coco.json").write_text(json.dumps(document))
    data = check(tmp_path, train=TRAIN, validation=VALIDATION)
    assert data.classes == NAMES
    assert data.notes == ("The category 'cells' only stands above the others: it is no class.",)
    document["annotations"][0]["category_id"] = 0
    (tmp_path / "valid" / "_annotations.coco.json").write_text(json.dumps(document))
    assert find(tmp_path / "valid").classes == ("cells", *NAMES)


@pytest.mark.parametrize("number", [int, float, str, lambda value: f"{value}.0", lambda value: f"cell-{value}"])
def test_ids_of_coco_as_they_are_written(number: Callable[[Any], Any], tmp_path: Path) -> None:
    document = coco(DRAWN, number=number)
    for name in DRAWN:
        draw(tmp_path / "images" / name)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    check(tmp_path, train=DRAWN)
    if number("1") != "cell-1":
        for annotation in document["annotations"]:
            annotation["image_id"], annotation["category_id"] = (
                int(float(annotation["image_id"])),
                float(annotation["category_id"]),
            )
        (tmp_path / "annotations.json").write_text(json.dumps(document))
        check(tmp_path, train=DRAWN)


@pytest.mark.parametrize(
    "told",
    [
        lambda box: {"bbox": [str(value) for value in box]},
        lambda box: {"bbox": dict(zip(("x", "y", "width", "height"), box, strict=True))},
        lambda box: {
            "bbox": None,
            "segmentation": [[box[0], box[1], box[0] + box[2], box[1], box[0], box[1] + box[3]]],
        },
        lambda box: {
            "bbox": [],
            "segmentation": {"size": [SIZE[1], SIZE[0]], "counts": column_runs(*box)},
        },
    ],
)
def test_boxes_of_coco_as_they_are_written(told: Callable[[list[int]], dict[str, Any]], tmp_path: Path) -> None:
    document = coco(DRAWN)
    for annotation in document["annotations"]:
        annotation |= told(annotation["bbox"])
    for name in DRAWN:
        draw(tmp_path / "images" / name)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    check(tmp_path, train=DRAWN)


def column_runs(x: int, y: int, wide: int, high: int) -> list[int]:
    """COCO's run lengths of a filled rectangle: column by column, background first."""
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[y : y + high, x : x + wide] = True
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    return [int(run) for run in np.diff([0, *changes, len(flat)])]


def test_an_empty_mask_is_called_no_run_lengths(tmp_path: Path) -> None:
    document = coco(DRAWN)
    for annotation in document["annotations"]:
        annotation["bbox"] = "1 2 3 4"
    for name in DRAWN:
        draw(tmp_path / "images" / name)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"`bbox` of four numbers .* the first has \{\"bbox\": \"1 2 3 4\"") as caught:
        find(tmp_path)
    assert "run" not in str(caught.value)


def test_crowds_are_said(tmp_path: Path) -> None:
    document = coco(DRAWN)
    document["annotations"][0]["iscrowd"] = 1
    for name in DRAWN:
        draw(tmp_path / "images" / name)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    data = find(tmp_path)
    assert [sample.ignored.sum() for sample in data.train] == [1, 0, 0, 0, 0, 0]
    assert any("crowd" in one for one in data.remarks())


def test_fiftyone_s_coco_has_its_pictures_in_data(tmp_path: Path) -> None:
    for name in DRAWN:
        draw(tmp_path / "data" / name)
    (tmp_path / "labels.json").write_text(json.dumps(coco(DRAWN, first=0)))
    assert check(tmp_path, train=DRAWN).classes == NAMES


def test_a_coco_json_of_classes(tmp_path: Path) -> None:
    """As iNaturalist has them: no boxes at all."""
    document = coco(DRAWN)
    document["annotations"] = [
        {"id": place, "image_id": place, "category_id": 1 + place % 3} for place in range(len(DRAWN))
    ]
    for name in DRAWN:
        draw(tmp_path / "images" / name)
    (tmp_path / "train.json").write_text(json.dumps(document))
    data = find(tmp_path)
    assert (data.task, data.classes) == ("classification", NAMES)
    assert [(sample.path.name, sample.index) for sample in data.train] == [
        (name, place % 3) for place, name in enumerate(DRAWN)
    ]
    document["annotations"].append({"id": 9, "image_id": 0, "category_id": 2})
    (tmp_path / "train.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"gives '.*cell_0.jpg' two classes"):
        find(tmp_path)


# VOC


@pytest.mark.parametrize(
    ("pictures", "annotations"),
    [
        ("JPEGImages", "Annotations/train"),
        ("images/train", "annotations/train"),
        ("images", "annotations/xmls"),
        ("images/train", "images/train"),
        ("images", "labels"),
        (".", "."),
    ],
)
def test_layouts_of_voc(pictures: str, annotations: str, tmp_path: Path) -> None:
    (tmp_path / annotations).mkdir(parents=True, exist_ok=True)
    for name, boxes in DRAWN.items():
        draw(tmp_path / pictures / name)
        (tmp_path / annotations / name).with_suffix(".xml").write_text(voc(boxes, name))
    assert check(tmp_path, train=DRAWN).format == "VOC"


@pytest.mark.parametrize(
    ("told", "stem"),
    [
        (lambda name: name, lambda place, name: f"{place:04}"),
        (lambda name: Path(name).stem, lambda place, name: Path(name).stem),
        (lambda name: "image.jpg", lambda place, name: Path(name).stem),
        (lambda name: f"C:\\pictures\\{name}", lambda place, name: Path(name).stem),
        (lambda name: name.replace("jpg", "JPG"), lambda place, name: f"{place:04}"),
    ],
)
def test_names_in_voc_files(told: Callable[[str], str], stem: Callable[[int, str], str], tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    for place, (name, boxes) in enumerate(DRAWN.items()):
        draw(tmp_path / "JPEGImages" / name)
        text = voc(boxes, told(name), size=(0, 0))
        (tmp_path / "Annotations" / f"{stem(place, name)}.xml").write_text(text)
    check(tmp_path, train=DRAWN)


def test_the_name_that_voc_tells_beats_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    for name, boxes in DRAWN.items():
        draw(tmp_path / "JPEGImages" / name)
        (tmp_path / "Annotations" / name).with_suffix(".xml").write_text(voc(boxes, name))
    # Before .jpg and behind it in the order of names.
    for other in ("cell_0.bmp", "cell_1.png"):
        draw(tmp_path / "JPEGImages" / other)
    data = find(tmp_path)
    assert seen(data) == expected(train=DRAWN)
    assert [Path(name).name for name in data.unlisted] == ["cell_0.bmp", "cell_1.png"]


def test_voc_in_gbk(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    head = '<?xml version="1.0" encoding="GBK"?>\n'
    for name, boxes in DRAWN.items():
        draw(tmp_path / "JPEGImages" / name)
        text = voc(boxes, name, head=head, label="红细胞")
        (tmp_path / "Annotations" / name).with_suffix(".xml").write_bytes(text.encode("gbk"))
    data = find(tmp_path)
    assert (data.classes, len(data.train), data.flaws) == (("红细胞",), len(DRAWN), ())


def test_voc_with_a_document_type_is_refused_and_no_class_folder(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    for name, boxes in DRAWN.items():
        draw(tmp_path / "JPEGImages" / name)
        text = voc(boxes, name, head='<!DOCTYPE annotation SYSTEM "voc.dtd">')
        (tmp_path / "Annotations" / name).with_suffix(".xml").write_text(text)
    with pytest.raises(ValueError, match=r"cell_0.xml' has a document type, which VOC has not\.$"):
        find(tmp_path)


# Folders of annotations are no classes


@pytest.mark.parametrize("ending", [".xml", ".txt", ".json"])
def test_pictures_with_a_file_each_are_no_classes(ending: str, tmp_path: Path) -> None:
    for folder in ("ant", "bee"):
        for number in range(3):
            draw(tmp_path / folder / f"{folder}{number}.png")
            (tmp_path / folder / f"{folder}{number}{ending}").write_text("<a/>" if ending == ".xml" else "{}")
    with pytest.raises(ValueError, match=rf"ant0\{ending}' seems to tell what is on the picture beside it") as caught:
        find(tmp_path)
    assert "were expected" not in str(caught.value)
