"""Are intervals those of the textbooks, and do they keep the laws that intervals have?"""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.evaluation.uncertainty import Difference, interval_of, paired, resample, wilson

# Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
PUBLISHED = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]


@pytest.mark.parametrize(("hits", "total", "low", "high"), PUBLISHED)
def test_published_intervals_of_shares(hits: int, total: int, low: float, high: float) -> None:
    found = wilson(hits, total)
    assert found is not None
    assert tuple(round(end, 4) for end in found) == (low, high)


@given(st.integers(1, 5000), st.data())
def test_a_share_lies_in_its_interval_which_shrinks_with_more_pictures(total: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, total))
    small, large = wilson(hits, total), wilson(4 * hits, 4 * total)
    assert small is not None
    assert large is not None
    assert 0 <= small[0] <= hits / total <= small[1] <= 1
    assert large[1] - large[0] < small[1] - small[0]
    mirrored = wilson(total - hits, total)
    assert mirrored is not None
    np.testing.assert_allclose(sorted(1 - end for end in mirrored), small, atol=1e-12)


def test_nothing_has_no_interval() -> None:
    assert wilson(0, 0) is None
    assert interval_of(0.5, np.full(10, np.nan)) is None
    assert interval_of(None, np.ones(10)) is None


def mean_of(values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return resample(lambda counts: {"mean": (counts @ values) / counts.sum(axis=1)}, len(values))


def test_the_mean_s_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = interval_of(values.mean(), mean_of(values)["mean"])
    assert found is not None
    error = values.std() / np.sqrt(len(values))
    expected = (values.mean() - 1.96 * error, values.mean() + 1.96 * error)
    # A thousand draws tell the ends to about a fifteenth of a deviation.
    np.testing.assert_allclose(found, expected, atol=0.25 * error)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        values = generator.exponential(1.0, 60)
        found = interval_of(values.mean(), mean_of(values)["mean"])
        assert found is not None
        hits += found[0] <= 1.0 <= found[1]
    # 95 % of 200 is 190, less a few for the skewed distribution and the few pictures.
    assert 175 <= hits <= 199


def test_a_seed_draws_the_same_pictures_in_any_number_of_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values, done = np.arange(50.0), list[int]()
    whole = mean_of(values)["mean"]
    assert np.array_equal(whole, mean_of(values)["mean"])
    monkeypatch.setattr("linnet.evaluation.uncertainty.CHUNK", 50 * 64)
    chunked = resample(
        lambda counts: {"mean": (counts @ values) / counts.sum(axis=1)}, 50, samples=100, progress=done.append
    )
    assert np.array_equal(chunked["mean"], whole[:100])
    assert done == [64, 100]


def test_a_model_differs_from_itself_by_exactly_nothing() -> None:
    draws = mean_of(np.random.default_rng(2).random(30))["mean"]
    difference = paired("top1", 0.5, 0.5, draws, draws)
    assert difference.interval == (0.0, 0.0)
    assert not difference.excludes_zero
    assert "do not show that they differ" in difference.sentence


def test_a_difference_says_in_words_what_it_shows() -> None:
    better = Difference("AP", 0.6, 0.5, (0.02, 0.17))
    assert better.excludes_zero
    assert better.sentence == (
        "AP: 0.600 against 0.500, a difference of +0.100 (95 %: +0.020 to +0.170); zero lies outside: the first is "
        "better on pictures like these."
    )
    assert "the second is better" in Difference("AP", 0.5, 0.6, (-0.17, -0.02)).sentence
    assert "cannot be measured" in Difference("APs", None, None, None).sentence
    assert Difference("APs", 0.5, None, None).to_json()["difference"] is None
    assert better.to_json()["difference_95"] == [0.02, 0.17]


def test_a_figure_that_draws_only_enlarge_still_lies_in_its_interval() -> None:
    low, high = interval_of(0.01, np.linspace(0.02, 0.05, 101)) or (0, 0)
    assert low == 0.01
    assert high == pytest.approx(0.04925)


def test_wider_coverage_of_a_share_than_of_the_textbook_interval() -> None:
    """Of all outcomes of 40 throws at 3 %, Wilson's interval holds the truth in 19 of 20; the normal one in 70 %."""
    total, truth = 40, 0.03
    odds = [comb(total, hits) * truth**hits * (1 - truth) ** (total - hits) for hits in range(total + 1)]
    held = [low <= truth <= high for low, high in (wilson(hits, total) or (1, 0) for hits in range(total + 1))]
    assert sum(chance for chance, inside in zip(odds, held, strict=True) if inside) > 0.93


def test_a_paired_interval_holds_the_true_difference_and_is_narrower_than_an_unpaired_one() -> None:
    generator, hits, widths = np.random.default_rng(4), 0, []
    for _ in range(150):
        hard = generator.random(80)
        first, second = (hard + generator.random(80) * 0.3 < limit for limit in (0.8, 0.7))
        ours, theirs = (mean_of(right.astype(float))["mean"] for right in (first, second))
        found = paired("top1", first.mean(), second.mean(), ours, theirs).interval
        assert found is not None
        hits += found[0] <= 0.1 <= found[1]
        apart = interval_of(first.mean() - second.mean(), ours - generator.permutation(theirs))
        assert apart is not None
        widths.append((found[1] - found[0]) / (apart[1] - apart[0]))
    assert 134 <= hits <= 149
    assert np.mean(widths) < 0.8


def test_mean_intersection_over_union_takes_the_same_way() -> None:
    """A figure that is no mean over pictures: sums over pictures first, then a quotient of each class."""
    generator = np.random.default_rng(3)
    unions = generator.integers(50, 100, (60, 4)).astype(np.float32)
    shared = (unions * generator.random((60, 4))).astype(np.float32)

    def iou(counts: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        classes = ((counts @ shared) / (counts @ unions)).astype(np.float64)
        return {"mIoU": classes.mean(axis=1), "IoU": classes}

    whole, draws = iou(np.ones((1, 60), np.float32)), resample(iou, 60)
    assert draws["IoU"].shape == (1000, 4)
    low, high = interval_of(whole["mIoU"][0], draws["mIoU"]) or (1, 0)
    assert 0.4 < low < whole["mIoU"][0] < high < 0.6
