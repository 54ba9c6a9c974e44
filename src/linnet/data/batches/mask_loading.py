"""Pictures with masks from disk to batches, by the machinery of `loading`, and their augmentation."""

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
from linnet.data.batches.decoding import Seed
from linnet.data.batches.loading import Batch, StepOptions, Steps, stack_pixels
from linnet.data.batches.mask_views import ViewOptions, random_view
from linnet.data.masks import IGNORED
from linnet.data.samples import Sample
from linnet.images import Preprocessing


@dataclass
class MaskBatch(Batch):
    """A part of one step's pictures with their masks.

    Attributes:
        indices: (N,) int64, pixels of each picture that are learnt.
        masks: (N, H, W) uint8 classes.
    """

    masks: Tensor = field(default_factory=lambda: torch.zeros((0, 0, 0), dtype=torch.uint8))


class MaskBatches(Steps[Sample, MaskBatch]):
    """Pictures with masks, step by step; every random number belongs to the picture, as with `PictureBatches`.

    Args:
        samples: pictures with masks.
        contract: size and interpolation.
        view: how the random view is drawn.
        repeats: times that an epoch shows each of them, every time differently.
        options: those of `linnet.data.batches.loading.Steps`.

    Raises:
        ValueError: if a step would leave a process without pictures.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        contract: Preprocessing,
        view: ViewOptions,
        *,
        repeats: int = 1,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(samples, partial(_view, contract, view), _join_masks, repeats=repeats, **options)


def _view(
    contract: Preprocessing, options: ViewOptions, sample: Sample, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return random_view(sample.picture, sample.mask, contract, options, generator)


def _join_masks(contents: list[Any], seeds: list[Seed], total: int, seconds: float) -> MaskBatch:
    pixels, masks = zip(*contents, strict=True)
    joined = torch.from_numpy(np.stack(masks))  # (N, H, W)
    learnt = (joined != IGNORED).flatten(1).sum(dim=1)  # (N,)
    return MaskBatch(stack_pixels(pixels), learnt, seeds, total, seconds, joined)


def augment_masks(batch: MaskBatch, options: Augmentation, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Pictures and masks of a batch, changed by their seeds: both flipped, the pictures' colours, erasing.

    Args:
        batch: left as it is.
        options: of those that move parts of a picture, only `flip` is allowed.
        device: where the pictures are changed; where they are if this is not given.

    Returns:
        (N, 3, H, W) float32 in [0, 1], and (N, H, W) int64 classes.

    Raises:
        ValueError: if an option is on that masks cannot follow.
    """
    options.check_followed("Masks", "segmentation")
    pixels = batch.pixels if device is None else batch.pixels.to(device, non_blocking=True)
    images = augment(pixels, batch.seeds, options)
    masks = batch.masks.to(images.device, non_blocking=True).long()
    chosen = torch.from_numpy(np.flatnonzero(flipped(batch.seeds, options))).to(images.device)
    masks[chosen] = masks[chosen].flip(2)
    return images, masks
