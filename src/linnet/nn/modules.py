"""The torch module of every layer kind, and the network made of them.

Tensors are (N, C, H, W). A forward pass returns the same type in training and in evaluation, and holds nothing that
depends on data, so that `torch.compile` and `torch.export` take it whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from linnet.architecture import (
    Architecture,
    Classifier,
    Convolution,
    DepthwiseSeparable,
    ExtraLevel,
    InvertedResidual,
    Layer,
    LevelHead,
)
from linnet.nn import fused

INITIAL_DEVIATION = 0.09
"""Of the truncated normal that all weights of the released networks start from (TF-slim's training scope)."""

DETECTOR_DEVIATION = 0.03
"""The same of a detector's extra levels and heads (`ssdlite_mobilenet_v2_coco`)."""

Output = Any
"""(N, classes) logits or (N, C) features; of a detector (N, A, 4) offsets and (N, A, 1 + classes) logits. Not a union,
which would have everybody who uses a classifier ask which of the two it is."""


class WantedTaps(dict[str, Tensor]):
    """Name → tensor, for the tensors that were asked for and have been met."""

    def __init__(self, wanted: Collection[str]) -> None:
        super().__init__()
        self.wanted = frozenset(wanted)


Taps = WantedTaps | None
"""None when no tensors are asked for."""


class ConvolutionModule(nn.Module):
    """Convolution, batch norm (none once folded) and activation."""

    def __init__(self, layer: Convolution, *, epsilon: float, momentum: float) -> None:
        super().__init__()
        self.layer = layer
        # Equal zeros on both sides belong to the convolution; others are written by `forward`.
        symmetric = layer.padding == "symmetric" or layer.stride == 1
        self.convolution = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            padding=layer.dilation * (layer.kernel - 1) // 2 if symmetric else 0,
            dilation=layer.dilation,
            groups=layer.in_channels if layer.depthwise else 1,
            bias=layer.folded,
        )
        self.pads_first = not symmetric
        self.norm: nn.Module = nn.Identity()
        if not layer.folded:
            self.norm = nn.BatchNorm2d(layer.out_channels, eps=epsilon, momentum=momentum)
        # In place: neither a convolution nor batch norm needs its own output again.
        activations = {"relu6": nn.ReLU6(inplace=True), "relu": nn.ReLU(inplace=True), "linear": nn.Identity()}
        self.activation = activations[layer.activation]

    def pad(self, x: Tensor) -> Tensor:
        """The input with TensorFlow's zeros around it, where the convolution does not add its own."""
        if not self.pads_first:
            return x
        top, bottom = self.layer.pad_axis(x.shape[2])
        left, right = self.layer.pad_axis(x.shape[3])
        return F.pad(x, (left, right, top, bottom))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride)."""
        if fused.applies((self,), x):
            return fused.run((self,), x)
        return self.activation(self.norm(self.convolution(self.pad(x))))


class SeparableModule(nn.Module):
    """MobileNetV1's block."""

    def __init__(self, layer: DepthwiseSeparable, *, epsilon: float, momentum: float) -> None:
        super().__init__()
        self.layer = layer
        self.depthwise = ConvolutionModule(layer.depthwise, epsilon=epsilon, momentum=momentum)
        self.pointwise = ConvolutionModule(layer.pointwise, epsilon=epsilon, momentum=momentum)

    def forward(self, x: Tensor, taps: Taps = None) -> Tensor:
        """(N, in, H, W) → (N, out, H / stride, W / stride)."""
        parts = (self.depthwise, self.pointwise)
        if not _taps_any(taps, self.depthwise) and fused.applies(parts, x):
            return keep_tap(taps, self.layer.pointwise.name, fused.run(parts, x))
        x = keep_tap(taps, self.layer.depthwise.name, self.depthwise(x))
        return keep_tap(taps, self.layer.pointwise.name, self.pointwise(x))


