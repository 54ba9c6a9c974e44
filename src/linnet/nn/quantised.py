"""Fake quantisation: a network that is computed by the integer rule while it learns.

Forwards, every tensor has the very numbers that the integers of a quantised network stand for
(`linnet.quantisation.rule`): what is summed are whole numbers, exact in float32 up to 2^24 and in float64 beyond, and
each operation rounds as the rule does. Backwards, nothing is rounded: gradients pass straight through, and stop where
a bound holds a number back. Weights and biases stay in float32; of each the nearest integer is taken in every pass.

Batch norm is folded with its running statistics, which then stay as they are; its scale and shift still learn. Nothing
is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linnet.architecture import INPUT, Add, Concatenate, Convolve, Graph, Linear, Operation, Pool, Reshape, Resize
from linnet.engine.integer_reference import EXACT_IN_SINGLE
from linnet.nn.convolution import ConvolutionModule
from linnet.nn.modules import FUNCTIONS, GraphNetwork
from linnet.quantisation import rule
from linnet.quantisation.scheme import LIMITS, Encoding, IntegerType, Quantisation
from linnet.quantisation.tensors import INPUT_SPAN

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPE: IntegerType = "int8"
"""Of weights and activations."""

LARGEST_WEIGHT = 127
"""Weights are symmetric around 0."""

LARGEST_BIAS = 2**22
"""A channel whose weights are next to nothing beside its bias gets a scale with which the bias stays below this: then
sums stay exact in float32."""

SMALLEST_SCALE = 2.0**-40
"""Of a weight, also where all weights of a channel are 0."""

SMALLEST_STEP = 2.0**-20
"""Scale of a tensor, also where all its numbers are 0."""

MOMENTUM = 0.01
"""Share of each new batch in the running ranges."""


@dataclass(frozen=True)
class Integers:
    """Weight and bias of an operation as whole numbers in float32, with gradients: (out, …), and (out,) the scales."""

    weight: Tensor
    scale: Tensor
    bias: Tensor


class FakeQuantisation(nn.Module):
    """Computes a network by the integer rule, once `begin` has measured the ranges of its tensors.

    It is `GraphNetwork.quantisation` of its network.

    Args:
        graph: of the network.

    Attributes:
        running_ranges: (tensors, 2), the least and the largest number of the picture and of each operation's tensor;
            all 0 before `begin`.
        learning: whether the ranges follow what is seen in training mode.
    """

    running_ranges: Tensor

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.learning = False
        self._places = {name: place for place, name in enumerate((INPUT, *graph.by_name))}
        self.register_buffer("running_ranges", torch.zeros(len(self._places), 2))
        # Of the pass that is under way: what it sees moves the ranges of the next one.
        self._encodings: dict[str, Encoding] = {}

    @torch.no_grad()
    def begin(self, network: GraphNetwork, inputs: Iterable[Tensor]) -> None:
        """Measures all ranges with the network in float; from then on it is computed by the rule.

        They are the mean of what the batches have; that of the picture is the widest.

        Args:
            network: whose `quantisation` this is.
            inputs: batches of normalised pictures (N, C, H, W), a few hundred in all.

        Raises:
            ValueError: if there are no pictures, or a range is no number.
        """
        self.running_ranges.zero_()
        names = tuple(self.graph.by_name)
        measured: list[Tensor] = []
        training = network.training
        network.eval()
        for images in inputs:
            _, kept = network.run(images, names)
            values = [images, *(kept[name] for name in names)]
            measured.append(torch.stack([torch.stack(torch.aminmax(value.float())) for value in values]))
        network.train(training)
        if not measured:
            raise ValueError("There are no pictures to measure the ranges of a network's tensors on.")
        ranges = torch.stack(measured)
        if not ranges.isfinite().all():
            raise ValueError("Tensors of the network are not finite numbers; it cannot be quantised.")
        self.running_ranges.copy_(ranges.mean(dim=0))
        self.running_ranges[0, 0], self.running_ranges[0, 1] = ranges[:, 0, 0].amin(), ranges[:, 0, 1].amax()

    @property
    def begun(self) -> bool:
        """Whether the network is computed by the rule."""
        return bool(self.running_ranges.any())

    def encodings(self) -> dict[str, Encoding]:
        """What the ranges come to, by tensor: 0 is a whole number, and the picture is encoded like the rest."""
        ranges: list[tuple[float, float]] = self.running_ranges.tolist()
        found = {INPUT: _encoding(*ranges[0])}
        for operation, span in zip(self.graph.operations, ranges[1:], strict=True):
            found[operation.name] = found[operation.reads[0]] if operation.keeps_encoding else _encoding(*span)
        return found

    def quantisation(self) -> Quantisation:
        """What a checkpoint of the network says of its integers."""
        return Quantisation(DTYPE, self.encodings())

    @torch.no_grad()
    def tensors(self, network: GraphNetwork) -> dict[str, NDArray[Any]]:
        """Integer weights and biases with their scales, as a quantised checkpoint holds them."""
        found: dict[str, NDArray[Any]] = {}
        encodings = self.encodings()
        for operation in self.graph.operations:
            if operation.tensors:
                whole = integers_of(network.module_of(operation.name), encodings[operation.reads[0]])
                label = operation.label
                found[f"{label}.weight"] = whole.weight.cpu().numpy().astype(np.int8)
                found[f"{label}.weight.scale"] = whole.scale.cpu().numpy().copy()
                if getattr(operation, "bias", True):
                    found[f"{label}.bias"] = whole.bias.cpu().numpy().astype(np.int32)
        return found

    @torch.no_grad()
    def enter(self, images: Tensor) -> Tensor:
        """Begins a pass: normalised pictures (N, C, H, W) as the integers hold them."""
        self._encodings = self.encodings()
        encoding = self._encodings[INPUT]
        low, high = (limit - encoding.zero for limit in LIMITS[DTYPE])
        with torch.autocast(images.device.type, enabled=False):
            return images.float().mul(_inverse(encoding)).round_().clamp_(low, high).mul_(encoding.scale)

    def step(self, network: GraphNetwork, operation: Operation, read: Sequence[Tensor]) -> Tensor:
        """What an operation gives of what it reads: the numbers that integers stand for, in and out."""
        given = tuple(self._encodings[name] for name in operation.reads)
        module = network.module_of(operation.name) if operation.tensors else None
        watch = partial(self._watch, operation) if self.training and self.learning else None
        step = _Step(operation, given, self._encodings[operation.name], module, watch)
        with torch.autocast(read[0].device.type, enabled=False):
            return STEPS[type(operation)](step, *read)

    @torch.no_grad()
    def _watch(self, operation: Operation, real: Tensor) -> None:
        """Moves the range of a tensor towards that of its numbers before they are rounded."""
        seen = torch.stack(torch.aminmax(real.detach()))
        activation = getattr(operation, "activation", "linear")
        if activation != "linear":
            seen.clamp_(0, 6 if activation == "relu6" else None)
        if seen.isfinite().all():
            self.running_ranges[self._places[operation.name]].lerp_(seen, MOMENTUM)


def integers_of(module: nn.Module, given: Encoding) -> Integers:
    """Weight and bias of a convolution or a linear layer, batch norm folded, as whole numbers.

    Args:
        module: a `ConvolutionModule` or an `nn.Linear`.
        given: the encoding of what it reads.
    """
    weight, bias = _folded(module)
    with torch.no_grad():
        most = weight.abs().flatten(1).amax(dim=1) / LARGEST_WEIGHT
        scale = torch.maximum(most, bias.abs() / (given.scale * LARGEST_BIAS)).clamp(min=SMALLEST_SCALE)
    whole = rounded(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    # Not by hand: the largest weight divided by its scale may be a little more than 127.
    return Integers(whole.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT), scale, rounded(bias / (scale * given.scale)))


def _folded(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of an operation, batch norm with its running statistics folded into them."""
    weighted = module.convolution if isinstance(module, ConvolutionModule) else module
    assert isinstance(weighted, nn.Conv2d | nn.Linear)
    norm = getattr(module, "norm", None)
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
        # A layer without bias adds nothing.
        bias = weighted.weight.new_zeros(len(weighted.weight)) if weighted.bias is None else weighted.bias
        return weighted.weight, bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    return weighted.weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor


