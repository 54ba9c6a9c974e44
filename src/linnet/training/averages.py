"""The moving average of a network's weights, with warm-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of all weights and batch-norm statistics.

    The decay begins low and rises to its value, min(decay, (1 + n) / (10 + n)) after n updates: in a short run the
    average would otherwise still be mostly the random start (the commonest complaint about such averages).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in averaged(network).items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes the network's present weights into the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        present = averaged(network)
        torch._foreach_lerp_(list(self.values.values()), [present[name] for name in self.values], 1 - decay)

    def restart(self, network: nn.Module) -> None:
        """Begins anew with the network's present weights: what was before is forgotten."""
        self.updates = 0
        copy_into(self.values, averaged(network))

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Within it the network has the averaged weights."""
        own = averaged(network)
        kept = {name: value.detach().clone() for name, value in own.items()}
        copy_into(own, self.values)
        try:
            yield
        finally:
            copy_into(own, kept)


def averaged(network: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics by name: everything that is a floating-point number."""
    return {name: value for name, value in network.state_dict().items() if value.is_floating_point()}


@torch.no_grad()
def copy_into(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Writes values into tensors of the same names."""
    for name, target in targets.items():
        target.copy_(values[name])
