"""Recipes: everything a training run decides, as data. Each says what it is for, what it costs and what to expect.

A field that is None is decided from the data when the run starts (`Recipe.resolve`), and the run says why.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from linnet.architecture.network import check_number, check_whole
from linnet.data.augmentation import Augmentation
from linnet.data.crops import CropOptions

SEEN_PICTURES = 24_000
"""Pictures that a fine-tuning shows the network in all: the number of epochs follows from the size of the data."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run decides. The defaults are plain; the named recipes below are what to use."""

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


@dataclass(frozen=True, kw_only=True)
class Finetune(Recipe):
    """The default: a trained network learns your classes. What is not given is decided from the number of pictures.

    Command: `linnet train clothing/ --out run/` (10 classes, 3,068 pictures, ImageNet weights, 224 pixels). Machine:
    one core of an AMD EPYC, 35 minutes. Score: 90.3 % of 372 test pictures, 2026-11-23.
    """

    epochs: int | None = None
    optimizer: Literal["sgd", "adamw", "rmsprop"] = "adamw"
    learning_rate: float | None = None
    weight_decay: float = 0.02
    clip: float | None = 5.0
    average: float | None = None
    batch_norm: Literal["auto", "trained", "frozen", "recalculated"] = "auto"
    warmup_epochs: float | None = None
    least_area: float | None = None
    colour: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Features(Recipe):
    """The right first thing on a small machine: the frozen network's features once, then a classifier in seconds.

    Command: `linnet train clothing/ --out run/ --recipe features`. Machine: two cores of an AMD EPYC, 2.4 minutes, of
    which seconds from the second time on. Score: 89.8 % of 372 test pictures, 2026-11-23.
    """

    features_only: bool = True
    epochs: int | None = 1
    crop: Literal["resized", "shifted", "whole"] = "whole"
    flip: float = 0.0
    average: float | None = 0.0
    label_smoothing: float = 0.0
    batch_norm: Literal["auto", "trained", "frozen", "recalculated"] = "frozen"


@dataclass(frozen=True, kw_only=True)
class ScratchSmall(Recipe):
    """32-pixel pictures from nothing: early strides reduced, shifted crops, one cosine.

    Command: `linnet train cifar10/ --out run/ --recipe scratch-small --width 0.5 --early-stride 1 --validation 0.02
    --batch 128 --learning-rate 0.15 --epochs 24`. Machine: one core of an AMD EPYC, 99 minutes. Score: 86.8 % of 10,000
    test pictures, 87.1 % after ten more epochs from 0.12, 2026-11-23; 83.4 % in 47 minutes without `--early-stride 1`.
    The network is still learning then: more epochs and a larger width give more.
    """

    start: ClassVar[str] = "none"
    resolution: ClassVar[int | None] = 32

    epochs: int | None = 32
    batch: int = 256
    learning_rate: float | None = 0.3
    weight_decay: float = 5e-4
    average: float | None = 0.999
    crop: Literal["resized", "shifted", "whole"] = "shifted"
    dropout: float | None = 0.0


@dataclass(frozen=True, kw_only=True)
class Paper(Recipe):
    """The paper's own: RMSProp, 0.045 x 0.98 every epoch, weight decay 4e-5, batch 96 (section 6.1; TF-slim).

    Command: `linnet train imagenet/ --out run/ --recipe paper`. Expected: 71.8 to 72.0 % after some 400 epochs, as
    TF-slim published it; on eight GPUs multiply the rate by eight, as its script does. Not run by us, for want of
    ImageNet. What the paper does not say (smoothing, average, augmentation, weights at the start) is TF-slim's.
    """

    start: ClassVar[str] = "none"
    resolution: ClassVar[int | None] = 224

    epochs: int | None = 300
    batch: int = 96
    optimizer: Literal["sgd", "adamw", "rmsprop"] = "rmsprop"
    initial: Literal["released", "kaiming"] = "released"
    learning_rate: float | None = 0.045
    schedule: Literal["cosine", "step", "exponential", "constant"] = "exponential"
    warmup_epochs: float | None = 0.0
    least_area: float | None = 0.05
    colour: float = 0.125


@dataclass(frozen=True, kw_only=True)
class Imagenet(Recipe):
    """A modern recipe for ImageNet: 250 epochs of SGD along one cosine, crop and flip only.

    Command: `torchrun --nproc-per-node 8 -m -- linnet train imagenet/ --out run/ --recipe imagenet`. Expected: 72.8 %,
    as d-li14 published it for this schedule, the best plain MobileNetV2 1.0 of 250 epochs that is known. torchvision's
    600 epochs with mixup, cutmix and random policies end at 72.2 %: a network this small has no capacity to spare for
    strong mixing, and gains more from length. Not run by us: ImageNet is not at hand.
    """

    start: ClassVar[str] = "none"
    resolution: ClassVar[int | None] = 224

    epochs: int | None = 250
    batch: int = 1024
    learning_rate: float | None = 0.4
    warmup_epochs: float | None = 5.0
    label_smoothing: float = 0.1


RECIPES: dict[str, type[Recipe]] = {
    "finetune": Finetune,
    "features": Features,
    "scratch-small": ScratchSmall,
    "imagenet": Imagenet,
    "paper": Paper,
}
"""Name on the command line → recipe; the first is the default."""
