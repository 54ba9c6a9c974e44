"""Training on the processor with linnet's own kernels: convolution, batch norm and activation in one.

Torch runs a convolution, batch norm and ReLU6 as three operations that write three tensors, keep two or three of them
for the backward pass, and read them again several times. Here a chain of convolutions stores only what each
convolution itself gives; whoever reads that tensor normalises and clamps it on the way, in the backward pass too. So
an inverted residual keeps one tensor for each of its convolutions, and none but its input and output where they are
to be computed again.

It is used where it can be: float32 on the processor, channels last, in training. Everything else, and everything
where there is no native library or `LINNET_FUSED=0` is set, runs on torch's modules and gives the same up to rounding.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from linnet.architecture import Convolve
from linnet.engine.library import (
    DepthwiseShape,
    Gradient,
    Transform,
    instruction_set,
    native_version,
    training_instruction_set,
)
from linnet.machine import instruction_set_refused
from linnet.nn.convolution import ConvolutionModule
from linnet.nn.memory import call, empty

CLAMPS = {"relu6": (0.0, 6.0), "relu": (0.0, math.inf), "linear": (-math.inf, math.inf)}


def enabled() -> bool:
    """Is there a native library, and is `LINNET_FUSED` not 0?

    Raises:
        ValueError: if `LINNET_ISA` names an instruction set that is unknown or that this processor lacks.
    """
    if os.environ.get("LINNET_FUSED") == "0" or native_version() is None:
        return False
    if training_instruction_set() is None:
        raise ValueError(instruction_set_refused(instruction_set()))
    return True


def welcomes(x: Tensor) -> bool:
    """Can the kernels be used on this tensor, once its channels are last?"""
    # First what a compiler decides, so that it sees nothing of the rest.
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.dim() == 4
        and x.numel() > 0
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and enabled()
    )


def applies(modules: Sequence[ConvolutionModule], x: Tensor) -> bool:
    """Can `run` take these modules, one after the other, with this input?"""
    if not welcomes(x) or not all(module.training for module in modules):
        return False
    if not x.is_contiguous(memory_format=torch.channels_last) or not all(_fits(module) for module in modules):
        return False
    if len(modules) > 1 and any(runs_alone(module.layer) for module in modules):
        return False
    # One value a channel has no variance: torch's own module says so.
    size = (x.shape[2], x.shape[3])
    for module in modules:
        size = _output_size(module, size)
    return x.shape[0] * size[0] * size[1] > 1


def _output_size(module: ConvolutionModule, size: tuple[int, int]) -> tuple[int, int]:
    """Both padding rules give an output for every `stride` pixels, begun ones included."""
    return math.ceil(size[0] / module.layer.stride), math.ceil(size[1] / module.layer.stride)


def _fits(module: ConvolutionModule) -> bool:
    """Is this what the kernels compute, with nothing put in its place and nobody watching its parts?"""
    layer, norm = module.layer, module.norm
    parts: tuple[nn.Module, ...] = (module.convolution, norm, module.activation)
    return (
        type(module.convolution) is nn.Conv2d
        and type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and module.convolution.bias is None
        and (not layer.depthwise or _is_filtered(layer))
        and not any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in parts)
    )


def _is_filtered(layer: Convolve) -> bool:
    """Is this a depthwise filter of the kernels? Dilated ones leave no pixel out and have equal zeros on both sides."""
    return layer.kernel == 3 and (layer.stride in (1, 2) if layer.dilation == 1 else layer.stride == 1)


@dataclass(frozen=True)
class _Stage:
    """One convolution, or (`given`) only its batch norm and activation, on tensors of one size."""

    kind: str
    norm: nn.BatchNorm2d
    clamp: tuple[float, float]
    in_channels: int
    out_channels: int
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    stride: int
    padding: tuple[int, int]
    dilation: int

    def output(self, pictures: int) -> Tensor:
        return empty(pictures, self.out_channels, *self.output_size)

    def shape(self, pictures: int) -> DepthwiseShape:
        return DepthwiseShape(
            pictures, *self.input_size, self.in_channels, *self.output_size, self.stride, *self.padding, self.dilation
        )

    def transform(self, constants: Tensor) -> Transform:
        """`constants` (4, channels): scale, shift, mean, inverse deviation."""
        start, step = constants.data_ptr(), constants.stride(0) * constants.element_size()
        return Transform(start, start + step, start + 2 * step, *self.clamp)


@dataclass(frozen=True)
class _Chain:
    stages: tuple[_Stage, ...]
    adds_input: bool
    recompute: bool
    threads: int


def run(
    modules: Sequence[ConvolutionModule], x: Tensor, *, adds_input: bool = False, recompute: bool = False
) -> Tensor:
    """Convolution modules one after the other, where `applies` says that this is possible.

    Args:
        modules: depthwise or pointwise; a single one of another kind runs its convolution on torch.
        x: (N, C, H, W), channels last.
        adds_input: whether the input is added to the result.
        recompute: forget all tensors between the modules and compute them again in the backward pass.

    Returns:
        (N, C', H', W'), channels last.
    """
    parameters: list[Tensor | None] = []
    stages = []
    size = (x.shape[2], x.shape[3])
    for module in modules:
        layer, kind = module.layer, _kind(module)
        output_size = _output_size(module, size)
        padding = (layer.pad_axis(size[0])[0], layer.pad_axis(size[1])[0])
        if kind == "given":
            x = module.convolution(module.pad(x)).contiguous(memory_format=torch.channels_last)
        norm = module.norm
        assert isinstance(norm, nn.BatchNorm2d)
        stages.append(
            _Stage(
                kind, norm, CLAMPS[layer.activation], layer.in_channels, layer.out_channels, size, output_size,
                layer.stride, padding, layer.dilation,
            )
        )  # fmt: skip
        parameters += [None if kind == "given" else module.convolution.weight, norm.weight, norm.bias]
        size = output_size
    chain = _Chain(tuple(stages), adds_input, recompute, min(torch.get_num_threads(), 256))
    return _Fused.apply(chain, x, *parameters)


def runs_alone(layer: Convolve) -> bool:
    """Is this a convolution that runs on torch, so that here only its batch norm and activation are left to do?

    Such a one has no place among others in `run`, and nothing can be added to it there: its input is gone.
    """
    return not layer.depthwise and (layer.kernel > 1 or layer.stride > 1)


def _kind(module: ConvolutionModule) -> str:
    if runs_alone(module.layer):
        return "given"
    return "depthwise" if module.layer.depthwise else "pointwise"


class _Fused(torch.autograd.Function):
    """A chain; its parameters are the weight, the scale and the shift of every stage."""

    @staticmethod
    def forward(ctx: Any, chain: _Chain, x: Tensor, *parameters: Tensor | None) -> Tensor:
        stored: list[Tensor] = []
        constants: list[Tensor] = []
        for number, stage in enumerate(chain.stages):
            weight, scale, shift = parameters[3 * number : 3 * number + 3]
            assert scale is not None
            assert shift is not None
            source = stored[-1] if stored else x
            before = chain.stages[number - 1].transform(constants[-1]) if stored else None
            u, moments = _convolve(chain, stage, source, before, weight)
            stored.append(u)
            constants.append(_constants(stage, moments, scale, shift, u.numel() // u.shape[1]))
        last = chain.stages[-1]
        y = last.output(x.shape[0])
        added = x.data_ptr() if chain.adds_input else None
        rows, channels = y.numel() // y.shape[1], y.shape[1]
        transform = last.transform(constants[-1])
        call("linnet_train_activate", chain.threads, rows, channels, stored[-1].data_ptr(),
             ctypes.addressof(transform), added, y.data_ptr())  # fmt: skip
        ctx.chain = chain
        ctx.frozen = tuple(not stage.norm.training for stage in chain.stages)
        if chain.recompute:
            stored = stored[-1:]
        weights = parameters[::3]
        ctx.kept = len(stored)
        ctx.save_for_backward(x, *stored, *constants, *weights)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, y_gradient: Tensor) -> tuple[Tensor | None, ...]:
        chain: _Chain = ctx.chain
        count = len(chain.stages)
        x, *saved = ctx.saved_tensors
        stored, constants, weights = saved[: ctx.kept], saved[ctx.kept : -count], saved[-count:]
        if ctx.kept < count:
            stored = _recompute(chain, x, constants, weights) + stored
        y_gradient = y_gradient.contiguous(memory_format=torch.channels_last)
        gradient, sums = y_gradient, torch.empty(2, y_gradient.shape[1], dtype=torch.float64)
        transform = chain.stages[-1].transform(constants[-1])
        description = Gradient(gradient.data_ptr(), stored[-1].data_ptr(), transform, None, None)
        call("linnet_train_sums", chain.threads, gradient.numel() // gradient.shape[1], gradient.shape[1],
             ctypes.addressof(description), sums.data_ptr())  # fmt: skip
        results: list[Tensor | None] = []
        for number in reversed(range(count)):
            stage, u = chain.stages[number], stored.pop()
            slope, offset, scale_gradient = _slopes(constants[number], sums, u, frozen=ctx.frozen[number])
            description = Gradient(
                gradient.data_ptr(),
                u.data_ptr(),
                stage.transform(constants[number]),
                slope.data_ptr(),
                offset.data_ptr(),
            )
            shift_gradient = sums[0].float()
            before = chain.stages[number - 1].transform(constants[number - 1]) if number else None
            source = stored[-1] if stored else x
            needed = number > 0 or ctx.needs_input_grad[1]
            result, weight_gradient, sums = _differentiate(
                chain, stage, description, source, before, weights[number], needed=needed
            )
            results = [weight_gradient, scale_gradient, shift_gradient, *results]
            # Only now: the kernel reads the old gradient.
            gradient = result
        if gradient is not None and chain.adds_input:
            # Not torch's sum: its threads would go on spinning beside ours for a while.
            call("linnet_train_activate", chain.threads, gradient.numel() // gradient.shape[1], gradient.shape[1],
                 gradient.data_ptr(), None, y_gradient.data_ptr(), gradient.data_ptr())  # fmt: skip
        return None, gradient, *results


def _convolve(
    chain: _Chain, stage: _Stage, x: Tensor, before: Transform | None, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The stage's convolution of the activation of `x`: the stored tensor, and mean and variance (2, channels)."""
    moments = torch.empty(2, stage.out_channels, dtype=torch.float64)
    transform = None if before is None else ctypes.addressof(before)
    if weight is None:
        call("linnet_train_moments", chain.threads, x.numel() // x.shape[1], x.shape[1], x.data_ptr(),
             moments.data_ptr())  # fmt: skip
        return x, moments
    u = stage.output(x.shape[0])
    weight = weight.contiguous()
    pointers = (x.data_ptr(), transform, weight.data_ptr(), u.data_ptr(), moments.data_ptr())
    if stage.kind == "depthwise":
        shape = stage.shape(x.shape[0])
        call("linnet_train_depthwise", chain.threads, ctypes.addressof(shape), *pointers)
    else:
        rows = x.numel() // x.shape[1]
        call("linnet_train_pointwise", chain.threads, rows, stage.in_channels, stage.out_channels, *pointers)
    return u, moments


def _constants(stage: _Stage, moments: Tensor, scale: Tensor, shift: Tensor, rows: int) -> Tensor:
    """Scale, shift, mean and inverse deviation of batch norm, (4, channels); counts the batch, as torch does."""
    norm = stage.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if norm.training:
        assert norm.momentum is not None
        mean, variance = moments
        norm.running_mean.lerp_(mean.float(), norm.momentum)
        norm.running_var.lerp_((variance * (rows / (rows - 1))).float(), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    else:
        mean, variance = norm.running_mean.double(), norm.running_var.double()
    inverse = (variance + norm.eps).rsqrt()
    factor = scale.double() * inverse
    return torch.stack((factor, shift.double() - mean * factor, mean, inverse)).float()  # (4, channels)


def _recompute(chain: _Chain, x: Tensor, constants: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """The stored tensors of all stages but the last."""
    stored: list[Tensor] = []
    for number, stage in enumerate(chain.stages[:-1]):
        before = chain.stages[number - 1].transform(constants[number - 1]) if number else None
        stored.append(_convolve(chain, stage, stored[-1] if stored else x, before, weights[number])[0])
    return stored


def _slopes(constants: Tensor, sums: Tensor, u: Tensor, *, frozen: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What the gradient of batch norm's input is made with, (channels,) each, and the gradient of its scale."""
    scale, _, _, inverse = constants.double()
    scale_gradient = (sums[1] * inverse).float()
    if frozen:
        nothing = torch.zeros(len(scale))
        return nothing, nothing, scale_gradient
    factor = scale / -(u.numel() // u.shape[1])
    return (factor * inverse.square() * sums[1]).float(), (factor * sums[0]).float(), scale_gradient


def _differentiate(
    chain: _Chain,
    stage: _Stage,
    description: Gradient,
    x: Tensor,
    before: Transform | None,
    weight: Tensor | None,
    *,
    needed: bool,
) -> tuple[Any, Tensor | None, Tensor]:
    """Gradients of a stage's input (None unless `needed`) and weight, and the sums for the stage before."""
    gradient = empty(*x.shape) if needed else None
    sums = torch.empty(2, stage.in_channels, dtype=torch.float64)
    if weight is None:
        if gradient is not None:
            call("linnet_train_gradient", chain.threads, x.numel() // x.shape[1], x.shape[1],
                 ctypes.addressof(description), gradient.data_ptr())  # fmt: skip
        return gradient, None, sums
    weight = weight.contiguous()
    weight_gradient = torch.empty_like(weight)
    if gradient is None and stage.kind == "depthwise":
        gradient = empty(*x.shape)
    pointers = (
        ctypes.addressof(description),
        x.data_ptr(),
        None if before is None else ctypes.addressof(before),
        weight.data_ptr(),
        None if gradient is None else gradient.data_ptr(),
        weight_gradient.data_ptr(),
        None if before is None else sums.data_ptr(),
    )
    if stage.kind == "depthwise":
        shape = stage.shape(x.shape[0])
        call("linnet_train_depthwise_backward", chain.threads, ctypes.addressof(shape), *pointers)
    else:
        rows = x.numel() // x.shape[1]
        call("linnet_train_pointwise_backward", chain.threads, rows, stage.in_channels, stage.out_channels, *pointers)
    return gradient, weight_gradient, sums
