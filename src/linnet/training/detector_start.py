"""What a detector's run starts from: a classifier's backbone under new heads, another detector, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from linnet.architecture import Detector, family_of
from linnet.architecture.ssdlite import VARIANTS, ssd, ssdlite
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.nn import Network, build, load_tensors, tensors_of
from linnet.training.recipe import DetectionRecipe
from linnet.training.start import Start, Wanted, draw_kaiming, load_start

FOCAL_BIAS = -4.6
"""Of class outputs that learn by focal loss: a score of 0.01, so that the background is not what the first steps learn
(RetinaNet, arXiv 1708.02002, section 4.1)."""

OF_THE_VARIANT = ("minimum_depth", "last_layer")
"""Options of a backbone that TensorFlow's detectors have their own of."""


@dataclass
class DetectorStart(Start):
    """A detector to train.

    Attributes:
        detector: what the network becomes: `network` is its backbone until `ready`, or the whole of it.
        recipe: tells how new weights are drawn.
    """

    detector: Detector | None = None
    recipe: DetectionRecipe | None = None

    def ready(self, inputs: Iterable[Tensor]) -> Network:
        """The whole detector, with its batch norm; what the start lacks is drawn."""
        assert self.detector is not None
        assert self.recipe is not None
        network = super().ready(inputs)
        if network.architecture.task != "detection":
            network = grow(network, self.detector, self.recipe)
        return network


