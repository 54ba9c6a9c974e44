"""Are the losses what their formulas say, and does every picture teach?"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from linnet import detection, nn
from linnet.architecture.ssdlite import ssdlite
from linnet.detection.losses import focal_loss, hardest, mined_loss
from linnet.detection.matching import Targets, assign
from linnet.detection.suppression import Scoring

SCORINGS: tuple[Scoring, ...] = ("sigmoid", "softmax")


def example() -> tuple[Tensor, Tensor, Targets]:
    """Two pictures of six anchors and two classes: one object in the first, none in the second."""
    offsets = torch.zeros(2, 6, 4, requires_grad=True)
    logits = torch.zeros(2, 6, 3)
    # How sure of class 0: the harder, the larger.
    logits[..., 1] = torch.tensor([[2.0, 5, 4, 3, 2, 1], [6, 1, 2, 3, 4, 5]])
    slots = torch.zeros(2, 6, dtype=torch.int64)
    slots[0, 0] = 1
    wanted = torch.zeros(2, 6, 4)
    wanted[0, 0] = torch.tensor([0.5, -0.5, 2, 0])
    return offsets, logits.requires_grad_(), Targets(wanted, slots)


def test_a_hand_worked_example() -> None:
    offsets, logits, targets = example()
    losses = mined_loss(offsets, logits, targets, scoring="softmax")
    # 0.5 x 0.25 twice, and 2 - 0.5.
    assert losses["boxes"].item() == pytest.approx(1.75)
    # -log(e^x / (2 + e^x)) of the object, log(2 + e^x) of the three hardest of each picture.
    expected = math.log(1 + 2 * math.exp(-2))
    expected += sum(math.log(2 + math.exp(x)) for x in (5, 4, 3, 6, 5, 4))
    assert losses["classes"].item() == pytest.approx(expected, rel=1e-6)
    sigmoid = mined_loss(offsets, logits, targets, scoring="sigmoid")["classes"]
    one = math.log(2)
    expected = one + math.log(1 + math.exp(-2)) + one
    expected += sum(2 * one + math.log(1 + math.exp(x)) for x in (5, 4, 3, 6, 5, 4))
    assert sigmoid.item() == pytest.approx(expected, rel=1e-6)


def test_only_what_counts_has_a_gradient() -> None:
    offsets, logits, targets = example()
    sum(mined_loss(offsets, logits, targets, scoring="softmax").values(), torch.zeros(())).backward()
    assert offsets.grad is not None
    assert logits.grad is not None
    assert torch.nonzero(offsets.grad.abs().sum(dim=-1)).tolist() == [[0, 0]]
    chosen = [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [1, 4], [1, 5]]
    assert torch.nonzero(logits.grad.abs().sum(dim=-1)).tolist() == chosen


@given(st.integers(0, 1000), st.sampled_from([0, 0.5, 1, 3, 5]), st.integers(0, 10))
def test_three_negatives_for_each_positive_and_the_hardest(seed: int, negatives: float, least: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(4, 30, generator=generator)
    positive = torch.rand(4, 30, generator=generator) < torch.tensor([0.0, 0.05, 0.3, 0.95])[:, None]
    chosen = hardest(losses, positive, negatives=negatives, least=least)
    assert not (chosen & positive).any()
    for number in range(4):
        free = int((~positive[number]).sum())
        wanted = max(negatives * int(positive[number].sum()), least)
        assert int(chosen[number].sum()) == min(math.ceil(wanted), free)
        if chosen[number].any() and (~chosen & ~positive)[number].any():
            assert losses[number][chosen[number]].min() >= losses[number][~chosen[number] & ~positive[number]].max()


@pytest.mark.parametrize("scoring", SCORINGS)
def test_pictures_without_objects_teach(scoring: Scoring) -> None:
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(2, 20, 4, generator=generator)
    logits = torch.randn(2, 20, 3, generator=generator, requires_grad=True)
    targets = Targets(torch.zeros(2, 20, 4), torch.zeros(2, 20, dtype=torch.int64))
    losses = mined_loss(offsets, logits, targets, scoring=scoring)
    assert losses["boxes"] == 0
    losses["classes"].backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=-1) > 0).sum(dim=1).tolist() == [3, 3]
    assert torch.isfinite(focal_loss(offsets, logits, targets)["classes"])


@pytest.mark.parametrize("scoring", SCORINGS)
def test_parts_of_a_batch_add_up_to_the_whole(scoring: Scoring) -> None:
    generator = torch.Generator().manual_seed(1)
    offsets, logits = torch.randn(4, 50, 4, generator=generator), torch.randn(4, 50, 3, generator=generator)
    slots = torch.randint(0, 3, (4, 50), generator=generator) * (torch.rand(4, 50, generator=generator) < 0.2)
    targets = Targets(torch.randn(4, 50, 4, generator=generator), slots)
    halves = [slice(0, 1), slice(1, 4)]
    parts = [Targets(targets.offsets[part], targets.slots[part]) for part in halves]
    for name, whole in mined_loss(offsets, logits, targets, scoring=scoring).items():
        found = [
            mined_loss(offsets[part], logits[part], own, scoring=scoring, matched=targets.matched)[name]
            for part, own in zip(halves, parts, strict=True)
        ]
        torch.testing.assert_close(sum(found), whole)


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[[7.0, 0.0], [7.0, math.log(3)]]])
    targets = Targets(torch.zeros(1, 2, 4), torch.tensor([[1, 0]]))
    # Of the object: 0.25 x 0.5^2 x ln 2; of the other, at 3/4: 0.75 x 0.75^2 x ln 4.
    expected = 0.25 * 0.25 * math.log(2) + 0.75 * 0.75**2 * math.log(4)
    assert focal_loss(torch.zeros(1, 2, 4), logits, targets)["classes"].item() == pytest.approx(expected)


def test_focal_loss_without_focus_is_half_the_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(2)
    logits, slots = torch.randn(2, 9, 4, generator=generator), torch.randint(0, 4, (2, 9), generator=generator)
    found = focal_loss(torch.zeros(2, 9, 4), logits, Targets(torch.zeros(2, 9, 4), slots), alpha=0.5, gamma=0)
    wanted = F.one_hot(slots, 4)[..., 1:].float()
    expected = F.binary_cross_entropy_with_logits(logits[..., 1:], wanted, reduction="sum") / (slots > 0).sum()
    torch.testing.assert_close(found["classes"], expected / 2)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax", "focal"])
def test_a_detector_learns_where_one_object_is(loss: str) -> None:
    """A dozen steps on two pictures: the loss falls, and all that is trained has a gradient."""
    detector = ssdlite(width=0.35, resolution=64, classes=2, batch_norm_momentum=0.5)
    network = nn.build(detector, generator=torch.Generator().manual_seed(0)).train()
    anchors = torch.from_numpy(detection.anchors(detector))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    boxes = [torch.tensor([[0.2, 0.3, 0.6, 0.8]]), torch.tensor([[0.5, 0.1, 0.9, 0.5]])]
    targets = assign(anchors, boxes, [torch.tensor([1]), torch.tensor([0])])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    history = []
    for _ in range(12):
        offsets, logits = network(images)
        if loss == "focal":
            losses = focal_loss(offsets, logits, targets)
        else:
            losses = mined_loss(offsets, logits, targets, scoring="sigmoid" if loss == "sigmoid" else "softmax")
        total = losses["boxes"] + losses["classes"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    # Rounding differs by processor, and one late step may jump.
    assert min(history[-3:]) < 0.7 * history[0]
    assert all(parameter.grad is not None for parameter in network.parameters())
