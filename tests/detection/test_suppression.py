"""Is exactly one box left for each object, and are the two thresholds two?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.architecture.ssdlite import ssdlite
from linnet.detection import Suppression, anchors, decode, detect, iou, suppress
from linnet.detection.suppression import Scoring

Array = NDArray[np.float32]
Found = tuple[Array, Array, NDArray[np.int64]]

ANCHORS = anchors(ssdlite())
SCORINGS: tuple[Scoring, ...] = ("sigmoid", "softmax")


def by_definition(boxes: Array, scores: Array, classes: NDArray[np.int64], rule: Suppression) -> list[int]:
    """Greedy suppression as it is written in textbooks: sort, then compare with everything kept."""
    kept: list[int] = []
    for number in sorted(range(len(scores)), key=lambda number: (-scores[number], number)):
        own = [other for other in kept if classes[other] == classes[number]]
        overlaps = iou(boxes[own], boxes[number : number + 1])
        if len(own) < rule.per_class and not (overlaps > rule.iou_threshold).any():
            kept.append(number)
    return kept[: rule.total]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Array, Array, NDArray[np.int64]]:
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = draw(st.integers(0, 60))
    low = generator.uniform(0, 0.6, (count, 2))
    boxes = np.concatenate([low, low + generator.uniform(0, 0.5, (count, 2))], axis=1).astype(np.float32)
    # Few different scores, so that there are equals.
    scores = (generator.integers(1, 20, count) / 20).astype(np.float32)
    return boxes, scores, np.sort(generator.integers(0, draw(st.integers(1, 4)), count))


rules = st.builds(
    Suppression,
    iou_threshold=st.sampled_from([0, 0.3, 0.6, 1.0]),
    per_class=st.integers(1, 8),
    total=st.integers(1, 20),
)


@given(scenes(), rules)
def test_what_stays_is_what_the_definition_says(scene: Found, rule: Suppression) -> None:
    boxes, scores, classes = scene
    assert suppress(boxes, scores, classes, rule).tolist() == by_definition(boxes, scores, classes, rule)


@given(scenes(), rules)
def test_suppressing_twice_is_suppressing_once(scene: Found, rule: Suppression) -> None:
    boxes, scores, classes = scene
    kept = suppress(boxes, scores, classes, rule)
    order = np.sort(kept)
    again = suppress(boxes[order], scores[order], classes[order], rule)
    assert order[again].tolist() == kept.tolist()


def test_a_hand_worked_example() -> None:
    # Overlaps: a and b 0.6 exactly, a and c 1/3, b and c 0.6; d is of another class.
    boxes = np.array([(0, 0, 4, 4), (0, 1, 4, 5), (0, 2, 4, 6), (0, 0, 4, 4)], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.95], np.float32)
    classes = np.array([0, 0, 0, 1])
    for threshold, expected in ((0.7, [3, 0, 1, 2]), (0.6, [3, 0, 1, 2]), (0.5, [3, 0, 2]), (0.2, [3, 0])):
        assert suppress(boxes, scores, classes, Suppression(iou_threshold=threshold)).tolist() == expected
    assert suppress(boxes, scores, classes, Suppression(iou_threshold=0.7, per_class=2)).tolist() == [3, 0, 1]
    assert suppress(boxes, scores, classes, Suppression(iou_threshold=0.7, total=2)).tolist() == [3, 0]


def outputs(seed: int, *, deviation: float = 2.0, classes: int = 3) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    offsets = generator.normal(0, 1, (len(ANCHORS), 4)).astype(np.float32)
    return offsets, generator.normal(-3, deviation, (len(ANCHORS), 1 + classes)).astype(np.float32)


def detect_all(offsets: Array, logits: Array, scoring: Any, rule: Suppression) -> Found:
    """`detect` without any of its short cuts, in float64."""
    values = logits.astype(np.float64)
    if scoring == "softmax":
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True))[:, 1:]
    else:
        scores = 1 / (1 + np.exp(-values[:, 1:]))
    classes, numbers = np.nonzero(rule.score_threshold <= scores.T)
    boxes = decode(offsets, ANCHORS)[numbers].astype(np.float32)
    order = by_definition(boxes, scores[numbers, classes].astype(np.float32), classes, rule)
    found = boxes[order].clip(0, 1)
    inside = (found[:, 2:] > found[:, :2]).all(axis=1)
    return found[inside], scores[numbers, classes][order][inside].astype(np.float32), classes[order][inside]


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("total", [20, 300])
def test_detections_are_what_the_definition_says(scoring: Any, threshold: float, total: int) -> None:
    offsets, logits = outputs(7)
    rule = Suppression(score_threshold=threshold, iou_threshold=0.4, per_class=total, total=total)
    found = detect(offsets, logits, ANCHORS, scoring=scoring, suppression=rule)
    expected = detect_all(offsets, logits, scoring, rule)
    for number in range(3):
        np.testing.assert_allclose(found[number], expected[number], rtol=1e-5, atol=1e-6)
    boxes, scores, classes = found
    assert [str(part.dtype) for part in found] == ["float32", "float32", "int64"]
    assert len(classes) > 0
    assert (np.diff(scores) <= 0).all()
    assert ((boxes >= 0) & (boxes <= 1)).all()


def test_many_candidates_that_leave_nothing_are_all_looked_at() -> None:
    # One box, two thousand times over, hides a worse one elsewhere: it is found although it comes last.
    offsets, logits = np.zeros((len(ANCHORS), 4), np.float32), np.full((len(ANCHORS), 2), 4.0, np.float32)
    same = np.tile(ANCHORS[-1:], (len(ANCHORS), 1))
    same[5], logits[5, 1] = ANCHORS[0], -2
    rule = Suppression(score_threshold=0.01)
    boxes, scores, _ = detect(offsets, logits, same, scoring="sigmoid", suppression=rule)
    assert len(boxes) == 2
    assert scores == pytest.approx([1 / (1 + math.exp(-4)), 1 / (1 + math.exp(2))])


def test_the_background_is_no_class_and_the_first_class_is_0() -> None:
    offsets, logits = np.zeros((len(ANCHORS), 4), np.float32), np.full((len(ANCHORS), 4), -9.0, np.float32)
    logits[:, 0], logits[1000, 1], logits[1001, 3] = 9, 12, 11
    cases: tuple[tuple[Any, float], ...] = (("sigmoid", 1.0), ("softmax", 0.9526))
    for scoring, best in cases:
        _, scores, classes = detect(offsets, logits, ANCHORS, scoring=scoring, suppression=Suppression())
        assert classes.tolist() == [0, 2]
        assert scores[0] == pytest.approx(best, abs=1e-4)


def test_nothing_is_found_where_nothing_is() -> None:
    offsets, logits = outputs(1)
    for rule in (Suppression(score_threshold=1.0), Suppression(score_threshold=0.999999)):
        boxes, scores, classes = detect(offsets, logits, ANCHORS, scoring="sigmoid", suppression=rule)
        assert (boxes.shape, scores.shape, classes.shape) == ((0, 4), (0,), (0,))


def test_a_threshold_of_0_keeps_all_and_limits_hold() -> None:
    offsets, logits = outputs(1)
    for scoring in SCORINGS:
        rule = Suppression(score_threshold=0, iou_threshold=1)
        boxes, _, _ = detect(offsets, logits, ANCHORS, scoring=scoring, suppression=rule)
        assert len(boxes) == 100


def test_boxes_wholly_outside_are_no_detections() -> None:
    offsets, logits = np.zeros((len(ANCHORS), 4), np.float32), np.full((len(ANCHORS), 2), -9.0, np.float32)
    offsets[0], logits[0] = (-100, 0, 0, 0), 9
    boxes, _, _ = detect(offsets, logits, ANCHORS, scoring="sigmoid", suppression=Suppression())
    assert len(boxes) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_output_that_is_no_number_is_refused_in_a_sentence(value: float) -> None:
    for number in range(2):
        parts = outputs(1)
        parts[number][3, 2] = value
        with pytest.raises(ValueError, match="not a number"):
            detect(*parts, ANCHORS, scoring="softmax", suppression=Suppression())


def test_the_largest_numbers_do_not_overflow() -> None:
    offsets, logits = outputs(1)
    largest = float(np.finfo(np.float32).max)
    logits[:50, 1], logits[50:90, 2], offsets[:90] = largest, -largest, 1e30
    for scoring in SCORINGS:
        boxes, scores, _ = detect(offsets, logits, ANCHORS, scoring=scoring, suppression=Suppression())
        assert np.isfinite(boxes).all()
        assert ((scores >= 0.3) & (scores <= 1)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_threshold", -0.1),
        ("score_threshold", math.nan),
        ("iou_threshold", 1.1),
        ("per_class", 0),
        ("total", 2.5),
    ],
)
def test_senseless_limits_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        Suppression(**{name: value})