class InvertedResidualModule(nn.Module):
    """MobileNetV2's block.

    Attributes:
        recompute_expansion: while training, forget the two expanded tensors and compute them again in the backward
            pass: most of the block's memory for about a third more time (a sixth where `linnet.nn.fused` applies).
    """

    def __init__(self, layer: InvertedResidual, *, epsilon: float, momentum: float) -> None:
        super().__init__()
        self.layer = layer
        self.expand: ConvolutionModule | None = None
        if layer.expand is not None:
            self.expand = ConvolutionModule(layer.expand, epsilon=epsilon, momentum=momentum)
        self.depthwise = ConvolutionModule(layer.depthwise, epsilon=epsilon, momentum=momentum)
        self.project = ConvolutionModule(layer.project, epsilon=epsilon, momentum=momentum)
        self.recompute_expansion = False

    def forward(self, x: Tensor, expansion: Tensor | None = None, taps: Taps = None) -> tuple[Tensor, Tensor | None]:
        """Block input and the previous block's expanded tensor → block output and the tensor for the next block.

        Both second tensors are None unless the shortcut joins expansions.
        """
        inner = self._inner
        parts = tuple(part for part in (self.expand, self.depthwise, self.project) if part is not None)
        joins = self.layer.keeps_expansion or self.layer.adds_expansion
        if not joins and not _taps_any(taps, *parts) and fused.applies(parts, x):
            y = fused.run(parts, x, adds_input=self.layer.adds_input, recompute=self.recompute_expansion)
            return keep_tap(taps, self.layer.name, y), None
        recompute = self.recompute_expansion and not _taps_any(taps, *parts) and not self.layer.keeps_expansion
        if recompute and torch.compiler.is_compiling():
            # Compiled, the second pass writes no statistics anyway.
            y, kept = checkpoint(inner, x, expansion, use_reentrant=False)
        elif recompute and torch.is_grad_enabled():
            y, kept = checkpoint(inner, x, expansion, use_reentrant=False, context_fn=self._checkpoint_contexts)
        else:
            y, kept = inner(x, expansion, taps)
        if self.layer.adds_input:
            y = x + y
        return keep_tap(taps, self.layer.name, y), kept

    def _inner(self, x: Tensor, expansion: Tensor | None, taps: Taps = None) -> tuple[Tensor, Tensor | None]:
        """The block without its shortcut."""
        if self.expand is not None:
            x = self.expand(x)
            if self.layer.adds_expansion:
                assert expansion is not None
                x = x + expansion
            x = keep_tap(taps, self.expand.layer.name, x)
        kept = x if self.layer.keeps_expansion else None
        parts = (self.depthwise, self.project)
        if not _taps_any(taps, *parts) and fused.applies(parts, x):
            return fused.run(parts, x), kept
        x = keep_tap(taps, self.layer.depthwise.name, self.depthwise(x))
        return keep_tap(taps, self.layer.project.name, self.project(x)), kept

    def _checkpoint_contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_held(self)


@contextmanager
def _statistics_held(module: nn.Module) -> Iterator[None]:
    """Keeps training batch norm from counting a batch twice while it is computed again."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d) and part.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        # Not `track_running_stats`: the recomputation must save the same tensors as the first pass.
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked -= 1


class ExtraModule(nn.Module):
    """One of a detector's extra levels."""

    def __init__(self, layer: ExtraLevel, *, epsilon: float, momentum: float) -> None:
        super().__init__()
        self.layer = layer
        self.convolutions = _chain(layer.convolutions, epsilon=epsilon, momentum=momentum)

    def forward(self, x: Tensor, taps: Taps = None) -> Tensor:
        """(N, in, H, W) → (N, out, H / 2, W / 2)."""
        for part, convolution in zip(self.layer.convolutions, self.convolutions, strict=True):
            x = keep_tap(taps, part.name, convolution(x))
        return x


class HeadModule(nn.Module):
    """One of the two heads of a detector's level."""

    def __init__(self, layer: LevelHead, *, epsilon: float, momentum: float) -> None:
        super().__init__()
        self.layer = layer
        self.convolutions = _chain(layer.convolutions, epsilon=epsilon, momentum=momentum)
        self.dropout = nn.Dropout(layer.dropout)

    def forward(self, x: Tensor, taps: Taps = None) -> Tensor:
        """(N, in, H, W) → (N, anchors of the level, slots): row by row, cell by cell, anchor by anchor."""
        last = self.layer.convolutions[-1]
        for part, convolution in zip(self.layer.convolutions, self.convolutions, strict=True):
            x = keep_tap(taps, part.name, convolution(self.dropout(x) if part is last else x))
        keep_tap(taps, self.layer.name, x)
        # Written out, not left to torch: a batch may be empty.
        height, width = x.shape[2:]
        anchors = height * width * (x.shape[1] // self.layer.slots)
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], anchors, self.layer.slots)


