"""Are intersection over union, accuracy and boundary F1 those of their definitions, and do their intervals hold?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from linnet.evaluation.boundaries import TOLERANCE, boundary_counts
from linnet.evaluation.pixels import PixelStatistic, count_pixels, figures_of
from linnet.evaluation.uncertainty import resample

Map = NDArray[np.uint8]
maps = arrays.arrays(np.uint8, (7, 9), elements=st.integers(0, 2))
masks = arrays.arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 1, 2, 255]))


@given(maps, masks)
def test_iou_and_accuracy_are_those_of_sets_of_pixels(labels: Map, mask: Map) -> None:
    figures = figures_of(count_pixels(labels, mask, 3).columns)
    counted = mask != 255
    for index in range(3):
        said, true = (labels == index) & counted, (mask == index) & counted
        union = int((said | true).sum())
        value = figures["IoU"][index]
        assert np.isnan(value) if not union else value == pytest.approx((said & true).sum() / union)
    if counted.any():
        assert figures["pixel_accuracy"] == pytest.approx((labels == mask)[counted].mean())
        assert figures["mIoU"] == pytest.approx(np.nanmean(figures["IoU"]))
    else:
        assert np.isnan(figures["mIoU"])


def _boundary(map_: Map, mask: Map, index: int) -> set[tuple[int, int]]:
    """By definition, pixel by pixel."""
    height, width = map_.shape
    found = set()
    for y in range(height):
        for x in range(width):
            if map_[y, x] != index or mask[y, x] == 255:
                continue
            beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(b, a) for b, a in beside if 0 <= b < height and 0 <= a < width and mask[b, a] != 255]
            if any(map_[b, a] != index for b, a in inside):
                found.add((y, x))
    return found


def test_boundaries_are_those_of_the_definition(rng: np.random.Generator) -> None:
    """On a picture of 300 x 220 the tolerance is two pixels."""
    coarse = rng.integers(0, 4, (11, 15)).astype(np.uint8)
    mask = coarse.repeat(20, axis=0).repeat(20, axis=1)
    labels = np.roll(mask, (1, 2), (0, 1))
    labels[50:53, 60:200] = 3
    mask[:, :25] = 255
    radius = int(TOLERANCE * math.hypot(*mask.shape))
    assert radius == 2
    counts = boundary_counts(labels, mask, 4)
    for index in range(4):
        true, said = _boundary(mask, mask, index), _boundary(labels, mask, index)

        def near(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> int:
            reach = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if y * y + x * x <= radius**2]
            return sum(any((b + y, a + x) in other for y, x in reach) for b, a in one)

        expected = (len(true), near(true, said), len(said), near(said, true))
        assert tuple(int(count[index]) for count in counts) == expected


@pytest.mark.parametrize("classes", [2, 63, 64, 200])
def test_boundaries_of_any_number_of_classes(classes: int, rng: np.random.Generator) -> None:
    mask = rng.integers(0, classes, (40, 50)).astype(np.uint8)
    counts = boundary_counts(mask, mask, classes)
    assert np.array_equal(counts[0], counts[1])
    assert np.array_equal(counts[2], counts[3])
    assert counts[0].sum() > 1000 * (classes > 2) + 500


def test_a_shift_within_the_tolerance_costs_no_boundary() -> None:
    mask = np.zeros((300, 300), np.uint8)
    mask[100:200, 100:200] = 1
    figures = [figures_of(count_pixels(np.roll(mask, by, axis=1), mask, 2).columns) for by in (0, 3, 30)]
    assert figures[0]["boundary_F1"] == figures[1]["boundary_F1"] == 1
    assert figures[2]["boundary_F1"] < 0.7
    assert figures[1]["mIoU"] < 1


def test_draws_of_the_pictures_are_sums_of_their_counts(rng: np.random.Generator) -> None:
    pairs = [(rng.integers(0, 3, (20, 20)).astype(np.uint8), rng.integers(0, 3, (20, 20)).astype(np.uint8))] * 2
    pairs.append((pairs[0][0], pairs[0][0]))
    columns = np.stack([count_pixels(labels, mask, 3).columns for labels, mask in pairs])
    draws = resample(PixelStatistic(columns), 3, samples=50)
    whole = figures_of(columns.sum(axis=0))
    assert draws["mIoU"].shape == (50,)
    assert draws["IoU"].shape == (50, 3)
    assert draws["mIoU"].min() < whole["mIoU"] < draws["mIoU"].max() == 1


def test_a_mask_of_another_size_is_said() -> None:
    with pytest.raises(ValueError, match="The mask has 4 x 5 pixels and the picture 4 x 3"):
        count_pixels(np.zeros((3, 4), np.uint8), np.zeros((5, 4), np.uint8), 2)
