"""Figure 6 of the paper in thirty lines: does a bottleneck want a ReLU6, and where do shortcuts belong?

    python examples/ablation.py [--seeds 1]

Drawn digits, the same for all, learnt by a shallow MobileNetV2 and by the paper's ablations of it, each from the same
seeds. So short a training says which way an effect points; how large it is takes CIFAR-10 and hours:
benchmarks/ablations.py. Needs pip install 'linnet[train]'.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import linnet
from linnet.training.recipes import SCRATCH_SMALL
from linnet.training.starts import from_nothing
from linnet.training.statistics import recalculate

SHALLOW: dict[str, Any] = {
    **{"width": 0.35, "depth": 0.3, "early_stride": 1, "output_stride": 8},
    **{"resolution": 32, "input_channels": 1, "classes": 10, "dropout": 0.0},
}

VARIANTS: dict[str, dict[str, Any]] = {
    "the paper's: linear bottlenecks and their shortcuts": {},
    "ReLU6 in the bottleneck": {"projection_activation": "relu6"},
    "shortcut between expansions": {"shortcut": "expansion"},
    "no shortcut": {"shortcut": "none"},
}


def draw_digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 1, 32, 32) of digits, turned and in noise, and which they are (N,)."""
    generator = np.random.default_rng(seed)
    digits = generator.integers(0, 10, count)
    pictures = np.empty((count, 1, 32, 32), np.float32)
    for picture, digit in zip(pictures, digits.tolist(), strict=True):
        canvas = Image.new("L", (32, 32))
        font = ImageFont.load_default(size=int(generator.integers(14, 24)))
        place = tuple((16 + generator.uniform(-5, 5, 2)).tolist())
        ImageDraw.Draw(canvas).text(place, str(digit), int(generator.integers(90, 256)), font, anchor="mm")
        turned = np.asarray(canvas.rotate(float(generator.uniform(-30, 30)), Image.Resampling.BILINEAR), np.float32)
        picture[0] = turned / 128 - 1 + generator.normal(0, 0.3, turned.shape)
    return torch.from_numpy(pictures), torch.from_numpy(digits)


def main() -> None:
    """Trains each variant with each seed, and prints the share of right answers on pictures that none has seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant")
    parser.add_argument("--pictures", type=int, default=3000, help="drawn digits to learn, four times each")
    arguments = parser.parse_args()
    pictures, digits = draw_digits(arguments.pictures, seed=0)
    unseen, truth = draw_digits(500, seed=1)
    batches = list(zip(pictures.split(24), digits.split(24), strict=True))
    recipe = replace(
        SCRATCH_SMALL, epochs=4, batch=24, optimizer="adamw", learning_rate=0.003, weight_decay=0.01, warmup_epochs=0.3
    )
    recipe = replace(recipe, average=0.0, label_smoothing=0.0)
    for name, options in VARIANTS.items():
        network = linnet.mobilenet_v2(**SHALLOW, **options)
        right = []
        for seed in range(arguments.seeds):
            module = from_nothing(network, replace(recipe, seed=seed))
            list(linnet.train(module, batches, recipe=replace(recipe, seed=seed)))
            # Some hundred steps are too few for running statistics.
            recalculate(module, pictures.split(200))
            with torch.inference_mode():
                right.append(float((module.eval()(unseen).argmax(1) == truth).float().mean()))
        print(f"{name:52} {np.mean(right):.1%} of 500 digits right; seeds: {len(right)}", flush=True)


if __name__ == "__main__":
    main()
