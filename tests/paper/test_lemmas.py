"""Lemmas 1 and 2 of the paper's appendix: where ReLU loses nothing."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.paper.figure1 import collapsed_share, through_relu

Array = NDArray[np.float64]
Box = tuple[Array, Array]


def relu(values: Array) -> Array:
    return np.maximum(values, 0)


def draw(seed: int, rows: int, columns: int) -> tuple[Array, Array]:
    """A matrix and a point, normal; no pre-activation is zero."""
    generator = np.random.default_rng(seed)
    matrix, point = generator.normal(size=(rows, columns)), generator.normal(size=columns)
    assume(np.abs(matrix @ point).min() > 1e-6)
    return matrix, point


seeds, few = st.integers(0, 10_000), st.integers(1, 6)


@given(seeds, few, st.floats(2.0, 4.0))
def test_lemma_2_enough_positive_rows_give_the_point_back_and_no_other(seed: int, columns: int, ratio: float) -> None:
    matrix, point = draw(seed, int(ratio * columns), columns)
    active = matrix[matrix @ point > 0]
    assume(np.linalg.matrix_rank(active) == len(point))
    output = relu(matrix @ point)
    solved, *_ = np.linalg.lstsq(active, output[output > 0], rcond=None)
    np.testing.assert_allclose(solved, point, rtol=1e-6, atol=1e-8 * np.linalg.cond(active))
    # Any other point, near or far, has another output.
    generator = np.random.default_rng(seed)
    for length in (1e-3, 1.0, 1e3):
        other = point + length * generator.normal(size=len(point))
        assert not np.allclose(relu(matrix @ other), output, rtol=1e-9, atol=1e-12)


@given(seeds, few, st.floats(0.5, 1.5))
def test_lemma_2_too_few_positive_rows_leave_other_points(seed: int, columns: int, ratio: float) -> None:
    matrix, point = draw(seed, max(1, int(ratio * columns)), columns)
    before = matrix @ point
    active = matrix[before > 0]
    assume(np.linalg.matrix_rank(active) < len(point) if len(active) else True)
    # A direction that no active row sees, and a step that wakes no row that is asleep.
    direction = np.linalg.svd(active)[2][-1] if len(active) else np.ones(len(point))
    slope = np.abs((matrix @ direction)[before < 0])
    asleep = np.abs(before[before < 0])
    step = 0.5 * min((limit / rise for limit, rise in zip(asleep, slope, strict=True) if rise > 0), default=1.0)
    other = point + step * direction
    assert np.linalg.norm(other - point) > 1e-9
    np.testing.assert_allclose(relu(matrix @ other), relu(before), atol=1e-9 * (1 + np.abs(before).max()))


@given(seeds, st.integers(2, 6), st.integers(1, 4))
def test_lemma_2_many_positive_rows_are_not_enough_if_they_depend_on_each_other(
    seed: int, columns: int, copies: int
) -> None:
    generator = np.random.default_rng(seed)
    few_rows = generator.normal(size=(columns - 1, columns))
    # Every row is a positive multiple of one of too few, and all are positive.
    matrix = np.concatenate([(2 + copy) * few_rows for copy in range(copies + 1)])
    point = np.linalg.lstsq(few_rows, generator.uniform(0.5, 2, columns - 1), rcond=None)[0]
    assert np.count_nonzero(matrix @ point > 0) >= columns
    hidden = np.linalg.svd(few_rows)[2][-1]
    np.testing.assert_allclose(relu(matrix @ (point + hidden)), relu(matrix @ point), atol=1e-8)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
def test_what_figure_1_counts_as_collapsed_is_what_lemma_2_loses(seed: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    share = collapsed_share(matrix[None], np.random.default_rng(seed))
    directions = np.random.default_rng(seed).normal(size=(1, columns, 90))[0]
    lost = [np.linalg.matrix_rank(matrix[matrix @ point > 0]) < columns for point in directions.T]
    assert share == pytest.approx(np.mean(lost))


def test_the_left_inverse_of_a_matrix_gives_half_of_a_pair_of_opposite_points() -> None:
    # ReLU(x) - ReLU(-x) = x: what the plotted curves show of the left inverse.
    generator = np.random.default_rng(0)
    matrix, points = generator.normal(size=(7, 2)), generator.normal(size=(20, 2))
    np.testing.assert_allclose(through_relu(points, matrix) - through_relu(-points, matrix), points, atol=1e-9)


def in_box(point: Array, box: Box) -> bool:
    return bool(((box[0] <= point) & (point <= box[1])).all())


def in_image(point: Array, boxes: list[Box]) -> bool:
    """Whether a point is ReLU of a point of one of the boxes."""
    return any(
        all(
            (low <= value <= high) if value > 0 else (value == 0 and low <= 0)
            for value, low, high in zip(point, *box, strict=True)
        )
        for box in boxes
    )


def in_interior(point: Array, boxes: list[Box], reach: float = 1e-9) -> bool:
    """Whether all corners of a small cube around a point are in the image; exact where no face is that near."""
    corners = product(*((value - reach, value, value + reach) for value in point))
    return all(in_image(np.array(corner), boxes) for corner in corners)


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 4))
def test_lemma_1_relu_is_the_identity_where_its_image_has_an_interior(seed: int, dimensions: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    corners = generator.uniform(-2, 2, (count, 2, dimensions))
    boxes = [(pair.min(axis=0), pair.max(axis=0)) for pair in corners]
    inside = 0
    for box in boxes:
        for _ in range(10):
            image = relu(generator.uniform(*box))
            assert in_image(image, boxes)
            if in_interior(image, boxes):
                inside += 1
                assert any(in_box(image, other) for other in boxes)
    # The lemma says something: a box with a positive part has such points.
    assert inside or all((high < 0.5).any() or (low < 0).any() for low, high in boxes)


def test_lemma_1_is_about_the_interior_only() -> None:
    # The negative half-axis falls onto zero, which was never in it.
    boxes = [(np.array([-2.0]), np.array([-1.0]))]
    assert in_image(np.array([0.0]), boxes)
    assert not in_interior(np.array([0.0]), boxes)
    assert not in_box(np.array([0.0]), boxes[0])
