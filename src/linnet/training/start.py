"""What a run starts from: weights of a checkpoint with a new classifier, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linnet.architecture import FAMILIES, Architecture, family_of
from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint
from linnet.images import Preprocessing
from linnet.nn import Network, build, load_tensors
from linnet.training.dropout import PictureDropout
from linnet.training.recipe import Recipe
from linnet.training.statistics import unfold

AUTO = "imagenet-v2-1.0-224-tf2"
"""What `auto` stands for: ImageNet weights in the cache, or to be downloaded."""

SMALL = 64
"""Pixels up to which a network from nothing gets reduced early strides and no margin around its crop."""


@dataclass(frozen=True)
class Wanted:
    """What the network should be; what is None follows from the start, or from the defaults.

    Attributes:
        start: `auto`, `none`, a model's name or a checkpoint file.
        family: `mobilenet_v1`, `mobilenet_v2`, `ssdlite` or `ssd`.
        resolution: side in pixels.
        options: other options of the architecture; of a detector also its `variant`.
    """

    start: str = "auto"
    family: str | None = None
    resolution: int | None = None
    options: Mapping[str, Any] | None = None


@dataclass
class Start:
    """A network to train.

    Attributes:
        network: in training mode, perhaps still folded (`ready`).
        contract: how pictures become its input.
        checkpoint: where the weights come from; None for random ones.
        file: its file.
        keeps_classifier: whether the classes are the checkpoint's own.
    """

    network: Network
    contract: Preprocessing
    checkpoint: Checkpoint | None = None
    file: Path | None = None
    keeps_classifier: bool = False

    @property
    def pretrained(self) -> bool:
        """Whether the weights come from a checkpoint."""
        return self.checkpoint is not None

    def ready(self, inputs: Iterable[Tensor]) -> Network:
        """The network with its batch norm; a folded one is unfolded on these inputs."""
        return unfold(self.network, inputs) if self.network.architecture.folded else self.network


def find_start(wanted: Wanted, classes: tuple[str, ...], recipe: Recipe) -> Start:
    """The network that a run starts from, with a classifier for these classes.

    Raises:
        ValueError: if there is no such model, or it does not have the architecture that is asked for.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    if wanted.start == "none":
        return _from_nothing(wanted, classes, recipe)
    checkpoint, path = load_start(wanted)
    architecture = _fitting(checkpoint, path, wanted, len(classes), recipe)
    assert checkpoint.preprocessing is not None
    network = Network(architecture, recompute_expansion=recipe.recompute)
    own = checkpoint.classes == classes
    tensors = dict(checkpoint.tensors)
    if not own:
        # All classes alike: the first gradients do not shake the backbone.
        for name in ("classifier.weight", "classifier.bias"):
            tensors[name] = torch.zeros(architecture.tensors[name]).numpy()
    load_tensors(network, tensors)
    contract = replace(checkpoint.preprocessing, size=architecture.input_size)
    return Start(network, contract, checkpoint, path, own)


def load_start(wanted: Wanted) -> tuple[Checkpoint, Path]:
    """The checkpoint that is named, and its file.

    Raises:
        ValueError: if there is no such model, or it takes no pictures.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    path = _find_auto() if wanted.start == "auto" else find_model(wanted.start)
    checkpoint = load_checkpoint(path)
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
            "FILE (`linnet convert` makes one of a TFLite file), or --start none to begin from nothing."
        ) from None


def _from_nothing(wanted: Wanted, classes: tuple[str, ...], recipe: Recipe) -> Start:
    options = dict(wanted.options or {})
    resolution = wanted.resolution or 224
    if resolution <= SMALL:
        options.setdefault("early_stride", 2)
    if recipe.dropout is not None:
        options["dropout"] = recipe.dropout
    make: Any = FAMILIES[wanted.family or "mobilenet_v2"]
    architecture: Architecture = make(resolution=resolution, classes=len(classes), **options)
    generator = torch.Generator().manual_seed(recipe.seed)
    network = build(architecture, generator=generator, recompute_expansion=recipe.recompute)
    if recipe.initial == "kaiming":
        draw_kaiming(network, generator)
    return Start(network, Preprocessing(size=architecture.input_size, crop=1.0 if resolution <= SMALL else 0.875))


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


def _fitting(checkpoint: Checkpoint, path: Path, wanted: Wanted, classes: int, recipe: Recipe) -> Architecture:
    """The checkpoint's architecture with our classes, resolution and dropout; refuses what its weights cannot be."""
    architecture = checkpoint.architecture
    if architecture.task != "classification":
        raise ValueError(f"'{path}' is a detector; a classifier begins from a classifier. Give another --start.")
    if wanted.family is not None and wanted.family != family_of(architecture):
        raise ValueError(
            f"'{path}' is a {family_of(architecture)}, not a {wanted.family}. Give --start none, or another."
        )
    for name, value in (wanted.options or {}).items():
        if (found := getattr(architecture, name, None)) != value:
            raise ValueError(
                f"'{path}' has {name.replace('_', ' ')} {found}, not {value}: its weights fit no other. Give another "
                "--start, or --start none."
            )
    changes: dict[str, Any] = {"classes": classes}
    if wanted.resolution is not None:
        changes["resolution"] = wanted.resolution
    if recipe.dropout is not None:
        changes["dropout"] = recipe.dropout
    return architecture.with_options(**changes)


def prepare_for_training(network: Network, recipe: Recipe) -> None:
    """Gives a network the dropout whose masks belong to the pictures, and freezes what the recipe says."""
    from linnet.nn import freeze

    network.dropout = PictureDropout(network.architecture.dropout)  # type: ignore[assignment]
    freeze(network, recipe.freeze)
