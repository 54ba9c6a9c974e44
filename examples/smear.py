"""A blood smear as it looks under a microscope, drawn for the demo: the pictures of the data are not ours to ship.

Cells are soft-edged ellipses that take light away: red cells pale in the middle, a white cell with a lobed dark
nucleus in a pale body, platelets small and violet. Nothing of it comes from a picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIZE = (640, 480)
GROUND = (205, 208, 209)
RED, PLASMA, NUCLEUS, PLATELET = (186, 145, 138), (190, 172, 205), (104, 78, 186), (146, 132, 192)

Mask = NDArray[np.float64]


def draw_smear(seed: int = 3, *, red: int = 13, white: int = 1, platelets: int = 3) -> Image.Image:
    """An RGB picture of 640 x 480 with so many cells, which keep their distance; the same for the same seed."""
    generator = np.random.default_rng(seed)
    width, height = SIZE
    canvas = np.ones((height, width, 3)) * GROUND
    canvas += 6 * np.sin(np.mgrid[0:height, 0:width].sum(axis=0) / 300)[..., None]
    taken: list[tuple[float, float, float]] = []
    for kind, count in (("white", white), ("red", red), ("platelet", platelets)):
        for _ in range(count):
            radius = {"white": 88.0, "red": generator.uniform(44, 54), "platelet": generator.uniform(15, 20)}[kind]
            place = _free_place(generator, radius, taken)
            if place is None:
                continue
            taken.append((*place, radius))
            _draw_cell(canvas, kind, place, radius, generator)
    canvas += generator.normal(0, 3, canvas.shape)
    picture = Image.fromarray(canvas.clip(0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def _free_place(
    generator: np.random.Generator, radius: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float] | None:
    """A centre whose cell lies within the picture and overlaps no other; None if a hundred tries find none."""
    for _ in range(100):
        x, y = (float(generator.uniform(radius + 4, side - radius - 4)) for side in SIZE)
        if all(np.hypot(x - other_x, y - other_y) > radius + other + 3 for other_x, other_y, other in taken):
            return x, y
    return None


def _draw_cell(
    canvas: NDArray[np.float64],
    kind: str,
    place: tuple[float, float],
    radius: float,
    generator: np.random.Generator,
) -> None:
    body = _blob(place, radius, generator)
    if kind == "red":
        hollow = _blob(place, 0.42 * radius, generator, edge=0.45)
        _stain(canvas, body, RED)
        _stain(canvas, 0.6 * hollow, GROUND)
        rim = body * (1 - _blob(place, 0.93 * radius, generator, uneven=0.0))
        _stain(canvas, 0.25 * rim, (160, 118, 120))
    elif kind == "platelet":
        _stain(canvas, 0.9 * body, PLATELET)
        _stain(canvas, 0.6 * _blob(place, 0.5 * radius, generator, edge=0.5), NUCLEUS)
    else:
        _stain(canvas, 0.75 * body, PLASMA)
        angle = generator.uniform(0, 2 * np.pi)
        for lobe in range(4):
            turn = angle + 1.05 * lobe
            centre = (place[0] + 0.42 * radius * np.cos(turn), place[1] + 0.42 * radius * np.sin(turn))
            _stain(canvas, 0.92 * _blob(centre, 0.36 * radius, generator), NUCLEUS)


def _blob(
    place: tuple[float, float],
    radius: float,
    generator: np.random.Generator,
    *,
    edge: float = 0.08,
    uneven: float = 0.05,
) -> Mask:
    """(height, width) from 0 to 1: a disc whose outline wavers, and whose edge is soft."""
    width, height = SIZE
    rows, columns = np.mgrid[0:height, 0:width]
    angles, distances = np.arctan2(rows - place[1], columns - place[0]), np.hypot(rows - place[1], columns - place[0])
    outline = np.ones_like(angles)
    for wave in (2, 3):
        outline += uneven * generator.uniform(0.3, 1) * np.cos(wave * angles + generator.uniform(0, 2 * np.pi))
    return np.asarray(((radius * outline - distances) / (edge * radius) + 0.5).clip(0, 1))


def _stain(canvas: NDArray[np.float64], share: Mask, colour: tuple[int, int, int]) -> None:
    canvas += share[..., None] * (np.array(colour, np.float64) - canvas)
