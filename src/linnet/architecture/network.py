"""What the networks of the family share: their common options, checked, and what follows from their operations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from numbers import Integral, Number, Real
from typing import Any, ClassVar, Literal, Self, get_args, get_type_hints

from linnet.architecture.graph import Block, Graph, GraphBuilder
from linnet.architecture.operations import INPUT, BatchNorm, Convolve, Operation, PaddingRule, Shape, Size

LARGEST_SIDE = 65_536
LARGEST_COUNT = 10_000_000

TOTAL_STRIDE = 32
EARLY_STRIDE = 4
"""As in the papers: of the whole network, and of the stem and the first strided block together."""


Task = Literal["classification", "detection", "segmentation"]
"""What a network is for."""


class Architecture:
    """A network as data: options in, named blocks and operations out; `mobilenet_v2(…)`, `ssdlite(…)` make one.

    Every architecture is a frozen dataclass; `options_of` gives its fields.
    """

    task: ClassVar[Task]
    whole_picture: ClassVar[bool] = False
    """Whether nothing of a picture may be cut off, because what it finds has a place there."""
    sections: ClassVar[Mapping[str, str]] = {}
    """First part of a layer's name → the section that its cost belongs to, of networks that have any; all other layers
    are the backbone's."""

    @property
    def width(self) -> float:
        """The width multiplier, the paper's α."""
        raise NotImplementedError

    @property
    def resolution(self) -> int | Size:
        """Input side in pixels, the paper's ρ; or height and width."""
        raise NotImplementedError

    @property
    def classes(self) -> int | None:
        """What it tells apart; None where it gives features."""
        raise NotImplementedError

    @property
    def input_channels(self) -> int:
        """Channels of the picture."""
        raise NotImplementedError

    @property
    def dropout(self) -> float:
        """Share of what enters the last layers dropped while training."""
        raise NotImplementedError

    @property
    def folded(self) -> bool:
        """Whether batch norm is folded into weights and biases."""
        raise NotImplementedError

    @property
    def feature_channels(self) -> int:
        """Channels of the features before what a task adds to them."""
        raise NotImplementedError

    @cached_property
    def graph(self) -> Graph:
        """The whole network as operations."""
        raise NotImplementedError

    def with_options(self, **options: Any) -> Self:
        """The same network but for some options; of a detector those of its backbone too.

        Raises:
            ValueError: on any option that makes no sense, with its name, its value and what is allowed.
        """
        return replace(self, **options)  # type: ignore[type-var]

    @property
    def further_counts(self) -> dict[str, int]:
        """What else of it is counted, by name."""
        return {}

    @property
    def exported_graph(self) -> Graph:
        """The operations of a file for another runtime: with what is left to others here, as a segmenter's resizing."""
        return self.graph

    @property
    def input_size(self) -> Size:
        """Height and width of the input in pixels."""
        return self.resolution if isinstance(self.resolution, tuple) else (self.resolution, self.resolution)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Everything that runs, in order."""
        return self.graph.operations

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the network gives."""
        return self.graph.outputs

    @property
    def layers(self) -> tuple[Block, ...]:
        """All named blocks, `stem`, `blocks.0` and so on, in the order in which they run."""
        return self.graph.blocks

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks named `blocks.0`, `blocks.1` and so on."""
        return tuple(block for block in self.layers if block.name.startswith("blocks."))

    @property
    def convolutions(self) -> tuple[Convolve, ...]:
        """Every convolution in the order in which it runs."""
        return self.graph.convolutions

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of all the tensors of a checkpoint, in order."""
        return self.graph.tensors

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Names of every intermediate tensor, in order: each operation's and each block's."""
        return self.graph.tensor_names

    def check_tensor_names(self, names: tuple[str, ...]) -> None:
        """Raises a ValueError that lists what there is, unless every name is an intermediate tensor."""
        self.graph.check_names(names)


@dataclass(frozen=True, kw_only=True)
class Backbone(Architecture):
    """What MobileNetV1 and V2 have in common: features, and a classifier on them or none.

    Raises:
        ValueError: on any option that makes no sense, with its name, its value and what is allowed.
    """

    task: ClassVar[Task] = "classification"

    width: float = 1.0
    """The width multiplier, the paper's α: every number of channels is multiplied by it. Any positive number."""
    resolution: int | Size = 224
    """The side of the input in pixels, the paper's ρ; or its height and width."""
    classes: int | None = 1000
    """The number of classes. With None there is no classifier, and the output is the pooled features."""
    input_channels: int = 3
    """The number of channels of the input: 3 for colour, 1 for grey."""
    dropout: float = 0.2
    """The share of the pooled features that is dropped in training."""
    activation: Literal["relu6", "relu"] = "relu6"
    """The activation after every convolution but the projections."""
    padding: PaddingRule = "same"
    """The padding of strided convolutions: `same` as in TensorFlow, or `symmetric` as in PyTorch. Weights that are
    trained with one give wrong results with the other."""
    output_stride: Literal[8, 16, 32] = 32
    """The stride of the last map. With 8 or 16, later layers are dilated instead of strided (atrous convolution, for
    dense prediction)."""
    early_stride: Literal[1, 2, 4] = 4
    """The stride of the stem and of the first strided block together. With 2 the stem is not strided, and with 1
    neither of them, so that the maps of small pictures (32 pixels) do not shrink to a point."""
    hidden: tuple[int, ...] = ()
    """The channels of fully connected layers between the pooling and the classifier, each with ReLU: 100 in Teachable
    Machine's networks. Without classes there are none."""
    classifier_bias: bool = True
    """The classifier adds a bias. Teachable Machine's does not."""
    minimum_depth: Literal[1, 4, 8, 16] = 8
    """The fewest channels of a layer, however small the width. TensorFlow's detectors have 16; Keras' MobileNetV1 has
    none (1), so that its width of 0.1 begins with 3."""
    batch_norm_epsilon: float = 0.001
    """What batch norm adds to the variance: 0.001 in the released networks, 1e-5 in PyTorch's."""
    batch_norm_momentum: float = 0.1
    """The share of each new batch in the running statistics of batch norm. The released 0.003 (decay 0.997) needs
    hundreds of thousands of steps to settle; 0.1 suits trainings of any length."""
    folded: bool = False
    """Batch norm is folded into weights and biases. The network gives the same outputs, but has no statistics to
    train."""

    def __post_init__(self) -> None:
        """Refuses nonsense; a square (height, width) becomes one number, so that equal networks compare equal."""
        check_fields(self)
        check_number("width", self.width, above=0, most=10_000)
        check_number("dropout", self.dropout, least=0, below=1)
        check_number("batch_norm_epsilon", self.batch_norm_epsilon, above=0, most=1)
        check_number("batch_norm_momentum", self.batch_norm_momentum, above=0, most=1)
        check_whole("input_channels", self.input_channels, least=1, most=LARGEST_COUNT)
        if self.classes is not None:
            check_whole("classes", self.classes, least=1, most=LARGEST_COUNT)
        self._check_hidden()
        self._check_resolution()

    def _check_hidden(self) -> None:
        if not isinstance(self.hidden, tuple | list):
            raise OptionError("hidden", self.hidden, "must be numbers of channels such as (100,)")
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for channels in self.hidden:
            try:
                check_whole("hidden", channels, least=1, most=LARGEST_COUNT)
            except OptionError as error:
                raise OptionError("hidden", self.hidden, f"{error.allowed}, each of them") from None

    def _check_resolution(self) -> None:
        sides = self.resolution if isinstance(self.resolution, tuple | list) else (self.resolution, self.resolution)
        if len(sides) != 2:
            raise OptionError("resolution", self.resolution, "must be one side in pixels or (height, width)")
        for side in sides:
            # Below the output stride the last maps would see nothing but padding.
            least = min(self.output_stride, TOTAL_STRIDE * self.early_stride // EARLY_STRIDE)
            check_whole("resolution", side, least=least, most=LARGEST_SIDE)
        height, width = (int(side) for side in sides)
        object.__setattr__(self, "resolution", height if height == width else (height, width))

    @property
    def taps(self) -> tuple[str, str, str]:
        """Names of the tensors that a detector reads of a backbone, at strides 8, 16 and 32."""
        raise NotImplementedError

    @property
    def narrow_taps(self) -> tuple[str, str, str]:
        """The same where a detector reads what blocks give, and no wide tensor within one."""
        return self.taps

    def start(self) -> GraphBuilder:
        """A builder with this network's input, activation, padding and batch norm."""
        return GraphBuilder(
            (*self.input_size, self.input_channels),
            activation=self.activation,
            padding=self.padding,
            norm=None if self.folded else BatchNorm(self.batch_norm_epsilon, self.batch_norm_momentum),
        )

    def describe_blocks(self, build: GraphBuilder) -> str:
        """Adds what stands before a last convolution that only classifiers need; the name of the map it gives."""
        raise NotImplementedError

    def describe_features(self, build: GraphBuilder) -> str:
        """Adds the blocks from the picture to the last map; the name of that map."""
        return self.describe_blocks(build)

    @cached_property
    def graph(self) -> Graph:
        """The features, pooled, and with classes a classifier on them, perhaps behind hidden layers."""
        build = self.start()
        features = self.describe_features(build)
        with build.block("pool", "pooling"):
            result = build.pool("", features)
        if self.classes is not None:
            for number, channels in enumerate(self.hidden):
                with build.block(f"hidden.{number}", "hidden layer"):
                    result = build.linear("", result, channels, activation="relu")
            with build.block("classifier", "classifier"):
                bias, dropout = self.classifier_bias, self.dropout
                result = build.linear("", result, self.classes, dropout=dropout, bias=bias)
        return build.graph(result)

    @property
    def feature_channels(self) -> int:
        """Channels of the pooled features."""
        return self.graph.shape_of("pool")[0]


def add_stem(build: GraphBuilder, channels: int, stride: int) -> str:
    """The first 3x3 convolution, on the picture."""
    with build.block("stem", "convolution"):
        return build.convolve("", INPUT, channels, kernel=3, stride=stride)


class OnBackbone(Architecture):
    """A network with a backbone, a detector or a segmenter: what belongs to the backbone is asked of it."""

    backbone: Backbone

    def with_options(self, **options: Any) -> Self:
        """See `Architecture.with_options`."""
        own = {entry.name for entry in fields(self)}  # type: ignore[arg-type]
        changes = {name: value for name, value in options.items() if name in own}
        inherited = {name: value for name, value in options.items() if name not in own}
        if inherited:
            changes["backbone"] = replace(changes.get("backbone", self.backbone), **inherited)
        return replace(self, **changes)  # type: ignore[type-var]

    @property
    def width(self) -> float:
        """The backbone's."""
        return self.backbone.width

    @property
    def resolution(self) -> int | Size:
        """The backbone's."""
        return self.backbone.resolution

    @property
    def input_channels(self) -> int:
        """The backbone's."""
        return self.backbone.input_channels

    @property
    def folded(self) -> bool:
        """The backbone's, which all that follows shares."""
        return self.backbone.folded


class Striding:
    """Leaves early strides away, and turns late ones into dilation as TensorFlow's atrous networks do.

    The layer that would pass the output stride runs at stride 1 undilated; those after it are dilated.
    """

    def __init__(self, output_stride: int, early_stride: int = EARLY_STRIDE) -> None:
        self.output_stride = output_stride
        self.surplus = EARLY_STRIDE // early_stride
        self.stride = 1
        self.dilation = 1

    def step(self, stride: int) -> tuple[int, int]:
        """Stride and dilation to give the next layer, whose own stride is `stride`."""
        if stride > 1 and self.surplus > 1:
            self.surplus //= stride
            return 1, 1
        if self.dilation == 1 and self.stride * stride <= self.output_stride:
            self.stride *= stride
            return stride, 1
        dilation = self.dilation
        self.dilation *= stride
        return 1, dilation


def with_backbone_options(backbone: Backbone, options: Mapping[str, Any], whole: str) -> Backbone:
    """A backbone with some options changed, on behalf of the network that is built on it.

    Raises:
        TypeError: on an option that the backbone does not have, naming the network as `whole` does ("A detector").
    """
    foreign = next((name for name in options if not hasattr(backbone, name)), None)
    if foreign is not None:
        raise TypeError(f"{whole} on {type(backbone).__name__} has no option {foreign!r}.")
    return replace(backbone, **options) if options else backbone


class OptionError(ValueError):
    """An option that makes no sense.

    Attributes:
        name: of the option, as Python has it.
        value: what was given.
        allowed: what was expected, to be put behind both: `must be a number above 0`.
    """

    def __init__(self, name: str, value: Any, allowed: str) -> None:
        super().__init__(name, value, allowed)
        self.name, self.value, self.allowed = name, value, allowed

    def __str__(self) -> str:
        return f"`{self.name}` (={self.value!r}) {self.allowed}."


@cache
def _hints_of(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields; finding them takes longer than all checks."""
    return get_type_hints(kind)


def check_fields(options: Any) -> None:
    """Makes numpy's numbers Python's, and refuses a field typed as a `Literal` that holds none of its values."""
    kind: Any = type(options)
    hints = _hints_of(kind)
    for field in fields(options):
        hint, value = hints[field.name], getattr(options, field.name)
        if isinstance(value, Number) and not isinstance(value, int | float):
            # numpy's numbers are as good as Python's, but no file holds them.
            value = int(value) if isinstance(value, Integral) else float(value)  # type: ignore[arg-type]
            object.__setattr__(options, field.name, value)
        allowed = get_args(hint) if getattr(hint, "__origin__", None) is Literal else ()
        if hint is bool:
            allowed = (False, True)
        if allowed and not any(value == choice and type(value) is type(choice) for choice in allowed):
            choices = " or ".join(map(repr, allowed))
            raise OptionError(field.name, value, f"must be {choices}")


def check_number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Raises a ValueError unless `value` is a finite number within the bounds."""
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    allowed = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not (
        number
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
    ):
        raise OptionError(name, value, f"must be a number {allowed}")


def check_whole(name: str, value: Any, *, least: int, most: int) -> None:
    """Raises a ValueError unless `value` is a whole number from `least` to `most`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) <= most:
        raise OptionError(name, value, f"must be a whole number from {least} to {most}")
