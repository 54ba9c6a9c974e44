"""Is the average precision of pictures drawn anew what the package says of those very pictures?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linnet.evaluation.average_precision import FIGURES, measure_precision
from linnet.evaluation.detector import DetectorFigures
from linnet.evaluation.resampled_precision import PrecisionStatistic
from linnet.evaluation.uncertainty import interval_of, resample


@dataclass
class Scene:
    """A picture with objects, and what a detector says of it."""

    boxes: Any
    indices: Any
    ignored: Any
    areas: Any
    found: Any
    scores: Any
    guesses: Any
    name: str = "scene"


@dataclass
class Found:
    boxes: Any
    scores: Any
    indices: Any


def scenes(count: int, classes: int, seed: int, *, objects: int = 8, detections: int = 25) -> list[Scene]:
    """Objects of all sizes, some ignored; detections near them, doubled, displaced, confused and of nothing."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        there, seen = (int(generator.integers(0, most + 1)) for most in (objects, detections))
        corners, sides = generator.random((there, 2)) * 300, np.exp(generator.normal(3.5, 1, (there, 2)))
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        indices = generator.integers(0, classes, there)
        near = generator.integers(0, max(there, 1), seen)
        base = boxes[near] if there else np.array([[0, 0, 20, 20]], np.float32).repeat(seen, axis=0)
        moved = base + generator.normal(0, 6, (seen, 4)).astype(np.float32)
        moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:]) + 1], 1)
        right = generator.random(seen) < 0.8
        guesses = np.where(right & (there > 0), indices[near] if there else 0, generator.integers(0, classes, seen))
        made.append(
            Scene(
                boxes, indices, generator.random(there) < 0.15, np.prod(sides, axis=1).astype(np.float32), moved,
                generator.permutation(seen) / 1000 + generator.random() / 2000, guesses.astype(np.int64),
            )
        )  # fmt: skip
    return made


def statistic(given: list[Scene], classes: int) -> PrecisionStatistic:
    return PrecisionStatistic(given, [Found(one.found, one.scores, one.guesses) for one in given], classes)  # type: ignore[arg-type]


def assert_as_the_package_says(given: list[Scene], classes: int, drawn: list[int]) -> None:
    counts = np.bincount(drawn, minlength=len(given))[None].astype(np.float32)
    ours = statistic(given, classes)(counts)
    chosen = [given[number] for number in sorted(drawn)]
    found = [Found(one.found, one.scores, one.guesses) for one in chosen]
    theirs = measure_precision(chosen, found, [str(number) for number in range(classes)])  # type: ignore[arg-type]
    for name in FIGURES:
        value = theirs.figures[name]
        assert np.isnan(ours[name][0]) if value is None else ours[name][0] == pytest.approx(value, abs=1e-9), name
    for index, (ap, ap50) in enumerate(theirs.per_class):
        for name, value in (("per_class_AP", ap), ("per_class_AP50", ap50)):
            mine = ours[name][0, index]
            assert np.isnan(mine) if value is None else mine == pytest.approx(value, abs=1e-9), (name, index)


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 10_000), st.data())
def test_any_draw_is_measured_as_the_package_measures_it(
    count: int, classes: int, seed: int, data: st.DataObject
) -> None:
    given_ = scenes(count, classes, seed)
    assert_as_the_package_says(given_, classes, list(range(count)))
    drawn = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=2 * count))
    assert_as_the_package_says(given_, classes, drawn)


def test_more_than_a_hundred_detections_and_none() -> None:
    crowded = scenes(4, 2, 5, detections=400)
    assert_as_the_package_says(crowded, 2, [0, 1, 1, 3])
    empty = scenes(3, 2, 6, detections=0)
    assert_as_the_package_says(empty, 2, [0, 1, 2])


def test_the_interval_holds_the_figure_and_shrinks_with_more_pictures() -> None:
    widths = []
    for count in (15, 240):
        one = statistic(scenes(count, 2, 7), 2)
        whole = one(np.ones((1, count), np.float32))["AP"][0]
        found = interval_of(whole, resample(one, count, samples=300)["AP"])
        assert found is not None
        assert found[0] <= whole <= found[1]
        widths.append(found[1] - found[0])
    assert widths[1] < 0.6 * widths[0]


def figures_of(given: list[Scene]) -> DetectorFigures:
    found: Any = [Found(one.found, one.scores, one.guesses) for one in given]
    samples: Any = given
    precision = measure_precision(samples, found, ["ant", "bee", "cat"])
    mistakes: Any = None
    return DetectorFigures(precision, mistakes, [], samples, found)


def test_the_difference_of_each_class_says_which_class_is_better() -> None:
    """A second model that finds no bee: ants and cats are found alike in every draw, bees are not."""
    given = scenes(60, 3, seed=5)
    blind = [replace(one, found=np.where((one.guesses == 1)[:, None], one.found + 9000, one.found)) for one in given]
    by_name = {each.name: each for each in figures_of(given).against(figures_of(blind))}
    for name in ("ant", "cat"):
        assert by_name[f"AP of {name}"].value == 0
        assert by_name[f"AP of {name}"].interval == (0, 0)
    bees = by_name["AP of bee"]
    assert bees.theirs == 0
    assert bees.value == bees.ours
    assert bees.value is not None
    assert bees.value > 0
    assert bees.interval is not None
    assert bees.interval[0] > 0
