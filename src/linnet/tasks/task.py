"""What a task is: everything that commands and runs ask of it, so that they need not know which one it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from linnet.architecture import Architecture
    from linnet.data import DataSet, Sample
    from linnet.data.batches.loading import Placement, StepOptions
    from linnet.data.checks.findings import Findings
    from linnet.evaluation.figures import Figures
    from linnet.images import Preprocessing
    from linnet.nn import Network
    from linnet.predictor import Predictor
    from linnet.tasks.uncertainty import Uncertainty
    from linnet.training.objective import Batches, DescribingObjective
    from linnet.training.plan import Reporter
    from linnet.training.recipe import Recipe
    from linnet.training.starts import Start, StartOptions

Progress = Callable[[int], None]
"""Called with the number of pictures done."""


@dataclass(frozen=True)
class CheckOptions:
    """How closely a data set is looked at.

    Attributes:
        resolution: side of the network's input in pixels, which tells what is too small for it; None for the usual.
        variant: of pictures with boxes, whose anchors the objects are held against; None for none.
        limit: decode at most so many pictures, drawn at random; None for all.
        threads: that decode; None takes one for each core.
    """

    resolution: int | None = None
    variant: str | None = None
    limit: int | None = None
    threads: int | None = None


class Task(Protocol):
    """Everything that depends on what is learned. Works without torch, but for `trainer`.

    Attributes:
        name: as data sets, architectures and checkpoints have it.
        network: what a network of it is called: `classifier`.
        labels: what its data have: `classes of whole pictures`.
        recipe: name of the recipe that a run takes if none is given.
        variant: what anchors a data set is held against where nothing else is named; None where there are no anchors.
        makes_masks: whether a prediction is a label map, which can be written, and for which windows can slide.
        finds_boxes: whether a prediction is boxes, which thresholds choose and which can be followed through a film.
        takes_images: whether its annotations may lie apart from their pictures (`--images`).
        reading: what is asked of a prediction in Python, for a model's card: `.label`.
    """

    name: str
    network: str
    labels: str
    recipe: str
    variant: str | None
    makes_masks: bool
    finds_boxes: bool
    takes_images: bool
    reading: str

    def check(self, data: DataSet, options: CheckOptions, progress: Progress) -> Findings:
        """What is wrong or odd in a data set."""
        ...

    def measure(self, predictor: Predictor, samples: Sequence[Sample], *, batch: int, progress: Progress) -> Figures:
        """Figures of a model on pictures, without intervals."""
        ...

    def report(self, figures: Any, folder: Path) -> list[str]:
        """Writes an evaluation with pictures; gives sentences on what could not be written."""
        ...

    def summary(self, score: Mapping[str, Any]) -> str | None:
        """The figures of a checkpoint by which a model is chosen; None where they were not measured."""
        ...

    def rows(self, score: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The figures of a checkpoint for its card: name and value, the most important first."""
        ...

    def class_rows(self, entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """The figures of each class for a card, the headings first."""
        ...

    def epoch(self, figures: Mapping[str, float]) -> str:
        """What an epoch's evaluation came to, for people."""
        ...

    def uncertainty(self, predictor: Predictor) -> Uncertainty:
        """How little sure a model is of pictures.

        Raises:
            ValueError: if it does not say.
        """
        ...

    def trainer(self) -> Trainer:
        """What trains a network of it. Needs torch."""
        ...


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

    def step_options(self, recipe: Recipe) -> StepOptions:
        """What the batches of every task are asked for."""
        return {
            "batch": recipe.batch,
            "seed": recipe.seed,
            "placement": self.placement,
            "workers": self.workers,
            "fraction": recipe.fraction,
            "pin": self.pin,
        }


@dataclass(frozen=True)
class Fitted:
    """A network that was fitted without steps.

    Attributes:
        history: what was tried, as lines of a run's log.
        draw_curves: writes them as a PNG file.
        pictures: some of what the network saw: (H, W, 3) uint8 RGB.
        labels: of each of these.
    """

    history: list[dict[str, Any]]
    draw_curves: Callable[[Path], None]
    pictures: Sequence[Any]
    labels: Sequence[str]


class Trainer(Protocol):
    """Everything about a run that depends on what it trains; its order of steps does not. Tasks inherit from it.

    Attributes:
        score: the figure of an epoch that chooses the best version, the higher the better.
        tile: pixels of a picture on the sheet of what the network saw.
    """

    score: str
    tile: int

    def refuse(self, data: DataSet, recipe: Any) -> None:
        """Raises a ValueError on data that cannot be trained on."""
        ...

    def start(self, data: DataSet, options: StartOptions, recipe: Any) -> Start:
        """What the run starts from."""
        ...

    def keep(self, data: DataSet, folder: Path) -> DataSet:
        """The data with what is evaluated after every epoch on this disk, where they are not there already."""
        return data

    def batches(self, data: DataSet, contract: Preprocessing, recipe: Any, sharing: Sharing) -> Batches:
        """The training pictures, step by step."""
        ...

    def objective(
        self, data: DataSet, architecture: Architecture, contract: Preprocessing, recipe: Any, sharing: Sharing
    ) -> DescribingObjective:
        """What is learned."""
        ...

    def fit(
        self,
        network: Network,
        data: DataSet,
        contract: Preprocessing,
        recipe: Any,
        *,
        device: torch.device,
        workers: int,
        reporter: Reporter,
    ) -> Fitted | None:
        """Fits the network at once where the recipe says so; None where it is to be trained step by step."""
        return None
