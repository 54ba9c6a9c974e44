"""Everything a training run decides, as data.

A field that is None is decided from the data when the run starts (`Recipe.resolve`), and the run says why.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from linnet.architecture.network import check_number, check_whole
from linnet.data.batches.augmentation import Augmentation
from linnet.data.batches.box_crops import BoxCropOptions
from linnet.data.batches.crops import CropOptions

SEEN_PICTURES = 24_000
"""Pictures that a fine-tuning shows the network in all: the number of epochs follows from the size of the data."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run decides. The defaults are plain; the named recipes of `linnet.training.recipes` are what to use."""

    task: ClassVar[Literal["classification", "detection"]] = "classification"
    """What it trains."""
    start: ClassVar[str] = "auto"
    """What a run starts from unless it is told: ImageNet weights, or `none`."""
    resolution: ClassVar[int | None] = None
    """Side of the input in pixels unless it is told; None takes that of the start."""

    epochs: int | None = 30
    """Times through the training pictures."""
    batch: int = 32
    """Pictures a step, over all processes."""
    accumulate: int = 1
    """Parts into which each process cuts its share of a step: less memory, the same step (but for batch norm)."""

    optimizer: Literal["sgd", "adamw", "rmsprop"] = "sgd"
    """`sgd` with Nesterov momentum, `adamw`, or `rmsprop` as TensorFlow has it."""
    learning_rate: float | None = 0.05
    """At its highest, for the batch given."""
    momentum: float = 0.9
    """Of sgd and rmsprop."""
    rmsprop_decay: float = 0.9
    """Of rmsprop's mean of squared gradients."""
    rmsprop_epsilon: float = 1.0
    """Added inside the square root; 1.0 in the released training script."""
    weight_decay: float = 4e-5
    """Never on batch norm and biases."""
    depthwise_decay: bool = False
    """Weight decay on depthwise weights too; the released training leaves them out."""
    clip: float | None = None
    """Largest norm of the gradient; None does not clip."""

    schedule: Literal["cosine", "step", "exponential", "constant"] = "cosine"
    """How the learning rate falls: to zero along a cosine, in steps, or exponentially."""
    decay_factor: float = 0.98
    """Of `step` and `exponential`: what the rate is multiplied by every `decay_epochs`."""
    decay_epochs: float = 1.0
    """Of `step` and `exponential`."""
    warmup_epochs: float | None = 1.0
    """Epochs in which the learning rate rises from zero, linearly."""

    label_smoothing: float = 0.1
    """Share of each target that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each class's loss by the inverse of its number of pictures."""
    order: Literal["shuffled", "balanced"] = "shuffled"
    """`balanced` draws every class equally often, with repetition."""
    average: float | None = 0.9999
    """Decay of the moving average of the weights, with warm-up: both versions are evaluated and the better is kept.
    0 is off."""
    batch_norm: Literal["auto", "trained", "frozen", "recalculated"] = "trained"
    """Statistics: `trained` as usual; `frozen` at the start's; `recalculated` from training pictures before every
    evaluation."""
    synchronise: bool = False
    """Measure the statistics over all processes in every step (GPUs only); else each normalises its own part."""
    freeze: str | None = None
    """Layers from the stem to this one (`blocks.12`) are not trained."""
    initial: Literal["released", "kaiming"] = "kaiming"
    """Weights of a network from nothing: `kaiming` scales them by each layer's outputs, as PyTorch's networks do;
    `released` draws all alike, as TensorFlow's did, which suits RMSProp."""
    dropout: float | None = None
    """Share of the pooled features dropped; None takes the architecture's."""

    crop: Literal["resized", "shifted", "whole"] = "resized"
    """Random part of the picture: `resized` any part, `shifted` moved by an eighth of the side (for 32 pixels)."""
    least_area: float | None = 0.08
    """Smallest share of the picture's area that `resized` takes."""
    shift: float = 0.125
    """Farthest move of `shifted`, as a share of the side."""
    flip: float = 0.5
    """Chance of being mirrored."""
    colour: float = 0.0
    """Strength of random brightness, contrast and saturation."""
    policy: Literal["none", "randaugment", "trivialaugment"] = "none"
    """Random operations on top."""
    erasing: float = 0.0
    """Chance that a rectangle is erased."""
    mixup: float = 0.0
    """Beta parameter of blending pairs of pictures; 0 is off."""
    cutmix: float = 0.0
    """Beta parameter of pasting a rectangle of one into another; 0 is off."""

    features_only: bool = False
    """Compute the frozen network's features once and train only the classifier on them."""
    recalculate_pictures: int = 2048
    """Pictures from which `recalculated` statistics are measured."""
    validation: float = 0.1
    """Share of every class that is kept for validation where the data have no such part."""
    fraction: float = 1.0
    """Share of the training pictures that is used."""
    patience: int | None = None
    """Stop after so many epochs without a better validation."""
    minutes: float | None = None
    """Time to spend: the number of epochs is chosen, after the first one, so that the schedule ends in time."""
    seed: int = 0
    """Of everything random. The same seed gives the same weights, bit for bit, on one CPU."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the arithmetic; the weights stay float32. `auto` takes bfloat16 on GPUs that have it."""
    compile: bool = False
    """Run the network through torch.compile."""
    recompute: bool = False
    """Forget the expanded tensors and compute them again: less memory, more time."""
    workers: int | None = None
    """Processes that decode pictures; None chooses."""

    def __post_init__(self) -> None:
        """Refuses nonsense, with the field's name, its value and what is allowed."""
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            allowed = get_args(hint) if get_origin(hint) is Literal else ()
            if allowed and value not in allowed:
                raise ValueError(f"`{field.name}` (={value!r}) must be {' or '.join(map(repr, allowed))}.")
        self._check_counts()
        self._check_rates()
        # These check the rest.
        self.crop_options, self.augmentation  # noqa: B018

    def _check_counts(self) -> None:
        check_whole("batch", self.batch, least=1, most=1 << 20)
        check_whole("accumulate", self.accumulate, least=1, most=1 << 16)
        check_whole("recalculate_pictures", self.recalculate_pictures, least=2, most=1 << 30)
        check_whole("seed", self.seed, least=0, most=(1 << 63) - 1)
        for name in ("epochs", "patience"):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, least=1, most=1_000_000)
        if self.workers is not None:
            check_whole("workers", self.workers, least=0, most=1024)

    def _check_rates(self) -> None:
        for name in ("learning_rate", "clip", "minutes"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, above=0, most=1e9)
        for name in ("momentum", "rmsprop_decay", "label_smoothing", "average", "dropout"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, least=0, below=1)
        for name in ("weight_decay", "warmup_epochs"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, least=0, most=1e6)
        check_number("rmsprop_epsilon", self.rmsprop_epsilon, above=0, most=1e6)
        check_number("decay_factor", self.decay_factor, above=0, most=1)
        check_number("decay_epochs", self.decay_epochs, above=0, most=1e6)
        check_number("validation", self.validation, above=0, below=1)
        check_number("fraction", self.fraction, above=0, most=1)

    @property
    def crop_options(self) -> CropOptions:
        """How the crop is drawn."""
        return CropOptions(kind=self.crop, least_area=self.least_area or 0.35, shift=self.shift)

    @property
    def augmentation(self) -> Augmentation:
        """What is done to the batch."""
        return Augmentation(
            flip=self.flip,
            colour=self.colour,
            policy=self.policy,
            erasing=self.erasing,
            mixup=self.mixup,
            cutmix=self.cutmix,
        )

    @property
    def name(self) -> str:
        """What `--recipe` calls it."""
        # Not above: the named recipes are made of this one.
        from linnet.training.recipes import RECIPES

        return next((name for name, kind in RECIPES.items() if type(self) is kind), type(self).__name__)

    def resolve(self, pictures: int, *, pretrained: bool) -> tuple[Recipe, tuple[str, ...]]:
        """The recipe with every open field decided, and a sentence for each decision.

        Args:
            pictures: training pictures.
            pretrained: whether the backbone comes from a checkpoint.
        """
        open_fields: dict[str, Any] = {}
        reasons: list[str] = []

        def decide(name: str, value: Any, reason: str) -> None:
            if getattr(self, name) in (None, "auto"):
                open_fields[name] = value
                reasons.append(f"{name} {value if not isinstance(value, float) else f'{value:g}'}: {reason}")

        epochs = min(max(round(SEEN_PICTURES / pictures), 6), 60)
        decide("epochs", epochs, f"{pictures:,} pictures, about {SEEN_PICTURES:,} to be seen in all")
        steps = -(-pictures // self.batch) * (self.epochs or epochs)
        rates = {"adamw": 1e-3, "sgd": 0.02, "rmsprop": 0.01}
        rate = rates[self.optimizer] * (1 if pretrained else 2) * (self.batch / 32) ** 0.5
        decide("learning_rate", rate, f"{self.optimizer} at batch {self.batch}")
        few = steps < 300 or self.batch < 16
        if not pretrained:
            decide("batch_norm", "trained", "there is no start whose statistics could be kept")
        elif few:
            decide("batch_norm", "frozen", f"{steps} steps of {self.batch} are too few to measure new statistics")
        else:
            decide("batch_norm", "trained", f"{steps} steps of {self.batch} are enough to measure the statistics anew")
        decide("average", round(max(0.9, 1 - 10 / steps), 5), f"the average reaches back over a tenth of {steps} steps")
        decide("warmup_epochs", 1.0 if (self.epochs or epochs) > 3 else 0.2, "one epoch, unless there are few")
        decide("least_area", 0.5 if pictures < 500 else 0.35, "crops as small as pictures this few can bear")
        return replace(self, **open_fields), tuple(reasons)


SEEN_SCENES = 6_000
"""Pictures with boxes that a detector's fine-tuning shows in all: each has many objects, and takes longer."""

EPOCH_SCENES = 1_500
"""Of these in an epoch, where the data are fewer: evaluating as often as a small data set ends would take the time."""

OF_CLASSES = (
    "class_weights",
    "order",
    "crop",
    "shift",
    "policy",
    "mixup",
    "cutmix",
    "features_only",
)
"""Fields that make sense for classes of whole pictures only."""


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(Recipe):
    """What a run that trains a detector decides beside that."""

    task: ClassVar[Literal["classification", "detection"]] = "detection"

    epochs: int | None = None
    batch: int = 8
    label_smoothing: float = 0.0
    """Not of boxes: 0."""
    repeats: int | None = None
    """Times that an epoch shows every picture, each time differently; None takes 1 but for small data."""
    loss: Literal["mined", "focal"] = "mined"
    """`mined` learns the hardest of the background, three for each object; `focal` all of it, the easy hardly."""
    cut: float = 0.85
    """Chance that a part of the picture is cut out; it keeps an object."""
    aspect: float = 2.0
    """That part is at most this many times wider or higher than the picture."""
    zoom_out: float = 0.0
    """Chance that the picture is laid on a larger canvas, so that objects become smaller."""
    canvas: float = 4.0
    """Sides of that canvas at most, in sides of the picture."""

    def __post_init__(self) -> None:
        """Refuses nonsense, and what boxes cannot follow."""
        super().__post_init__()
        for entry in fields(self):
            if entry.name in OF_CLASSES and (value := getattr(self, entry.name)) != entry.default:
                raise ValueError(f"`{entry.name}` (={value!r}) is for classes of whole pictures; leave it away here.")
        if self.label_smoothing:
            raise ValueError(f"`label_smoothing` (={self.label_smoothing!r}) is for classes of whole pictures: 0 here.")
        if self.repeats is not None:
            check_whole("repeats", self.repeats, least=1, most=10_000)
        self.view  # noqa: B018

    @property
    def view(self) -> BoxCropOptions:
        """How the random view is drawn."""
        values = {"aspect": self.aspect, "zoom_out": self.zoom_out, "canvas": self.canvas}
        try:
            return BoxCropOptions(crop=self.cut, least_area=self.least_area or 0.1, **values)
        except ValueError as error:
            raise ValueError(str(error).replace("`crop`", "`cut`")) from None

    def resolve(self, pictures: int, *, pretrained: bool) -> tuple[DetectionRecipe, tuple[str, ...]]:
        """See `Recipe.resolve`."""
        repeats = self.repeats or max(round(EPOCH_SCENES / pictures), 1)
        seen = pictures * repeats
        epochs = self.epochs or min(max(round(SEEN_SCENES / seen), 3), 60)
        steps = -(-seen // self.batch) * epochs
        rates = {"adamw": 1e-3, "sgd": 0.01, "rmsprop": 0.004}
        rate = rates[self.optimizer] * (self.batch / 8) ** 0.5
        few = pretrained and self.batch < 4
        choices: dict[str, tuple[Any, str]] = {
            "repeats": (repeats, f"{pictures:,} pictures, so that an epoch has about {EPOCH_SCENES:,}"),
            "epochs": (epochs, f"{seen:,} pictures an epoch, about {SEEN_SCENES:,} to be seen in all"),
            "learning_rate": (rate, f"{self.optimizer} at batch {self.batch}"),
            "batch_norm": (
                "frozen" if few else "trained",
                f"batches of {self.batch} are {'too small' if few else 'enough'} to measure the statistics anew",
            ),
            "average": (
                round(max(0.9, 1 - 10 / steps), 5),
                f"the average reaches back over a tenth of {steps} steps",
            ),
            "warmup_epochs": (min(0.5, epochs / 10), "half an epoch, unless there are few"),
            "least_area": (0.3, "parts in which the objects are not enlarged more than twice"),
        }
        open_fields = {name: choice for name, choice in choices.items() if getattr(self, name) in (None, "auto")}
        reasons = [
            f"{name} {value if not isinstance(value, float) else f'{value:g}'}: {reason}"
            for name, (value, reason) in open_fields.items()
        ]
        return replace(self, **{name: value for name, (value, _) in open_fields.items()}), tuple(reasons)
