"""Batch-norm statistics: unfolding a folded network, measuring statistics anew, keeping them as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from linnet.architecture import Backbone, Linear
from linnet.architecture.operations import of_kind
from linnet.nn import Network
from linnet.nn.convolution import ConvolutionModule
from linnet.nn.modules import GraphNetwork

USUAL_MOMENTUM = Backbone.batch_norm_momentum
"""Share of each batch in the running statistics of networks that begin here."""

REACH = 0.05
"""Of a training's steps, over which its running statistics may reach back."""


def unfold(network: Network, inputs: Iterable[Tensor]) -> Network:
    """A folded network with its batch norm back, and the same function: a start that can be trained.

    What folding put into weights and bias cannot be recovered, so the statistics are measured: on pictures, each
    convolution's output has mean m and variance v in every channel (its bias included). Batch norm with running mean
    m - bias, variance v, scale sqrt(v + epsilon) and shift m then changes nothing, and in training mode it normalises
    as one that had always been there.

    Args:
        network: folded; it is left as it is.
        inputs: batches of normalised pictures (N, C, H, W), a few hundred in all.

    Raises:
        ValueError: if the network is not folded, or there are no pictures.
    """
    architecture = network.architecture
    if not architecture.folded:
        raise ValueError("The network has its batch norm: there is nothing to unfold.")
    moments = _measure(network, inputs)
    unfolded = Network(architecture.with_options(folded=False))
    unfolded.train(network.training)
    modules = dict(network.named_modules())
    with torch.no_grad():
        for name, module in unfolded.named_modules():
            source = modules.get(name)
            if isinstance(module, ConvolutionModule) and isinstance(source, ConvolutionModule):
                mean, variance = moments[name]
                bias, norm = source.convolution.bias, module.norm
                assert bias is not None
                module.convolution.weight.copy_(source.convolution.weight)
                if not isinstance(norm, nn.BatchNorm2d):
                    # The last convolution of a detector's head never has any.
                    assert module.convolution.bias is not None
                    module.convolution.bias.copy_(bias)
                    continue
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.copy_(mean - bias)
                norm.running_var.copy_(variance)
                norm.weight.copy_((variance + norm.eps).sqrt())
                norm.bias.copy_(mean)
        for linear in of_kind(network.graph.operations, Linear):
            unfolded.module_of(linear.name).load_state_dict(network.module_of(linear.name).state_dict())
    return unfolded


def _measure(network: Network, inputs: Iterable[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of every convolution's output, in float64, over all pictures and positions."""
    sums: dict[str, list[Tensor]] = {}
    counts: dict[str, int] = {}

    def watch(name: str) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            values = output.detach().double()
            totals = [values.sum(dim=(0, 2, 3)), values.square().sum(dim=(0, 2, 3))]  # (C,) each
            sums[name] = [old + new for old, new in zip(sums[name], totals, strict=True)] if name in sums else totals
            counts[name] = counts.get(name, 0) + values.numel() // values.shape[1]

        handles.append(module.convolution.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in network.named_modules():
        if isinstance(module, ConvolutionModule):
            watch(name)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            for images in inputs:
                network(images)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    if not sums:
        raise ValueError("There are no pictures to measure the statistics on.")
    moments = {}
    for name, (total, squares) in sums.items():
        mean = total / counts[name]
        moments[name] = (mean.float(), (squares / counts[name] - mean.square()).clamp(min=0).float())
    return moments


def with_quick_statistics(network: Network, steps: int) -> Network:
    """The network, with running statistics that follow a training of so many steps; the same one if they do anyway.

    Some starts have them reach back over a thousand steps or more: Keras' networks, and TensorFlow's detectors. In a
    training of a few thousand they would lag behind the weights, and the network be worse than it was in training.
    """
    slow = min((norm.momentum or 1.0 for norm in norms_of(network)), default=1.0)
    if slow >= USUAL_MOMENTUM or 1 / slow <= REACH * steps:
        return network
    architecture = network.architecture.with_options(batch_norm_momentum=USUAL_MOMENTUM)
    quick = Network(architecture, recompute_expansion=network.recompute_expansion)
    quick.load_state_dict(network.state_dict())
    return quick.train(network.training)


def norms_of(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Every batch norm of a network that measures statistics: not those of single pixels, which keep theirs."""
    kept = network.pooled_norms if isinstance(network, GraphNetwork) else []
    norms = (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return [norm for norm in norms if not any(norm is each for each in kept)]


def freeze_statistics(network: nn.Module) -> None:
    """Puts every batch norm into evaluation mode: `network.train()` undoes it. Scale and shift are still trained."""
    for norm in norms_of(network):
        norm.eval()


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Within it the network normalises by the batch, as in training, but learns no statistics and drops nothing."""
    modes = {module: module.training for module in network.modules()}
    norms = norms_of(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for module in network.modules():
        # So that the kernels of training take it.
        if isinstance(module, ConvolutionModule) and not module.layer.dropout:
            module.training = True
    for norm in norms:
        norm.train()
        norm.momentum = 0.0
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def recalculate(network: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Measures all statistics anew, as the plain average over batches of normalised pictures."""
    modes = {module: module.training for module in network.modules()}
    norms = norms_of(network)
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        # None: the mean of all batches instead of a moving one.
        norm.momentum = None
    try:
        with torch.no_grad():
            for images in inputs:
                network(images)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
