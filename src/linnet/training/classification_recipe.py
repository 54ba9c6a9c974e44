"""What a run that trains a classifier decides beside what all runs do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from linnet.architecture.network import check_number
from linnet.data.batches.augmentation import Augmentation
from linnet.data.batches.crops import CropOptions
from linnet.training.recipe import Choice, Recipe

SEEN_PICTURES = 24_000
"""Pictures that a fine-tuning shows the network in all: the number of epochs follows from the size of the data."""


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """What a run that trains a classifier decides beside that."""

    task: ClassVar[str] = "classification"

    label_smoothing: float = 0.1
    """The share of each target that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """How much each class weighs in the loss: all alike, or `balanced` by the inverse of its number of pictures; of
    masks, by the inverse of the root of its number of pixels."""
    order: Literal["shuffled", "balanced"] = "shuffled"
    """The order of the pictures: `shuffled`, or `balanced`, which draws every class equally often, with repetition."""
    crop: Literal["resized", "shifted", "whole"] = "resized"
    """Which random part of a picture the network sees: `resized` takes any part, `shifted` moves the picture by an
    eighth of its side, which suits pictures of 32 pixels, and `whole` takes all of it."""
    shift: float = 0.125
    """The farthest move of the crop `shifted`, as a share of the side."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """A policy of further random changes."""
    mixup: float = 0.0
    """The parameter of the beta distribution with which pairs of pictures are blended. 0 switches mixup off."""
    cutmix: float = 0.0
    """The parameter of the beta distribution with which a rectangle of one picture is pasted into another. 0 switches
    CutMix off."""
    features_only: bool = False
    """Compute the features of the frozen network once, and train only the classifier on them."""

    def __post_init__(self) -> None:
        """See `Recipe`."""
        super().__post_init__()
        check_number("label_smoothing", self.label_smoothing, least=0, below=1)
        self.crop_options  # noqa: B018

    @property
    def crop_options(self) -> CropOptions:
        """How the crop is drawn."""
        return CropOptions(kind=self.crop, least_area=self.least_area or 0.35, shift=self.shift)

    @property
    def augmentation(self) -> Augmentation:
        """What is done to the batch."""
        return replace(super().augmentation, policy=self.policy, mixup=self.mixup, cutmix=self.cutmix)

    @property
    def fits_at_once(self) -> bool:
        """See `Recipe.fits_at_once`."""
        return self.features_only

    def choices(self, pictures: int, *, pretrained: bool) -> Mapping[str, Choice]:
        """See `Recipe.choices`."""
        epochs = self.epochs or min(max(round(SEEN_PICTURES / pictures), 6), 60)
        steps = self._steps(pictures, epochs)
        rate = {"adamw": 1e-3, "sgd": 0.02, "rmsprop": 0.01}[self.optimizer]
        rate *= (1 if pretrained else 2) * (self.batch / 32) ** 0.5
        statistics = ("trained", f"{steps} steps of {self.batch} are enough to measure the statistics anew")
        if not pretrained:
            statistics = ("trained", "there is no start whose statistics could be kept")
        elif steps < 300 or self.batch < 16:
            statistics = ("frozen", f"{steps} steps of {self.batch} are too few to measure new statistics")
        return {
            "epochs": (epochs, f"{pictures:,} pictures, about {SEEN_PICTURES:,} to be seen in all"),
            "batch_norm": statistics,
            "warmup_epochs": (1.0 if epochs > 3 else 0.2, "one epoch, unless there are few"),
            "least_area": (0.5 if pictures < 500 else 0.35, "crops as small as pictures this few can bear"),
            **self._shared_choices(epochs, steps, rate),
        }
