"""Pictures with boxes from disk to batches, by the machinery of `loading`, and their augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from linnet.data.batches.augmentation import Augmentation, augment, flipped
from linnet.data.batches.box_crops import BoxCropOptions, flip_boxes, random_view
from linnet.data.batches.decoding import Seed
from linnet.data.batches.loading import Batch, StepOptions, Steps, stack_pixels
from linnet.data.samples import Sample
from linnet.images import Preprocessing


@dataclass
class BoxBatch(Batch):
    """A part of one step's pictures, and the M objects on them, picture after picture.

    Attributes:
        indices: (M,) int64 classes.
        boxes: (M, 4) float32 x0, y0, x1, y1 as fractions of the picture.
        counts: objects of each of the N pictures; they sum to M.
    """

    boxes: Tensor = field(default_factory=lambda: torch.zeros((0, 4)))
    counts: list[int] = field(default_factory=list)

    @property
    def targets(self) -> list[tuple[Tensor, Tensor]]:
        """Of each picture (n, 4) boxes and (n,) classes; n may be 0."""
        return list(zip(self.boxes.split(self.counts), self.indices.split(self.counts), strict=True))


class BoxBatches(Steps[Sample, BoxBatch]):
    """Pictures with boxes, step by step; every random number belongs to the picture, as with `PictureBatches`.

    Crowds and difficult objects are left out: they are neither learnt nor counted.

    Args:
        samples: pictures with boxes.
        contract: size and interpolation.
        crop: how the random view is drawn.
        repeats: times that an epoch shows each of them, every time differently.
        options: those of `linnet.data.batches.loading.Steps`.

    Raises:
        ValueError: if a step would leave a process without pictures.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        contract: Preprocessing,
        crop: BoxCropOptions,
        *,
        repeats: int = 1,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(samples, partial(_view, contract, crop), _join_boxes, repeats=repeats, **options)


def _view(
    contract: Preprocessing, options: BoxCropOptions, sample: Sample, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
    counted = ~sample.ignored
    boxes, indices = sample.boxes[counted], sample.indices[counted]
    pixels, seen, numbers = random_view(sample.picture, boxes, contract, options, generator)
    return pixels, seen, indices[numbers]


def _join_boxes(contents: list[Any], seeds: list[Seed], total: int, seconds: float) -> BoxBatch:
    pixels, boxes, indices = zip(*contents, strict=True)
    return BoxBatch(
        stack_pixels(pixels),
        torch.from_numpy(np.concatenate(indices)),
        seeds,
        total,
        seconds,
        torch.from_numpy(np.concatenate(boxes)),
        [len(one) for one in boxes],
    )


def augment_boxes(batch: BoxBatch, options: Augmentation, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Pictures and boxes of a batch, changed by their seeds: flipped, colours, erasing.

    Args:
        batch: left as it is.
        options: of those that move parts of a picture, only `flip` is allowed.
        device: where the pictures are changed; where they are if this is not given.

    Returns:
        (N, 3, H, W) float32 in [0, 1], and (M, 4) float32 boxes, beside the classes and counts of the batch.

    Raises:
        ValueError: if an option is on that boxes cannot follow.
    """
    options.check_followed("Boxes", "detection")
    boxes = moved_boxes(batch, options)
    pixels = batch.pixels if device is None else batch.pixels.to(device, non_blocking=True)
    images = augment(pixels, batch.seeds, options)
    return images, boxes.to(images.device, non_blocking=True)


def moved_boxes(batch: BoxBatch, options: Augmentation) -> Tensor:
    """The boxes (M, 4) of a batch where `augment_boxes` leaves them, on the CPU."""
    chosen = np.repeat(flipped(batch.seeds, options), batch.counts)  # (M,)
    boxes = batch.boxes.numpy().copy()
    boxes[chosen] = flip_boxes(boxes[chosen])
    return torch.from_numpy(boxes)
