"""Boxes in tables and in Parquet, as TensorFlow, RetinaNet, OpenImages, competitions and the hub write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import CLASSES, SIZE, Drawn, draw_all

from linnet.cli import main
from linnet.data import DataSet, find, recognise_task

DRAWN = [one for one in draw_all() if one.part == "train"]

Row = tuple[Drawn, tuple[int, int, int, int, str]]

ROWS: list[Row] = [(one, box) for one in DRAWN for box in one.boxes]

WIDTH, HEIGHT = SIZE


def tensorflow(root: Path) -> None:
    rows = [f"{one.name}.png,{WIDTH},{HEIGHT},{label},{a},{b},{c},{d}" for one, (a, b, c, d, label) in ROWS]
    (root / "boxes.csv").write_text("\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows]))


def retinanet(root: Path) -> None:
    rows = [f"images/{one.name}.png,{a},{b},{c},{d},{label}" for one, (a, b, c, d, label) in ROWS]
    (root / "annotations.csv").write_text("\n".join(rows))
    (root / "classes.csv").write_text("\n".join(f"{name},{number}" for number, name in enumerate(CLASSES)))


def openimages(root: Path) -> None:
    rows = [
        f"{one.name},xclick,/m/{CLASSES.index(label)},1,{a / WIDTH},{c / WIDTH},{b / HEIGHT},{d / HEIGHT},0,0,0,0,0"
        for one, (a, b, c, d, label) in ROWS
    ]
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,In"
    # Few people have all the pictures.
    (root / "train-annotations-bbox.csv").write_text("\n".join([header, *rows, "0f1e,xclick,/m/0,1,0.1,0.2,0.1,0.2"]))
    names = "\n".join(f"/m/{number},{name}" for number, name in enumerate(CLASSES))
    (root / "class-descriptions-boxable.csv").write_text(names)


def sides(root: Path) -> None:
    rows = [f"{one.name}.png;{label};{a};{b};{c - a};{d - b}" for one, (a, b, c, d, label) in ROWS]
    (root / "train.csv").write_text("\n".join(["image;label;x;y;w;h", *rows]))


def centres(root: Path) -> None:
    rows = [
        f"{one.name}.png,{label},{(a + c) / 2 / WIDTH},{(b + d) / 2 / HEIGHT},{(c - a) / WIDTH},{(d - b) / HEIGHT}"
        for one, (a, b, c, d, label) in ROWS
    ]
    (root / "train.csv").write_text("\n".join(["image,class,x_center,y_center,width,height", *rows]))


def one_column(root: Path) -> None:
    rows = [
        f'{one.name},{WIDTH},{HEIGHT},"[{a}.0, {b}.0, {c - a}.0, {d - b}.0]",{label}'
        for one, (a, b, c, d, label) in ROWS
    ]
    (root / "train.csv").write_text("\n".join(["image_id,width,height,bbox,class", *rows]))


def numbers(root: Path) -> None:
    rows = [f"{one.name}.png,{CLASSES.index(label)},{a},{b},{c},{d}" for one, (a, b, c, d, label) in ROWS]
    (root / "train.csv").write_text("\n".join(["image,class_id,x1,y1,x2,y2", *rows]))
    (root / "classes.txt").write_text("\n".join(CLASSES))


LAYOUTS = (tensorflow, retinanet, openimages, sides, centres, one_column, numbers)


def same(found: DataSet) -> None:
    assert found.task == "detection"
    assert found.classes == CLASSES
    by_name = {one.name: one for one in DRAWN}
    assert sorted(Path(sample.name).stem for sample in found.train) == sorted(by_name)
    for sample in found.train:
        boxes = by_name[Path(sample.name).stem].boxes
        assert np.allclose(sample.boxes, [box[:4] for box in boxes], atol=1e-3)
        assert [CLASSES[index] for index in sample.indices] == [box[4] for box in boxes]
        assert sample.size == SIZE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_of_boxes_is_read(layout: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for one in DRAWN:
        one.save(tmp_path / "images")
    layout(tmp_path)
    assert recognise_task(tmp_path) == "detection"
    found = find(tmp_path)
    same(found)
    assert not found.flaws
    assert any("1 of 13 pictures" in note for note in found.notes) == (layout is openimages)
    main(["check", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["errors"] == 0


def test_each_part_has_its_table_beside_its_pictures(tmp_path: Path) -> None:
    for part, names in (("train", DRAWN[:6]), ("valid", DRAWN[6:])):
        rows = []
        for one in names:
            one.save(tmp_path / part)
            rows += [f"{one.name}.png,40,32,{label},{a},{b},{c},{d}" for a, b, c, d, label in one.boxes]
        text = "\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows])
        (tmp_path / part / "_annotations.csv").write_text(text)
    found = find(tmp_path)
    assert (len(found.train), len(found.validation)) == (6, len(DRAWN) - 6)
    assert not found.unlisted
    assert not found.remarks()


def test_fiftyones_openimages_is_read(tmp_path: Path) -> None:
    for one in DRAWN:
        one.save(tmp_path / "train" / "data")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "metadata").mkdir()
    openimages(tmp_path)
    (tmp_path / "train-annotations-bbox.csv").rename(tmp_path / "train" / "labels" / "detections.csv")
    (tmp_path / "class-descriptions-boxable.csv").rename(tmp_path / "train" / "metadata" / "classes.csv")
    same(find(tmp_path))


def cvat(root: Path, inside: str) -> Path:
    DRAWN[0].save(root)
    image = f'<image id="0" name="{DRAWN[0].name}.png" width="{WIDTH}" height="{HEIGHT}">{inside}</image>'
    (root / "annotations.xml").write_text(f"<annotations>{image}</annotations>")
    return root


def test_masks_of_cvat_give_their_boxes(tmp_path: Path) -> None:
    cvat(tmp_path, '<mask label="ant" source="manual" rle="0, 48" left="3" top="5" width="6" height="8"/>')
    assert find(tmp_path).train[0].boxes.tolist() == [[3, 5, 9, 13]]


def test_tracks_of_cvat_are_said(tmp_path: Path) -> None:
    DRAWN[0].save(tmp_path)
    track = '<track id="0" label="ant"><box frame="0" xtl="1" ytl="1" xbr="5" ybr="5" outside="0"/></track>'
    (tmp_path / "annotations.xml").write_text(f"<annotations>{track}</annotations>")
    with pytest.raises(ValueError, match="has tracks of a film and no pictures"):
        find(tmp_path)


def test_rows_that_are_wrong_are_told_with_their_line(tmp_path: Path) -> None:
    one = DRAWN[0]
    one.save(tmp_path)
    DRAWN[1].save(tmp_path)
    rows = ["a,40,32,ant,1,2,x,9", "a,40,32,,1,2,5,9", "a,40,32,ant,1,2,20,9", "b,40,32,,,,,"]
    rows = [row.replace("a,", f"{one.name}.png,", 1).replace("b,", f"{DRAWN[1].name}.png,", 1) for row in rows]
    text = "\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *rows])
    (tmp_path / "train.csv").write_text(text)
    found = find(tmp_path)
    assert [len(sample.boxes) for sample in found.train] == [1, 0]
    assert sorted(flaw.text[:6] for flaw in found.flaws) == ["line 2", "line 3"]
    assert {flaw.kind for flaw in found.flaws} == {"malformed"}


def test_the_annotations_that_a_table_was_made_of_go_before_it(tmp_path: Path) -> None:
    for one in DRAWN:
        one.save(tmp_path)
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{a + 1}</xmin><ymin>{b + 1}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>"
            for a, b, c, d, label in one.boxes
        )
        (tmp_path / f"{one.name}.xml").write_text(
            f"<annotation><filename>{one.name}.png</filename>{objects}</annotation>"
        )
    tensorflow(tmp_path)
    found = find(tmp_path)
    same(found)
    assert found.format == "VOC"
    assert any("it could also be table" in note for note in found.notes)


def hub(root: Path, *, spelling: tuple[str, str], lists: bool, form: str = "sides", named: bool = True) -> None:
    import pyarrow as arrow
    from pyarrow.parquet import write_table

    boxes_key, class_key = spelling
    rows: list[Any] = []
    for one in DRAWN:
        told = []
        for a, b, c, d, label in one.boxes:
            box: list[float] = [a, b, c, d] if form == "corners" else [a, b, c - a, d - b]
            if form == "shares":
                box = [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT]
            told.append({boxes_key: [float(side) for side in box], class_key: CLASSES.index(label) if named else label})
        rows.append({key: [entry[key] for entry in told] for key in told[0]} if lists else told)
    table = arrow.table({"image": [{"bytes": one.png, "path": f"{one.name}.png"} for one in DRAWN], "objects": rows})
    inside = {boxes_key: {"_type": "Sequence"}, class_key: {"names": list(CLASSES), "_type": "ClassLabel"}}
    objects = {"feature": inside, "_type": "Sequence"} if lists else [inside]
    metadata = {"info": {"features": {"image": {"_type": "Image"}, "objects": objects}}}
    (root / "data").mkdir()
    told_names = {b"huggingface": json.dumps(metadata).encode()} if named else {}
    write_table(table.replace_schema_metadata(told_names), root / "data" / "train-00000-of-00001.parquet")


@pytest.mark.parametrize("spelling", [("bbox", "category"), ("bbox", "label"), ("bboxes", "class")])
@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("form", ["sides", "corners", "shares"])
def test_objects_of_the_hub_are_read(spelling: tuple[str, str], lists: bool, form: str, tmp_path: Path) -> None:
    hub(tmp_path, spelling=spelling, lists=lists, form=form)
    assert recognise_task(tmp_path) == "detection"
    found = find(tmp_path)
    assert found.task == "detection"
    assert found.classes == CLASSES
    for sample, one in zip(found.train, DRAWN, strict=True):
        assert np.allclose(sample.boxes, [box[:4] for box in one.boxes], atol=1e-3)
        assert [CLASSES[index] for index in sample.indices] == [box[4] for box in one.boxes]
        assert sample.size == SIZE
    # What was guessed is said.
    assert len(found.notes) == (form != "sides")


def test_objects_may_name_their_classes(tmp_path: Path) -> None:
    hub(tmp_path, spelling=("bbox", "category"), lists=True, named=False)
    assert find(tmp_path).classes == CLASSES


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("image;class;x;y;w;h\n{};ant;1,5;2,5;9;9\n", [1.5, 2.5, 10.5, 11.5]),
        ("image,class,x1,y1,x2,y2\n{},ant,0,0,1,1\n", [0, 0, WIDTH, HEIGHT]),
    ],
)
def test_commas_in_numbers_and_shares_that_are_whole(text: str, box: list[float], tmp_path: Path) -> None:
    DRAWN[0].save(tmp_path)
    (tmp_path / "train.csv").write_text(text.format(f"{DRAWN[0].name}.png"))
    assert find(tmp_path).train[0].boxes.tolist() == [box]


def test_two_rows_never_get_one_picture_by_two_names(tmp_path: Path) -> None:
    DRAWN[0].save(tmp_path / "images")
    name = f"{DRAWN[0].name}.png"
    (tmp_path / "train.csv").write_text(f"image,class,x,y,w,h\n{name},ant,1,2,9,9\nimages/{name},bee,3,4,9,9\n")
    found = find(tmp_path)
    assert [sample.path.is_file() for sample in found.train] == [True, False]
    assert "belongs to the picture" in found.flaws[0].text
