"""Small pictures with masks for tests: lines and discs on noise, so that a network can learn them in a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = ("ground", "disc", "line")


def draw_scene(
    generator: np.random.Generator, *, size: tuple[int, int] = (64, 48)
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (H, W, 3) of (width, height) `size` with a red disc and a thin blue line, and its mask (H, W)."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    x, y = generator.uniform(0.25, 0.75, 2) * (width, height)
    mask[np.hypot(columns - x, rows - y) < height / 5] = 1
    place, slope = generator.uniform(0.1, 0.9) * width, generator.uniform(-0.5, 0.5)
    mask[np.abs(columns - place - slope * (rows - height / 2)) < 1.3] = 2
    colours = np.array([(120, 120, 120), (200, 70, 70), (60, 70, 210)], np.float32)
    pixels = colours[mask] + generator.normal(0, 12, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8), mask


def write_masks(
    folder: Path,
    *,
    train: int = 8,
    validation: int = 4,
    test: int = 0,
    size: tuple[int, int] = (64, 48),
    seed: int = 3,
) -> Path:
    """Folders `images` and `masks` with the same parts in each, and `classes.txt`; a border of each mask is ignored."""
    generator = np.random.default_rng(seed)
    for part, count in (("train", train), ("val", validation), ("test", test)):
        for number in range(count):
            pixels, mask = draw_scene(generator, size=size)
            mask[:2] = 255
            for kind, array in (("images", pixels), ("masks", mask)):
                path = folder / kind / part / f"scene{number:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return folder
