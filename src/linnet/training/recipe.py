"""Everything that a training run of any task decides, as data; each task adds its own in a module beside this one.

A field that is None is decided from the data when the run starts (`Recipe.resolve`), and the run says why. The named
recipes are values of these classes (`linnet.training.recipes`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from linnet.architecture.network import OptionError, check_number, check_whole
from linnet.data.batches.augmentation import Augmentation

NO_FLAG: dict[str, Any] = {"flag": False}
"""Metadata of a field that names a recipe, or that the command line has a flag of its own for."""

Choice = tuple[Any, str]
"""What is decided for an open field, and why."""

MOVED = {
    "ClassificationRecipe": "linnet.training.classification_recipe",
    "DetectionRecipe": "linnet.training.detection_recipe",
    "EPOCH_SCENES": "linnet.training.detection_recipe",
    "SEEN_PICTURES": "linnet.training.classification_recipe",
    "SEEN_SCENES": "linnet.training.detection_recipe",
}
"""What once stood here → where it stands."""


def __getattr__(name: str) -> Any:
    """What once stood here, for one more version."""
    if name not in MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"`{name}` has moved to {MOVED[name]}; {__name__} has it for one more version.",
        DeprecationWarning,
        stacklevel=2,
    )
    # By name: those modules build on this one.
    return getattr(import_module(MOVED[name]), name)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run of any task decides. The defaults are plain; the named recipes are what to use."""

    task: ClassVar[str] = "any"
    """The task that it is for, by its name."""

    name: str = field(default="plain", metadata=NO_FLAG)
    """What `--recipe` calls it."""
    about: str = field(default="", metadata=NO_FLAG, repr=False, compare=False)
    """What it is for, what it costs and what to expect of it."""
    start: str = field(default="auto", metadata=NO_FLAG)
    """What a run starts from if nothing else is given: `auto` for ImageNet weights, or `none`."""
    resolution: int | None = field(default=None, metadata=NO_FLAG)
    """Side of the input in pixels if none is given; None takes that of the start."""

    epochs: int | None = 30
    """The number of times that the training goes through the pictures."""
    batch: int = 32
    """The number of pictures in a training step, over all processes."""
    accumulate: int = 1
    """The number of parts into which each process cuts its share of a step. More parts take less memory and give the
    same step, except for the statistics of batch norm."""

    optimizer: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    """The optimizer: `sgd` with Nesterov momentum, `adamw`, or `rmsprop` as TensorFlow computes it."""
    learning_rate: float | None = 0.05
    """The learning rate at its highest, for the batch that is given."""
    head_rate: float = 1.0
    """The factor of the learning rate of what stands on the backbone of a detector or a segmenter, which begins with
    random weights."""
    momentum: float = 0.9
    """The momentum of `sgd` and of `rmsprop`."""
    rmsprop_decay: float = 0.9
    """The decay of the mean of squared gradients in `rmsprop`."""
    rmsprop_epsilon: float = 1.0
    """What `rmsprop` adds inside its square root. It is 1.0 in the released training script."""
    weight_decay: float = 4e-5
    """The weight decay. It never acts on batch norm and biases."""
    depthwise_decay: bool = False
    """Use weight decay on depthwise weights too. The released training leaves them out."""
    clip: float | None = None
    """The largest norm of the gradient. `None` does not clip gradients."""

    schedule: Literal["cosine", "step", "exponential", "constant"] = "cosine"
    """How the learning rate falls: to zero along a cosine, in steps, exponentially, or not at all."""
    decay_factor: float = 0.98
    """The factor of `step` and `exponential`: the learning rate is multiplied by it every `decay_epochs` epochs."""
    decay_epochs: float = 1.0
    """The number of epochs after which `step` and `exponential` apply their factor."""
    warmup_epochs: float | None = 1.0
    """The number of epochs in which the learning rate rises from zero, linearly."""

    average: float | None = 0.9999
    """The decay of the moving average of the weights. Both versions are evaluated and the better one is kept. 0
    switches the average off."""
    batch_norm: Literal["auto", "trained", "frozen", "recalculated"] = "trained"
    """The statistics of batch norm: `trained` as usual, `frozen` at those of the start, or `recalculated` from training
    pictures before every evaluation. `auto` decides by the number of steps."""
    synchronise: bool = False
    """Measure the statistics of batch norm over all processes in every step, on GPUs. Without it each process
    normalises its own part."""
    freeze: str | None = None
    """The last layer that is not trained, such as `blocks.12`. All layers from the stem to it keep their weights."""
    initial: Literal["released", "kaiming"] = "kaiming"
    """How the weights of a network from nothing are drawn: `kaiming` scales them by the outputs of each layer, as
    networks of PyTorch do; `released` draws all alike, as those of TensorFlow do, which suits RMSProp."""
    dropout: float | None = None
    """The share of the pooled features that is dropped. `None` takes what the architecture says."""
    quantise: bool = False
    """Compute the last epochs in integers of eight bits, to the bit as the trained network will be run, so that it
    learns to bear the rounding. The checkpoints of these epochs are quantised, and the best of them is kept."""
    quantise_epochs: int | None = None
    """The number of epochs that `--quantise` takes, the last ones. If these are all, the learning rate that is decided
    is a tenth of what it would be. `None` takes a sixth of the epochs."""

    least_area: float | None = 0.08
    """The smallest share of the picture's area that a random part has."""
    flip: float = 0.5
    """The probability that a picture is mirrored."""
    colour: float = 0.0
    """The strength of random changes of brightness, contrast and saturation."""
    erasing: float = 0.0
    """The probability that a rectangle of the picture is erased."""
    recalculate_pictures: int = 2048
    """The number of pictures from which `recalculated` statistics of batch norm are measured."""
    validation: float = 0.1
    """The share of every class that is kept for validation if the data have no such part."""
    fraction: float = 1.0
    """The share of the training pictures that is used."""
    patience: int | None = None
    """The number of epochs without a better validation after which the training stops. `None` never stops early."""
    minutes: float | None = None
    """The minutes to spend. The number of epochs is chosen, after the first one, so that the schedule ends in time."""
    seed: int = 0
    """The seed of everything random. The same seed gives the same weights, bit for bit, on one CPU."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The precision of the arithmetic; the weights stay float32. `auto` takes bfloat16 on GPUs that have it."""
    compile: bool = False
    """Run the network through torch.compile."""
    recompute: bool = False
    """Forget the expanded tensors and compute them again in the backward pass: less memory, more time."""
    workers: int | None = None
    """The number of processes that decode pictures. `None` chooses it by the cores of this machine."""

    def __post_init__(self) -> None:
        """Refuses nonsense, with the field's name, its value and what is allowed."""
        hints = get_type_hints(type(self))
        for entry in fields(self):
            value, hint = getattr(self, entry.name), hints[entry.name]
            allowed = get_args(hint) if get_origin(hint) is Literal else ()
            if allowed and value not in allowed:
                raise OptionError(entry.name, value, f"must be {' or '.join(map(repr, allowed))}")
        self._check_counts()
        self._check_rates()
        # This checks the rest.
        self.augmentation  # noqa: B018

    def _check_counts(self) -> None:
        check_whole("batch", self.batch, least=1, most=1 << 20)
        check_whole("accumulate", self.accumulate, least=1, most=1 << 16)
        check_whole("recalculate_pictures", self.recalculate_pictures, least=2, most=1 << 30)
        check_whole("seed", self.seed, least=0, most=(1 << 63) - 1)
        for name in ("epochs", "patience", "quantise_epochs"):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, least=1, most=1_000_000)
        if self.workers is not None:
            check_whole("workers", self.workers, least=0, most=1024)
        if self.quantise and self.compile:
            # Which arithmetic it is stands in the network's ranges, and a compiler would have to look there every step.
            allowed = (
                "does not go with `quantise`: train in float first, then quantise with that checkpoint as the start"
            )
            raise OptionError("compile", True, allowed)
        if self.quantise_epochs is not None:
            if not self.quantise:
                raise OptionError("quantise_epochs", self.quantise_epochs, "has no meaning without `quantise`")
            if self.epochs is not None and self.quantise_epochs > self.epochs:
                raise OptionError("quantise_epochs", self.quantise_epochs, f"must be at most the {self.epochs} epochs")

    def _check_rates(self) -> None:
        for name in ("learning_rate", "clip", "minutes"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, above=0, most=1e9)
        for name in ("momentum", "rmsprop_decay", "average", "dropout"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, least=0, below=1)
        for name in ("weight_decay", "warmup_epochs"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, least=0, most=1e6)
        check_number("head_rate", self.head_rate, above=0, most=1000)
        check_number("rmsprop_epsilon", self.rmsprop_epsilon, above=0, most=1e6)
        check_number("decay_factor", self.decay_factor, above=0, most=1)
        check_number("decay_epochs", self.decay_epochs, above=0, most=1e6)
        check_number("validation", self.validation, above=0, below=1)
        check_number("fraction", self.fraction, above=0, most=1)

    @property
    def augmentation(self) -> Augmentation:
        """What is done to the batch."""
        return Augmentation(flip=self.flip, colour=self.colour, erasing=self.erasing)

    @property
    def fits_at_once(self) -> bool:
        """Whether the network is fitted without steps, as `linnet.tasks.task.Trainer.fit` does it."""
        return False

    def steps(self, pictures: int) -> int:
        """The forward passes of a run, of as many training pictures, whose epochs are decided."""
        assert self.epochs is not None
        return self._steps(self._views(max(round(self.fraction * pictures), 1)), self.epochs)

    def _steps(self, views: int, epochs: int) -> int:
        return -(-views // self.batch) * epochs

    def _views(self, pictures: int) -> int:
        """How many an epoch shows."""
        return pictures

    def quantised_from(self, epochs: int) -> int:
        """The first epoch, counted from 0, of a run of so many that is computed in integers; `epochs` if none is."""
        return max(epochs - (self.quantise_epochs or 1), 0) if self.quantise else epochs

    def choices(self, pictures: int, *, pretrained: bool) -> Mapping[str, Choice]:
        """What an open field becomes, and why, by the field's name."""
        raise NotImplementedError

    def _shared_choices(self, epochs: int, steps: int, rate: float) -> Mapping[str, Choice]:
        """Of these, what is decided alike for all tasks: by the length of the run, and the rate of one in float."""
        quantised = self.quantise_epochs or min(max(round(epochs / 6), 2), 15, epochs)
        reason = f"{self.optimizer} at batch {self.batch}"
        statistics: dict[str, Choice] = {}
        if self.quantise and quantised >= epochs:
            rate, reason = rate / 10, f"{reason}, a tenth of it where no epoch is in float"
            statistics["batch_norm"] = ("frozen", "no epoch is in float: the statistics stay those of the start")
        return statistics | {
            "learning_rate": (rate, reason),
            "average": _average(steps),
            "quantise_epochs": (quantised, f"the last sixth of {epochs} epochs"),
        }

    def resolve(self, pictures: int, *, pretrained: bool) -> tuple[Self, tuple[str, ...]]:
        """The recipe with every open field decided, and a sentence for each decision.

        Args:
            pictures: training pictures.
            pretrained: whether the backbone comes from a checkpoint.
        """
        choices = self.choices(pictures, pretrained=pretrained)
        taken = {name: choice for name, choice in choices.items() if getattr(self, name) in (None, "auto")}
        if not self.quantise:
            taken.pop("quantise_epochs", None)
        reasons = tuple(
            f"{name} {value if not isinstance(value, float) else f'{value:g}'}: {reason}"
            for name, (value, reason) in taken.items()
        )
        return replace(self, **{name: value for name, (value, _) in taken.items()}), reasons


def _average(steps: int) -> Choice:
    return round(max(0.9, 1 - 10 / steps), 5), f"the average reaches back over a tenth of {steps} steps"
