"""One small data set of drawn pictures, laid out in every format that linnet reads."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("ant", "bee", "cat")

COUNTS = {"train": 4, "validation": 2, "test": 1}
"""Pictures of each class."""

SIZE = (40, 32)
"""Width and height."""


@dataclass(frozen=True)
class Drawn:
    """A picture, its part, its class, and the objects on it: x0, y0, x1, y1 and class."""

    name: str
    part: str
    label: str
    boxes: tuple[tuple[int, int, int, int, str], ...]
    pixels: NDArray[np.uint8]

    @property
    def png(self) -> bytes:
        """The encoded picture."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG")
        return file.getvalue()

    def save(self, folder: Path) -> None:
        """Writes it under its name."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.png").write_bytes(self.png)


def draw_all() -> list[Drawn]:
    """Noise, so that no picture is the copy of another; every class has an object in every part."""
    generator = np.random.default_rng(12)
    drawn = []
    for part, count in COUNTS.items():
        for label in CLASSES:
            for number in range(count):
                pixels = generator.integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
                x, y = (int(value) for value in generator.integers(2, 9, 2))
                other = CLASSES[(CLASSES.index(label) + number) % 3]
                boxes = ((x, y, x + 12, y + 14, label), (x + 15, y + 3, x + 25, y + 17, other))
                drawn.append(Drawn(f"{part}_{label}{number}", part, label, boxes, pixels))
    return drawn


def folders(root: Path, drawn: list[Drawn]) -> None:
    for one in drawn:
        one.save(root / one.part / one.label)


def table(root: Path, drawn: list[Drawn]) -> None:
    for one in drawn:
        one.save(root / "images")
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "split"])
        writer.writerows([(f"images/{one.name}.png", one.label, one.part) for one in drawn])


def parquet(root: Path, drawn: list[Drawn]) -> None:
    import pyarrow as arrow
    from pyarrow.parquet import write_table

    for part in COUNTS:
        own = [one for one in drawn if one.part == part]
        columns = {"image": [one.png for one in own], "label": [CLASSES.index(one.label) for one in own]}
        metadata = {b"class_names": json.dumps(CLASSES).encode()}
        write_table(arrow.table(columns).replace_schema_metadata(metadata), root / f"{part}.parquet")


def shards(root: Path, drawn: list[Drawn]) -> None:
    for part in COUNTS:
        with tarfile.open(root / f"{part}-000000.tar", "w") as tar:
            for one in drawn:
                for ending, content in (("png", one.png), ("cls", one.label.encode())) if one.part == part else ():
                    entry = tarfile.TarInfo(f"{one.name}.{ending}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


def coco(root: Path, drawn: list[Drawn]) -> None:
    (root / "annotations").mkdir()
    for part in COUNTS:
        own = [one for one in drawn if one.part == part]
        for one in own:
            one.save(root / "images")
        document = {
            "images": [
                {"id": number, "file_name": f"{one.name}.png", "width": SIZE[0], "height": SIZE[1]}
                for number, one in enumerate(own)
            ],
            "annotations": [
                {
                    "id": 100 * number + place,
                    "image_id": number,
                    "category_id": CLASSES.index(label) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                }
                for number, one in enumerate(own)
                for place, (x0, y0, x1, y1, label) in enumerate(one.boxes)
            ],
            "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)],
        }
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))


def voc(root: Path, drawn: list[Drawn]) -> None:
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for one in drawn:
        one.save(root / "JPEGImages")
        # VOC counts pixels from 1, both ends included.
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for x0, y0, x1, y1, label in one.boxes
        )
        size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
        text = f"<annotation><filename>{one.name}.png</filename>{size}{objects}</annotation>"
        (root / "Annotations" / f"{one.name}.xml").write_text(text)
    for part, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        stems = "\n".join(one.name for one in drawn if one.part == part)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(stems)


def yolo(root: Path, drawn: list[Drawn]) -> None:
    (root / "data.yaml").write_text(f"names: [{', '.join(CLASSES)}]\n")
    for one in drawn:
        one.save(root / "images" / one.part)
        folder = root / "labels" / one.part
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{CLASSES.index(label)} {(x0 + x1) / 2 / SIZE[0]:.6f} {(y0 + y1) / 2 / SIZE[1]:.6f} "
            f"{(x1 - x0) / SIZE[0]:.6f} {(y1 - y0) / SIZE[1]:.6f}"
            for x0, y0, x1, y1, label in one.boxes
        ]
        (folder / f"{one.name}.txt").write_text("\n".join(lines))


def labelme(root: Path, drawn: list[Drawn]) -> None:
    for one in drawn:
        one.save(root / one.part)
        shapes = [
            # A drag goes either way: its points are two opposite corners in any order.
            {"label": label, "points": [[x1, y0], [x0, y1]], "shape_type": "rectangle"}
            for x0, y0, x1, y1, label in one.boxes
        ]
        document = {"shapes": shapes, "imagePath": f"{one.name}.png", "imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (root / one.part / f"{one.name}.json").write_text(json.dumps(document | {"imageData": None}))


def createml(root: Path, drawn: list[Drawn]) -> None:
    for part in COUNTS:
        document = []
        for one in (one for one in drawn if one.part == part):
            one.save(root / part)
            annotations = [
                {
                    "label": label,
                    "coordinates": {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0},
                }
                for x0, y0, x1, y1, label in one.boxes
            ]
            document.append({"image": f"{one.name}.png", "annotations": annotations})
        (root / part / "_annotations.createml.json").write_text(json.dumps(document))


def cvat(root: Path, drawn: list[Drawn]) -> None:
    images = ""
    for number, one in enumerate(drawn):
        one.save(root / "images" / one.part)
        boxes = "".join(
            f'<box label="{label}" xtl="{x0}" ytl="{y0}" xbr="{x1}" ybr="{y1}" occluded="0"/>'
            for x0, y0, x1, y1, label in one.boxes
        )
        images += (
            f'<image id="{number}" name="{one.name}.png" subset="{one.part}" width="{SIZE[0]}" height="{SIZE[1]}">'
            f"{boxes}</image>"
        )
    text = f"<?xml version='1.0' encoding='utf-8'?><annotations><version>1.1</version>{images}</annotations>"
    (root / "annotations.xml").write_text(text)


LAYOUTS: dict[str, Callable[[Path, list[Drawn]], None]] = {
    "folders": folders,
    "table": table,
    "parquet": parquet,
    "shards": shards,
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "labelme": labelme,
    "createml": createml,
    "cvat": cvat,
}
"""Name of a format → what writes the pictures and their labels as it has them into an empty folder."""
