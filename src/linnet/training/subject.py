"""What a run does differently for classes of whole pictures and for boxes on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from linnet.architecture import Architecture
from linnet.data.batches.loading import Placement
from linnet.data.checks.findings import Findings
from linnet.images import Preprocessing
from linnet.training.plan import Measured
from linnet.training.recipe import Recipe
from linnet.training.start import Start, Wanted
from linnet.training.task import Batches, Task

Data = TypeVar("Data")


@dataclass(frozen=True)
class Sharing:
    """How the work of a run is shared out.

    Attributes:
        placement: this process's part of every step.
        workers: processes that decode.
        pin: prepare copies to a GPU.
    """

    placement: Placement
    workers: int = 0
    pin: bool = False


class RunTask(Task, Protocol):
    """A task that can also show what the network sees."""

    def describe(self, inputs: Any, targets: Any, classes: Sequence[str]) -> tuple[Any, list[str]]:
        """Inputs as pictures again, and what the network is told of each."""
        ...


class Subject(Protocol[Data]):
    """Everything about a run that depends on what it trains; its order of steps does not."""

    task: Literal["classification", "detection"]
    score: str
    """The figure that chooses the best version."""
    tile: int
    """Pixels of a picture on the sheet of what the network saw."""

    def check(self, data: Data, wanted: Wanted, *, limit: int | None, progress: Callable[[int], None]) -> Findings:
        """What is wrong with the data."""
        ...

    def refuse(self, data: Data, recipe: Recipe) -> None:
        """Raises a ValueError on data that cannot be trained on, or a recipe of another task."""
        ...

    def start(self, data: Data, wanted: Wanted, recipe: Recipe) -> Start:
        """What the run starts from."""
        ...

    def keep(self, data: Data, folder: Path) -> Data:
        """The data with what is evaluated after every epoch on this disk."""
        ...

    def batches(self, data: Data, contract: Preprocessing, recipe: Recipe, sharing: Sharing) -> Batches:
        """The training pictures, step by step."""
        ...

    def make_task(
        self, data: Data, architecture: Architecture, contract: Preprocessing, recipe: Recipe, sharing: Sharing
    ) -> RunTask:
        """What is learned."""
        ...

    def measure(self, model: Path, samples: Any, progress: Callable[[int], None]) -> Measured:
        """The figures of a written checkpoint, by the code of `linnet evaluate`."""
        ...

    def report(self, measured: Any, folder: Path) -> list[str]:
        """Writes the evaluation with pictures; returns sentences on what could not be written."""
        ...

    def score_of(self, measured: Any) -> Mapping[str, Any]:
        """The figures that go into the checkpoint."""
        ...
