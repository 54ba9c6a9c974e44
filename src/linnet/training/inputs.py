"""Pictures as a network takes them: normalised, on its device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.samples import Pictured
from linnet.images import GREY_WEIGHTS, Preprocessing


def as_inputs(images: Tensor, contract: Preprocessing) -> Tensor:
    """(N, 3, H, W) RGB in [0, 1] → (N, C, H, W) as the network wants it: the twin of `linnet.images.normalise`."""
    if contract.colours == "grey":
        # Whole numbers below 2^24: float32 holds every sum, in whatever order a device adds.
        weights = torch.tensor(GREY_WEIGHTS, device=images.device)[:, None, None]  # (3, 1, 1)
        weighted = images.mul(255).round().mul(weights).sum(dim=1, keepdim=True)  # (N, 1, H, W)
        images = weighted.add(0x8000).div(0x10000).floor().div(255)
    elif contract.colours == "BGR":
        images = images.flip(1)
    mean = torch.tensor(contract.mean, device=images.device)[:, None, None]  # (C, 1, 1)
    std = torch.tensor(contract.std, device=images.device)[:, None, None]  # (C, 1, 1)
    return images.sub(mean).div_(std)


def as_pictures(inputs: Tensor, contract: Preprocessing) -> NDArray[np.uint8]:
    """What `as_inputs` gave, as pictures again: (N, C, H, W) → (N, H, W, 3) uint8 RGB."""
    mean, std = (np.array(values, np.float32) for values in (contract.mean, contract.std))
    pixels = inputs.permute(0, 2, 3, 1).numpy() * std + mean  # (N, H, W, C)
    if contract.colours == "BGR":
        pixels = pixels[..., ::-1]
    pictures = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    return np.broadcast_to(pictures, (*pictures.shape[:3], 3))


def ready(pixels: Tensor, contract: Preprocessing, device: torch.device) -> Tensor:
    """(N, 3, H, W) uint8 RGB of the network's size → (N, C, H, W) on the device, normalised."""
    return as_inputs(pixels.to(device).float().div_(255), contract)


def calibration_inputs(
    samples: Sequence[Pictured], contract: Preprocessing, pictures: int, *, batch: int, device: torch.device
) -> Iterator[Tensor]:
    """Inputs of at most so many of the pictures, not augmented, the same ones each time: to measure statistics on."""
    order = np.random.default_rng(0).permutation(len(samples))[:pictures]
    chosen = [samples[number] for number in order.tolist()]
    numbers = range(len(chosen))
    for pixels, _ in EvaluationPictures(chosen, contract, labels=numbers, batch=batch, keep_bytes=0):
        yield ready(pixels, contract, device)
