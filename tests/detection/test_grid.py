"""Are the anchors TensorFlow's, in its order?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from networks import detectors

from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.detection import anchors, iou, to_corners


def test_first_and_last_anchors_of_the_released_detector() -> None:
    found = anchors(ssdlite())
    assert (found.shape, str(found.dtype)) == ((1917, 4), "float32")
    middle = 0.5 / 19
    wide, high = 0.2 * math.sqrt(2), 0.2 / math.sqrt(2)
    expected = [
        (middle, middle, 0.1, 0.1),
        (middle, middle, wide, high),
        (middle, middle, high, wide),
        # The next cell is the one to the right.
        (3 * middle, middle, 0.1, 0.1),
    ]
    np.testing.assert_allclose(found[:4], expected, rtol=1e-6)
    np.testing.assert_allclose(found[19 * 3], (middle, 3 * middle, 0.1, 0.1), rtol=1e-6)
    last = 0.5, 0.5, math.sqrt(0.95), math.sqrt(0.95)
    np.testing.assert_allclose(found[-1], last, rtol=1e-6)
    # The second level begins after 19 x 19 x 3; its fifth anchor has the ratio 0.3333.
    fifth = 0.05, 0.05, 0.35 * math.sqrt(0.3333), 0.35 / math.sqrt(0.3333)
    np.testing.assert_allclose(found[1083 + 4], fifth, rtol=1e-6)


def test_nothing_is_clipped() -> None:
    found = anchors(ssdlite())
    assert (found[:, 0] - found[:, 2] / 2).min() < -0.2
    assert found[:, 2].max() == pytest.approx(0.95 * math.sqrt(3))


@pytest.mark.parametrize("detector", [ssdlite(resolution=320), ssd(resolution=320), ssdlite(variant="modern")])
def test_as_many_as_described(detector: Detector) -> None:
    assert len(anchors(detector)) == detector.anchors
    assert len(anchors(ssdlite(resolution=320))) == 2034


@given(detectors())
def test_anchors_of_any_detector(detector: Detector) -> None:
    found = anchors(detector)
    assert found.shape == (detector.anchors, 4)
    clipped = (lambda values: np.clip(values, 0, 1)) if detector.clipped_anchors else np.asarray
    start = 0
    for number, level in enumerate(detector.levels):
        height, width = level.size
        count = height * width * len(level.anchors)
        part = found[start : start + count].reshape(height, width, len(level.anchors), 4)
        np.testing.assert_allclose(part[0, 0, :, 2:], clipped(level.anchors), rtol=1e-6)
        if detector.anchor_strides:
            down, across = (detector.anchor_strides[number] / side for side in detector.input_size)
            np.testing.assert_allclose(part[-1, -1, 0, 0], clipped((width - 0.5) * across), rtol=1e-6)
            np.testing.assert_allclose(part[-1, -1, 0, 1], clipped((height - 0.5) * down), rtol=1e-6)
        else:
            # The centres of a level are spread evenly: turned over they are the same.
            assert ((part[..., :2] > 0) & (part[..., :2] < 1)).all()
            np.testing.assert_allclose(part[::-1, ::-1, :, :2], 1 - part[..., :2], atol=1e-6)
        start += count


def test_cells_may_stand_at_distances_of_their_own() -> None:
    strided = ssdlite(anchor_strides=(16, 32, 64, 100, 150, 300), last_scale=1.1)
    found = anchors(strided)
    np.testing.assert_allclose(found[0, :2] * 300, 8, rtol=1e-6)
    # The nineteenth of 16 pixels; at 32 the tenth lies outside.
    np.testing.assert_allclose(found[1082, :2] * 300, 18.5 * 16, rtol=1e-6)
    np.testing.assert_allclose(found[1682, :2] * 300, 9.5 * 32, rtol=1e-6)
    np.testing.assert_allclose(found[-1], (0.5, 0.5, *(math.sqrt(0.95 * 1.1),) * 2), rtol=1e-6)
    clipped = anchors(replace(strided, clipped_anchors=True))
    np.testing.assert_array_equal(clipped, found.clip(0, 1))
    assert (clipped != found).any()


def test_shapes_are_square_in_pixels_of_a_wide_picture() -> None:
    found = anchors(ssdlite(resolution=(300, 600)))
    assert found[0, 2] * 600 == pytest.approx(found[0, 3] * 300) == pytest.approx(30)


def reached(detector: Detector, boxes: dict[str, list[tuple[float, ...]]]) -> dict[str, float]:
    """Share of the objects of each class that an anchor overlaps by half."""
    corners = to_corners(anchors(detector))
    return {name: float((iou(np.array(rows), corners).max(axis=1) >= 0.5).mean()) for name, rows in boxes.items()}


def test_which_blood_cells_the_anchors_reach(sample_data: Callable[[str], Path]) -> None:
    boxes: dict[str, list[tuple[float, ...]]] = {}
    (path,) = (sample_data("bccd-coco") / "annotations").glob("*test*.json")
    document = json.loads(path.read_text())
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    for entry in document["annotations"]:
        x, y, width, height = entry["bbox"]
        box = (x / 640, y / 480, (x + width) / 640, (y + height) / 480)
        boxes.setdefault(names[entry["category_id"]], []).append(box)
    standard, modern = reached(ssdlite(), boxes), reached(ssdlite(variant="modern"), boxes)
    assert {name: round(share, 2) for name, share in standard.items()} == {"RBC": 0.95, "WBC": 1.0, "Platelets": 0.28}
    assert {name: round(share, 2) for name, share in modern.items()} == {"RBC": 1.0, "WBC": 1.0, "Platelets": 1.0}
