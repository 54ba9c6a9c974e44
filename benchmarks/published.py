"""Measures ImageNet networks on pictures of one's own: the hollow points of Figure 5.

    python benchmarks/published.py PICTURES --models a.safetensors b.safetensors

Models are checkpoints (`linnet convert`) or names of `linnet models`; pictures are labelled, with ImageNet's classes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from samples import measured

import linnet
from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.checkpoint import write_atomically
from linnet.evaluation.accuracy import measure_accuracy


def main() -> None:
    """One row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/experiments/imagenet-samples.json"))
    options = parser.parse_args()
    rows = []
    for model in options.models:
        predictor = linnet.load(model)
        network = predictor.architecture
        if not isinstance(network, MobileNetV1 | MobileNetV2):
            parser.error(f"{model} is a {type(network).__name__}; Figure 5 has MobileNetV1 and MobileNetV2.")
        samples = measured(options.pictures, classes=network.classes or 0, names=predictor.classes)
        accuracy = measure_accuracy(predictor, samples)
        rows.append(
            {
                "model": Path(model).stem,
                "family": type(network).__name__,
                "width": network.width,
                "resolution": network.input_size[0],
                "multiply_adds": cost(network).multiply_adds,
                "pictures": accuracy.images,
                "top1": accuracy.top1,
                "top5": accuracy.top5,
            }
        )
        print(f"{rows[-1]['model']}: top-1 {accuracy.top1:.1%} of {accuracy.images}")
    write_atomically(options.out, (json.dumps(rows, indent=1) + "\n").encode())
    print(f"written: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"published.py: {error}")
