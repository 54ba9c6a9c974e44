"""A network in training as it would answer if the run ended now: by the native engine wherever that can run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.nn import Network, fused, tensors_of
from linnet.predictor import Predictor
from linnet.training.inputs import ready
from linnet.training.quantising import is_quantised

Forward = Callable[[Tensor], Any]
"""(N, 3, H, W) uint8 pixels of the network's size → what a network in evaluation mode gives: a tensor, or several."""


def forward_of(network: nn.Module, contract: Preprocessing, device: torch.device, *, by_torch: bool = False) -> Forward:
    """The network with the weights that it has now, for one evaluation; both ways agree up to rounding.

    Batch norm is folded and weights are packed, which costs as much as a picture or two; the engine then takes an
    eighth of the time of torch in evaluation mode.

    Args:
        network: in evaluation mode, on `device`.
        contract: how pixels become inputs.
        device: where torch computes; the engine is for processors.
        by_torch: whether torch computes in any case, in whatever modes the network's parts are.
    """
    predictor = None if by_torch else _predictor_of(network, contract, device)
    if predictor is None:
        return lambda pixels: network(ready(pixels, contract, device))
    engine = predictor

    def forward(pixels: Tensor) -> Any:
        outputs = engine.forward(_pixels_last(pixels))
        return tuple(map(_as_tensor, outputs)) if isinstance(outputs, tuple) else _as_tensor(outputs)

    return forward


def features_of(network: Network, contract: Preprocessing, device: torch.device, name: str) -> Forward:
    """As `forward_of`, but for what one operation gives, (N, C) or (N, C, H, W)."""
    predictor = _predictor_of(network, contract, device)
    if predictor is None:
        return lambda pixels: network.features(ready(pixels, contract, device), [name])[name]
    engine = predictor
    return lambda pixels: _as_tensor(engine.tensors(_pixels_last(pixels), [name])[name])


def _predictor_of(network: nn.Module, contract: Preprocessing, device: torch.device) -> Predictor | None:
    """None where torch must compute: on a GPU, in other numbers than float32, without the native library."""
    if device.type != "cpu" or not isinstance(network, Network) or is_quantised(network):
        return None
    if torch.is_autocast_enabled("cpu") or not fused.enabled():
        return None
    checkpoint = Checkpoint(network.architecture, contract, tensors_of(network))
    try:
        return Predictor(checkpoint, runtime="native", threads=torch.get_num_threads())
    except ValueError:
        # An operation that the engine has no kernel for.
        return None


def _pixels_last(pixels: Tensor) -> Any:
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def _as_tensor(values: Any) -> Tensor:
    """(N, H, W, C) → (N, C, H, W), channels last in memory; all else as it is."""
    found = torch.from_numpy(values)
    return found.permute(0, 3, 1, 2) if found.ndim == 4 else found
