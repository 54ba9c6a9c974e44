"""How wrong a detector is: named losses of boxes and of classes.

Both are sums over a batch, divided by the anchors that learn an object (at least one). Where a batch is computed in
parts, or by several processes, `matched` of the whole makes the parts add up to what the whole would have given.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from linnet.detection.matching import Targets
from linnet.detection.suppression import Scoring

NEGATIVES = 3.0
"""Hard negatives for each anchor that learns an object."""

LEAST_NEGATIVES = 3
"""Of every picture, so that one without objects teaches too (`min_negatives_per_image` of the released detector)."""


def mined_loss(
    offsets: Tensor,
    logits: Tensor,
    targets: Targets,
    *,
    scoring: Scoring,
    negatives: float = NEGATIVES,
    least_negatives: int = LEAST_NEGATIVES,
    matched: Tensor | None = None,
) -> dict[str, Tensor]:
    """SSD's loss: of the background only what is most mistaken for something counts.

    Args:
        offsets: (N, A, 4).
        logits: (N, A, 1 + classes), the background first.
        targets: what should have been said.
        scoring: `sigmoid` asks for each class and for the background by itself, as the released configuration does;
            `softmax` for one of all, as SSD's paper does.
        negatives: of each picture, for each anchor that learns an object.
        least_negatives: of each picture.
        matched: anchors that learn an object in the whole step; None counts this batch's.

    Returns:
        `boxes`, the smooth L1 distance of the offsets of anchors with an object; `classes`, the cross entropy of those
        and of the negatives.

    Source: SSD (arXiv 1512.02325), section 2.2, "hard negative mining".
    """
    if scoring == "softmax":
        losses = F.cross_entropy(logits.flatten(0, 1), targets.slots.flatten(), reduction="none")  # (N * A,)
        losses = losses.view_as(targets.slots)  # (N, A)
    else:
        expected = F.one_hot(targets.slots, logits.shape[-1]).to(logits.dtype)  # (N, A, 1 + classes)
        losses = F.binary_cross_entropy_with_logits(logits, expected, reduction="none").sum(dim=-1)  # (N, A)
    positive = targets.positive
    counted = positive | hardest(losses.detach(), positive, negatives=negatives, least=least_negatives)
    total = targets.matched if matched is None else matched
    return {
        "boxes": _box_loss(offsets, targets) / total.clamp(min=1),
        "classes": (losses * counted).sum() / total.clamp(min=1),
    }


def hardest(losses: Tensor, positive: Tensor, *, negatives: float, least: int) -> Tensor:
    """The anchors without object of the largest loss: (N, A) and (N, A) → (N, A), `negatives` for each positive."""
    most = (negatives * positive.sum(dim=1, keepdim=True)).clamp(min=least)  # (N, 1)
    order = losses.masked_fill(positive, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ranks = order.argsort(dim=1)
    return (ranks < most) & ~positive


def focal_loss(
    offsets: Tensor,
    logits: Tensor,
    targets: Targets,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    matched: Tensor | None = None,
) -> dict[str, Tensor]:
    """The alternative to mining: everything counts, what is easy hardly. For detectors that score by sigmoid.

    The background's slot is not trained. Class heads should begin at a small score (RetinaNet's bias of -4.6 for 0.01):
    else the first steps are spent on the background.

    Args:
        offsets: (N, A, 4).
        logits: (N, A, 1 + classes), the background first.
        targets: what should have been said.
        alpha: weight of what is there; 1 - alpha that of what is not. 0.25, or 0.75 in TensorFlow's later SSDs.
        gamma: how much less the easy counts.
        matched: anchors that learn an object in the whole step; None counts this batch's.

    Returns:
        `boxes` as `mined_loss` has them, and `classes`.

    Source: Focal Loss for Dense Object Detection (arXiv 1708.02002), section 3.
    """
    expected = F.one_hot(targets.slots, logits.shape[-1])[..., 1:].to(logits.dtype)  # (N, A, classes)
    values = logits[..., 1:]
    losses = F.binary_cross_entropy_with_logits(values, expected, reduction="none")
    shares = values.sigmoid()
    mistaken = expected * (1 - shares) + (1 - expected) * shares
    weights = (expected * alpha + (1 - expected) * (1 - alpha)) * mistaken**gamma
    total = targets.matched if matched is None else matched
    return {
        "boxes": _box_loss(offsets, targets) / total.clamp(min=1),
        "classes": (weights * losses).sum() / total.clamp(min=1),
    }


def _box_loss(offsets: Tensor, targets: Targets) -> Tensor:
    """Smooth L1 of the four offsets, summed over the anchors that learn an object."""
    losses = F.smooth_l1_loss(offsets, targets.offsets, reduction="none").sum(dim=-1)  # (N, A)
    return (losses * targets.positive).sum()
