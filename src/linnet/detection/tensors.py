"""The torch twins of coding, overlap and suppression: for training, and for whoever keeps everything on one device.

Conventions are those of `linnet.detection.coding`; the same numbers come out, up to rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linnet.detection.coding import LARGEST_GROWTH, VARIANCES
from linnet.detection.suppression import FIRST_LOOK, Scoring, Suppression, logit_of


def to_corners(boxes_cxcywh: Tensor) -> Tensor:
    """(…, 4) centre x, centre y, width, height → x0, y0, x1, y1."""
    centres, halves = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2  # (…, 2) each
    return torch.cat([centres - halves, centres + halves], dim=-1)


def to_centres(boxes: Tensor) -> Tensor:
    """(…, 4) x0, y0, x1, y1 → centre x, centre y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]  # (…, 2) each
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """What a network has to say of an anchor to mean a box, (…, 4) each. See `linnet.detection.encode`.

    Raises:
        ValueError: if a box has no area.
    """
    centres = to_centres(boxes)
    if not bool((centres[..., 2:] > 0).all()):
        raise ValueError("A box without width or height cannot be encoded. Leave it out before.")
    distance = (centres[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    growth = torch.log(centres[..., 2:] / anchors[..., 2:])
    offsets = torch.cat([distance, growth], dim=-1)  # (…, 4)
    return offsets / offsets.new_tensor(VARIANCES)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """The boxes that offsets mean: (…, 4) x0, y0, x1, y1, not clipped."""
    scaled = offsets * offsets.new_tensor(VARIANCES)
    centres = anchors[..., :2] + scaled[..., :2] * anchors[..., 2:]  # (…, 2)
    sizes = anchors[..., 2:] * torch.exp(scaled[..., 2:].clamp(max=LARGEST_GROWTH))
    return to_corners(torch.cat([centres, sizes], dim=-1))


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each of N boxes with each of M: (N, 4) and (M, 4) → (N, M) in [0, 1]."""
    low = torch.maximum(boxes[:, None, :2], others[None, :, :2])  # (N, M, 2)
    high = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)  # (N, M)
    union = areas(boxes)[:, None] + areas(others)[None, :] - shared
    return torch.where(shared > 0, shared / union, 0)


def areas(boxes: Tensor) -> Tensor:
    """(…, 4) x0, y0, x1, y1 → (…); 0 where a corner is on the wrong side."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def detect(
    offsets: Tensor, logits: Tensor, anchors: Tensor, *, scoring: Scoring, suppression: Suppression
) -> tuple[Tensor, Tensor, Tensor]:
    """What is on one picture: (A, 4), (A, 1 + classes) and (A, 4) → boxes, scores and classes.

    See `linnet.detection.detect`.

    Raises:
        ValueError: if an output is not a number.
    """
    if not bool(torch.isfinite(offsets).all() & torch.isfinite(logits).all()):
        raise ValueError("The network's output is not a number: its weights are damaged.")
    values, least = _values(logits, scoring, suppression.score_threshold)  # (classes, A)
    decoded, most = decode(offsets, anchors), FIRST_LOOK
    while True:
        over = values[values >= least]
        bound = over.topk(most).values[-1] if len(over) > most else least
        classes, numbers = torch.nonzero(values >= bound, as_tuple=True)
        kept = suppress(decoded[numbers], values[classes, numbers], classes, suppression)
        if len(kept) == suppression.total or len(over) <= most:
            break
        most *= 8
    classes, numbers = classes[kept], numbers[kept]  # (K,) each
    scores = values[classes, numbers]
    if scoring == "sigmoid":
        scores = scores.sigmoid()
    found = decoded[numbers].clamp(0, 1)  # (K, 4)
    inside = (found[:, 2:] > found[:, :2]).all(dim=1)
    return found[inside], scores[inside], classes[inside]


def _values(logits: Tensor, scoring: Scoring, threshold: float) -> tuple[Tensor, float]:
    """(classes, A) numbers in the order of the scores, and what the threshold is among them."""
    if scoring == "sigmoid":
        return logits[:, 1:].T, logit_of(threshold)
    return logits.softmax(dim=1)[:, 1:].T, threshold


def suppress(boxes: Tensor, scores: Tensor, classes: Tensor, suppression: Suppression) -> Tensor:
    """Non-maximum suppression within each class: (N, 4), (N,) and (N,) → indices (K,) of what stays, the best first.

    See `linnet.detection.suppress`.
    """
    left, kept = scores.clone(), list[int]()
    extents, counts = areas(boxes), dict[int, int]()
    while len(left) and len(kept) < suppression.total:
        best = int(left.argmax())
        if left[best] == -math.inf:
            break
        kept.append(best)
        own = int(classes[best])
        counts[own] = counts.get(own, 0) + 1
        low = torch.maximum(boxes[:, :2], boxes[best, :2])  # (N, 2)
        high = torch.minimum(boxes[:, 2:], boxes[best, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)  # (N,)
        beaten = shared > suppression.iou_threshold * (extents + extents[best] - shared)
        left[(classes == own) & (beaten | (counts[own] == suppression.per_class))] = -math.inf
        left[best] = -math.inf
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)
