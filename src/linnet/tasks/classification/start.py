"""What a classifier's run starts from: weights of a checkpoint with a new last layer, or nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import FAMILIES, Architecture, family_of, options_of
from linnet.checkpoint import SMALL_SIDE, Checkpoint
from linnet.nn import Network, load_tensors
from linnet.training.recipe import Recipe
from linnet.training.starts import Start, StartOptions, check_known, check_same, contract_of, from_nothing, load_start

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEAD_OPTIONS = ("hidden", "classifier_bias")
"""Options of what follows the pooled features: no weights of a start need to fit them."""


def find_start(options: StartOptions, classes: tuple[str, ...], recipe: Recipe) -> Start:
    """The network that a run starts from, with a classifier for these classes.

    Raises:
        ValueError: if there is no such model, or it does not have the architecture that is asked for.
        OSError: if the file may not be read, or `auto` cannot be downloaded.
    """
    if options.start == "none":
        return _from_nothing(options, len(classes), recipe)
    checkpoint, path = load_start(options)
    architecture = _fitting(checkpoint, path, options, len(classes), recipe)
    assert checkpoint.preprocessing is not None
    network = Network(architecture, recompute_expansion=recipe.recompute)
    same = all(options_of(architecture)[name] == options_of(checkpoint.architecture)[name] for name in HEAD_OPTIONS)
    own = checkpoint.classes == classes and same
    tensors = dict(checkpoint.tensors)
    if not same:
        tensors |= _hidden_tensors(architecture, recipe.seed)
    if not own:
        # All classes alike: the first gradients do not shake the backbone.
        classifier = {name for name in architecture.tensors if name.startswith("classifier.")}
        tensors |= {name: np.zeros(architecture.tensors[name], np.float32) for name in classifier}
    load_tensors(network, tensors)
    contract = replace(checkpoint.preprocessing, size=architecture.input_size)
    return Start(network, contract, checkpoint, path, own)


def _hidden_tensors(architecture: Architecture, seed: int) -> dict[str, NDArray[np.float32]]:
    """Random hidden layers, drawn as Kaiming draws what ReLU follows, with biases of 0."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in architecture.tensors.items():
        if name.startswith("hidden."):
            deviation = np.sqrt(2 / shape[-1]) if name.endswith(".weight") else 0.0
            tensors[name] = (generator.normal(size=shape) * deviation).astype(np.float32)
    return tensors


def _from_nothing(options: StartOptions, classes: int, recipe: Recipe) -> Start:
    values: dict[str, Any] = dict(options.options or {})
    family = options.family or "mobilenet_v2"
    make: Any = FAMILIES[family]
    check_known(values, {entry.name for entry in fields(make)}, family)
    resolution = options.resolution or recipe.resolution or 224
    if max((resolution,) if isinstance(resolution, int) else resolution) <= SMALL_SIDE:
        values.setdefault("early_stride", 2)
    if recipe.dropout is not None:
        values["dropout"] = recipe.dropout
    architecture: Architecture = make(resolution=resolution, classes=classes, **values)
    return Start(from_nothing(architecture, recipe), contract_of(architecture))


def _fitting(checkpoint: Checkpoint, path: Path, options: StartOptions, classes: int, recipe: Recipe) -> Architecture:
    """The checkpoint's architecture with our classes, resolution and dropout; refuses what its weights cannot be."""
    architecture = checkpoint.architecture
    if architecture.task != "classification":
        raise ValueError(
            f"'{path}' is a network for {architecture.task}; a classifier begins from a classifier. Give "
            "another --start."
        )
    family = family_of(architecture)
    if options.family is not None and options.family != family:
        raise ValueError(f"'{path}' is a {family}, not a {options.family}. Give --start none, or another.")
    found = options_of(architecture)
    check_known(options.options or {}, found.keys() - {"family"}, family)
    given = dict(options.options or {})
    changes: dict[str, Any] = {"classes": classes}
    changes |= {name: given.pop(name) for name in HEAD_OPTIONS if name in given}
    check_same(found, path, given)
    if (resolution := options.resolution or recipe.resolution) is not None:
        changes["resolution"] = resolution
    if recipe.dropout is not None:
        changes["dropout"] = recipe.dropout
    return architecture.with_options(**changes)
