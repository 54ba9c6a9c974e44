"""Is every pixel's label that of its largest resized logit, in numpy and natively, in float and in integers?"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from linnet.architecture.operations import Grid
from linnet.engine.labels import native_labels
from linnet.engine.library import load_library
from linnet.engine.native import EngineError
from linnet.engine.resizing import resize
from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding, IntegerType, Quantisation
from linnet.segmentation import label_map
from linnet.segmentation.maps import BAND

NATIVE = [False, pytest.param(True, marks=pytest.mark.skipif(load_library() is None, reason="no native library"))]

sides = st.integers(1, 12)
larger_sides = st.integers(1, 40)


def maps(seed: int, shape: tuple[int, ...], kind: int) -> NDArray[np.float32]:
    """Of noise; of few values, so that there are equals; of patches, within which all pixels agree."""
    generator = np.random.default_rng(seed)
    values: NDArray[Any] = generator.standard_normal(shape)
    if kind == 1:
        values = np.round(values)
    if kind == 2:
        values = np.repeat(np.repeat(values[::4, ::4], 4, axis=0), 4, axis=1)[: shape[0], : shape[1]]
    return values.astype(np.float32)


@pytest.mark.parametrize("native", NATIVE)
@settings(max_examples=60)
@given(
    shape=st.tuples(sides, sides, st.integers(1, 24)),
    size=st.tuples(larger_sides, larger_sides),
    grid=st.sampled_from(get_args(Grid)),
    kind=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_labels_are_those_of_the_largest_resized_logit(
    native: bool, shape: tuple[int, int, int], size: tuple[int, int], grid: Grid, kind: int, seed: int
) -> None:
    logits = maps(seed, shape, kind)
    expected = resize(logits[None], size[::-1], grid)[0].argmax(axis=2)
    assert np.array_equal(label_map(logits, size, grid, native=native), expected)


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@settings(max_examples=60)
@given(
    shape=st.tuples(sides, sides, st.integers(1, 24)),
    size=st.tuples(larger_sides, larger_sides),
    grid=st.sampled_from(get_args(Grid)),
    kind=st.integers(0, 2),
)
def test_a_quantised_network_resizes_by_the_integer_rule(
    native: bool, dtype: IntegerType, shape: tuple[int, int, int], size: tuple[int, int], grid: Grid, kind: int
) -> None:
    encoding = Encoding(0.03125, 3)
    whole = rule.quantise(maps(3, shape, kind), encoding, dtype)
    expected = rule.resize(whole[None], size[::-1], dtype, grid)[0].argmax(axis=2)
    scheme = Quantisation(dtype, {"logits": encoding})
    found = label_map(rule.dequantise(whole, encoding), size, grid, quantisation=scheme, native=native)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("native", NATIVE)
def test_large_maps_are_made_band_by_band(native: bool) -> None:
    logits = maps(5, (9, 12, 40), 0)
    assert 2 * BAND < 300 * 200 * 40
    expected = resize(logits[None], (200, 300), "half_pixel")[0].argmax(axis=2)
    assert np.array_equal(label_map(logits, (300, 200), "half_pixel", native=native), expected)


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e37])
def test_what_is_no_number_is_refused(native: bool, value: float) -> None:
    logits = maps(0, (4, 4, 3), 0)
    logits[2, 1, 1] = value
    with pytest.raises(ValueError, match="not a number"):
        label_map(logits, (8, 8), "half_pixel", native=native)


@pytest.mark.skipif(load_library() is None, reason="no native library")
def test_the_library_refuses_what_it_cannot_take() -> None:
    with pytest.raises(EngineError, match="no finite numbers"):
        native_labels(np.full((2, 2, 3), np.nan, np.float32), (4, 4), "half_pixel")
    with pytest.raises(EngineError, match="1 to 255 classes"):
        native_labels(np.zeros((2, 2, 256), np.float32), (4, 4), "half_pixel")
    with pytest.raises(EngineError, match="H, W, classes"):
        native_labels(np.zeros((2, 2), np.float32), (4, 4), "half_pixel")
    with pytest.raises(EngineError, match="pixels a side"):
        native_labels(np.zeros((2, 2, 3), np.float32), (4, 70_000), "half_pixel")