class _Straight(torch.autograd.Function):
    """A value in the place of another, whose gradient it gets."""

    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight(surrogate: Tensor, value: Tensor) -> Tensor:
    """`value`, to the bit; its gradient goes to `surrogate`, which has the same shape."""
    return cast(Tensor, _Straight.apply(surrogate, value.detach()))


def rounded(x: Tensor) -> Tensor:
    """The nearest whole numbers, halves to even; the gradient passes."""
    return straight(x, x.detach().round())


@dataclass(frozen=True)
class _Step:
    """An operation with the encodings of what it reads and gives, its module if it has weights, and who looks on."""

    operation: Any
    given: tuple[Encoding, ...]
    result: Encoding
    module: nn.Module | None
    watch: Callable[[Tensor], None] | None

    @property
    def span(self) -> tuple[int, int]:
        """The least and the largest integer of the result, its activation applied, without the zero point."""
        activation = getattr(self.operation, "activation", "linear")
        low, high = rule.bounds(DTYPE, self.result, activation)
        return low - self.result.zero, high - self.result.zero

    def held(self, real: Tensor) -> Tensor:
        """Numbers within what the result's integers hold: the gradient of the others ends here."""
        low, high = self.span
        return F.hardtanh(real, low * self.result.scale, high * self.result.scale)


