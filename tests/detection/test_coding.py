"""Do boxes survive being coded, and is their overlap what it is by hand?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from linnet.architecture.ssdlite import ssdlite
from linnet.detection import VARIANCES, anchors, decode, encode, iou, to_centres, to_corners

Array = NDArray[np.floating[Any]]

sides = st.floats(0.002, 3)
places = st.floats(-1, 2)


@st.composite
def boxes_cxcywh(draw: st.DrawFn, count: int = 5) -> Array:
    centres = draw(arrays(np.float64, (count, 2), elements=places))
    return np.concatenate([centres, draw(arrays(np.float64, (count, 2), elements=sides))], axis=1)


@given(boxes_cxcywh(), boxes_cxcywh())
def test_decoding_gives_back_what_was_encoded(boxes: Array, some: Array) -> None:
    corners = to_corners(boxes)
    np.testing.assert_allclose(decode(encode(corners, some), some), corners, atol=1e-9)


@given(arrays(np.float64, (4, 4), elements=st.floats(-20, 20)), boxes_cxcywh(4))
def test_encoding_gives_back_what_was_decoded(offsets: Array, some: Array) -> None:
    np.testing.assert_allclose(encode(decode(offsets, some), some), offsets, atol=1e-6)


@given(boxes_cxcywh())
def test_centres_and_corners(boxes: Array) -> None:
    np.testing.assert_allclose(to_centres(to_corners(boxes)), boxes, atol=1e-12)


def test_the_released_codes_by_hand() -> None:
    anchor = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)
    # Moved right by a quarter of the anchor's width, twice as wide, half as high: 10 x 0.25, 5 x ln 2, -5 x ln 2.
    box = to_corners(np.array([[0.55, 0.5, 0.4, 0.2]], np.float32))
    expected = [[2.5, 0, 5 * math.log(2), -5 * math.log(2)]]
    np.testing.assert_allclose(encode(box, anchor), expected, atol=1e-5)
    assert VARIANCES == (0.1, 0.1, 0.2, 0.2)
    assert encode(box, anchor).dtype == np.float32


def test_no_offset_is_the_anchor_itself() -> None:
    some = anchors(ssdlite())
    np.testing.assert_allclose(decode(np.zeros_like(some), some), to_corners(some), atol=1e-6)


def test_monstrous_offsets_overflow_nothing() -> None:
    some = anchors(ssdlite())[:1]
    found = decode(np.array([[0, 0, 3e38, -3e38]], np.float32), some)
    assert np.isfinite(found).all()
    assert found[0, 2] - found[0, 0] == pytest.approx(1e5, rel=1e-3)


@pytest.mark.parametrize("box", [(0.2, 0.2, 0.2, 0.5), (0.5, 0.2, 0.2, 0.5), (0.1, 0.1, math.nan, 1)])
def test_a_box_without_area_cannot_be_encoded(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="without width or height"):
        encode(np.array([box]), np.array([[0.5, 0.5, 1, 1]]))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 2, 2), 1),
        ((1, 1, 3, 3), 1 / 7),
        ((1, 0, 3, 2), 1 / 3),
        ((0, 0, 1, 1), 1 / 4),
        # Touching is not overlapping.
        ((2, 0, 4, 2), 0),
        ((5, 5, 6, 6), 0),
        ((1, 1, 1, 1), 0),
        ((2, 2, 0, 0), 0),
    ],
)
def test_overlap_by_hand(other: tuple[float, ...], expected: float) -> None:
    found = iou(np.array([(0, 0, 2, 2)], np.float64), np.array([other], np.float64))
    assert found == pytest.approx(np.array([[expected]]))


@given(boxes_cxcywh(), boxes_cxcywh(3))
def test_overlap_is_symmetric_and_a_share(first: Array, second: Array) -> None:
    a, b = to_corners(first), to_corners(second)
    found = iou(a, b)
    assert found.shape == (5, 3)
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    np.testing.assert_allclose(found, iou(b, a).T)
    np.testing.assert_allclose(iou(a, a).diagonal(), 1)
    # Neither place nor scale matters.
    np.testing.assert_allclose(iou(7 * a + 3, 7 * b + 3), found, atol=1e-9)


def test_boxes_without_area_overlap_nothing() -> None:
    points = np.zeros((2, 4), np.float32)
    assert not iou(points, points).any()
    assert iou(points[:0], points).shape == (0, 2)
