"""The torch module of every layer kind, and the network made of them.

Tensors are (N, C, H, W). A forward pass returns the same type in training and in evaluation, and holds nothing that
depends on data, so that `torch.compile` and `torch.export` take it whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from linnet.architecture import (
    Architecture,
    Classifier,
    Convolution,
    DepthwiseSeparable,
    InvertedResidual,
    Layer,
)
from linnet.nn import fused

INITIAL_DEVIATION = 0.09
"""Of the truncated normal that all weights of the released networks start from (TF-slim's training scope)."""


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
            return _tap(taps, self.layer.pointwise.name, fused.run(parts, x))
        x = _tap(taps, self.layer.depthwise.name, self.depthwise(x))
        return _tap(taps, self.layer.pointwise.name, self.pointwise(x))


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
            return _tap(taps, self.layer.name, y), None
        recompute = self.recompute_expansion and taps is None and not self.layer.keeps_expansion
        if recompute and torch.compiler.is_compiling():
            # Compiled, the second pass writes no statistics anyway.
            y, kept = checkpoint(inner, x, expansion, use_reentrant=False)
        elif recompute and torch.is_grad_enabled():
            y, kept = checkpoint(inner, x, expansion, use_reentrant=False, context_fn=self._checkpoint_contexts)
        else:
            y, kept = inner(x, expansion, taps)
        if self.layer.adds_input:
            y = x + y
        return _tap(taps, self.layer.name, y), kept

    def _inner(self, x: Tensor, expansion: Tensor | None, taps: Taps = None) -> tuple[Tensor, Tensor | None]:
        """The block without its shortcut."""
        if self.expand is not None:
            x = self.expand(x)
            if self.layer.adds_expansion:
                assert expansion is not None
                x = x + expansion
            x = _tap(taps, self.expand.layer.name, x)
        kept = x if self.layer.keeps_expansion else None
        parts = (self.depthwise, self.project)
        if not _taps_any(taps, *parts) and fused.applies(parts, x):
            return fused.run(parts, x), kept
        x = _tap(taps, self.layer.depthwise.name, self.depthwise(x))
        return _tap(taps, self.layer.project.name, self.project(x)), kept

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


class Network(nn.Module):
    """A network of the family, built from its description.

    Attributes:
        architecture: the description.
    """

    def __init__(self, architecture: Architecture, *, recompute_expansion: bool = False) -> None:
        super().__init__()
        self.architecture = architecture
        constants = {"epsilon": architecture.batch_norm_epsilon, "momentum": architecture.batch_norm_momentum}
        # The layers before the pooling, by name: `stem`, `blocks.0`, …, `head`. A module's name has no dots.
        self.body = nn.ModuleDict()
        self.dropout = nn.Dropout(architecture.dropout)
        self.classifier: nn.Linear | None = None
        self._frozen: tuple[str, ...] = ()
        for layer in architecture.layers:
            if isinstance(layer, Classifier):
                self.classifier = nn.Linear(layer.in_channels, layer.classes)
            elif module := _module_of(layer, **constants):
                if isinstance(module, InvertedResidualModule):
                    module.recompute_expansion = recompute_expansion
                self.body[module_name(layer.name)] = module

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) normalised images → (N, classes) logits, or (N, features) without a classifier."""
        return self._run(images, None)

    def features(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Intermediate tensors by name, (N, C, H, W); `pool` and `classifier` are (N, C).

        Nothing is computed after the last layer asked for. Names are those of `architecture.tensor_names`:
        `blocks.13.expand` is what SSDLite taps.

        Raises:
            ValueError: on an unknown name; the text lists the known ones.
        """
        self.architecture.check_tensor_names(tuple(names))
        taps = WantedTaps(names)
        self._run(images, taps)
        return {name: taps[name] for name in names}

    def _run(self, images: Tensor, taps: Taps) -> Tensor:
        x, expansion = images, None
        if fused.welcomes(x) and self.training:
            x = x.contiguous(memory_format=torch.channels_last)
        for name, module in self.body.items():
            if isinstance(module, InvertedResidualModule):
                x, expansion = module(x, expansion, taps)
            elif isinstance(module, SeparableModule):
                x = module(x, taps)
            else:
                x = module(x)
            _tap(taps, name.replace("_", "."), x)
            if taps is not None and taps.wanted <= taps.keys():
                return x
        x = _tap(taps, "pool", x.mean(dim=(2, 3)))
        return x if self.classifier is None else _tap(taps, "classifier", self.classifier(self.dropout(x)))

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
    if isinstance(layer, Convolution):
        return ConvolutionModule(layer, epsilon=epsilon, momentum=momentum)
    return None


def module_name(layer_name: str) -> str:
    """Key of a layer in `Network.body`: torch allows no dots there."""
    return layer_name.replace(".", "_")


def _tap(taps: Taps, name: str, x: Tensor) -> Tensor:
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

    Weights come from a normal distribution of deviation 0.09 cut at two deviations; batch norm starts at scale 1 and
    shift 0, biases at 0 (TF-slim `mobilenet.training_scope`; the paper does not say).

    Args:
        architecture: the description.
        generator: source of the random weights; None takes torch's own.
        recompute_expansion: trade time for memory in training (see `InvertedResidualModule`).
    """
    network = Network(architecture, recompute_expansion=recompute_expansion)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2 * INITIAL_DEVIATION
            nn.init.trunc_normal_(module.weight, std=INITIAL_DEVIATION, a=-bound, b=bound, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
