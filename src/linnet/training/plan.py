"""What a run is asked for, how it speaks, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from linnet.evaluation.accuracy import Accuracy
from linnet.evaluation.detector import DetectorFigures
from linnet.training.recipe import Recipe
from linnet.training.start import Wanted
from linnet.training.state import TrainingState
from linnet.training.task import Epoch

Measured = Accuracy | DetectorFigures
"""Figures of a classifier or of a detector."""


@dataclass(frozen=True)
class Plan:
    """What to train, and where.

    Attributes:
        data: class folders, a labels.csv, Parquet or shards; or pictures with boxes.
        out: the run's folder.
        recipe: how; open fields are decided from the data.
        wanted: what to start from.
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
    wanted: Wanted = field(default_factory=Wanted)
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    half: bool = False
    licence: str | None = None
    images: Path | None = None
    format: str | None = None


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
    """What a run came to: the checkpoint as written, its figures, and on what they were measured."""

    checkpoint: Path
    measured: Measured
    data: str

    @property
    def accuracy(self) -> Accuracy:
        """The figures of a classifier."""
        assert isinstance(self.measured, Accuracy)
        return self.measured

    @property
    def detector(self) -> DetectorFigures:
        """The figures of a detector."""
        assert isinstance(self.measured, DetectorFigures)
        return self.measured


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
