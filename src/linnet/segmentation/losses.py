"""What a segmenter learns by: cross entropy of pixels, with weights of classes, and the dice loss of shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from linnet.segmentation.maps import IGNORED

Weighting = Literal["none", "balanced"]


def pixel_loss(scores: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross entropy summed over the pixels that count.

    Args:
        scores: (N, classes, H, W) logarithms of probabilities: what both losses begin with is computed once.
        masks: (N, H, W) int64 classes; `IGNORED` counts nowhere.
        weights: (classes,) of each class's pixels.
    """
    return F.nll_loss(scores, masks, weights, ignore_index=IGNORED, reduction="sum")


def dice_loss(scores: Tensor, masks: Tensor) -> Tensor:
    """1 - dice of each picture, the mean over the classes that it has, summed over the pictures.

    Dice is 2 Σ p y / (Σ p + Σ y) over a picture's pixels, p the probability of a class and y whether it is there
    (Milletari et al. 2016, with the plain sum). A class of few pixels has as much say as one of many, and what is
    thin may be neither too thick nor broken. Every picture's is its own, so that a step in parts is the whole step.

    Args:
        scores: (N, classes, H, W) logarithms of probabilities.
        masks: (N, H, W) int64 classes; `IGNORED` counts nowhere.
    """
    ignored = masks == IGNORED
    counted, truth = (~ignored).to(scores.dtype), masks.masked_fill(ignored, 0)  # (N, H, W) each
    guess = scores.exp()
    right = guess.gather(1, truth[:, None]).squeeze(1) * counted  # (N, H, W)
    # No map of all classes but the guess itself: of the truth only its own class is looked up.
    nothing = scores.new_zeros(scores.shape[:2])
    shared, there = (nothing.scatter_add(1, truth.flatten(1), each.flatten(1)) for each in (right, counted))
    dice = 2 * shared / (torch.einsum("nchw,nhw->nc", guess, counted) + there).clamp(min=1)  # (N, classes)
    present = there > 0
    lost = torch.where(present, 1 - dice, 0.0).sum(dim=1)
    return (lost / present.sum(dim=1).clamp(min=1)).sum()


def class_weights(pixels: Sequence[int], weighting: Weighting) -> Tensor | None:
    """The weight of each class's pixels, 1 on average over all pixels. None where all weigh alike.

    Args:
        pixels: of each class in training; a class without any has the weight 0.
        weighting: `balanced` by the inverse of the square root of its pixels. The inverse itself makes what is rare
            too thick: a pixel of it is then worth a hundred of others.
    """
    if weighting == "none":
        return None
    counts = torch.tensor(pixels, dtype=torch.float64)
    seen = counts > 0
    weights = torch.where(seen, counts.clamp(min=1) ** -0.5, 0.0)
    return (weights * counts.sum() / (weights * counts).sum().clamp(min=1e-30)).float()
