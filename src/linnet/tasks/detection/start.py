"""What a detector's run starts from: a classifier's backbone under new heads, another detector, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from linnet.architecture import Detector, family_of
from linnet.architecture.ssdlite import DETECTORS, RELEASED, VARIANTS
from linnet.checkpoint import Checkpoint
from linnet.nn import Network, build, load_tensors, tensors_of
from linnet.tasks.detection.objective import check_loss
from linnet.training.detection_recipe import DetectionRecipe
from linnet.training.starts import Start, StartOptions, check_same, contract_of, from_nothing, generator_of, load_start

FOCAL_BIAS = -4.6
"""Of class outputs that learn by focal loss: a score of 0.01, so that the background is not what the first steps learn
(RetinaNet, arXiv 1708.02002, section 4.1)."""

OF_VARIANTS = ("head_kernel", *(name for name in VARIANTS["modern"] if name != "resolution"))
"""Options, of the detector or of its backbone, by which the variants differ."""

OF_RELEASED = tuple(name for name in RELEASED if name != "resolution")
"""Options of a backbone that TensorFlow's detectors have their own of."""


def find_start(options: StartOptions, classes: tuple[str, ...], recipe: DetectionRecipe) -> Start:
    """The network that a detector's run starts from, with heads for these classes.

    Raises:
        ValueError: if there is no such model, or it does not have the architecture that is asked for.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    if options.start == "none":
        detector = _make(options, len(classes), recipe, {})
        check_loss(detector, recipe)
        network = from_nothing(detector, recipe)
        _draw_biases(network, recipe)
        return Start(network, contract_of(detector))
    checkpoint, path = load_start(options)
    assert checkpoint.preprocessing is not None
    start = _from_detector if checkpoint.task == "detection" else _from_classifier
    network, detector, own = start(checkpoint, path, options, classes, recipe)
    check_loss(detector, recipe)
    contract = replace(checkpoint.preprocessing, size=detector.input_size, resize="squash", crop=1.0)

    def complete(network: Network) -> Network:
        return network if network.architecture.task == "detection" else grow(network, detector, recipe)

    return Start(network, contract, checkpoint, path, own, complete)


def _from_classifier(
    checkpoint: Checkpoint, path: Path, options: StartOptions, classes: tuple[str, ...], recipe: DetectionRecipe
) -> tuple[Network, Detector, bool]:
    """The backbone alone: a folded one is unfolded before it grows heads, which were never folded."""
    source: Any = checkpoint.architecture
    variant = (options.options or {}).get("variant", "modern")
    left = {"resolution", "classes", "dropout", "folded", *(OF_RELEASED if variant == "tensorflow" else ())}
    taken = {field.name: getattr(source, field.name) for field in fields(source) if field.name not in left}
    taken["backbone"] = family_of(source)
    detector = _make(options, len(classes), recipe, taken)
    check_same(taken, path, {name: value for name, value in (options.options or {}).items() if name in taken})
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
    checkpoint: Checkpoint, path: Path, options: StartOptions, classes: tuple[str, ...], recipe: DetectionRecipe
) -> tuple[Network, Detector, bool]:
    """The whole detector; what its class heads say of classes that it does not know is drawn anew."""
    source = cast(Detector, checkpoint.architecture)
    if options.family not in (None, family_of(source)):
        raise ValueError(f"'{path}' is an {family_of(source)}, not an {options.family}. Give another --start.")
    asked = dict(options.options or {})
    variant = asked.pop("variant", None)
    if variant is not None:
        family, backbone = family_of(source), family_of(source.backbone)
        usual = DETECTORS[family](variant=variant, backbone=backbone)
        asked = {name: _option(usual, name) for name in OF_VARIANTS} | asked
    check_same({name: _option(source, name) for name in asked}, path, asked)
    changes: dict[str, Any] = {"classes": len(classes)}
    if options.resolution is not None:
        changes["resolution"] = options.resolution
    if recipe.dropout is not None:
        changes["dropout"] = recipe.dropout
    detector = source.with_options(**changes)
    own = checkpoint.classes == classes
    network = build(detector, generator=generator_of(recipe), recompute_expansion=recipe.recompute)
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
    trained: NDArray[Any], drawn: NDArray[np.float32], known: tuple[str, ...], classes: tuple[str, ...]
) -> NDArray[np.float32]:
    """Weights (anchors x slots, …) for the classes: those of the background and of classes known by name stay.

    A detector without class names keeps only its background.
    """
    slots = 1 + len(classes)
    anchors, rest = drawn.shape[0] // slots, drawn.shape[1:]
    old = trained.reshape(anchors, trained.shape[0] // anchors, *rest)  # (anchors, slots, …)
    new = drawn.reshape(anchors, slots, *rest).copy()  # (anchors, slots, …)
    new[:, 0] = old[:, 0]
    for number, name in enumerate(classes, start=1):
        if name in known:
            new[:, number] = old[:, 1 + known.index(name)]
    return new.reshape(drawn.shape)  # (anchors * slots, …)


def grow(trunk: Network, detector: Detector, recipe: DetectionRecipe) -> Network:
    """A detector on a trained backbone; extra levels and heads are drawn as the released detector draws them."""
    network = build(detector, generator=generator_of(recipe), recompute_expansion=recipe.recompute)
    _draw_biases(network, recipe)
    load_tensors(network, tensors_of(network) | tensors_of(trunk))
    return network


def _make(options: StartOptions, classes: int, recipe: DetectionRecipe, taken: Mapping[str, Any]) -> Detector:
    values: dict[str, Any] = {"variant": "modern", **taken, **(options.options or {}), "classes": classes}
    if (resolution := options.resolution or recipe.resolution) is not None:
        values["resolution"] = resolution
    if recipe.dropout is not None:
        values["dropout"] = recipe.dropout
    family = options.family or "ssdlite"
    if family not in DETECTORS:
        detectors = " or ".join(reversed(DETECTORS))
        raise ValueError(
            f"The data have boxes, and a {family} finds none: take --architecture {detectors}; --backbone names what "
            "gives the features."
        )
    return DETECTORS[family](**values)


def _draw_biases(network: Network, recipe: DetectionRecipe) -> None:
    """Focal loss begins where everything is improbable."""
    if recipe.loss == "focal":
        for head in (block for block in network.architecture.layers if block.kind == "class head"):
            nn.init.constant_(network.module_of(head.name).convolution.bias, FOCAL_BIAS)
