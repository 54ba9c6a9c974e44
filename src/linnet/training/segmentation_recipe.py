"""What a run that trains a segmenter decides beside what all runs do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from linnet.architecture.network import OptionError, check_number, check_whole
from linnet.data.batches.mask_views import ViewOptions
from linnet.training.recipe import Choice, Recipe

EPOCHS, FEWEST, MOST = 80, 4_800, 40_000
"""Times that a fine-tuning shows each picture, and views that it shows in all at the least and at the most."""

EPOCH_VIEWS = 600
"""Of these in an epoch, where the data are fewer: evaluating more often would take the time."""


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(Recipe):
    """What a run that trains a segmenter decides beside that."""

    task: ClassVar[str] = "segmentation"

    epochs: int | None = None
    batch: int = 8
    least_area: float | None = None
    repeats: int | None = None
    """The number of times that an epoch shows every picture, each time differently. `None` takes 1, and more for small
    data."""
    dice: float = 0.5
    """The weight of the dice loss beside cross entropy. It counts shapes instead of pixels, so that rare classes and
    thin things are learned. 0 switches it off."""
    class_weights: Literal["none", "balanced"] = "balanced"
    """How much each class weighs in cross entropy: `balanced` by the inverse of the root of its number of pixels, or
    all pixels alike. Balanced, rare classes and thin things are learned earlier and better."""
    smallest: float = 0.5
    """The smallest scale of a random view: at 0.5 the picture has half its sides, and what is around it is ignored."""
    largest: float = 2.0
    """The largest scale of a random view: at 2 a quarter of the picture fills the view."""
    view_side: int | None = None
    """The pixels of the longer side of what the network sees in training, at most those of its input. `None` takes the
    input; less takes less time and memory for each step, so that there are more steps."""

    def __post_init__(self) -> None:
        """See `Recipe`."""
        super().__post_init__()
        if self.repeats is not None:
            check_whole("repeats", self.repeats, least=1, most=10_000)
        if self.view_side is not None:
            check_whole("view_side", self.view_side, least=16, most=65_536)
        if self.least_area is not None:
            raise OptionError(
                "least_area", self.least_area, "is of crops; views of masks have `smallest` and `largest`"
            )
        check_number("dice", self.dice, least=0, most=1000)
        self.view  # noqa: B018

    @property
    def view(self) -> ViewOptions:
        """How the random view is drawn."""
        return ViewOptions(smallest=self.smallest, largest=self.largest, side=self.view_side)

    def _views(self, pictures: int) -> int:
        """See `Recipe._views`."""
        return pictures * (self.repeats or 1)

    def choices(self, pictures: int, *, pretrained: bool) -> Mapping[str, Choice]:
        """See `Recipe.choices`."""
        repeats = self.repeats or max(round(EPOCH_VIEWS / pictures), 1)
        seen = pictures * repeats
        views = min(max(EPOCHS * pictures, FEWEST), MOST)
        epochs = self.epochs or min(max(round(views / seen), 3), 100)
        steps = self._steps(seen, epochs)
        rate = {"adamw": 1e-3, "sgd": 0.01, "rmsprop": 0.004}[self.optimizer] * (self.batch / 8) ** 0.5
        alone = pretrained and self.batch < 2
        return {
            "repeats": (repeats, f"{pictures:,} pictures, so that an epoch has about {EPOCH_VIEWS:,} views"),
            "epochs": (epochs, f"{seen:,} views an epoch, about {views:,} to be seen in all"),
            "batch_norm": (
                "frozen" if alone else "trained",
                "single pictures say too little of the statistics"
                if alone
                else f"every pixel of a map counts: batches of {self.batch} are enough to measure the statistics anew",
            ),
            "warmup_epochs": (min(0.5, epochs / 10), "half an epoch, unless there are few"),
            **self._shared_choices(epochs, steps, rate),
        }
