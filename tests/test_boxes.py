"""Does the arithmetic of boxes keep its laws, and agree with counting pixels?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from linnet.boxes import areas, intersections, iou

Boxes = NDArray[np.float64]

SIDE = 12


@st.composite
def boxes(draw: st.DrawFn, least: int = 0) -> Boxes:
    """Up to six boxes with corners on whole numbers, some without area."""
    count = draw(st.integers(least, 6))
    corners = draw(arrays(np.int64, (count, 2, 2), elements=st.integers(0, SIDE)))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float64)


def cells(box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The cells of a grid that a box covers."""
    x0, y0, x1, y1 = box.astype(int)
    grid = np.zeros((SIDE, SIDE), bool)
    grid[y0:y1, x0:x1] = True
    return grid


@given(boxes(), boxes())
def test_it_is_the_counting_of_cells(first: Boxes, second: Boxes) -> None:
    shared, overlap = intersections(first, second), iou(first, second)
    assert shared.shape == overlap.shape == (len(first), len(second))
    for row, box in enumerate(first):
        assert areas(box) == cells(box).sum()
        for column, other in enumerate(second):
            both, either = (cells(box) & cells(other)).sum(), (cells(box) | cells(other)).sum()
            assert shared[row, column] == both
            assert overlap[row, column] == pytest.approx(both / either if both else 0)


@given(boxes(), boxes())
def test_it_is_symmetric(first: Boxes, second: Boxes) -> None:
    assert np.array_equal(iou(first, second), iou(second, first).T)


@given(boxes(least=1))
def test_a_box_is_its_own_best_match(some: Boxes) -> None:
    own = np.diagonal(iou(some, some))
    assert np.array_equal(own, (areas(some) > 0).astype(float))
    assert (iou(some, some) <= 1).all()


@given(boxes(), boxes(), st.sampled_from([0.25, 2.0, 64.0]), st.integers(-100, 100))
def test_neither_unit_nor_place_matters(first: Boxes, second: Boxes, unit: float, place: int) -> None:
    assert np.array_equal(iou(first, second), iou(unit * first + place, unit * second + place))


def test_a_corner_on_the_wrong_side_is_no_area() -> None:
    inverted = np.array([[4.0, 4.0, 2.0, 2.0]])
    whole = np.array([[0.0, 0.0, 9.0, 9.0]])
    assert areas(inverted) == 0
    assert iou(inverted, whole) == iou(inverted, inverted) == 0


def test_single_precision_stays() -> None:
    some = np.array([[0, 0, 1, 1]], np.float32)
    assert iou(some, some).dtype == np.float32
