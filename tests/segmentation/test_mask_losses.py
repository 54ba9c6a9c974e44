"""Are the losses those of the definitions, without what is ignored, and alike in parts and whole?"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from linnet.segmentation.losses import class_weights, dice_loss, pixel_loss


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn(3, 4, 6, 5, generator=generator).log_softmax(dim=1)
    masks = torch.randint(0, 4, (3, 6, 5), generator=generator)
    masks[0, :2] = 255
    return scores, masks


def test_cross_entropy_is_the_sum_over_pixels_that_count(batch: tuple[Tensor, Tensor]) -> None:
    scores, masks = batch
    expected = 0.0
    for picture, mask in zip(scores, masks, strict=True):
        for row in range(6):
            for column in range(5):
                if (index := int(mask[row, column])) != 255:
                    expected -= float(picture[index, row, column])
    assert float(pixel_loss(scores, masks)) == pytest.approx(expected, rel=1e-5)
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0])
    parts = [float(pixel_loss(scores, masks.masked_fill(masks != index, 255))) for index in range(4)]
    weighed = sum(float(weight) * part for weight, part in zip(weights, parts, strict=True))
    assert float(pixel_loss(scores, masks, weights)) == pytest.approx(weighed, rel=1e-5)


def test_dice_is_of_each_picture_and_of_the_classes_that_it_has(batch: tuple[Tensor, Tensor]) -> None:
    scores, masks = batch
    masks[1] = torch.where(masks[1] == 3, 2, masks[1])
    expected = 0.0
    for picture, mask in zip(scores.exp(), masks, strict=True):
        lost = []
        for index in range(4):
            there = (mask == index).float()
            guess = picture[index] * (mask != 255)
            if there.sum():
                lost.append(1 - float(2 * (guess * there).sum() / (guess.sum() + there.sum())))
        expected += sum(lost) / len(lost)
    assert float(dice_loss(scores, masks)) == pytest.approx(expected, rel=1e-5)
    parts = sum(float(dice_loss(scores[place : place + 1], masks[place : place + 1])) for place in range(3))
    assert float(dice_loss(scores, masks)) == pytest.approx(parts, rel=1e-5)


def test_perfect_answers_cost_nothing_and_ignored_ones_neither(batch: tuple[Tensor, Tensor]) -> None:
    _, masks = batch
    sure = 60 * torch.nn.functional.one_hot(masks.masked_fill(masks == 255, 1), 4).permute(0, 3, 1, 2).float()
    sure = sure.log_softmax(dim=1)
    assert float(dice_loss(sure, masks)) == pytest.approx(0, abs=1e-5)
    assert float(pixel_loss(sure, masks)) == pytest.approx(0, abs=1e-5)
    nothing = torch.full_like(masks, 255)
    logits = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    loss = dice_loss(logits.log_softmax(dim=1), nothing) + pixel_loss(logits.log_softmax(dim=1), nothing)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0


def test_balanced_weights_go_by_the_root_and_are_one_on_average() -> None:
    weights = class_weights((900, 100, 0), "balanced")
    assert weights is not None
    assert float(weights[1] / weights[0]) == pytest.approx(math.sqrt(9))
    assert float(weights[2]) == 0
    assert float(0.9 * weights[0] + 0.1 * weights[1]) == pytest.approx(1)
    assert class_weights((900, 100, 0), "none") is None
