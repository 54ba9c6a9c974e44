"""Is the integer rule what its formulas say, and near the numbers that the integers stand for?"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.architecture.operations import Grid
from linnet.quantisation import rule
from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType

DTYPES = st.sampled_from(["int8", "uint8"])
SCALES = st.floats(2.0**-12, 2.0**6, width=32)
NEAR = st.floats(2.0**-7, 1, width=32)


@st.composite
def encodings(draw: st.DrawFn, dtype: IntegerType, scales: st.SearchStrategy[float] = SCALES) -> Encoding:
    return Encoding(draw(scales), draw(st.integers(*LIMITS[dtype])))


def nearest_even(value: Fraction) -> int:
    return round(value)


@given(st.data(), DTYPES)
def test_every_integer_comes_back(data: st.DataObject, dtype: IntegerType) -> None:
    encoding = data.draw(encodings(dtype))
    low, high = LIMITS[dtype]
    everything = np.arange(low, high + 1).astype(dtype)
    numbers = rule.dequantise(everything, encoding)
    assert numbers.dtype == np.float32
    assert np.array_equal(rule.quantise(numbers, encoding, dtype), everything)
    assert numbers[encoding.zero - low] == 0


@given(st.data(), DTYPES, st.floats(-100, 100, width=32))
def test_a_number_becomes_the_nearest_integer(data: st.DataObject, dtype: IntegerType, value: float) -> None:
    encoding = data.draw(encodings(dtype))
    low, high = LIMITS[dtype]
    found = int(rule.quantise(np.array([value]), encoding, dtype)[0])
    exact = np.clip(value / encoding.scale + encoding.zero, low, high)
    # 1 / s is rounded: near a half either neighbour is right.
    assert abs(found - exact) <= 0.5 + 1e-4


@given(st.data(), DTYPES)
def test_activations_are_limits(data: st.DataObject, dtype: IntegerType) -> None:
    encoding = data.draw(encodings(dtype))
    low, high = LIMITS[dtype]
    assert rule.bounds(dtype, encoding, "linear") == (low, high)
    assert rule.bounds(dtype, encoding, "relu") == (encoding.zero, high)
    least, most = rule.bounds(dtype, encoding, "relu6")
    assert least == encoding.zero
    assert abs(most - min(encoding.zero + 6 / encoding.scale, high)) <= 0.5 + 1e-4


def test_a_tie_of_relu6_goes_to_the_even_integer() -> None:
    # 6 / 4 = 1.5 with zero 1 is 2.5: 2; with zero 0 it is 1.5: 2.
    assert rule.bounds("uint8", Encoding(4.0, 1), "relu6") == (1, 2)
    assert rule.bounds("uint8", Encoding(4.0, 0), "relu6") == (0, 2)


@given(
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.floats(2.0**-30, 4, width=32),
    st.data(),
    DTYPES,
)
def test_sums_are_rounded_three_times(total: int, factor: float, data: st.DataObject, dtype: IntegerType) -> None:
    """To float32, after the product, and to an integer: each to the nearest, ties to even, computed with fractions."""
    result = data.draw(encodings(dtype))
    single = Fraction(float(np.float32(total)))
    product = single * Fraction(factor)
    rounded = Fraction(float(np.float32(float(single) * factor)))  # exact in double: 24 + 24 bits
    assert float(product) == float(single) * factor
    expected = min(max(nearest_even(rounded) + result.zero, LIMITS[dtype][0]), LIMITS[dtype][1])
    for kind in (np.int64, np.float64):
        found = rule.requantise(np.array([total], kind), np.array([factor], np.float32), result, dtype, LIMITS[dtype])
        assert found.dtype == np.dtype(dtype)
        assert int(found[0]) == expected


def test_the_multiplier_is_a_product_first() -> None:
    """(s_in * s_w) / s_out: for these three scales every other order gives another float32."""
    generator = np.random.default_rng(0)
    scales = generator.uniform(0.001, 1, (1000, 3)).astype(np.float32)
    found = np.array(
        [rule.multiplier(Encoding(float(a), 0), np.array([w]), Encoding(float(o), 0))[0] for a, w, o in scales]
    )
    a, w, o = scales.T
    assert np.array_equal(found, (a * w) / o)
    assert not np.array_equal(found, a * (w / o))
    assert not np.array_equal(found, (a / o) * w)


@given(st.data(), DTYPES, st.integers(0, 1000))
def test_a_sum_is_near_the_sum_of_the_numbers(data: st.DataObject, dtype: IntegerType, seed: int) -> None:
    given = tuple(data.draw(encodings(dtype, NEAR)) for _ in range(2))
    result = data.draw(encodings(dtype, NEAR))
    low, high = LIMITS[dtype]
    first, second = np.random.default_rng(seed).integers(low, high + 1, (2, 50)).astype(dtype)
    found = rule.add(first, second, (given[0], given[1]), result, dtype)
    exact = sum(rule.dequantise(x, e).astype(np.float64) for x, e in zip((first, second), given, strict=True))
    wanted = np.clip(exact / result.scale + result.zero, low, high)
    # 20 bits of the larger multiplier times 2 x 255 steps.
    assert np.abs(found - wanted).max() <= 0.5 + 2 * 255 * 2.0**-20
    assert np.array_equal(rule.add(second, first, (given[1], given[0]), result, dtype), found)


def test_a_sum_of_halves_rounds_up() -> None:
    one, half = Encoding(1.0, 0), Encoding(0.5, 0)
    values = np.array([-3, -1, 1, 3], np.int8)
    assert rule.add(values, np.zeros(4, np.int8), (half, half), one, "int8").tolist() == [-1, 0, 1, 2]


@given(st.data(), DTYPES, st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(0, 1000))
def test_means_are_near_the_means(data: st.DataObject, dtype: IntegerType, size: tuple[int, int], seed: int) -> None:
    given = data.draw(encodings(dtype, NEAR))
    result = data.draw(encodings(dtype, NEAR))
    low, high = LIMITS[dtype]
    maps = np.random.default_rng(seed).integers(low, high + 1, (2, *size, 5)).astype(dtype)
    exact = maps.astype(np.float64).mean(axis=(1, 2))
    average = rule.pool_average(maps, dtype)
    assert np.abs(average - exact).max() <= 0.5
    wanted = np.clip((exact - given.zero) * given.scale / result.scale + result.zero, low, high)
    assert np.abs(rule.pool_mean(maps, given, result, dtype) - wanted).max() <= 0.51


def test_an_average_of_halves_rounds_away_from_zero() -> None:
    maps = np.array([[-3, -2], [1, 2]], np.int8).reshape(2, 1, 2, 1)
    assert rule.pool_average(maps, "int8").ravel().tolist() == [-3, 2]


@given(st.data(), DTYPES)
def test_the_logistic_is_the_logistic(data: st.DataObject, dtype: IntegerType) -> None:
    given = data.draw(encodings(dtype, SCALES))
    low, high = LIMITS[dtype]
    result = Encoding(1 / 256, low)
    everything = np.arange(low, high + 1).astype(dtype)
    found = rule.logistic(everything, given, result, dtype).astype(np.int64)
    numbers = rule.dequantise(everything, given).astype(np.float64)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-numbers))
    assert np.abs(found - np.minimum(exact * 256 + low, high)).max() <= 0.5 + 1e-4
    assert (np.diff(found) >= 0).all()


@given(st.data(), DTYPES, st.integers(0, 1000))
def test_joined_tensors_keep_their_numbers(data: st.DataObject, dtype: IntegerType, seed: int) -> None:
    given = [data.draw(encodings(dtype, NEAR)) for _ in range(2)]
    result = data.draw(encodings(dtype, NEAR))
    low, high = LIMITS[dtype]
    parts = list(np.random.default_rng(seed).integers(low, high + 1, (2, 3, 4)).astype(dtype))
    found = rule.concatenate(parts, given, result, dtype, axis=0)
    exact = np.concatenate([rule.dequantise(x, e).astype(np.float64) for x, e in zip(parts, given, strict=True)])
    assert np.abs(found - np.clip(exact / result.scale + result.zero, low, high)).max() <= 0.5 + 1e-3
    assert np.array_equal(rule.concatenate(parts, [given[0]] * 2, given[0], dtype, axis=0), np.concatenate(parts))


@given(
    DTYPES,
    st.tuples(*[st.integers(1, 7)] * 4),
    st.sampled_from(get_args(Grid)),
    st.integers(0, 1000),
)
def test_resizing_is_bilinear(dtype: IntegerType, sizes: tuple[int, int, int, int], grid: Grid, seed: int) -> None:
    height, width, after_height, after_width = sizes
    low, high = LIMITS[dtype]
    maps = np.random.default_rng(seed).integers(low, high + 1, (1, height, width, 3)).astype(dtype)
    found = rule.resize(maps, (after_height, after_width), dtype, grid)

    def place(index: int, before: int, after: int) -> tuple[int, int, float]:
        ratio = (before - 1) / (after - 1) if grid == "align_corners" and after > 1 else before / after
        exact = index * ratio + (0.5 * ratio - 0.5 if grid == "half_pixel" else 0)
        exact = min(max(exact, 0), before - 1)
        first = math.floor(exact)
        return first, min(first + 1, before - 1), exact - first

    for row, column in np.ndindex(after_height, after_width):
        top, bottom, down = place(row, height, after_height)
        left, right, across = place(column, width, after_width)
        numbers: Any = maps[0].astype(np.float64)
        above = numbers[top, left] * (1 - across) + numbers[top, right] * across
        below = numbers[bottom, left] * (1 - across) + numbers[bottom, right] * across
        exact = above * (1 - down) + below * down
        assert np.abs(found[0, row, column] - exact).max() <= 0.5 + 2 * 255 * 2.0**-11


def test_resizing_to_the_same_size_changes_nothing() -> None:
    maps = np.random.default_rng(0).integers(-128, 128, (2, 5, 4, 3)).astype(np.int8)
    for grid in get_args(Grid):
        assert np.array_equal(rule.resize(maps, (5, 4), "int8", grid), maps)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 1e-39, 0.1, 1e300])
def test_scales_that_are_no_float32_are_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale of an encoding"):
        Encoding(scale, 0)


def test_zero_points_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="zero point of an encoding"):
        Encoding(1.0, 0.5)  # type: ignore[arg-type]
