"""Torch modules to checkpoints and back: one mapping of names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from linnet.checkpoint import Checkpoint, default_preprocessing, save_checkpoint
from linnet.images import Preprocessing
from linnet.nn.convolution import ConvolutionModule
from linnet.nn.modules import GraphNetwork, Network

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _pairs(network: GraphNetwork) -> Iterator[tuple[str, Tensor]]:
    """Checkpoint name and torch tensor of every weight and statistic."""
    for operation in network.graph.operations:
        if operation.tensors:
            for name, tensor in _tensors(network.module_of(operation.name)):
                yield f"{operation.label}.{name}", tensor


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name within an operation and torch tensor: of a convolution with batch norm or a bias, or a linear layer."""
    weighted = module.convolution if isinstance(module, ConvolutionModule) else module
    assert isinstance(weighted, nn.Conv2d | nn.Linear)
    yield "weight", weighted.weight
    if weighted.bias is not None:
        yield "bias", weighted.bias
    norm = getattr(module, "norm", None)
    if isinstance(norm, nn.modules.batchnorm._BatchNorm):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        yield from (("scale", norm.weight), ("shift", norm.bias))
        yield from (("mean", norm.running_mean), ("variance", norm.running_var))


def tensors_of(network: GraphNetwork) -> dict[str, NDArray[np.float32]]:
    """The network's weights and statistics as a checkpoint holds them: copies, float32, in its order."""
    found = {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in _pairs(network)}
    return {name: found[name] for name in network.graph.tensors}


def load_tensors(network: GraphNetwork, tensors: Mapping[str, NDArray[np.floating[Any]]]) -> None:
    """Copies a checkpoint's tensors into a network of the same architecture.

    Raises:
        ValueError: if a tensor is missing or has another shape.
    """
    with torch.no_grad():
        for name, target in _pairs(network):
            if name not in tensors or tensors[name].shape != tuple(target.shape):
                found = list(tensors[name].shape) if name in tensors else "nothing"
                raise ValueError(f"{name} must have shape {list(target.shape)}; got {found}.")
            target.copy_(torch.from_numpy(np.ascontiguousarray(tensors[name], np.float32)))


def from_checkpoint(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint with its weights, in evaluation mode; a quantised one as floats."""
    # Not `build`: drawing weights that are overwritten at once would take most of the time.
    network = Network(checkpoint.architecture)
    load_tensors(network, checkpoint.dequantised("torch").tensors)
    return network.eval()


def checkpoint_of(
    network: Network,
    preprocessing: Preprocessing | None,
    classes: tuple[str, ...] | None,
    *,
    provenance: Mapping[str, Any] | None = None,
    score: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A network with its weights as a checkpoint: a quantised one where it is computed by the integer rule.

    Raises:
        ValueError: if the parts do not fit each other.
    """
    architecture, whole = network.architecture, network.quantisation if network.quantised else None
    return Checkpoint(
        architecture=architecture if whole is None else architecture.with_options(folded=True),
        preprocessing=preprocessing,
        tensors=tensors_of(network) if whole is None else whole.tensors(network),
        classes=None if classes is None else tuple(classes),
        provenance=provenance or {},
        score=score or {},
        quantisation=None if whole is None else whole.quantisation(),
    )


def save(
    network: Network,
    path: str | os.PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    classes: tuple[str, ...] | None = None,
    provenance: Mapping[str, Any] | None = None,
    score: Mapping[str, Any] | None = None,
    dtype: type[np.floating[Any]] = np.float32,
) -> None:
    """Writes a network to a checkpoint that describes itself.

    Args:
        network: what `build` made.
        path: file to write.
        preprocessing: how pictures become its input; None takes
            `linnet.checkpoint.default_preprocessing`.
        classes: names, one an output.
        provenance: data, recipe, command, commit, date, source and licence.
        score: measured figures and the data they were measured on.
        dtype: `np.float32`, or `np.float16` for half the size.

    Raises:
        ValueError: if the parts do not fit each other.
        OSError: if the file cannot be written.
    """
    contract = preprocessing or default_preprocessing(network.architecture)
    checkpoint = checkpoint_of(network, contract, classes, provenance=provenance, score=score)
    save_checkpoint(checkpoint, path, dtype=dtype)
