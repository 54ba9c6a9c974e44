"""What a segmenter's run starts from: the backbone of a classifier or a detector, another segmenter, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from linnet.architecture import DeepLab, Detector, family_of
from linnet.architecture.deeplab import SEGMENTER_VARIANTS, deeplab
from linnet.checkpoint import Checkpoint
from linnet.data import DataSet
from linnet.nn import Network, build, load_tensors, tensors_of
from linnet.tasks.segmentation.sizes import usual_size
from linnet.training.recipe import Recipe
from linnet.training.starts import Start, StartOptions, check_same, contract_of, from_nothing, generator_of, load_start

LOGIT_DEVIATION = 0.1
"""Of the last convolution's weights. TensorFlow's networks begin with 0.01, so that nothing is said at first; AdamW
spends more than a hundred steps on making them large, and does not find thin classes before."""

OF_CLASSIFIERS = ("resolution", "classes", "dropout", "folded", "hidden", "classifier_bias", "output_stride")
"""Options of a backbone that its weights fit whatever they are."""


def find_start(options: StartOptions, data: DataSet, recipe: Recipe) -> Start:
    """The network that a segmenter's run starts from, with a class for each of the data's.

    Its input has the size that is asked for, else that of most pictures (`usual_size`).

    Raises:
        ValueError: if there is no such model, or it does not have the architecture that is asked for.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    if options.family not in (None, "deeplab"):
        raise ValueError(
            f"The data have masks, and a {options.family} gives no class to a pixel: take --architecture deeplab; "
            "--backbone names what gives the features."
        )
    if options.start == "none":
        segmenter = _make(options, data, recipe, {})
        network = from_nothing(segmenter, recipe)
        _draw_logits(network, recipe)
        return Start(network, contract_of(segmenter))
    checkpoint, path = load_start(options)
    assert checkpoint.preprocessing is not None
    if checkpoint.task == "segmentation":
        network, segmenter, own = _from_segmenter(checkpoint, path, options, data, recipe)
    else:
        network, segmenter = _from_backbone(checkpoint, path, options, data, recipe)
        own = False
    contract = replace(checkpoint.preprocessing, size=segmenter.input_size, resize="squash", crop=1.0)

    def complete(network: Network) -> Network:
        return network if network.architecture.task == "segmentation" else grow(network, segmenter, recipe)

    return Start(network, contract, checkpoint, path, own, complete)


def _make(options: StartOptions, data: DataSet, recipe: Recipe, taken: Mapping[str, Any]) -> DeepLab:
    values: dict[str, Any] = {"variant": "modern", **taken, **(options.options or {}), "classes": len(data.classes)}
    values["resolution"] = options.resolution or recipe.resolution or usual_size(data.train)
    if recipe.dropout is not None:
        values["dropout"] = recipe.dropout
    return deeplab(**values)


def _from_backbone(
    checkpoint: Checkpoint, path: Path, options: StartOptions, data: DataSet, recipe: Recipe
) -> tuple[Network, DeepLab]:
    """What a classifier or a detector has learnt to see, without what it says of it; folded as it may be."""
    given: Any = checkpoint.architecture
    source: Any = given.backbone if isinstance(given, Detector) else given
    taken = {field.name: getattr(source, field.name) for field in fields(source) if field.name not in OF_CLASSIFIERS}
    taken["backbone"] = family_of(source)
    check_same(taken, path, {name: value for name, value in (options.options or {}).items() if name in taken})
    segmenter = _make(options, data, recipe, taken)
    trunk = replace(source, classes=None, dropout=0.0, folded=given.folded, resolution=segmenter.input_size)
    network = Network(trunk, recompute_expansion=recipe.recompute)
    load_tensors(network, {name: checkpoint.tensors[name] for name in trunk.tensors})
    return network, segmenter


def grow(trunk: Network, segmenter: DeepLab, recipe: Recipe) -> Network:
    """A segmenter on a trained backbone; what stands on it is drawn."""
    network = build(segmenter, generator=generator_of(recipe), recompute_expansion=recipe.recompute)
    _draw_logits(network, recipe)
    tensors = tensors_of(network)
    trained = tensors_of(trunk)
    # A segmenter may do without the last convolution.
    load_tensors(network, {name: trained.get(name, values) for name, values in tensors.items()})
    return network


def _draw_logits(network: Network, recipe: Recipe) -> None:
    weight = network.module_of("logits").convolution.weight
    nn.init.normal_(weight, std=LOGIT_DEVIATION, generator=generator_of(recipe))


def _from_segmenter(
    checkpoint: Checkpoint, path: Path, options: StartOptions, data: DataSet, recipe: Recipe
) -> tuple[Network, DeepLab, bool]:
    """The whole segmenter; what it says of classes that it does not know is drawn anew.

    It keeps the size of its input, unless another is asked for.
    """
    source = cast(DeepLab, checkpoint.architecture)
    asked = dict(options.options or {})
    variant = asked.pop("variant", None)
    if variant is not None:
        asked = SEGMENTER_VARIANTS[variant] | asked
    check_same({name: _option(source, name) for name in asked}, path, asked)
    changes: dict[str, Any] = {"classes": len(data.classes)}
    if (resolution := options.resolution or recipe.resolution) is not None:
        changes["resolution"] = resolution
    if recipe.dropout is not None:
        changes["dropout"] = recipe.dropout
    segmenter = source.with_options(**changes)
    network = build(segmenter, generator=generator_of(recipe), recompute_expansion=recipe.recompute)
    _draw_logits(network, recipe)
    tensors = tensors_of(network)
    known = checkpoint.classes or ()
    for name, values in tensors.items():
        trained = checkpoint.tensors[name]
        tensors[name] = _carried(trained, values, known, data.classes) if name.startswith("logits.") else trained
    load_tensors(network, tensors)
    return network, segmenter, checkpoint.classes == data.classes


def _option(segmenter: DeepLab, name: str) -> Any:
    """An option of a segmenter or of its backbone, which is called by its family."""
    if name == "backbone":
        return family_of(segmenter.backbone)
    return getattr(segmenter, name) if hasattr(segmenter, name) else getattr(segmenter.backbone, name, None)


def _carried(
    trained: NDArray[Any], drawn: NDArray[np.float32], known: tuple[str, ...], classes: tuple[str, ...]
) -> NDArray[np.float32]:
    """Weights (classes, …): those of classes that are known by name stay."""
    new = drawn.copy()
    for number, name in enumerate(classes):
        if name in known:
            new[number] = trained[known.index(name)]
    return new
