"""Changes to a pretrained network: freezing its first layers, taking other input channels."""

from __future__ import annotations

import copy

import torch

from linnet.architecture.network import LARGEST_COUNT, check_whole
from linnet.nn.modules import Network, chains_of, module_name


def freeze(network: Network, up_to: str | None) -> None:
    """Freezes all layers from the stem to `up_to`, inclusive, and unfreezes the later ones.

    Frozen layers get no gradients, and their batch norm stays in evaluation mode, also after `network.train()`.

    Args:
        network: what to freeze, in place.
        up_to: a layer such as `blocks.12`, `head`; None unfreezes everything.

    Raises:
        ValueError: if there is no such layer before the pooling; the text lists those there are.
    """
    names = list(network.body)
    if up_to is not None and module_name(up_to) not in names:
        known = ", ".join(name.replace("_", ".") for name in names)
        raise ValueError(f"There is no layer {up_to!r} to freeze; there are {known}.")
    count = 0 if up_to is None else names.index(module_name(up_to)) + 1
    network._frozen = tuple(names[:count])
    for number, name in enumerate(names):
        network.body[name].requires_grad_(number >= count)
    network.train(network.training)


def adapt_input_channels(network: Network, channels: int) -> Network:
    """A copy of a trained network, in every other respect the same, that takes another number of channels.

    Fewer channels get the sum of those they stand for, more share the weights of the one they repeat, so that the
    sum over the input stays what it was: a picture whose channels are all alike gives the same output as before.

    Raises:
        ValueError: if `channels` is not a whole number from 1.
    """
    check_whole("channels", channels, least=1, most=LARGEST_COUNT)
    adapted = copy.deepcopy(network)
    adapted.architecture = network.architecture.with_options(input_channels=channels)
    adapted.graph = adapted.architecture.graph
    adapted._chains = chains_of(adapted.graph)
    stem = adapted.module_of("stem")
    stem.layer = adapted.graph.convolutions[0]
    old = stem.convolution.weight
    count = old.shape[1]
    new = torch.zeros(old.shape[0], channels, *old.shape[2:], dtype=old.dtype, device=old.device)
    for target in range(channels):
        sharing = len(range(target % count, channels, count)) if channels > count else 1
        sources = range(target, count, channels) if channels <= count else (target % count,)
        for source in sources:
            new[:, target] += old.detach()[:, source] / sharing
    stem.convolution.in_channels = channels
    stem.convolution.weight = torch.nn.Parameter(new, requires_grad=old.requires_grad)
    return adapted
