"""What a classifier's run starts from: weights of a checkpoint with a new last layer, or nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from linnet.architecture import FAMILIES, Architecture, family_of, options_of
from linnet.checkpoint import SMALL_SIDE, Checkpoint
from linnet.nn import Network, load_tensors
from linnet.training.recipe import Recipe
from linnet.training.starts import Start, StartOptions, check_known, check_same, contract_of, from_nothing, load_start


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
    own = checkpoint.classes == classes
    tensors = dict(checkpoint.tensors)
    if not own:
        # All classes alike: the first gradients do not shake the backbone.
        classifier = {name for name in architecture.tensors if name.startswith("classifier.")}
        tensors |= {name: np.zeros(architecture.tensors[name], np.float32) for name in classifier}
    load_tensors(network, tensors)
    contract = replace(checkpoint.preprocessing, size=architecture.input_size)
    return Start(network, contract, checkpoint, path, own)


def _from_nothing(options: StartOptions, classes: int, recipe: Recipe) -> Start:
    values: dict[str, Any] = dict(options.options or {})
    family = options.family or "mobilenet_v2"
    make: Any = FAMILIES[family]
    check_known(values, {entry.name for entry in fields(make)}, family)
    resolution = options.resolution or recipe.resolution or 224
    if resolution <= SMALL_SIDE:
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
    check_same(found, path, options.options or {})
    changes: dict[str, Any] = {"classes": classes}
    if (resolution := options.resolution or recipe.resolution) is not None:
        changes["resolution"] = resolution
    if recipe.dropout is not None:
        changes["dropout"] = recipe.dropout
    return architecture.with_options(**changes)
