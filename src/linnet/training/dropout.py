"""Dropout whose masks belong to the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

DROPOUT = 3
"""What the generator is for, beside the purposes in `linnet.data`."""


class PictureDropout(nn.Module):
    """Dropout of pooled features with one mask a picture, drawn from its seed.

    So a picture's mask is the same in any process of a run, and after a stop. Without masks it changes nothing.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.masks: Tensor | None = None

    def draw(self, seeds: Sequence[tuple[int, ...]], features: int, device: torch.device) -> None:
        """Makes the masks of the next forward pass: 0, or 1 / (1 - share)."""
        if self.share == 0:
            return
        kept = np.stack([np.random.default_rng((*seed, DROPOUT)).random(features, np.float32) for seed in seeds])
        self.masks = torch.from_numpy((kept >= self.share).astype(np.float32) / (1 - self.share)).to(device)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) → (N, C)."""
        return x * self.masks if self.training and self.masks is not None else x
