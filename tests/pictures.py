"""Small labelled pictures for tests: three colours in noise, so that a network can learn them in a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
