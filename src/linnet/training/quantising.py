"""The epochs of a run that are computed in integers: what the loop asks for, of any network that it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from linnet.nn import Network
from linnet.nn.quantised import FakeQuantisation

RANGE_PICTURES = 256
"""Training pictures on which the ranges of all tensors are measured before they follow the training."""


def make_quantisable(network: Network) -> None:
    """Gives a network what will compute it in integers; it stays in float until `begin_quantised`."""
    network.quantisation = FakeQuantisation(network.graph)


def is_quantised(network: nn.Module) -> bool:
    """Whether a network is computed in integers."""
    return isinstance(network, Network) and network.quantised


def begin_quantised(network: nn.Module, inputs: Callable[[int], Iterable[Tensor]]) -> None:
    """Has a network computed in integers from now on.

    Args:
        network: which `make_quantisable` has seen.
        inputs: gives so many training pictures, as batches of normalised inputs.

    Raises:
        ValueError: if it is another network, or what it computes are no numbers.
    """
    if not isinstance(network, Network) or network.quantisation is None:
        raise ValueError(
            "Only a linnet.nn.Network that linnet.training.starts.prepare_for_training has made ready can be trained "
            f"in eight bits; got a {type(network).__name__}."
        )
    network.quantisation.begin(network, inputs(RANGE_PICTURES))


def ranges_of(network: nn.Module) -> list[Tensor]:
    """The running ranges of a network, where it has them: what processes of a run measure each for itself."""
    if not isinstance(network, Network) or network.quantisation is None:
        return []
    return [network.quantisation.running_ranges]


def set_learning(network: nn.Module, learning: bool) -> None:
    """Has the ranges follow what is seen in training, or stand still."""
    if isinstance(network, Network) and network.quantisation is not None:
        network.quantisation.learning = learning
