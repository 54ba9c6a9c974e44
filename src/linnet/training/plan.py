"""What a run is asked for, how it reports, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

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
        ignore: of masks, a value or a class that is neither learnt nor counted, beside 255.
        given: names of what was said explicitly: fields of the recipe and keys of `asked`. A run that goes on refuses
            those that differ from its own; None takes whatever is not the named recipe's.
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
    ignore: str | None = None
    given: frozenset[str] | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for beside the recipe's fields, by the names of flags, as JSON can hold it."""
        start = self.start
        named: dict[str, Any] = {"recipe": self.recipe.name, "start": start.start, "architecture": start.family}
        named |= {"resolution": start.resolution, "half": self.half}
        document: dict[str, Any] = json.loads(json.dumps(named | dict(start.options or {})))
        return document


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


def check_same(plan: Plan, begun: Recipe, asked: Mapping[str, Any]) -> None:
    """A run that goes on keeps its recipe and its network: flags that say otherwise are refused.

    Args:
        plan: of now.
        begun: the recipe as it was given when the run was begun.
        asked: `Plan.asked` of that time.
    """
    recipe = plan.recipe
    default = RECIPES.get(recipe.name) or type(recipe)()
    flags = {entry.name for entry in fields(recipe) if entry.metadata.get("flag", True)} - {"workers", "accumulate"}
    changed = {name for name in flags if getattr(recipe, name) != getattr(default, name)}
    said = changed if plan.given is None else plan.given
    now = plan.asked | {name: getattr(recipe, name) for name in flags & said}
    was = dict(asked) | {name: getattr(begun, name, None) for name in flags}
    for name in sorted(said & now.keys()):
        if now[name] != was.get(name):
            raise ValueError(
                f"--{name.replace('_', '-')} {now[name]} differs from the run's {was.get(name)}: a resumed run keeps "
                "its recipe and its network. Leave the flag away, or begin a new run."
            )
