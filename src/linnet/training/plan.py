"""What a run is asked for, how it speaks, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from linnet.data.source import DataSet
from linnet.evaluation.accuracy import Accuracy
from linnet.training.recipes import Recipe
from linnet.training.start import Wanted
from linnet.training.state import TrainingState
from linnet.training.task import Epoch


@dataclass(frozen=True)
class Plan:
    """What to train, and where.

    Attributes:
        data: class folders, a labels.csv or Parquet.
        out: the run's folder.
        recipe: how; open fields are decided from the data.
        wanted: what to start from.
        resume: go on with the run in the folder.
        overwrite: replace it.
        device: `auto`, `cpu` or `cuda`.
        half: write the checkpoint as float16.
        licence: of the trained weights; None takes that of the start.
    """

    data: Path
    out: Path
    recipe: Recipe
    wanted: Wanted = field(default_factory=Wanted)
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    half: bool = False
    licence: str | None = None


@dataclass(frozen=True)
class Voice:
    """How a run speaks; every function may do nothing.

    Attributes:
        say: a sentence.
        step: position, steps of the epoch, loss and pictures a second, after every step.
        epoch: what came of an epoch.
        measured: pictures done and pictures in all, while something long goes through them.
    """

    say: Callable[[str], None] = lambda sentence: None
    step: Callable[[TrainingState, int, float, float], None] = lambda state, steps, loss, rate: None
    epoch: Callable[[Epoch, TrainingState], None] = lambda epoch, state: None
    measured: Callable[[str, int, int], None] = lambda text, done, total: None


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the checkpoint as written, its accuracy, and where."""

    checkpoint: Path
    accuracy: Accuracy
    data: str


def check_counts(data: DataSet, recipe: Recipe) -> None:
    """Refuses what cannot be trained, in a sentence."""
    empty = [name for name, count in zip(data.classes, data.counts, strict=True) if not count]
    if empty:
        raise ValueError(f"'{data.path}' has no training picture of {', '.join(empty[:5])}{' …' * (len(empty) > 5)}.")
    if len(data.train) < 2:
        raise ValueError(f"'{data.path}' leaves {len(data.train)} training pictures; at least 2 are needed.")


def check_same(given: Recipe, begun: Recipe) -> None:
    """A run that goes on keeps its recipe: flags that say otherwise are refused."""
    free = {"workers", "accumulate"}
    default = type(given)()
    for name, value in asdict(given).items():
        was = getattr(begun, name, None)
        if name not in free and value != was and value != getattr(default, name):
            raise ValueError(
                f"--{name.replace('_', '-')} {value} differs from the run's {was}: a resumed run keeps its recipe. "
                "Leave the flag away, or begin a new run."
            )
