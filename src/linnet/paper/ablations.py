"""Figure 6 trained for real: what the linear bottleneck and the place of the shortcut give, seed by seed, in pairs.

All variants of a seed see the same pictures in the same order with the same shifts, and start from the same weights
where their layers agree: what is left of a difference is the variant's. A run is one small JSON file, written whole
when the run ends; runs that have one are not made again, so an interrupted experiment continues. Whether an effect
stays when training goes on is asked by the same runs with larger budgets, each in a folder of its own.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.files import write_atomically
from linnet.paper.page import MissingResultsError

COMMAND = "python benchmarks/ablations.py CIFAR10"

# Width and strides: a few million multiply-adds a picture, so that a run takes minutes on one core.
_SMALL: dict[str, Any] = {"resolution": 32, "classes": 10, "early_stride": 2, "dropout": 0.0}
_SECOND: dict[str, Any] = {**_SMALL, "width": 0.35, "last_layer": "scaled"}

N = TypeVar("N", bound=Architecture)

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Name of the network → seed → result."""

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

    @property
    def seen(self) -> int:
        """Pictures that pass through the network in training, each as often as there are epochs."""
        return self.pictures * self.epochs


SHORTEST = "64k"

BUDGETS = {
    SHORTEST: Budget(),
    "650k": Budget(pictures=50_000, epochs=13),
    "2.5M": Budget(pictures=50_000, epochs=50),
}
"""Name → budget, by the pictures seen. All but the first take CIFAR-10's whole training part; all are tested alike."""

FIGURE6 = "figure6"


def folder_of(results: Path, budget: str = SHORTEST) -> Path:
    """Where the runs of a budget of `BUDGETS` lie in the folder of all results."""
    # Side by side: all runs of a folder have one budget, to which it is held, and what is there stays where it is when
    # a budget is added. Folders below the first one's would make that one a budget and a place of budgets at once.
    return results / (FIGURE6 if budget == SHORTEST else f"{FIGURE6}-{budget}")


def matched_first(target: int) -> MobileNetV1:
    """The MobileNetV1 whose multiply-adds are nearest to `target`, over widths in steps of 0.01."""
    return _nearest(lambda width: MobileNetV1(**_SMALL, width=width), target)


def matched_second(expansion: float, target: int) -> MobileNetV2:
    """The MobileNetV2 of an expansion whose multiply-adds are nearest to `target`, over widths in steps of 0.01.

    Channels are multiples of 8, so the costs of so small networks go in steps: within 20 % for expansions 1 to 10.
    """
    return _nearest(lambda width: replace(VARIANTS["base"], expansion=expansion, width=width), target)


def _nearest(network_of: Callable[[float], N], target: int) -> N:
    """Of widths 0.05 to 1.5: the costs never fall with the width, so that the target's place is found by halving."""
    widths = [number / 100 for number in range(5, 151)]

    def price(width: float) -> int:
        return cost(network_of(width)).multiply_adds

    place = bisect_left(widths, target, key=price)
    around = widths[max(place - 1, 0) : place + 1]
    cheapest = min(abs(price(width) - target) for width in around)
    # Of equal costs the thinnest.
    reached = next(price(width) for width in around if abs(price(width) - target) == cheapest)
    return network_of(widths[bisect_left(widths, reached, key=price)])


EXPANSIONS = (1, 2, 3, 4, 5, 6, 8, 10)
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)


@cache
def experiments() -> dict[str, dict[str, Architecture]]:
    """Group → name → network, in the order of the runs; the base is in the first group and stands for its like.

    `variants` and `first` are Figure 6 and the paper's first claim; the other three are sweeps: the expansion at equal
    width, the expansion at matched multiply-adds, and the width.
    """
    base = VARIANTS["base"]
    target = cost(base).multiply_adds
    return {
        "variants": dict(VARIANTS),
        "first": {"mobilenet_v1": matched_first(target)},
        "expansions": {f"t{t}": replace(base, expansion=t) for t in EXPANSIONS if t != base.expansion},
        "matched": {f"t{t}-matched": matched_second(t, target) for t in EXPANSIONS if t != base.expansion},
        "widths": {f"width{width}": replace(base, width=width) for width in WIDTHS if width != base.width},
    }


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


