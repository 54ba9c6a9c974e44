"""Networks ranked on the user's own pictures: a classifier on frozen features of every one that has weights here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from linnet.architecture import family_of
from linnet.catalogue import IMAGENET, cache_folder, from_package, models_in
from linnet.checkpoint import load_checkpoint
from linnet.choosing.candidates import Candidate
from linnet.choosing.choice import Row
from linnet.data import DataSet, find
from linnet.published import DOWNLOADS

if TYPE_CHECKING:
    from torch import Tensor

MOST = {"train": 1000, "validation": 500}
"""Pictures of a part that are looked at: more would not change the order of the networks."""

SEED = 0
SHARE = 0.2
"""Of the training part, where there is no validation part."""

PROBED = (2, 16)
"""Pictures with which is found out how long all will take: a few for what each network takes before its first picture,
and more for what each picture takes."""


PROBED_STEPS, STEPS, FEATURES = 2, 60, 1280
"""Of a fit: that many steps are tried, at most so many it takes, with about as many features."""


class Reporter(Protocol):
    """What hears of it."""

    def say(self, sentence: str) -> None:
        """A sentence."""

    def update(self, text: str, done: int, total: int, note: str) -> None:
        """How far it is."""


@dataclass(frozen=True)
class Ground:
    """On what networks are ranked.

    Attributes:
        data: labelled pictures.
        starts: family and width → a file with ImageNet weights that is on this machine.
    """

    data: DataSet
    starts: Mapping[tuple[str, float], Path]


def prepare(path: Path) -> Ground:
    """What ranking needs, looked at before minutes go into measuring.

    Raises:
        ModuleNotFoundError: without torch.
        ValueError: if the data are no classes of whole pictures, or no network has weights here.
        OSError: if something cannot be read.
    """
    if find_spec("torch") is None:
        raise ModuleNotFoundError("--data needs torch: pip install 'linnet[train]'.", name="torch")
    data = find(path).for_training()
    if data.task != "classification":
        raise ValueError(f"'{data.path}' has {data.task} labels; --data ranks classifiers, by classes of pictures.")
    starts = weights_here()
    if not starts:
        raise ValueError(
            "No ImageNet weights are on this machine, by which --data ranks. `linnet models` lists some, which are "
            "fetched by their names; or leave --data away."
        )
    return Ground(data.with_validation(SHARE, SEED), starts)


def rank(rows: Sequence[Row], ground: Ground, reporter: Reporter) -> list[Row]:
    """The rows whose network has weights on this machine, with their top-1 on a validation part.

    Features of at most `MOST` pictures are computed in float32 once for each network and resolution; int8 rows get the
    figure of their float32 twin. Resolutions between the published ones are left out.

    Raises:
        ValueError: if no row has weights here.
        OSError: if something cannot be read.
    """
    data, starts = _sample(ground.data, reporter), ground.starts
    chosen = [row for row in rows if row.candidate.published and _start_of(row.candidate) in starts]
    if not chosen:
        known = ", ".join(f"{network} {width:g}" for network, width in sorted(starts))
        raise ValueError(
            f"No network within the bounds has ImageNet weights on this machine, which has those of: {known}. "
            "`linnet models` lists more, which are fetched by their names; or leave --data away."
        )
    networks = {_network_of(row.candidate): row.candidate for row in chosen}
    _say_how_long(list(networks.values()), starts, data, reporter)
    found: dict[str, float] = {}
    for number, (key, candidate) in enumerate(networks.items()):
        reporter.update("features of your data", number, len(networks), key)
        found[key] = _measure(starts[_start_of(candidate)], candidate.resolution, data)
    return [replace(row, data_top1=found[_network_of(row.candidate)]) for row in chosen]


def weights_here() -> dict[tuple[str, float], Path]:
    """Family and width → a file with ImageNet weights that is on this machine."""
    found: dict[tuple[str, float], Path] = {}
    cached = models_in(cache_folder())
    named = [cached[name] for name in (IMAGENET, *DOWNLOADS) if name in cached]
    for path in (*filter(None, [from_package(IMAGENET)]), *named):
        architecture = load_checkpoint(path).architecture
        if architecture.task == "classification":
            found.setdefault((family_of(architecture), architecture.width), path)
    return found


def _start_of(candidate: Candidate) -> tuple[str, float]:
    return candidate.network, candidate.width


def _sample(data: DataSet, reporter: Reporter) -> DataSet:
    """A seeded part of the pictures."""
    parts: dict[str, Any] = {}
    for part, most in MOST.items():
        samples = getattr(data, part)
        if len(samples) > most:
            chosen = np.random.default_rng(SEED).permutation(len(samples))[:most]
            reporter.say(f"{most:,} of {len(samples):,} {part} pictures are taken.")
            parts[part] = tuple(samples[place] for place in sorted(chosen.tolist()))
    return replace(data, **parts)


def _say_how_long(
    networks: Sequence[Candidate], starts: Mapping[tuple[str, float], Path], data: DataSet, reporter: Reporter
) -> None:
    """By a few pictures through the largest network, and the first steps of a fit, before the long part begins."""
    largest = max(networks, key=lambda each: each.cost.multiply_adds)
    spent: list[float] = []
    counts: list[int] = []
    for most in PROBED:
        few = replace(data, train=data.train[:most], validation=data.train[:most])
        begun = time.perf_counter()
        _features(starts[_start_of(largest)], largest.resolution, few, keep=False)
        spent.append(time.perf_counter() - begun)
        counts.append(2 * len(few.train))
    each = max(spent[1] - spent[0], 0.0) / max(counts[1] - counts[0], 1)
    shares = sum(one.cost.multiply_adds for one in networks) / largest.cost.multiply_adds
    pictures = len(data.train) + len(data.validation)
    fits = _seconds_of_fits(len(data.train), len(data.classes)) * len(networks)
    minutes = (spent[0] * len(networks) + each * pictures * shares + fits) / 60
    reporter.say(
        f"{pictures:,} pictures through {len(networks)} network{'s' * (len(networks) > 1)}: about "
        f"{max(minutes, 0.1):.1f} minutes, less where their features are in the cache."
    )


def _seconds_of_fits(pictures: int, classes: int) -> float:
    """About as long as `fit_classifier` takes with so many pictures: by its first steps on random features."""
    import torch

    from linnet.tasks.classification.features import fit_classifier

    features = torch.randn(pictures, FEATURES)
    indices = torch.arange(pictures) % classes
    begun = time.perf_counter()
    fit_classifier(features, indices, (features[:2], indices[:2]), count=classes, steps=PROBED_STEPS)
    return (time.perf_counter() - begun) * STEPS / PROBED_STEPS


def _network_of(candidate: Candidate) -> str:
    """The same in every precision."""
    return f"{candidate.network} {candidate.width:g} at {candidate.resolution}"


def _measure(start: Path, resolution: int, data: DataSet) -> float:
    """Top-1 on validation of a classifier on frozen features."""
    from linnet.tasks.classification.features import fit_classifier

    train, validation = _features(start, resolution, data)
    fits = fit_classifier(*train, validation, count=len(data.classes))
    return max(fit.top1 for fit in fits)


def _features(start: Path, resolution: int, data: DataSet, *, keep: bool = True) -> list[tuple[Tensor, Tensor]]:
    """Features (N, C) and classes (N,) of training and validation; see `compute_features` for `keep`."""
    import torch

    from linnet.tasks.classification.features import compute_features
    from linnet.tasks.classification.start import find_start
    from linnet.training.recipes import RECIPES
    from linnet.training.starts import StartOptions

    begun = find_start(StartOptions(str(start), resolution=resolution), data.classes, RECIPES["features"])
    sets = []
    for samples in (data.train, data.validation):
        device = torch.device("cpu")
        features, _ = compute_features(begun.network, samples, begun.contract, device=device, keep=keep)
        sets.append((features, torch.tensor([sample.index for sample in samples])))
    return sets