class Network(nn.Module):
    """A network of the family, built from its description.

    Attributes:
        architecture: the description.
    """

    def __init__(self, architecture: Architecture, *, recompute_expansion: bool = False) -> None:
        super().__init__()
        self.architecture = architecture
        constants = {"epsilon": architecture.batch_norm_epsilon, "momentum": architecture.batch_norm_momentum}
        # The layers before the pooling or the heads, by name: `stem`, `blocks.0`, … A module's name has no dots.
        self.body = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        self.dropout = nn.Dropout(architecture.dropout)
        self.classifier: nn.Linear | None = None
        self._heads = tuple(layer for layer in architecture.layers if isinstance(layer, LevelHead))
        self._frozen: tuple[str, ...] = ()
        for layer in architecture.layers:
            if isinstance(layer, Classifier):
                self.classifier = nn.Linear(layer.in_channels, layer.classes)
            elif isinstance(layer, LevelHead):
                self.heads[module_name(layer.name)] = HeadModule(layer, **constants)
            elif module := _module_of(layer, **constants):
                if isinstance(module, InvertedResidualModule):
                    module.recompute_expansion = recompute_expansion
                self.body[module_name(layer.name)] = module

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) normalised images → (N, classes) logits, or (N, features) without a classifier.

        A detector gives two: (N, A, 4) box offsets and (N, A, 1 + classes) class logits, the background first; both
        level by level, row by row, cell by cell, as `linnet.detection.anchors` has the anchors.
        """
        taps = self.source_taps()
        return self.finish(self._run_body(images, taps), taps)

    def features(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Intermediate tensors by name, (N, C, H, W); `pool` and `classifier` are (N, C).

        Nothing is computed after the last layer asked for. Names are those of `architecture.tensor_names`:
        `blocks.13.expand` is what SSDLite taps.

        Raises:
            ValueError: on an unknown name; the text lists the known ones.
        """
        return self.run(images, names, output=False)[1]

    def run(self, images: Tensor, names: Collection[str], *, output: bool = True) -> tuple[Output, dict[str, Tensor]]:
        """What `forward` and what `features` give, in one pass; None and only the features without `output`."""
        self.architecture.check_tensor_names(tuple(names))
        taps = WantedTaps({*names, *(head.source for head in self._heads)})
        x = self._run_body(images, taps, until=None if output else frozenset(names))
        result = self.finish(x, taps) if output or not taps.keys() >= set(names) else None
        return (result if output else None), {name: taps[name] for name in names}

    def source_taps(self) -> Taps:
        """What collects the tensors that a detector's heads read; None for other networks."""
        return WantedTaps([head.source for head in self._heads]) if self._heads else None

    def _run_body(self, images: Tensor, taps: Taps, *, until: frozenset[str] | None = None) -> Tensor:
        """All layers before the pooling or the heads, or as many as give the tensors `until`."""
        x, expansion = images, None
        if fused.welcomes(x) and self.training:
            x = x.contiguous(memory_format=torch.channels_last)
        for name, module in self.body.items():
            if isinstance(module, InvertedResidualModule):
                x, expansion = module(x, expansion, taps)
            elif isinstance(module, SeparableModule | ExtraModule):
                x = module(x, taps)
            else:
                x = module(x)
            keep_tap(taps, name.replace("_", "."), x)
            if taps is not None and until is not None and until <= taps.keys():
                return x
        return x

    def finish(self, x: Tensor, taps: Taps) -> Output:
        """The network's output, from that of its last layer before and, of a detector, from the tapped tensors."""
        if self._heads:
            assert taps is not None
            parts = [self.heads[module_name(head.name)](taps[head.source], taps) for head in self._heads]
            return torch.cat(parts[::2], dim=1), torch.cat(parts[1::2], dim=1)
        x = keep_tap(taps, "pool", x.mean(dim=(2, 3)))
        return x if self.classifier is None else keep_tap(taps, "classifier", self.classifier(self.dropout(x)))

    def train(self, mode: bool = True) -> Network:
        """As `nn.Module.train`, but batch norm of frozen layers stays in evaluation."""
        super().train(mode)
        for name in self._frozen:
            self.body[name].eval()
        return self


def _module_of(layer: Layer, *, epsilon: float, momentum: float) -> nn.Module | None:
    if isinstance(layer, InvertedResidual):
        return InvertedResidualModule(layer, epsilon=epsilon, momentum=momentum)
    if isinstance(layer, DepthwiseSeparable):
        return SeparableModule(layer, epsilon=epsilon, momentum=momentum)
    if isinstance(layer, ExtraLevel):
        return ExtraModule(layer, epsilon=epsilon, momentum=momentum)
    if isinstance(layer, Convolution):
        return ConvolutionModule(layer, epsilon=epsilon, momentum=momentum)
    return None


def _chain(parts: Sequence[Convolution], *, epsilon: float, momentum: float) -> nn.ModuleList:
    return nn.ModuleList(ConvolutionModule(part, epsilon=epsilon, momentum=momentum) for part in parts)


def module_name(layer_name: str) -> str:
    """Key of a layer in `Network.body`: torch allows no dots there."""
    return layer_name.replace(".", "_")


def keep_tap(taps: Taps, name: str, x: Tensor) -> Tensor:
    """Notes a tensor if it is wanted, and gives it back."""
    if taps is not None and name in taps.wanted:
        taps[name] = x
    return x


def _taps_any(taps: Taps, *modules: ConvolutionModule) -> bool:
    """Does somebody ask for what one of the modules gives?"""
    return taps is not None and any(module.layer.name in taps.wanted for module in modules)


def build(
    architecture: Architecture, *, generator: torch.Generator | None = None, recompute_expansion: bool = False
) -> Network:
    """The torch module of a network, in training mode, its weights drawn as the released networks draw theirs.

    Weights come from a normal distribution of deviation 0.09 (a detector's extra levels and heads 0.03) cut at two
    deviations; batch norm starts at scale 1 and shift 0, biases at 0 (TF-slim `mobilenet.training_scope`, the Object
    Detection API's `ssdlite_mobilenet_v2_coco`; the paper does not say).

    Args:
        architecture: the description.
        generator: source of the random weights; None takes torch's own.
        recompute_expansion: trade time for memory in training (see `InvertedResidualModule`).
    """
    network = Network(architecture, recompute_expansion=recompute_expansion)
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            own = name.startswith(("heads.", "body.extras_"))
            deviation = DETECTOR_DEVIATION if own else INITIAL_DEVIATION
            bound = 2 * deviation
            nn.init.trunc_normal_(module.weight, std=deviation, a=-bound, b=bound, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