def _encoding(low: float, high: float) -> Encoding:
    """What holds all numbers of a range, and 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    least, most = LIMITS[DTYPE]
    scale = float(np.float32(max((high - low) / (most - least), SMALLEST_STEP)))
    return Encoding(scale, min(max(round(least - low / scale), least), most))


def _inverse(encoding: Encoding) -> float:
    return float(np.float32(1) / np.float32(encoding.scale))


def _whole(x: Tensor, encoding: Encoding) -> Tensor:
    """The integers of a tensor without their zero point: whole numbers in float32."""
    return rounded(x * _inverse(encoding))


def _weighted(step: _Step, x: Tensor) -> Tensor:
    """A convolution or a linear layer: exact sums, rounded once."""
    module, (given,), result = step.module, step.given, step.result
    assert module is not None
    whole = integers_of(module, given)
    with torch.no_grad():
        sums = whole.weight.abs().flatten(1).sum(dim=1) * INPUT_SPAN + whole.bias.abs()
        kind = torch.float32 if sums.amax() < EXACT_IN_SINGLE else torch.float64
        # Divided by a tensor: by a number, a GPU multiplies with its inverse.
        factor = (whole.scale * given.scale) / torch.full_like(whole.scale, result.scale)
    inputs, weight, bias = (each.to(kind) for each in (_whole(x, given), whole.weight, whole.bias))
    if isinstance(module, ConvolutionModule):
        of = module.convolution
        exact = F.conv2d(module.pad(inputs), weight, bias, of.stride, of.padding, of.dilation, of.groups)
        factor = factor[:, None, None]
    else:
        exact = F.linear(inputs, weight, bias)
    scaled = exact.float() * factor
    if step.watch is not None:
        step.watch(scaled.detach() * result.scale)
    # As ReLU6 has it: what stands at a bound gets no gradient, and one kernel computes that.
    return rounded(F.hardtanh(scaled, *step.span)) * result.scale


def _add(step: _Step, first: Tensor, second: Tensor) -> Tensor:
    """The sum of two tensors, as `rule.add` has it."""
    result = step.result
    ratios = [np.float32(encoding.scale) / np.float32(result.scale) for encoding in step.given]
    shift = rule.ADD_BITS - (int(np.frexp(max(ratios))[1]) - 1)
    with torch.no_grad():
        total = torch.full_like(first, 1 << (shift - 1), dtype=torch.int64)
        for x, ratio, encoding in zip((first, second), ratios, step.given, strict=True):
            total += _whole(x, encoding).to(torch.int64) * int(np.rint(np.ldexp(ratio, shift)))
        value = (total >> shift).clamp_(*step.span).float() * result.scale
    real = first + second
    if step.watch is not None:
        step.watch(real)
    return straight(step.held(real), value)


def _pool(step: _Step, x: Tensor) -> Tensor:
    """The mean over a map, (N, C, H, W) → (N, C) or (N, C, 1, 1), as `rule.pool_mean` has it."""
    (given,), result = step.given, step.result
    count = x.shape[2] * x.shape[3]
    factor = (np.float32(given.scale) / np.float32(result.scale)) * (np.float32(1) / np.float32(count))
    offset = np.float32(result.zero) - np.float32(count * given.zero) * factor
    with torch.no_grad():
        total = _whole(x, given).sum(dim=(2, 3), dtype=torch.float64) + count * given.zero
        scaled = total.float() * float(factor)
        scaled += float(offset)
        value = scaled.round_().sub_(result.zero).clamp_(*step.span) * result.scale
    real = x.mean(dim=(2, 3))
    if step.watch is not None:
        step.watch(real)
    pooled = straight(step.held(real), value)
    return pooled[:, :, None, None] if step.operation.keeps_map else pooled


def _resize(step: _Step, x: Tensor) -> Tensor:
    """A map at another size, as `rule.resize` has it."""
    operation, (encoding,) = step.operation, step.given
    with torch.no_grad():
        raw = (_whole(x, encoding) + encoding.zero).to(torch.int64)
        places = (
            rule.neighbours(before, after, operation.grid)
            for before, after in zip(x.shape[2:], operation.output_size, strict=True)
        )
        (top, bottom, down), (left, right, across) = (_in_steps(each, x.device) for each in places)

        def between(row: Tensor) -> Tensor:
            near, far = raw[:, :, row][..., left], raw[:, :, row][..., right]
            return (near << rule.RESIZE_BITS) + (far - near) * across

        above, below = between(top), between(bottom)
        total = (above << rule.RESIZE_BITS) + (below - above) * down[:, None]
        whole = (total + (1 << (2 * rule.RESIZE_BITS - 1))) >> (2 * rule.RESIZE_BITS)
        value = (whole - encoding.zero).float() * encoding.scale
    return straight(FUNCTIONS[Resize](operation, x), value)


def _in_steps(places: rule.Neighbours, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Both neighbours of each place, and the weight of the second one."""
    weights = np.rint(places.share * np.float32(1 << rule.RESIZE_BITS)).astype(np.int64)
    low, high, share = (torch.from_numpy(each).to(device) for each in (places.low, places.high, weights))
    return low, high, share


