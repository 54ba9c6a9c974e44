"""Are a classifier's outputs turned into honest probabilities, in the right order and under the right names?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.results import Classification, Prediction

LARGEST = float(np.finfo(np.float32).max)


def logits_of(values: list[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


numbers = st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=50).map(logits_of)
anything = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50).map(logits_of)


@given(numbers)
def test_scores_are_the_softmax_of_the_logits(logits: NDArray[np.float32]) -> None:
    powers = np.exp(logits.astype(np.longdouble))
    expected = (powers / powers.sum()).astype(np.float64)
    scores = Classification.from_logits(logits).scores
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, rel=2**-23)


@given(anything)
def test_scores_of_any_finite_logits_are_probabilities_in_the_order_of_the_logits(logits: NDArray[np.float32]) -> None:
    result = Classification.from_logits(logits)
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    assert float(result.scores.sum(dtype=np.float64)) == pytest.approx(1, abs=len(logits) * 2**-24 + 1e-9)
    order = np.argsort(logits, kind="stable")
    assert (np.diff(result.scores[order]) >= 0).all()
    assert result.scores[logits.argmax()] == result.scores.max()


@given(numbers, st.floats(-1000, 1000, width=32))
def test_a_constant_on_all_logits_changes_nothing(logits: NDArray[np.float32], constant: float) -> None:
    moved = logits.astype(np.float64) + constant
    scores = Classification.from_logits(moved.astype(np.float32)).scores
    # The sum itself is rounded to float32 before anything sees it.
    assert scores == pytest.approx(Classification.from_logits(logits).scores, rel=3e-4)


@pytest.mark.parametrize(
    ("logits", "scores"),
    [
        ([0.0, 0.0, 0.0, 0.0], [0.25] * 4),
        ([-7.5, -7.5], [0.5, 0.5]),
        ([3.0], [1.0]),
        ([LARGEST, -LARGEST], [1.0, 0.0]),
        ([LARGEST, LARGEST], [0.5, 0.5]),
        ([-LARGEST, -LARGEST, -LARGEST], [1 / 3] * 3),
        ([1000.0, 0.0, -1000.0], [1.0, 0.0, 0.0]),
        ([-np.inf, 0.0], [0.0, 1.0]),
        # Worked out by hand: exp(0), exp(ln 2), exp(ln 5) are 1, 2 and 5 of 8.
        ([0.0, np.log(2), np.log(5)], [0.125, 0.25, 0.625]),
    ],
)
def test_extremes_and_examples(logits: list[float], scores: list[float]) -> None:
    assert Classification.from_logits(logits_of(logits)).scores == pytest.approx(scores, abs=1e-7)


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, np.inf], [0.0, np.inf], [-np.inf, -np.inf]])
def test_an_output_that_is_no_number_is_refused_in_a_sentence(logits: list[float]) -> None:
    with pytest.raises(ValueError, match=r"not a number"):
        Classification.from_logits(logits_of(logits))


def test_half_precision_logits_are_taken_too() -> None:
    logits = np.array([60_000, -60_000, 60_000], np.float16)
    assert Classification.from_logits(logits.astype(np.float32)).scores.tolist() == [0.5, 0, 0.5]


@given(anything, st.integers(0, 60))
def test_top_is_sorted_and_of_equals_takes_the_lower_index(logits: NDArray[np.float32], count: int) -> None:
    result = Classification.from_logits(logits)
    expected = sorted(range(len(logits)), key=lambda index: (-result.scores[index], index))[:count]
    top = result.top(count)
    assert [prediction.index for prediction in top] == expected
    assert [prediction.score for prediction in top] == [float(result.scores[index]) for index in expected]


@given(anything)
def test_the_best_class_is_the_first_of_the_top(logits: NDArray[np.float32]) -> None:
    result = Classification.from_logits(logits, tuple(f"class {index}" for index in range(len(logits))))
    assert result.top(1) == [Prediction(result.label, result.index, result.score)]


def test_of_equal_scores_the_first_class_wins() -> None:
    result = Classification(logits_of([0.1, 0.3, 0.3, 0.3]), ("a", "b", "c", "d"))
    assert (result.label, result.index) == ("b", 1)
    assert [prediction.label for prediction in result.top(4)] == ["b", "c", "d", "a"]


@pytest.mark.parametrize(("count", "given_back"), [(-1, 0), (0, 0), (1, 1), (2, 2), (3, 3), (5, 3), (10**9, 3)])
def test_top_gives_as_many_as_there_are(count: int, given_back: int) -> None:
    assert len(Classification(logits_of([0.2, 0.5, 0.3])).top(count)) == given_back


def test_top_is_five_unless_said() -> None:
    assert len(Classification.from_logits(np.zeros(9, np.float32)).top()) == 5


def test_names_stand_for_their_index_and_digits_where_there_are_none() -> None:
    scores = logits_of([0.2, 0.5, 0.3])
    named, plain = Classification(scores, ("ant", "bee", "cat")), Classification(scores)
    assert [(best.label, best.index) for best in named.top()] == [("bee", 1), ("cat", 2), ("ant", 0)]
    assert [(best.label, best.index) for best in plain.top()] == [("1", 1), ("2", 2), ("0", 0)]
    assert (named.label, plain.label) == ("bee", "1")


def test_predictions_hold_plain_python_numbers_as_json_needs_them() -> None:
    (best,) = Classification(logits_of([0.25, 0.75])).top(1)
    assert best == Prediction("1", 1, 0.75)
    assert [type(value) for value in (best.label, best.index, best.score)] == [str, int, float]


def test_logits_are_left_as_they_were() -> None:
    logits = logits_of([1, 2, 3])
    Classification.from_logits(logits)
    assert logits.tolist() == [1, 2, 3]
