"""From pictures with boxes to a measured detector, in Python: what `linnet train` and `predict --draw` do.

    python examples/own_detector.py [DATA] [--out own_detector]

DATA is a COCO json, or a folder with the boxes of any other format that `linnet train` takes. Without it pictures with
coins and stamps are drawn and found. Needs pip install 'linnet[train]'.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import linnet
from linnet.data import find
from linnet.results.drawing import draw
from linnet.training.plan import Plan
from linnet.training.recipes import DETECT_FINETUNE
from linnet.training.run import run_training
from linnet.training.starts import StartOptions

PICTURES = {"train": 24, "val": 8, "test": 12}
"""Where they are drawn."""

CLASSES = ("coin", "stamp")


def draw_table(folder: Path) -> Path:
    """Pictures of some coins and stamps on a table, and a COCO json of each part."""
    generator = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for part, count in PICTURES.items():
        (folder / part).mkdir(exist_ok=True)
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for number in range(count):
            pixels = generator.normal((150, 110, 80), 12, (160, 160, 3)).clip(0, 255).astype(np.uint8)
            picture = Image.fromarray(pixels)
            pen = ImageDraw.Draw(picture)
            # One object in some of nine places, so that none covers another.
            for place in generator.permutation(9)[: generator.integers(2, 7)].tolist():
                kind, side = int(generator.integers(2)), int(generator.integers(24, 44))
                x, y = (53 * cell + int(generator.integers(0, 53 - side)) for cell in (place % 3, place // 3))
                shape = pen.ellipse if kind == 0 else pen.rectangle
                shape((x, y, x + side, y + side), fill=((205, 180, 70), (60, 90, 160))[kind], outline="white")
                boxes.append({"id": len(boxes), "image_id": number, "category_id": kind, "bbox": [x, y, side, side]})
            picture.save(folder / part / f"{number:02}.png")
            images.append({"id": number, "file_name": f"{number:02}.png", "width": 160, "height": 160})
        categories = [{"id": kind, "name": name} for kind, name in enumerate(CLASSES)]
        document = {"images": images, "annotations": boxes, "categories": categories}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(document))
    return folder


def main() -> None:
    """Reads the arguments, trains, measures, draws what is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("own_detector"))
    parser.add_argument("--start", default="blood-cells", help="the weights to begin with; `auto` for ImageNet's")
    arguments = parser.parse_args()

    # The pictures and their boxes, as all of linnet reads them.
    path = arguments.data or draw_table(arguments.out / "drawn")
    data = find(path)
    print(f"{path}: {len(data.train)} pictures with {sum(data.counts)} objects to learn, {', '.join(data.classes)}")

    # A trained network learns where these objects are; the recipe decides the rest by the number of pictures. Drawn
    # ones are easy: two epochs of small pictures do.
    drawn = arguments.data is None
    recipe = replace(DETECT_FINETUNE, epochs=2, repeats=4) if drawn else DETECT_FINETUNE
    start = StartOptions(arguments.start, resolution=160 if drawn else None)
    outcome = run_training(Plan(path, arguments.out / "run", recipe, start, overwrite=True))
    assert outcome is not None  # it is None only in further processes
    print(f"{outcome.checkpoint}: {outcome.measured.sentence}, on {outcome.data}")

    # What it finds on one picture.
    sample = data.parts[data.part_to_measure()][0]
    predict = linnet.load(outcome.checkpoint)
    result = predict(sample.picture)
    for found in result.top():
        print(f"{found.label}, {found.score:.0%}, at {', '.join(f'{value:.0f}' for value in found.box)}")
    with Image.open(sample.path) as picture:
        draw(picture.convert("RGB"), result).save(arguments.out / "found.png")
    print(f"drawn: {arguments.out / 'found.png'}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"own_detector: {error}")
