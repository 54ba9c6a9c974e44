"""What a run that trains a detector decides beside what all runs do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from linnet.architecture.network import OptionError, check_whole
from linnet.data.batches.box_crops import BoxCropOptions
from linnet.training.recipe import Choice, Recipe

SEEN_SCENES = 6_000
"""Pictures with boxes that a detector's fine-tuning shows in all: each has many objects, and takes longer."""

EPOCH_SCENES = 1_500
"""Of these in an epoch, where the data are fewer: evaluating as often as a small data set ends would take the time."""


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(Recipe):
    """What a run that trains a detector decides beside that."""

    task: ClassVar[str] = "detection"

    epochs: int | None = None
    batch: int = 8
    repeats: int | None = None
    """The number of times that an epoch shows every picture, each time differently. `None` takes 1, and more for small
    data."""
    loss: Literal["mined", "focal"] = "mined"
    """The loss of the classes: `mined` learns the hardest parts of the background, three for each object; `focal`
    learns all of it, and what is easy hardly at all."""
    cut: float = 0.85
    """The probability that a part of the picture is cut out. The part keeps an object."""
    aspect: float = 2.0
    """How many times wider or higher than the picture that part is at most."""
    zoom_out: float = 0.0
    """The probability that the picture is laid on a larger canvas, so that objects become smaller."""
    canvas: float = 4.0
    """The largest side of that canvas, in sides of the picture."""

    def __post_init__(self) -> None:
        """See `Recipe`."""
        super().__post_init__()
        if self.repeats is not None:
            check_whole("repeats", self.repeats, least=1, most=10_000)
        try:
            self.view  # noqa: B018
        except OptionError as error:
            # `crop` is what a recipe for classes calls the kind of it.
            name = "cut" if error.name == "crop" else error.name
            raise OptionError(name, error.value, error.allowed) from None

    @property
    def view(self) -> BoxCropOptions:
        """How the random view is drawn."""
        values = {"aspect": self.aspect, "zoom_out": self.zoom_out, "canvas": self.canvas}
        return BoxCropOptions(crop=self.cut, least_area=self.least_area or 0.1, **values)

    def _views(self, pictures: int) -> int:
        """See `Recipe._views`."""
        return pictures * (self.repeats or 1)

    def choices(self, pictures: int, *, pretrained: bool) -> Mapping[str, Choice]:
        """See `Recipe.choices`."""
        repeats = self.repeats or max(round(EPOCH_SCENES / pictures), 1)
        seen = pictures * repeats
        epochs = self.epochs or min(max(round(SEEN_SCENES / seen), 3), 60)
        steps = self._steps(seen, epochs)
        rate = {"adamw": 1e-3, "sgd": 0.01, "rmsprop": 0.004}[self.optimizer] * (self.batch / 8) ** 0.5
        few = pretrained and self.batch < 4
        return {
            "repeats": (repeats, f"{pictures:,} pictures, so that an epoch has about {EPOCH_SCENES:,}"),
            "epochs": (epochs, f"{seen:,} pictures an epoch, about {SEEN_SCENES:,} to be seen in all"),
            "batch_norm": (
                "frozen" if few else "trained",
                f"batches of {self.batch} are {'too small' if few else 'enough'} to measure the statistics anew",
            ),
            "warmup_epochs": (min(0.5, epochs / 10), "half an epoch, unless there are few"),
            "least_area": (0.3, "parts in which the objects are not enlarged more than twice"),
            **self._shared_choices(epochs, steps, rate),
        }