def find_detector_start(wanted: Wanted, classes: tuple[str, ...], recipe: DetectionRecipe) -> DetectorStart:
    """The network that a detector's run starts from, with heads for these classes.

    Raises:
        ValueError: if there is no such model, or it does not have the architecture that is asked for.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    if wanted.start == "none":
        detector = _make(wanted, len(classes), recipe, {})
        network = build(detector, generator=_generator(recipe), recompute_expansion=recipe.recompute)
        if recipe.initial == "kaiming":
            draw_kaiming(network, _generator(recipe))
        _draw_biases(network, recipe)
        contract = Preprocessing(size=detector.input_size, resize="squash", crop=1.0)
        return DetectorStart(network, contract, detector=detector, recipe=recipe)
    checkpoint, path = load_start(wanted)
    assert checkpoint.preprocessing is not None
    network, detector, own = (
        _from_detector(checkpoint, path, wanted, classes, recipe)
        if checkpoint.task == "detection"
        else _from_classifier(checkpoint, path, wanted, classes, recipe)
    )
    contract = replace(checkpoint.preprocessing, size=detector.input_size, resize="squash", crop=1.0)
    return DetectorStart(network, contract, checkpoint, path, own, detector, recipe)


def _from_classifier(
    checkpoint: Checkpoint, path: Path, wanted: Wanted, classes: tuple[str, ...], recipe: DetectionRecipe
) -> tuple[Network, Detector, bool]:
    """The backbone alone: a folded one is unfolded before it grows heads, which were never folded."""
    source: Any = checkpoint.architecture
    variant = (wanted.options or {}).get("variant", "modern")
    left = {"resolution", "classes", "dropout", "folded", *(OF_THE_VARIANT if variant == "tensorflow" else ())}
    taken = {field.name: getattr(source, field.name) for field in fields(source) if field.name not in left}
    _check_same(taken | {"backbone": family_of(source)}, path, wanted)
    detector = _make(wanted, len(classes), recipe, taken | {"backbone": family_of(source)})
    trunk = replace(detector.backbone, folded=source.folded)
    misfits = [name for name, shape in trunk.tensors.items() if checkpoint.tensors[name].shape != tuple(shape)]
    if misfits:
        there = checkpoint.tensors[misfits[0]].shape
        raise ValueError(
            f"'{path}' does not fit under the {variant} variant: {misfits[0]} is {there} there and "
            f"{tuple(trunk.tensors[misfits[0]])} here. --variant modern takes every classifier's weights."
        )
    network = Network(trunk, recompute_expansion=recipe.recompute)
    load_tensors(network, {name: checkpoint.tensors[name] for name in trunk.tensors})
    return network, detector, False


def _from_detector(
    checkpoint: Checkpoint, path: Path, wanted: Wanted, classes: tuple[str, ...], recipe: DetectionRecipe
) -> tuple[Network, Detector, bool]:
    """The whole detector; what its class heads say of classes that it does not know is drawn anew."""
    source = cast(Detector, checkpoint.architecture)
    if wanted.family not in (None, family_of(source)):
        raise ValueError(f"'{path}' is an {family_of(source)}, not an {wanted.family}. Give another --start.")
    options = dict(wanted.options or {})
    variant = options.pop("variant", None)
    options |= {} if variant is None else {k: v for k, v in VARIANTS[variant].items() if k != "resolution"}
    _check_same({name: _option(source, name) for name in options}, path, replace(wanted, options=options))
    changes: dict[str, Any] = {"classes": len(classes)}
    if wanted.resolution is not None:
        changes["resolution"] = wanted.resolution
    if recipe.dropout is not None:
        changes["dropout"] = recipe.dropout
    detector = source.with_options(**changes)
    own = checkpoint.classes == classes
    network = build(detector, generator=_generator(recipe), recompute_expansion=recipe.recompute)
    _draw_biases(network, recipe)
    tensors = tensors_of(network)
    for name, values in tensors.items():
        trained = checkpoint.tensors[name]
        tensors[name] = _carried(trained, values, checkpoint.classes or (), classes) if _says_classes(name) else trained
    load_tensors(network, tensors)
    return network, detector, own


def _option(detector: Detector, name: str) -> Any:
    """An option of a detector or of its backbone, which is called by its family."""
    if name == "backbone":
        return family_of(detector.backbone)
    return getattr(detector, name) if hasattr(detector, name) else getattr(detector.backbone, name, None)


def _says_classes(name: str) -> bool:
    """Whether a tensor belongs to the last convolution of a class head: `predictors.0.classes.pointwise.weight`."""
    parts = name.split(".")
    return parts[0] == "predictors" and parts[2] == "classes" and parts[3] != "depthwise"


def _carried(
    trained: NDArray[Any], drawn: NDArray[np.float32], known: tuple[str, ...], wanted: tuple[str, ...]
) -> NDArray[np.float32]:
    """Weights (anchors x slots, …) for the wanted classes: those of the background and of classes known by name stay.

    A detector without class names keeps only its background.
    """
    slots = 1 + len(wanted)
    anchors, rest = drawn.shape[0] // slots, drawn.shape[1:]
    old = trained.reshape(anchors, trained.shape[0] // anchors, *rest)
    new = drawn.reshape(anchors, slots, *rest).copy()
    new[:, 0] = old[:, 0]
    for number, name in enumerate(wanted, start=1):
        if name in known:
            new[:, number] = old[:, 1 + known.index(name)]
    return new.reshape(drawn.shape)


def grow(trunk: Network, detector: Detector, recipe: DetectionRecipe) -> Network:
    """A detector on a trained backbone; extra levels and heads are drawn as the released detector draws them."""
    network = build(detector, generator=_generator(recipe), recompute_expansion=recipe.recompute)
    _draw_biases(network, recipe)
    load_tensors(network, tensors_of(network) | tensors_of(trunk))
    return network


def _make(wanted: Wanted, classes: int, recipe: DetectionRecipe, taken: Mapping[str, Any]) -> Detector:
    options: dict[str, Any] = {"variant": "modern", **taken, **(wanted.options or {}), "classes": classes}
    if (resolution := wanted.resolution or recipe.resolution) is not None:
        options["resolution"] = resolution
    if recipe.dropout is not None:
        options["dropout"] = recipe.dropout
    if wanted.family not in (None, "ssdlite", "ssd"):
        raise ValueError(
            f"The data have boxes, and a {wanted.family} finds none: take --architecture ssdlite or ssd; --backbone "
            "names what gives the features."
        )
    return ssd(**options) if wanted.family == "ssd" else ssdlite(**options)


def _check_same(found: Mapping[str, Any], path: Path, wanted: Wanted) -> None:
    for name, value in (wanted.options or {}).items():
        if name != "variant" and found.get(name) != value:
            raise ValueError(
                f"'{path}' has {name.replace('_', ' ')} {found.get(name)}, not {value}: its weights fit no other. Give "
                "another --start, or --start none."
            )


def _draw_biases(network: Network, recipe: DetectionRecipe) -> None:
    """Focal loss begins where everything is improbable."""
    if recipe.loss == "focal":
        for head in (block for block in network.architecture.layers if block.kind == "class head"):
            nn.init.constant_(network.module_of(head.name).convolution.bias, FOCAL_BIAS)


def _generator(recipe: DetectionRecipe) -> torch.Generator:
    return torch.Generator().manual_seed(recipe.seed)
