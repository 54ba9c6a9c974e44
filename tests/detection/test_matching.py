"""Does every object find an anchor to learn it, and nothing else one?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from linnet import detection
from linnet.architecture.ssdlite import ssdlite
from linnet.detection.matching import assign, match
from linnet.detection.tensors import decode, iou, to_corners

ANCHORS = torch.from_numpy(detection.anchors(ssdlite()))


def scene(seed: int, count: int) -> Tensor:
    generator = np.random.default_rng(seed)
    low = generator.uniform(0, 0.8, (count, 2))
    high = np.minimum(low + generator.uniform(0.005, 0.7, (count, 2)), 1)
    return torch.from_numpy(np.concatenate([low, high], axis=1)).float()


def test_a_hand_worked_example() -> None:
    anchors = torch.tensor([(1, 1, 2, 2), (2, 1, 2, 2), (5, 5, 2, 2), (9, 9, 1, 1)]).float()
    boxes = torch.tensor([(0, 0, 2, 2), (4.5, 4.5, 5, 5)]).float()
    # The first box is the first anchor itself, and overlaps the second by a third; of the second box only a sixteenth
    # of the third anchor is covered, but there is none better.
    assert match(anchors, boxes).tolist() == [0, -1, 1, -1]
    assert match(anchors, boxes, threshold=0.3).tolist() == [0, 0, 1, -1]


def test_an_overlap_of_just_the_threshold_matches() -> None:
    anchors = torch.tensor([(1, 1, 2, 2), (1, 0.5, 2, 1)]).float()
    assert match(anchors, torch.tensor([[0.0, 0, 2, 2]])).tolist() == [0, 0]


@given(st.integers(0, 10_000), st.integers(0, 40))
def test_every_object_is_learned_and_only_near_anchors_learn(seed: int, count: int) -> None:
    boxes = scene(seed, count)
    objects = match(ANCHORS, boxes)
    assert set(objects.tolist()) - {-1} == set(range(count))
    overlaps = iou(boxes, to_corners(ANCHORS))
    for anchor in torch.nonzero(objects >= 0).flatten().tolist():
        own = overlaps[objects[anchor], anchor]
        forced = own < 0.5 or own < overlaps[:, anchor].max()
        assert own > 0
        # A forced match is an object's best anchor of those that no other object took.
        if forced:
            better = torch.nonzero(overlaps[objects[anchor]] > own).flatten()
            assert (objects[better] != objects[anchor]).all()
    if count:
        unmatched = objects < 0
        assert (overlaps[:, unmatched] < 0.5).all()


def test_copies_of_one_object_find_anchors_of_their_own() -> None:
    # In TensorFlow one of them would go without.
    box = to_corners(ANCHORS[700:701])
    objects = match(ANCHORS, box.repeat(5, 1))
    assert set(objects.tolist()) == {-1, 0, 1, 2, 3, 4}


def test_the_order_of_the_objects_does_not_matter() -> None:
    boxes = scene(5, 20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    first, second = match(ANCHORS, boxes), match(ANCHORS, boxes[order])
    assert torch.equal(first >= 0, second >= 0)
    assert torch.equal(boxes[first[first >= 0]], boxes[order][second[second >= 0]])


def test_a_box_that_no_anchor_touches_is_not_forced() -> None:
    assert (match(ANCHORS, torch.tensor([[5.0, 5, 6, 6]])) == -1).all()


def test_no_objects() -> None:
    assert (match(ANCHORS, torch.zeros(0, 4)) == -1).all()


def test_targets_decode_to_the_objects() -> None:
    boxes, classes = (
        [scene(1, 9), torch.zeros(0, 4), scene(2, 3)],
        [torch.arange(9), torch.zeros(0).long(), torch.arange(3)],
    )
    targets = assign(ANCHORS, boxes, classes)
    assert targets.offsets.shape == (3, 1917, 4)
    assert targets.slots[1].eq(0).all()
    assert targets.matched == targets.positive.sum() == (targets.slots > 0).sum()
    for number in (0, 2):
        places = torch.nonzero(targets.positive[number]).flatten()
        found = decode(targets.offsets[number, places], ANCHORS[places])
        torch.testing.assert_close(found, boxes[number][targets.slots[number, places] - 1], atol=1e-5, rtol=1e-5)
    assert targets.offsets[~targets.positive].abs().max() == 0


def test_an_object_without_area_is_refused() -> None:
    for box in ((0.2, 0.2, 0.2, 0.6), (0.6, 0.2, 0.2, 0.6), (0.2, 0.2, float("nan"), 0.6)):
        with pytest.raises(ValueError, match="without width or height"):
            assign(ANCHORS, [torch.tensor([box])], [torch.tensor([0])])