def _recoded(step: _Step, x: Tensor, given: Encoding) -> Tensor:
    """The same numbers in another encoding, as `rule.recode` has it."""
    if given == step.result:
        return x
    factor = np.float32(given.scale) * (np.float32(1) / np.float32(step.result.scale))
    with torch.no_grad():
        scaled = (_whole(x, given) + given.zero) * float(factor)
        scaled += float(np.float32(-given.zero) * factor)
        away = scaled.double()
        away += torch.copysign(torch.full_like(away, 0.5), away)
        value = away.trunc_().clamp_(*step.span).float() * step.result.scale
    return straight(step.held(x), value)


def _concatenate(step: _Step, *inputs: Tensor) -> Tensor:
    if step.watch is not None:
        lows, highs = zip(*(torch.aminmax(x.detach()) for x in inputs), strict=True)
        step.watch(torch.stack([*lows, *highs]))
    recoded = [_recoded(step, x, given) for x, given in zip(inputs, step.given, strict=True)]
    return FUNCTIONS[Concatenate](step.operation, *recoded)


STEPS: dict[type[Operation], Callable[..., Tensor]] = {
    Convolve: _weighted,
    Linear: _weighted,
    Add: _add,
    Pool: _pool,
    Reshape: lambda step, x: FUNCTIONS[Reshape](step.operation, x),
    Concatenate: _concatenate,
    Resize: _resize,
}
"""Kind of operation → what it gives of what it reads."""
