"""Boxes of pictures that EXIF turns lie where the objects are, in every format, and commands say what was done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linnet.cli import main
from linnet.data import find
from linnet.images import decode

SIZE, OBJECT = (100, 60), (20, 10, 60, 30)
"""Of the picture before it is turned, and of the white object on it."""

Box = tuple[int, int, int, int]


def upright(turn: int) -> tuple[tuple[int, int], Box]:
    """Size and object as they are seen."""
    (width, height), (x0, y0, x1, y1) = SIZE, OBJECT
    mirrored, flipped = (width - x1, width - x0), (height - y1, height - y0)
    across = {1: (x0, x1), 2: mirrored, 3: mirrored, 4: (x0, x1), 5: (y0, y1), 6: flipped, 7: flipped, 8: (y0, y1)}
    down = {1: (y0, y1), 2: (y0, y1), 3: flipped, 4: flipped, 5: (x0, x1), 6: (x0, x1), 7: mirrored, 8: mirrored}
    (left, right), (top, bottom) = across[turn], down[turn]
    return (height, width) if turn > 4 else SIZE, (left, top, right, bottom)


def coco(root: Path, picture: str, size: tuple[int, int], box: Box) -> None:
    x0, y0, x1, y1 = box
    document = {
        "images": [{"id": 1, "file_name": picture, "width": size[0], "height": size[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}],
        "categories": [{"id": 1, "name": "ant"}],
    }
    (root / "labels.json").write_text(json.dumps(document))


def voc(root: Path, picture: str, size: tuple[int, int], box: Box) -> None:
    x0, y0, x1, y1 = box
    text = (
        f"<annotation><filename>{picture}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"<object><name>ant</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object></annotation>"
    )
    (root / "a.xml").write_text(text)


def cvat(root: Path, picture: str, size: tuple[int, int], box: Box) -> None:
    x0, y0, x1, y1 = box
    (root / "annotations.xml").write_text(
        f'<annotations><image id="0" name="{picture}" width="{size[0]}" height="{size[1]}">'
        f'<box label="ant" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}"/></image></annotations>'
    )


def labelme(root: Path, picture: str, size: tuple[int, int], box: Box) -> None:
    shapes = [{"label": "ant", "points": [box[:2], box[2:]], "shape_type": "rectangle"}]
    document = {"shapes": shapes, "imagePath": picture, "imageWidth": size[0], "imageHeight": size[1]}
    (root / "a.json").write_text(json.dumps(document))


def yolo(root: Path, picture: str, size: tuple[int, int], box: Box) -> None:
    x0, y0, x1, y1 = box
    (width, height) = size
    line = f"0 {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} {(x1 - x0) / width} {(y1 - y0) / height}"
    (root / "a.txt").write_text(line)


def table(root: Path, picture: str, size: tuple[int, int], box: Box) -> None:
    row = f"{picture},{size[0]},{size[1]},ant,{','.join(map(str, box))}"
    (root / "boxes.csv").write_text(f"filename,width,height,class,xmin,ymin,xmax,ymax\n{row}\n")


WITH_SIZES: dict[str, Callable[[Path, str, tuple[int, int], Box], None]] = {
    "coco": coco,
    "voc": voc,
    "cvat": cvat,
    "labelme": labelme,
    "table": table,
}


def draw(root: Path, turn: int, kind: str = "jpeg") -> str:
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    x0, y0, x1, y1 = OBJECT
    pixels[y0:y1, x0:x1] = 255
    exif = Image.Exif()
    exif[0x112] = turn
    Image.fromarray(pixels).save(root / f"a.{kind}", exif=exif)
    return f"a.{kind}"


def check_place(root: Path) -> None:
    (sample,) = find(root).train
    white = np.asarray(decode(sample.picture))[..., 0] > 128
    (down,), (across,) = (np.nonzero(white.any(axis=axis)) for axis in (1, 0))
    wanted = (across[0], down[0], across[-1] + 1, down[-1] + 1)
    assert np.abs(sample.boxes[0] - np.array(wanted)).max() <= 1
    assert sample.size == white.shape[::-1]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("layout", [*WITH_SIZES, "yolo"])
def test_boxes_are_those_of_the_picture_that_is_seen(turn: int, layout: str, tmp_path: Path) -> None:
    (WITH_SIZES | {"yolo": yolo})[layout](tmp_path, draw(tmp_path, turn), *upright(turn))
    check_place(tmp_path)
    notes = " ".join(find(tmp_path).remarks())
    assert ("1 picture is turned by EXIF: boxes are taken as drawn on the turned picture" in notes) == (turn > 1)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("turn", range(5, 9))
@pytest.mark.parametrize("layout", WITH_SIZES)
def test_boxes_in_the_size_before_that_are_turned_along(turn: int, layout: str, kind: str, tmp_path: Path) -> None:
    WITH_SIZES[layout](tmp_path, draw(tmp_path, turn, kind), SIZE, OBJECT)
    check_place(tmp_path)
    assert "annotated in the size before that: the boxes are turned along" in " ".join(find(tmp_path).remarks())


def test_check_says_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco(tmp_path, draw(tmp_path, 6), SIZE, OBJECT)
    main(["check", str(tmp_path), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["errors"] == 0
    assert any("the boxes are turned along" in problem["sentence"] for problem in document["problems"])