def _check_run(path: Path, run: Mapping[str, Any], name: str, seed: int) -> None:
    """Refuses a run that is another's by its own words, or of which a page could not be made."""
    if (run.get("name", name), run.get("seed", seed)) != (name, seed):
        raise ValueError(f"'{path}' is a copy of {run['name']}-{run.get('seed', seed)}.json. Rename or delete it.")
    try:
        epochs = Budget(**run["budget"]).epochs
        if len(run["top1"]) != epochs or not 0 <= run["seconds"] < math.inf:
            raise ValueError(f"it has {len(run['top1'])} epochs of {epochs}, or no time")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"'{path}' is not a whole result of a run ({type(error).__name__}: {error}). Delete it and run the "
            "experiment again: only that run is repeated."
        ) from None


def read_runs(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Name → seed → result, of all runs in a folder.

    Raises:
        MissingResultsError: if there is no result of the base, if one is broken, of another budget than the others, or
            of a network that has another cost by now, or is named as another run; the message names it.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}
    networks = {name: network for group in experiments().values() for name, network in group.items()}
    try:
        paths = [path for path in sorted(folder.glob("*.json")) if path.stem.rpartition("-")[0] in networks]
        budget = read_run(paths[0]).get("budget") if paths else None
        for path in paths:
            name, _, seed = path.stem.rpartition("-")
            if not seed.isdecimal() or str(int(seed)) != seed:
                raise ValueError(f"'{path}' is not named as a result is, NAME-SEED.json. Rename or delete it.")
            run = found.setdefault(name, {})[int(seed)] = read_run(path)
            if run.get("budget") != budget or run.get("multiply_adds") != cost(networks[name]).multiply_adds:
                raise ValueError(f"'{path}' has another budget than '{paths[0]}', or its network has changed since.")
            _check_run(path, run, name, int(seed))
    except (OSError, ValueError) as error:
        raise MissingResultsError(str(error)) from None
    if "base" not in found:
        raise MissingResultsError(
            f"there are no results of trainings in '{folder}'. Make them by `{COMMAND} --out '{folder}'`, or give "
            "--results the folder that has them."
        )
    return found


def read_budgets(results: Path) -> list[tuple[Budget, Runs]]:
    """The runs of every budget that has one of the base, from the fewest pictures seen to the most.

    Which budget a folder has its runs say, not its name.

    Raises:
        MissingResultsError: if there are none, or if two folders have one budget; see also `read_runs`.
    """
    folders = [folder for folder in sorted(results.glob(f"{FIGURE6}*")) if any(folder.glob("base-*.json"))]
    found: dict[Budget, tuple[Path, Runs]] = {}
    for folder in folders or [folder_of(results)]:
        runs = read_runs(folder)
        budget = Budget(**next(iter(runs["base"].values()))["budget"])
        if budget in found:
            raise MissingResultsError(
                f"'{folder}' and '{found[budget][0]}' have the same budget. Put their runs into one folder."
            )
        found[budget] = folder, runs
    return [(budget, found[budget][1]) for budget in sorted(found, key=lambda each: each.seen)]


@dataclass(frozen=True)
class Paired:
    """A paired difference over seeds: mean, standard error and 95 % interval as fractions of 1; p of the t-test."""

    mean: float
    standard_error: float
    low: float
    high: float
    p: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero: only then is a claim made."""
        return self.low > 0 or self.high < 0


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """`first` - `second`, seed by seed; two seeds or more.

    Raises:
        ValueError: if the numbers of seeds differ, or are below 2.
    """
    count = len(first)
    if count != len(second) or count < 2:
        raise ValueError(f"A paired difference takes 2 or more seeds of both, not {count} and {len(second)}.")
    differences = [one - other for one, other in zip(first, second, strict=True)]
    mean = sum(differences) / count
    error = math.sqrt(sum((value - mean) ** 2 for value in differences) / (count - 1) / count)
    reach = student_quantile(count - 1) * error
    # Equal differences leave no doubt, unless they are zero.
    p = student_tails(abs(mean) / error, count - 1) if error else float(mean == 0)
    return Paired(mean, error, mean - reach, mean + reach, p)


def student_tails(statistic: float, freedom: int) -> float:
    """Probability that Student's t with some degrees of freedom is farther from zero than `statistic` >= 0.

    The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan(statistic / math.sqrt(freedom))
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for number in range(1 + odd, freedom, 2):
        total += term
        term *= number / (number + 1) * math.cos(angle) ** 2
    inside = math.sin(angle) * total
    return 1 - (2 / math.pi * (angle + inside) if odd else inside)


def student_quantile(freedom: int, tails: float = 0.05) -> float:
    """The statistic that `student_tails` gives that probability."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        beyond = student_tails(math.sqrt(freedom) * math.tan(middle), freedom) > tails
        low, high = (middle, high) if beyond else (low, middle)
    return math.sqrt(freedom) * math.tan(low)
