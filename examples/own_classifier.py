"""From a folder of pictures to a measured model in eight bits, in Python: what `linnet train` and `quantize` do.

    python examples/own_classifier.py [DATA] [--out own_classifier]

DATA is a folder for each class, or anything else that `linnet train` takes. Without it discs, squares and triangles are
drawn and told apart. Needs pip install 'linnet[train]'.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import linnet
from linnet.data import find
from linnet.evaluation.accuracy import measure_accuracy
from linnet.training.plan import Plan
from linnet.training.recipes import FEATURES
from linnet.training.run import run_training
from linnet.training.starts import StartOptions

PICTURES = {"train": 20, "validation": 6, "test": 20}
"""Of each class, where they are drawn. What is in the test part chooses nothing: the figures are of it."""


def draw_shapes(folder: Path) -> Path:
    """A folder for each part, in it one for each class, in it the pictures."""
    generator = np.random.default_rng(0)
    for part, count in PICTURES.items():
        for name, corners in {"disc": 60, "square": 4, "triangle": 3}.items():
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                ground, colour = (tuple(values) for values in generator.integers(0, 256, (2, 3)).tolist())
                picture = Image.new("RGB", (160, 160), ground)
                x, y, radius = generator.uniform((60, 60, 35), (100, 100, 55)).tolist()
                pen = ImageDraw.Draw(picture)
                pen.regular_polygon((x, y, radius), corners, rotation=int(generator.integers(360)), fill=colour)
                picture.save(folder / part / name / f"{number:02}.png")
    return folder


def main() -> None:
    """Reads the arguments, trains, quantises, measures, predicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("own_classifier"))
    parser.add_argument("--start", default="clothing", help="the weights to begin with; `auto` for ImageNet's")
    arguments = parser.parse_args()

    # The pictures, as all of linnet reads them.
    path = arguments.data or draw_shapes(arguments.out / "drawn")
    data = find(path)
    print(f"{path}: {len(data.train)} pictures to learn, of {', '.join(data.classes)}")

    # A trained network looks at each of them once, and a classifier is fitted on what it sees.
    start = StartOptions(arguments.start)
    plan = Plan(path, arguments.out / "run", FEATURES, start, overwrite=True)
    outcome = run_training(plan)
    assert outcome is not None  # it is None only in further processes
    print(f"{outcome.checkpoint}: {outcome.measured.sentence}, on {outcome.data}")

    # Eight bits instead of 32, calibrated on some of the pictures, and measured as the run was.
    small = linnet.quantize(linnet.load_checkpoint(outcome.checkpoint), [sample.picture for sample in data.train[:256]])
    linnet.save_checkpoint(small, arguments.out / "small.safetensors")
    predict = linnet.load(arguments.out / "small.safetensors")
    part = data.part_to_measure()
    measured = measure_accuracy(predict, data.parts[part])
    print(f"{arguments.out / 'small.safetensors'}: {measured.sentence}, on the {part} part")

    # One picture; a path, bytes, a PIL image or an array.
    sample = data.parts[part][0]
    result = predict(sample.picture)
    print(f"{sample.name}: {result.label}, {result.score:.0%}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"own_classifier: {error}")
