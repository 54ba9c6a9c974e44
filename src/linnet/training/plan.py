"""What a run is asked for, how it reports, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from linnet.evaluation.figures import Figures
from linnet.training.objective import Epoch
from linnet.training.recipe import Recipe
from linnet.training.recipes import RECIPES
from linnet.training.starts import StartOptions
from linnet.training.state import TrainingState


@dataclass(frozen=True)
class Plan:
    """What to train, and where.

    Attributes:
        data: a data set of any format that `linnet.data.find` reads; what it shows is trained.
        out: the run's folder.
        recipe: how; open fields are decided from the data.
        start: what to start from.
        resume: go on with the run in the folder.
        overwrite: replace it.
        device: `auto`, `cpu` or `cuda`.
        half: write the checkpoint as float16.
        licence: of the trained weights; None takes that of the start.
        images: folder of the pictures of a COCO json or of VOC files, where it is nowhere near them.
        format: as what the data are read; None decides by looking.
    """

    data: Path
    out: Path
    recipe: Recipe
    start: StartOptions = field(default_factory=StartOptions)
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    half: bool = False
    licence: str | None = None
    images: Path | None = None
    format: str | None = None


@dataclass(frozen=True)
class Reporter:
    """How a run reports what it does; every function may do nothing.

    Attributes:
        say: a sentence.
        step: position, steps of the epoch, loss and pictures a second, after every step.
        epoch: what came of an epoch, the number of epochs, and its validation in words.
        progress: pictures done and pictures in all, while something long goes through them.
    """

    say: Callable[[str], None] = lambda sentence: None
    step: Callable[[TrainingState, int, float, float], None] = lambda state, steps, loss, rate: None
    epoch: Callable[[Epoch, int, str], None] = lambda epoch, epochs, figures: None
    progress: Callable[[str, int, int], None] = lambda text, done, total: None


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the checkpoint as written, its figures, and on what they were measured."""

    checkpoint: Path
    measured: Figures
    data: str


def check_same(given: Recipe, begun: Recipe) -> None:
    """A run that goes on keeps its recipe: flags that say otherwise are refused."""
    free = {"workers", "accumulate"}
    default = RECIPES.get(given.name) or type(given)()
    flags = [entry.name for entry in fields(given) if entry.metadata.get("flag", True)]
    for name, value in asdict(given).items():
        was = getattr(begun, name, None)
        if name in flags and name not in free and value != was and value != getattr(default, name):
            raise ValueError(
                f"--{name.replace('_', '-')} {value} differs from the run's {was}: a resumed run keeps its recipe. "
                "Leave the flag away, or begin a new run."
            )
