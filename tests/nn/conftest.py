"""Every test begins with the same draws: a network that is not given weights has the same ones in each run."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    torch.manual_seed(0)
