"""Small labelled pictures for tests: three colours in noise, so that a network can learn them in a few steps; boxes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = {"blue": (60, 60, 190), "green": (60, 190, 60), "red": (190, 60, 60)}


def write_pictures(
    folder: Path,
    *,
    train: int = 12,
    validation: int = 6,
    test: int = 0,
    size: tuple[int, int] = (40, 36),
    seed: int = 0,
) -> Path:
    """Class folders with so many pictures of each colour in each part; a part of none has no folder."""
    generator = np.random.default_rng(seed)
    for part, count in (("train", train), ("validation", validation), ("test", test)):
        for name, colour in COLOURS.items():
            for number in range(count):
                pixels = np.array(colour) + generator.normal(0, 40, (*size, 3))
                path = folder / part / name / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return folder


def write_coco(
    folder: Path,
    boxes: Mapping[str, Sequence[tuple[int, Sequence[float]]]],
    *,
    size: tuple[int, int] = (64, 48),
    name: str = "instances_train.json",
    classes: Mapping[int, str] = MappingProxyType({1: "ant", 2: "bee"}),
    **changes: Any,
) -> Path:
    """Grey pictures of (width, height) `size` and a COCO json of their boxes: file name → (category, x, y, w, h)."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (file, objects) in enumerate(boxes.items(), start=1):
        Image.new("RGB", size, (90, 90 + number % 100, 90)).save(folder / "images" / file)
        images.append({"id": number, "file_name": file, "width": size[0], "height": size[1]})
        annotations += [
            {"id": len(annotations) + place, "image_id": number, "category_id": category, "bbox": list(box)}
            for place, (category, box) in enumerate(objects, start=1)
        ]
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": label} for number, label in classes.items()],
    }
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | changes))
    return path


def standard_anchors(resolution: int) -> NDArray[np.float64]:
    """TensorFlow's SSD anchors on six levels from stride 16 on: (A, 4) centre x, centre y, width, height."""
    scales = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
    found = []
    for level in range(6):
        side = -(-resolution // 2 ** (level + 4))
        shapes = [(scales[level], ratio) for ratio in (1, 2, 0.5, 3, 0.3333)]
        shapes.append((math.sqrt(scales[level] * scales[level + 1]), 1))
        for row, column in np.ndindex(side, side):
            for scale, ratio in shapes if level else [(0.1, 1), (0.2, 2), (0.2, 0.5)]:
                centre = (column + 0.5) / side, (row + 0.5) / side
                found.append((*centre, scale * math.sqrt(ratio), scale / math.sqrt(ratio)))
    return np.array(found)


SHADES = {"blue": (40, 90, 220), "red": (220, 40, 40)}


def write_scenes(
    folder: Path, *, train: int = 8, validation: int = 4, test: int = 0, side: int = 96, seed: int = 4
) -> Path:
    """Grey noise with up to three coloured rectangles that do not overlap, and COCO files of each part.

    The first picture of each part has no object; categories have gaps.
    """
    generator = np.random.default_rng(seed)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    for part, count in (("train", train), ("val", validation), ("test", test)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            pixels = generator.integers(110, 140, (side, side, 3)).astype(np.uint8)
            for column in range(number % 4):
                width, height = (int(value) for value in generator.integers(14, 30, 2))
                x = column * 32 + int(generator.integers(0, 32 - width + 1))
                y, kind = int(generator.integers(0, side - height)), int(generator.integers(2))
                pixels[y : y + height, x : x + width] = list(SHADES.values())[kind]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": 3 + 4 * kind,
                        "bbox": [x, y, width, height],
                    }
                )
            images.append({"id": number, "file_name": f"{part}{number}.png", "width": side, "height": side})
            Image.fromarray(pixels).save(folder / "images" / f"{part}{number}.png")
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 3 + 4 * kind, "name": name} for kind, name in enumerate(SHADES)],
        }
        if count:
            (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    return folder
