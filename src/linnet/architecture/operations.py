"""What runs: operations as plain data, each with what it reads, what it gives and the tensors that it needs.

Cost, the numpy reference, torch modules, the engine's program and the exports are each one table from these kinds to
code, and a short loop that knows no network (docs/decisions/0013). Maps are (height, width, channels), vectors
(channels,), and what a detector says of its anchors (anchors, slots); the batch is left away everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, TypeVar

Size = tuple[int, int]
"""Height and width in pixels."""

Shape = tuple[int, ...]
"""Of one picture's tensor."""

Activation = Literal["relu6", "relu", "linear"]
PaddingRule = Literal["same", "symmetric"]
Grid = Literal["align_corners", "half_pixel", "asymmetric"]
"""Where the pixels of a map of another size lie: see `Resize`."""

INPUT = "input"
"""What the first operations read: the picture."""


def scale_channels(channels: float, width: float, *, divisor: int = 8, minimum: int = 8) -> int:
    """Multiplies a channel count by the width multiplier and rounds it as the released MobileNetV2 does.

    The result is the nearest multiple of `divisor`, at least `minimum`, and never below 90 % of the exact
    product: without that last rule width 0.35 costs 49 M multiply-adds instead of the published 59 M.
    """
    exact = channels * width
    rounded = max(minimum, int(exact + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * exact:
        rounded += divisor
    return rounded


def pad_amounts(length: int, *, kernel: int, stride: int, dilation: int, rule: PaddingRule) -> tuple[int, int]:
    """Zeros before and after one axis of `length` pixels.

    `same` is TensorFlow's rule: just enough for ceil(length / stride) outputs, the odd zero at the end, so that an
    even length with stride 2 is padded (0, 1). `symmetric` is PyTorch's: (1, 1) for a 3x3 kernel. Both give the same
    number of outputs, on grids shifted by one pixel.
    """
    reach = (kernel - 1) * dilation
    if rule == "symmetric":
        return reach // 2, reach // 2
    total = max((math.ceil(length / stride) - 1) * stride + reach + 1 - length, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation after a convolution.

    Attributes:
        epsilon: added to the variance.
        momentum: share of each new batch in the running statistics.
    """

    epsilon: float
    momentum: float


@dataclass(frozen=True)
class Operation:
    """One step of a network.

    Attributes:
        name: of the tensor that it gives.
        reads: names of the tensors that it reads, `INPUT` being the picture.
        shape: of what it gives for one picture.
    """

    name: str
    reads: tuple[str, ...]
    shape: Shape

    storage: ClassVar[Literal["own", "first", "view"]] = "own"
    """Where the result can stand: in memory of its own, over the first tensor read, or it is that tensor itself."""

    keeps_encoding: ClassVar[bool] = False
    """Whether it arranges or mixes what it reads, so that integers go on standing for the same numbers."""

    adds: ClassVar[bool] = False
    """Whether it gives the sum of what it reads."""

    averages: ClassVar[bool] = False
    """Whether it gives the mean over a map."""

    arranges: ClassVar[bool] = False
    """Whether it gives the numbers that it reads, and only their places are others."""

    @property
    def label(self) -> str:
        """What tables and checkpoints call it."""
        return self.name

    @property
    def kind(self) -> str:
        """What tables call its kind."""
        return type(self).__name__.lower()

    @property
    def depthwise(self) -> bool:
        """Whether it is a convolution of each channel by itself."""
        return False

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of what a checkpoint holds for this operation."""
        return {}

    @property
    def only_tap(self) -> tuple[int, int] | None:
        """Row and column of the one weight of a window that is ever reached; None where several are, or no window."""
        return None

    @property
    def lays_behind(self) -> bool:
        """Whether it gives all numbers of the first tensor that it reads, then all of the next, as they lie there."""
        return False

    def at(self, picture: Size) -> Self:
        """The same for a picture of another size than described, where what it gives follows from that alone."""
        return self

    def infer(self, *inputs: Shape) -> Shape:
        """The shape that follows from those of the tensors read.

        Raises:
            ValueError: if the operation cannot read tensors of these shapes.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Convolve(Operation):
    """A convolution with batch norm (or, once folded, a bias) and an activation, in that order.

    Attributes:
        input_shape: height, width and channels of what it reads.
        norm: batch norm; None where it is folded or there is none: then there is a bias.
        dropout: share of what it reads dropped while training.
        holds: name under which a checkpoint holds its tensors, where the tensor of its own name is another's.
    """

    input_shape: tuple[int, int, int]
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    depthwise: bool = False
    activation: Activation = "linear"
    padding: PaddingRule = "same"
    norm: BatchNorm | None = None
    dropout: float = 0.0
    holds: str = ""

    @property
    def label(self) -> str:
        """What tables and checkpoints call it."""
        return self.holds or self.name

    @property
    def kind(self) -> str:
        """`depthwise`, `pointwise` (1x1) or `convolution`."""
        if self.depthwise:
            return "depthwise"
        return "pointwise" if self.kernel == 1 else "convolution"

    @property
    def in_channels(self) -> int:
        """Channels of what it reads."""
        return self.input_shape[2]

    @property
    def out_channels(self) -> int:
        """Channels of what it gives."""
        return self.shape[2]

    @property
    def input_size(self) -> Size:
        """Height and width of what it reads."""
        return self.input_shape[:2]

    @property
    def output_size(self) -> Size:
        """One output for every `stride` pixels, begun ones included."""
        height, width = self.input_size
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Zeros at top, bottom, left and right."""
        top, bottom = self.pad_axis(self.input_size[0])
        left, right = self.pad_axis(self.input_size[1])
        return top, bottom, left, right

    @property
    def groups(self) -> int:
        """Groups of channels that are convolved by themselves."""
        return self.in_channels if self.depthwise else 1

    @property
    def only_tap(self) -> tuple[int, int] | None:
        """The middle one on a map of one pixel, which all others lie beside."""
        if self.kernel == 1 or (*self.input_size, *self.shape[:2]) != (1, 1, 1, 1):
            return None
        return self.pads[0] // self.dilation, self.pads[2] // self.dilation

    def pad_axis(self, length: int) -> tuple[int, int]:
        """Zeros before and after an axis of any `length`: a network may run at another size than described."""
        return pad_amounts(length, kernel=self.kernel, stride=self.stride, dilation=self.dilation, rule=self.padding)

    @property
    def tensors(self) -> dict[str, Shape]:
        """A weight (out, in, kernel, kernel), then a bias or batch norm's four vectors."""
        fan_in = 1 if self.depthwise else self.in_channels
        shapes: dict[str, Shape] = {f"{self.label}.weight": (self.out_channels, fan_in, self.kernel, self.kernel)}
        vectors = ("bias",) if self.norm is None else ("scale", "shift", "mean", "variance")
        return shapes | {f"{self.label}.{vector}": (self.out_channels,) for vector in vectors}

    def infer(self, *inputs: Shape) -> Shape:
        """One map, of as many channels as are described; a depthwise convolution keeps their number."""
        (given,) = inputs
        if given != self.input_shape:
            raise ValueError(f"it is described for a map of {self.input_shape}; got {given}")
        if self.padding == "symmetric" and (self.kernel - 1) * self.dilation % 2:
            raise ValueError(f"a kernel of {self.kernel} has no middle, which symmetric padding needs; take an odd one")
        if self.depthwise and self.out_channels != self.in_channels:
            raise ValueError(f"a depthwise convolution keeps {self.in_channels} channels; got {self.out_channels}")
        return *self.output_size, self.out_channels


@dataclass(frozen=True)
class Add(Operation):
    """The sum of two tensors of one shape: a shortcut."""

    storage = "first"
    adds = True

    def infer(self, *inputs: Shape) -> Shape:
        """The shape of both."""
        first, second = inputs
        if first != second:
            raise ValueError(f"tensors of one shape can be added; got {first} and {second}")
        return first


@dataclass(frozen=True)
class Pool(Operation):
    """Global average pooling: a map (H, W, C) to a vector (C,).

    Attributes:
        keeps_map: whether it gives a map of one pixel instead, (1, 1, C), which convolutions can read.
    """

    keeps_map: bool = False

    averages = True

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "pooling"

    def infer(self, *inputs: Shape) -> Shape:
        """The channels."""
        (given,) = inputs
        if len(given) != 3:
            raise ValueError(f"a map (height, width, channels) is pooled; got {given}")
        return (1, 1, given[2]) if self.keeps_map else given[2:]


@dataclass(frozen=True)
class Linear(Operation):
    """Dropout, then a linear layer and an activation: a vector to logits, or to a hidden layer's numbers.

    Attributes:
        in_channels: numbers of the vector that it reads.
        dropout: share of them dropped while training.
        activation: behind it.
        bias: whether it adds one.
    """

    in_channels: int
    dropout: float = 0.0
    activation: Activation = "linear"
    bias: bool = True

    @property
    def kind(self) -> str:
        """`classifier`, or with an activation `hidden layer`."""
        return "classifier" if self.activation == "linear" else "hidden layer"

    @property
    def out_channels(self) -> int:
        """Numbers that it gives."""
        return self.shape[0]

    @property
    def tensors(self) -> dict[str, Shape]:
        """A weight (out, in) and perhaps a bias (out,)."""
        weight: dict[str, Shape] = {f"{self.name}.weight": (self.out_channels, self.in_channels)}
        return weight | ({f"{self.name}.bias": (self.out_channels,)} if self.bias else {})

    def infer(self, *inputs: Shape) -> Shape:
        """A vector."""
        if inputs != ((self.in_channels,),):
            raise ValueError(f"it is described for a vector of {self.in_channels}; got {inputs[0]}")
        return self.shape


@dataclass(frozen=True)
class Reshape(Operation):
    """The same numbers in rows: a map (H, W, anchors x slots) to (H x W x anchors, slots), cell by cell.

    At another size of picture there are more rows or fewer; the slots stay.
    """

    storage = "view"
    keeps_encoding = True
    arranges = True
    lays_behind = True

    def infer(self, *inputs: Shape) -> Shape:
        """As many numbers as before."""
        (given,) = inputs
        rows, rest = divmod(math.prod(given), self.shape[-1])
        if rest or given[-1] % self.shape[-1]:
            raise ValueError(f"{given} does not fall into rows of {self.shape[-1]}")
        return rows, self.shape[-1]


@dataclass(frozen=True)
class Concatenate(Operation):
    """Two or more tensors behind each other: maps along their channels (axis 2), rows (anchors, slots) along axis 0."""

    axis: int = 2

    arranges = True

    @property
    def lays_behind(self) -> bool:
        """Along the first axis."""
        return self.axis == 0

    @property
    def axis_of_batches(self) -> int:
        """The axis where the batch comes first and then a map's channels, as torch and ONNX have it."""
        return ((2, 3, 1) if len(self.shape) == 3 else (1, 2))[self.axis]

    def infer(self, *inputs: Shape) -> Shape:
        """The sum along the axis; all else must agree."""
        if len({len(given) for given in inputs}) > 1 or not 0 <= self.axis < len(inputs[0]):
            raise ValueError(f"{', '.join(map(str, inputs))} cannot be joined along axis {self.axis}")
        others = {(*given[: self.axis], *given[self.axis + 1 :]) for given in inputs}
        if len(others) > 1:
            raise ValueError(f"{', '.join(map(str, inputs))} differ elsewhere than along axis {self.axis}")
        total = sum(given[self.axis] for given in inputs)
        return *inputs[0][: self.axis], total, *inputs[0][self.axis + 1 :]


@dataclass(frozen=True)
class Resize(Operation):
    """A map at the size that maps of a stride have, by bilinear interpolation; of one pixel it is copied everywhere.

    Attributes:
        stride: of the size that it gives, in pixels of the picture; 1 is the picture's own size.
        grid: where output pixel o lies among n inputs that become m outputs. `align_corners`, as TensorFlow's
            networks have it: o (n - 1) / (m - 1), so that the corners' centres coincide. `half_pixel`, as torch has
            it: (o + 1/2) n / m - 1/2, so that the corners themselves do. `asymmetric`, TensorFlow 1's default:
            o n / m. Outside of the map its nearest pixel counts.
    """

    stride: int = 1
    grid: Grid = "align_corners"

    keeps_encoding = True

    @property
    def kind(self) -> str:
        """What tables call it."""
        return "resizing"

    @property
    def output_size(self) -> Size:
        """Height and width of what it gives."""
        return self.shape[0], self.shape[1]

    def at(self, picture: Size) -> Self:
        """See `Operation.at`."""
        return replace(self, shape=(*size_at(picture, self.stride), self.shape[2]))

    def infer(self, *inputs: Shape) -> Shape:
        """The size that is described, with the channels of what it reads."""
        (given,) = inputs
        if len(given) != 3:
            raise ValueError(f"a map (height, width, channels) is resized; got {given}")
        return *self.output_size, given[2]


def size_at(picture: Size, stride: int) -> Size:
    """Height and width of a map of so many pixels of the picture for each of its own, begun ones included."""
    height, width = picture
    return -(-height // stride), -(-width // stride)


Weighted = Convolve | Linear
"""What multiplies by weights: sums over channels, perhaps a bias, an activation."""

K = TypeVar("K", bound=Operation)


def of_kind(operations: Iterable[Operation], kind: type[K]) -> tuple[K, ...]:
    """Those operations that are of one kind, in order."""
    return tuple(operation for operation in operations if isinstance(operation, kind))
