"""Figure 6 trained for real: what the linear bottleneck and the place of the shortcut give, seed by seed, in pairs.

All variants of a seed see the same pictures in the same order with the same shifts, and start from the same weights
where their layers agree: what is left of a difference is the variant's. A run is one small JSON file, written whole
when the run ends; runs that have one are not made again, so an interrupted experiment continues.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.checkpoint import write_atomically

# Width and strides: a few million multiply-adds a picture, so that a run takes minutes on one core.
_SMALL: dict[str, Any] = {"resolution": 32, "classes": 10, "early_stride": 2, "dropout": 0.0}
_SECOND: dict[str, Any] = {**_SMALL, "width": 0.35, "last_layer": "scaled"}

VARIANTS: dict[str, MobileNetV2] = {
    "base": MobileNetV2(**_SECOND),
    "relu6": MobileNetV2(**_SECOND, projection_activation="relu6"),
    "expansion": MobileNetV2(**_SECOND, shortcut="expansion"),
    "none": MobileNetV2(**_SECOND, shortcut="none"),
}
"""Name → network. `base` is the paper's block: linear bottleneck, shortcut between bottlenecks."""


@dataclass(frozen=True)
class Budget:
    """How much a run sees; every run of one experiment has the same.

    Attributes:
        pictures: of the training part, the first of a fixed permutation.
        test_pictures: of the test part, likewise.
        epochs: times through them.
        batch: pictures a step.
        learning_rate: at its highest; it falls to zero along a cosine.
    """

    pictures: int = 8_000
    test_pictures: int = 5_000
    epochs: int = 8
    batch: int = 128
    learning_rate: float = 0.15


def matched_first(target: int) -> MobileNetV1:
    """The MobileNetV1 whose multiply-adds are nearest to `target`, over widths in steps of 0.01."""
    candidates = (MobileNetV1(**_SMALL, width=number / 100) for number in range(5, 151))
    return min(candidates, key=lambda network: abs(cost(network).multiply_adds - target))


def experiments() -> dict[str, Architecture]:
    """All networks by name, in the order of the runs of one seed."""
    return {**VARIANTS, "mobilenet_v1": matched_first(cost(VARIANTS["base"]).multiply_adds)}


def plan(names: Sequence[str], seeds: int, folder: Path) -> Iterator[tuple[str, int, Path]]:
    """The runs without a result, all variants of a seed before the next seed: (name, seed, its file)."""
    for seed in range(seeds):
        for name in names:
            path = folder / f"{name}-{seed}.json"
            if not path.exists():
                yield name, seed, path


def write_run(path: Path, document: dict[str, Any]) -> None:
    """Writes a run's result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())


def read_run(path: Path) -> dict[str, Any]:
    """A run's result.

    Raises:
        ValueError: if the file is none, naming it.
    """
    try:
        document = json.loads(path.read_bytes())
        top1 = document["top1"]
        if not top1 or not all(isinstance(value, float) and 0 <= value <= 1 for value in top1):
            raise ValueError("`top1` must hold an accuracy from 0 to 1 for every epoch")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"'{path}' is not a result of a run ({type(error).__name__}: {error}). Delete it and run the experiment "
            "again: only that run is repeated."
        ) from None
    return dict(document)


def check_budget(folder: Path, budget: Budget) -> None:
    """Refuses to put runs of one budget beside those of another.

    Raises:
        ValueError: if a result in the folder is broken or has another budget, naming it.
    """
    for path in sorted(folder.glob("*.json")):
        found = read_run(path).get("budget")
        if found != asdict(budget):
            raise ValueError(
                f"'{path}' was trained with {found}; this experiment has {asdict(budget)}. Give it a folder of its own."
            )


@dataclass(frozen=True)
class Paired:
    """A paired difference over seeds: mean, standard error, and its 95 % t interval, as fractions of 1."""

    mean: float
    standard_error: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero: only then is a claim made."""
        return self.low > 0 or self.high < 0


# Two-sided 95 % quantiles of Student's t for 1 to 9 degrees of freedom.
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """`first` - `second`, seed by seed; 2 to 10 seeds.

    Raises:
        ValueError: if the numbers of seeds differ, or are not from 2 to 10.
    """
    count = len(first)
    if count != len(second) or not 2 <= count <= len(_STUDENT) + 1:
        raise ValueError(f"A paired difference takes 2 to 10 seeds of both, not {count} and {len(second)}.")
    differences = [one - other for one, other in zip(first, second, strict=True)]
    mean = sum(differences) / count
    error = math.sqrt(sum((value - mean) ** 2 for value in differences) / (count - 1) / count)
    reach = _STUDENT[count - 2] * error
    return Paired(mean, error, mean - reach, mean + reach)
