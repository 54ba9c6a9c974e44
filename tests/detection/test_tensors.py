"""Do the torch twins give what numpy gives?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from linnet import detection
from linnet.architecture.ssdlite import ssdlite
from linnet.detection import Suppression, tensors
from linnet.detection.suppression import Scoring

ANCHORS = detection.anchors(ssdlite(variant="modern", resolution=160))
SCORINGS: tuple[Scoring, ...] = ("sigmoid", "softmax")


def outputs(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.randn(len(ANCHORS), 4, generator=generator)
    return offsets, 2 * torch.randn(len(ANCHORS), 6, generator=generator) - 2


@given(st.integers(0, 1000))
def test_coding_and_overlap(seed: int) -> None:
    offsets, _ = outputs(seed)
    anchors = torch.from_numpy(ANCHORS)
    boxes = tensors.decode(offsets, anchors)
    numpy_boxes = detection.decode(offsets.numpy(), ANCHORS)
    np.testing.assert_allclose(boxes.numpy(), numpy_boxes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tensors.encode(boxes, anchors).numpy(), offsets.numpy(), atol=1e-3)
    np.testing.assert_allclose(tensors.to_centres(boxes).numpy(), detection.to_centres(numpy_boxes), atol=1e-5)
    expected = detection.iou(numpy_boxes[:50], numpy_boxes[50:80])
    np.testing.assert_allclose(tensors.iou(boxes[:50], boxes[50:80]).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize(
    "rule",
    [
        Suppression(),
        Suppression(score_threshold=0, per_class=7, total=30),
        Suppression(score_threshold=0.01, iou_threshold=0.3, total=2000, per_class=2000),
        Suppression(score_threshold=1.0),
    ],
)
def test_detections(scoring: Scoring, rule: Suppression) -> None:
    for seed in range(3):
        offsets, logits = outputs(seed)
        found = tensors.detect(offsets, logits, torch.from_numpy(ANCHORS), scoring=scoring, suppression=rule)
        expected = detection.detect(offsets.numpy(), logits.numpy(), ANCHORS, scoring=scoring, suppression=rule)
        for number in range(3):
            np.testing.assert_allclose(found[number].numpy(), expected[number], rtol=1e-4, atol=1e-5)


def test_what_is_refused() -> None:
    offsets, logits = outputs(0)
    logits[5, 2] = math.nan
    with pytest.raises(ValueError, match="not a number"):
        tensors.detect(offsets, logits, torch.from_numpy(ANCHORS), scoring="sigmoid", suppression=Suppression())
    with pytest.raises(ValueError, match="without width or height"):
        tensors.encode(torch.tensor([[0.5, 0.5, 0.5, 0.6]]), torch.from_numpy(ANCHORS[:1]))


def test_boxes_without_area_overlap_nothing() -> None:
    points = torch.zeros(2, 4)
    assert not tensors.iou(points, points).any()
