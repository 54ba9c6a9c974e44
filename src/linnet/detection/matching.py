"""Which anchor learns which object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from linnet.detection.tensors import encode, iou, to_corners

MATCHED = 0.5
"""Least overlap of an anchor with an object that it learns."""


@dataclass(frozen=True)
class Targets:
    """What a detector should have said of a batch.

    Attributes:
        offsets: (N, A, 4) as `encode` makes them; zeros where there is nothing to find.
        slots: (N, A) int64, the class counted from 1, or 0 for the background.
    """

    offsets: Tensor
    slots: Tensor

    @property
    def positive(self) -> Tensor:
        """(N, A), whether an anchor learns an object."""
        return self.slots > 0

    @property
    def matched(self) -> Tensor:
        """Anchors that learn an object, of the whole batch: what losses are divided by."""
        return self.positive.sum()

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        return Targets(self.offsets.to(device), self.slots.to(device))


def assign(anchors: Tensor, boxes: Sequence[Tensor], classes: Sequence[Tensor]) -> Targets:
    """The targets of a batch.

    Args:
        anchors: (A, 4) centre x, centre y, width, height, as fractions of the input.
        boxes: of each picture (M, 4) x0, y0, x1, y1 as fractions of the input; M may be 0.
        classes: of each picture (M,) int64, counted from 0.

    Raises:
        ValueError: if a box has no area.
    """
    offsets = anchors.new_zeros((len(boxes), *anchors.shape))  # (N, A, 4)
    slots = torch.zeros(len(boxes), len(anchors), dtype=torch.int64, device=anchors.device)
    for number, (own, kinds) in enumerate(zip(boxes, classes, strict=True)):
        objects = match(anchors, own)
        places = torch.nonzero(objects >= 0).flatten()  # (matched,)
        slots[number, places] = kinds[objects[places]] + 1
        offsets[number, places] = encode(own[objects[places]], anchors[places])
    return Targets(offsets, slots)


def match(anchors: Tensor, boxes: Tensor, *, threshold: float = MATCHED) -> Tensor:
    """For each anchor the number of the object that it learns, or -1.

    An anchor learns the object that it overlaps most, if that is at least by `threshold`. And every object is learned
    by the anchor that overlaps it most, however little; where several objects want the same one, it goes to the one it
    overlaps most and the others take their next best (in TensorFlow, which forces matches too, they go without).

    Args:
        anchors: (A, 4) centre x, centre y, width, height.
        boxes: (M, 4) x0, y0, x1, y1.
        threshold: least intersection over union.

    Returns:
        (A,) int64.

    Raises:
        ValueError: if a box has no area.

    Source: SSD (arXiv 1512.02325), section 2.2, "matching strategy".
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    if not bool((boxes[:, 2:] > boxes[:, :2]).all()):
        raise ValueError("A box without width or height cannot be learned. Leave it out before.")
    overlaps = iou(boxes, to_corners(anchors))  # (M, A)
    most, objects = overlaps.max(dim=0)  # (A,) each
    objects[most < threshold] = -1
    best, matched = overlaps.max(dim=1)  # (M,) each
    taken: list[int] = []
    for number in best.argsort(descending=True, stable=True).tolist():
        anchor, overlap = int(matched[number]), best[number]
        if anchor in taken:
            row = overlaps[number].clone()
            row[taken] = 0
            overlap, place = row.max(dim=0)
            anchor = int(place)
        # A box that no anchor touches would be learned by one that has nothing to do with it.
        if overlap > 0:
            taken.append(anchor)
            objects[anchor] = number
    return objects
