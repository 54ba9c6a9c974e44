"""Do objects keep their numbers from frame to frame, and only they?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.films.tracking import NEWEST, PATIENCE, Tracker
from linnet.results import Detections, TrackedDetection, TrackedDetections, document
from linnet.results.drawing import draw


def found(*boxes: tuple[float, float, float, float], classes: list[int] | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.array(classes or [0] * count, np.int64),
        ("ant", "bee"),
    )


def box(x: float, y: float, side: float = 20) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def numbers(*frames: Detections, step: float = 0.04) -> list[list[int]]:
    tracker = Tracker()
    return [tracker.follow(each, place * step).tracks.tolist() for place, each in enumerate(frames)]


def test_objects_that_move_keep_their_numbers_whatever_their_order() -> None:
    frames = [found(box(4 * time, 0), box(100 - 4 * time, 50)) for time in range(10)]
    swapped = [found(box(100 - 4 * time, 50), box(4 * time, 0)) for time in range(10, 12)]
    assert numbers(*frames, *swapped) == [[1, 2]] * 10 + [[2, 1]] * 2


def test_a_new_object_gets_a_new_number_and_so_does_another_class_at_the_same_place() -> None:
    here, there = box(0, 0), box(200, 0)
    assert numbers(found(here), found(here, there), found(here, classes=[1])) == [[1], [1, 2], [3]]


def test_who_is_lost_for_a_while_keeps_its_number_and_for_longer_loses_it() -> None:
    here = found(box(0, 0))
    tracker = Tracker()
    assert tracker.follow(here, 0).tracks.tolist() == [1]
    assert len(tracker.follow(found(), 0.5)) == 0
    assert tracker.follow(here, PATIENCE).tracks.tolist() == [1]
    assert tracker.follow(here, 2 * PATIENCE + 0.1).tracks.tolist() == [2]


def test_the_pair_that_overlaps_most_is_one_object() -> None:
    first = found(box(0, 0), box(12, 0))
    assert numbers(first, found(box(11, 0), box(24, 0))) == [[1, 2], [2, 3]]


def test_boxes_are_smoothed() -> None:
    tracker = Tracker()
    tracker.follow(found(box(0, 0)), 0)
    second = tracker.follow(found(box(4, 0)), 0.04)
    assert second.boxes[0, 0] == pytest.approx(4 * NEWEST)
    generator = np.random.default_rng(0)
    tracker, steps = Tracker(), []
    noisy = [box(50 + generator.normal(0, 2), 50) for _ in range(200)]
    steps = [float(tracker.follow(found(each), place * 0.04).boxes[0, 0]) for place, each in enumerate(noisy)]
    assert np.abs(np.diff(steps)).mean() < 0.8 * np.abs(np.diff([each[0] for each in noisy])).mean()


@given(st.lists(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(0, 1)), max_size=6), max_size=6))
def test_nothing_is_lost_and_no_number_is_given_twice(frames: list[list[Any]]) -> None:
    tracker = Tracker()
    kinds: dict[int, int] = {}
    for place, objects in enumerate(frames):
        given_in = found(*(box(x, y) for x, y, _ in objects), classes=[kind for _, _, kind in objects])
        result = tracker.follow(given_in, place * 0.1)
        assert len(set(result.tracks.tolist())) == len(given_in)
        assert np.array_equal(result.scores, given_in.scores)
        assert np.isfinite(result.boxes).all()
        for number, kind in zip(result.tracks.tolist(), result.indices.tolist(), strict=True):
            assert kinds.setdefault(number, kind) == kind
    assert sorted(kinds) == list(range(1, len(kinds) + 1))


def test_numbers_stand_in_documents_and_on_pictures() -> None:
    from PIL import Image

    tracked = Tracker().follow(found(box(5, 5)), 0)
    assert isinstance(tracked, TrackedDetections)
    (best,) = tracked.top()
    assert isinstance(best, TrackedDetection)
    assert document("a", tracked)["predictions"][0]["track"] == 1
    image = Image.new("RGB", (64, 48))
    plain = found(box(5, 5))
    assert np.any(np.asarray(draw(image, tracked)) != np.asarray(draw(image, plain)))
