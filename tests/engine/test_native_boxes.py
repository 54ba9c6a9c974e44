"""Does the native library find the very boxes that the numpy code finds?"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.detection import Suppression, detect
from linnet.engine.boxes import NativeDetection
from linnet.engine.library import load_library
from linnet.engine.native import EngineError

pytestmark = pytest.mark.skipif(load_library() is None, reason="the native library is not built")

Array = NDArray[np.float32]
Found = tuple[NDArray[Any], ...]


def natively(offsets: Array, logits: Array, anchors: Array, *, scoring: Any, suppression: Suppression) -> Found:
    native = NativeDetection(anchors, logits.shape[1] - 1, scoring=scoring, **asdict(suppression))
    first = native(offsets, logits)
    # What is left of one picture does not meet the next.
    assert_same(native(offsets, logits), first)
    return first


def assert_same(found: Found, expected: Found) -> None:
    for ours, right in zip(found, expected, strict=True):
        assert ours.dtype == right.dtype
        assert np.array_equal(ours, right)


def outputs(seed: int, count: int, classes: int, *, levels: int = 0) -> tuple[Array, Array, Array]:
    """Offsets, logits and anchors; with `levels` of so few different values that there are many equals."""
    generator = np.random.default_rng(seed)
    anchors = generator.uniform(0.05, 0.95, (count, 4))
    offsets, logits = generator.normal(0, 1, (count, 4)), generator.normal(-1, 2, (count, 1 + classes))
    if levels:
        anchors, offsets, logits = (np.ceil(values * levels) / levels for values in (anchors, offsets, logits))
    return offsets.astype(np.float32), logits.astype(np.float32), anchors.astype(np.float32)


rules = st.builds(
    Suppression,
    score_threshold=st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.9, 1.0]),
    iou_threshold=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
    per_class=st.sampled_from([1, 3, 100]),
    total=st.sampled_from([1, 7, 100]),
)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 300),
    classes=st.integers(1, 20),
    levels=st.sampled_from([0, 0, 2, 4]),
    scoring=st.sampled_from(["sigmoid", "softmax"]),
    rule=rules,
)
def test_the_same_boxes_to_the_bit(
    seed: int, count: int, classes: int, levels: int, scoring: Any, rule: Suppression
) -> None:
    given = outputs(seed, count, classes, levels=levels)
    expected = detect(*given, scoring=scoring, suppression=rule)
    assert_same(natively(*given, scoring=scoring, suppression=rule), expected)


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
@pytest.mark.parametrize("threshold", [0, 0.01, 0.3])
def test_a_whole_detector_s_worth(scoring: Any, threshold: float) -> None:
    # A 0 looks at 173,000 candidates.
    given = outputs(3, 1917, 90)
    rule = Suppression(score_threshold=threshold)
    expected = detect(*given, scoring=scoring, suppression=rule)
    assert len(expected[0]) > 20 or threshold == 0.3
    assert_same(natively(*given, scoring=scoring, suppression=rule), expected)


def test_the_largest_numbers_do_not_overflow() -> None:
    offsets, logits, anchors = outputs(1, 200, 3)
    largest = float(np.finfo(np.float32).max)
    logits[:50, 1], logits[50:90, 2], offsets[:90] = largest, -largest, 1e30
    for scoring in ("sigmoid", "softmax"):
        rule: Any = {"scoring": scoring, "suppression": Suppression()}
        assert_same(natively(offsets, logits, anchors, **rule), detect(offsets, logits, anchors, **rule))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_output_that_is_no_number_is_refused(value: float) -> None:
    for number in range(2):
        parts = outputs(1, 50, 3)
        parts[number][49, 3] = value
        with pytest.raises(EngineError, match="not a number: its weights are damaged"):
            natively(*parts, scoring="softmax", suppression=Suppression())


def test_what_does_not_fit_is_refused() -> None:
    offsets, logits, anchors = outputs(1, 50, 3)
    options: Any = {"scoring": "sigmoid", **asdict(Suppression())}
    with pytest.raises(EngineError, match=r"must be \(\(50, 4\), \(50, 4\)\); they are \(49, 4\), \(50, 4\)"):
        NativeDetection(anchors, 3, **options)(offsets[1:], logits)
    changes: dict[str, Any]
    for changes in ({"total": 0}, {"per_class": 2**40}, {"score_threshold": math.nan}, {"iou_threshold": 2.0}):
        with pytest.raises(EngineError):
            NativeDetection(anchors, 3, **(options | changes))
    with pytest.raises(EngineError):
        NativeDetection(anchors, 2**31 - 1, **options)
    with pytest.raises(EngineError):
        NativeDetection(anchors[:0], 3, **options)
    with pytest.raises(EngineError, match=r"\(A, 4\)"):
        NativeDetection(anchors[0], 3, **options)
