"""The torch module of every kind of operation, and the network made of them.

Tensors are (N, C, H, W). A forward pass returns the same type in training and in evaluation, and holds nothing that
depends on data, so that `torch.compile` and `torch.export` take it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from linnet.architecture import (
    INPUT,
    Add,
    Architecture,
    Block,
    Concatenate,
    Convolve,
    Graph,
    Linear,
    Operation,
    Pool,
    Reshape,
    Resize,
)
from linnet.architecture.cost import INVERTED
from linnet.architecture.operations import of_kind
from linnet.nn import fused
from linnet.nn.convolution import ConvolutionModule
from linnet.nn.resizing import resize

if TYPE_CHECKING:
    from linnet.nn.quantised import FakeQuantisation

INITIAL_DEVIATION = 0.09
"""Of the truncated normal that all weights of the released networks start from (TF-slim's training scope)."""

DETECTOR_DEVIATION = 0.03
"""The same of a detector's extra levels and heads (`ssdlite_mobilenet_v2_coco`)."""

DETECTOR_BLOCKS = ("extra level", "box head", "class head")
"""Kinds of blocks that start from `DETECTOR_DEVIATION`."""

LOGIT_DEVIATION = 0.01
"""The same of a segmenter's last convolution (TensorFlow's DeepLab)."""

DEVIATIONS = dict.fromkeys(DETECTOR_BLOCKS, DETECTOR_DEVIATION) | {"pixel classifier": LOGIT_DEVIATION}
"""Kinds of blocks that start from another deviation than `INITIAL_DEVIATION`."""

Output = Any
"""What a network with one output gives, or a tuple of what one with several gives: (N, classes) logits, (N, C)
features, of a segmenter (N, classes, H, W) logits of a coarse map, of a detector (N, A, 4) offsets and
(N, A, 1 + classes) logits. Not a union, which would have everybody who
uses a classifier ask which of them it is."""

MODULES: dict[type[Operation], Callable[[Any], nn.Module]] = {
    Convolve: ConvolutionModule,
    Linear: lambda operation: nn.Linear(operation.in_channels, operation.out_channels, bias=operation.bias),
}
"""Kind of operation → the module of those that have weights."""


def _reshape(operation: Reshape, x: Tensor) -> Tensor:
    """(N, anchors * slots, H, W) → (N, H * W * anchors, slots): row by row, cell by cell, anchor by anchor."""
    # Written out, not left to torch: a batch may be empty.
    channels, height, width = x.shape[1:]
    slots = operation.shape[-1]
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], height * width * (channels // slots), slots)  # (N, A, slots)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"linear": lambda x: x, "relu": F.relu, "relu6": F.relu6}
"""What stands behind a linear layer."""

FUNCTIONS: dict[type[Operation], Callable[..., Tensor]] = {
    # The shortcut's term first: the order in which torch's own modules would add.
    Add: lambda _, first, second: second + first,
    # (N, C, H, W) → (N, C) or (N, C, 1, 1)
    Pool: lambda operation, x: x.mean(dim=(2, 3), keepdim=operation.keeps_map),
    Reshape: _reshape,
    Concatenate: lambda operation, *inputs: torch.cat(inputs, dim=operation.axis_of_batches),
    Resize: lambda operation, x: resize(x, operation.output_size, operation.grid),
}
"""Kind of operation → the function of those that have no weights, of the operation and the tensors that it reads."""


@dataclass(frozen=True)
class Chain:
    """Operations of a block of which only the last one's result is read elsewhere.

    Attributes:
        operations: convolutions one after the other, and perhaps the sum with what entered; or any single operation.
        block: where they belong.
    """

    operations: tuple[Operation, ...]
    block: Block

    @property
    def convolutions(self) -> tuple[Convolve, ...]:
        """All but the sum; none where the chain is a single operation of another kind."""
        return of_kind(self.operations, Convolve)

    @property
    def adds_input(self) -> bool:
        """Whether what entered is added to the result."""
        return len(self.operations) > len(self.convolutions) > 0

    def cut_behind(self, names: Collection[str]) -> list[Chain]:
        """The chain in parts, so that these tensors exist."""
        parts: list[list[Operation]] = [[]]
        for operation in self.operations:
            # A sum needs what entered the whole chain.
            if parts[-1] and (parts[-1][-1].name in names or (len(parts) > 1 and len(operation.reads) > 1)):
                parts.append([])
            parts[-1].append(operation)
        return [Chain(tuple(part), self.block) for part in parts]


def chains_of(graph: Graph) -> tuple[Chain, ...]:
    """All operations in order, those together of which nothing else reads the inner results."""
    chains: list[Chain] = []
    joined = {each.name: each for each in graph.convolutions if not fused.runs_alone(each)}
    for block in graph.groups:
        rest = list(block.operations)
        while rest:
            taken = [rest.pop(0)]
            while rest and _continues(graph, joined, taken, rest[0]):
                taken.append(rest.pop(0))
            chains.append(Chain(tuple(taken), block))
    return tuple(chains)


def _continues(graph: Graph, joined: Mapping[str, Convolve], taken: Sequence[Operation], following: Operation) -> bool:
    """Whether an operation belongs to a chain; `joined` are the convolutions that need not run alone."""
    last = taken[-1].name
    if last not in joined or graph.readers[last] != (following.name,) or last in graph.outputs:
        return False
    if following.name in joined:
        return not joined[following.name].dropout
    return following.adds and set(following.reads) == {last, taken[0].reads[0]}


class GraphNetwork(nn.Module):
    """A list of operations as a torch module.

    Attributes:
        graph: the operations.
        body: modules of the blocks that other blocks read, by name (`stem`, `blocks_0`, …: torch allows no dots).
        heads: modules of the blocks that only the outputs read.
        dropout: what is dropped of what enters the last linear layer.
        quantisation: what computes the operations by the integer rule, once it has begun; None for ever in float.
        recompute_expansion: while training, forget the expanded tensors of inverted residuals and compute them again in
            the backward pass: most of a block's memory for about a third more time (a sixth where `linnet.nn.fused`
            applies).
    """

    def __init__(self, graph: Graph, *, recompute_expansion: bool = False) -> None:
        super().__init__()
        self.graph = graph
        self.recompute_expansion = recompute_expansion
        self.body, self.heads = nn.ModuleDict(), nn.ModuleDict()
        read = {name for block in graph.blocks for name in block.reads}
        # Name of an operation → the block's module, and the operation's own in it.
        self._places: dict[str, tuple[str, str | None]] = {}
        for block in graph.groups:
            made = {each: MODULES[type(each)](each) for each in block.operations if type(each) in MODULES}
            if not made:
                continue
            key, inner = module_name(block.name), any(operation.name in read for operation in block.operations)
            parts = {operation.name: _part(block, operation) for operation in made}
            if key in self.body or key in self.heads or len(set(parts.values())) < len(parts):
                raise ValueError(
                    f"Two parts of the network would be one torch module, {key!r}, as dots become underscores there. "
                    "Give one of them another name."
                )
            alone = len(block.operations) == 1
            self._places |= {name: (key, None if alone else part) for name, part in parts.items()}
            module = nn.ModuleDict({parts[operation.name]: of for operation, of in made.items()})
            (self.body if inner else self.heads)[key] = next(iter(module.values())) if alone else module
        linear = of_kind(graph.operations, Linear)
        self.dropout = nn.Dropout(linear[-1].dropout if linear else 0.0)
        self._dropped = linear[-1].name if linear else ""
        self.quantisation: FakeQuantisation | None = None
        self._chains = chains_of(graph)
        self._last_reader = {name: readers[-1] for name, readers in graph.readers.items() if readers}
        self._frozen: tuple[str, ...] = ()
        pooled = {each.name for each in graph.operations if each.averages}
        self._pooled = tuple(each.name for each in graph.convolutions if each.reads[0] in pooled)
        # Looked up here: what is computed when it is first asked for cannot be compiled.
        self._weighted = graph.weighted

    @property
    def pooled_norms(self) -> list[nn.BatchNorm2d]:
        """Batch norm of maps of one pixel a picture.

        It always keeps its statistics: those of a batch of a few numbers are mostly chance, and one number has none.
        """
        norms = [self.module_of(name).norm for name in self._pooled]
        return [norm for norm in norms if isinstance(norm, nn.BatchNorm2d)]

    def module_of(self, name: str) -> Any:
        """The module of an operation with weights: a `ConvolutionModule` or an `nn.Linear`."""
        key, part = self._places[self.graph.aliases[name]]
        module: Any = self.body[key] if key in self.body else self.heads[key]
        return module if part is None else module[part]

    @property
    def classifier(self) -> nn.Linear | None:
        """The last linear layer, if there is one."""
        return self.module_of(self._dropped) if self._dropped else None

    @property
    def quantised(self) -> bool:
        """Whether it is computed by the integer rule."""
        return self.quantisation is not None and self.quantisation.begun

    def forward(self, images: Tensor) -> Output:
        """(N, C, H, W) normalised images → (N, classes) logits, or (N, features) without a classifier.

        A detector gives two: (N, A, 4) box offsets and (N, A, 1 + classes) class logits, the background first; both
        level by level, row by row, cell by cell, as `linnet.detection.anchors` has the anchors.
        """
        return self.run(images, ())[0]

    def features(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Intermediate tensors by name, (N, C, H, W); `pool` and `classifier` are (N, C).

        Nothing is computed after the last layer asked for. Names are those of `architecture.tensor_names`:
        `blocks.13.expand` is what SSDLite taps.

        Raises:
            ValueError: on an unknown name; the text lists the known ones.
        """
        return self.run(images, names, output=False)[1]

    def run(
        self,
        images: Tensor,
        names: Collection[str],
        *,
        output: bool = True,
        run_chain: Callable[[Chain, Tensor], Tensor] | None = None,
    ) -> tuple[Output, dict[str, Tensor]]:
        """What `forward` and what `features` give, in one pass; None and only the features without `output`.

        Args:
            images: (N, C, H, W).
            names: tensors to give.
            output: whether to go on to the end.
            run_chain: runs a chain of convolutions in another way than the network's own, in float.
        """
        self.graph.check_names(names)
        found = {self.graph.aliases[name] for name in names}
        asked = found | set(self.graph.outputs if output else ())
        x = images
        if fused.welcomes(x) and self.training:
            x = x.contiguous(memory_format=torch.channels_last)
        whole = self.quantisation if self.quantised else None
        values = {INPUT: x if whole is None else whole.enter(x)}
        for chain in self._chains:
            for part in chain.cut_behind(found if whole is None else self.graph.by_name):
                first, last = part.operations[0], part.operations[-1]
                read = [values[name] for name in first.reads]
                if whole is not None:
                    values[last.name] = whole.step(self, first.at((images.shape[2], images.shape[3])), read)
                elif part.convolutions:
                    values[last.name] = (run_chain or self.run_chain)(part, *read)
                else:
                    values[last.name] = self._run_operation(first.at((images.shape[2], images.shape[3])), read)
            self._forget(values, chain, asked)
            if not output and asked <= values.keys():
                break
        outputs = tuple(values[name] for name in self.graph.outputs) if output else ()
        kept = {name: values[self.graph.aliases[name]] for name in names}
        return (outputs if len(outputs) > 1 else outputs[0] if output else None), kept

    def _forget(self, values: dict[str, Tensor], chain: Chain, asked: set[str]) -> None:
        """Lets go of what nothing reads any more."""
        done = {operation.name for operation in chain.operations}
        for name in [name for operation in chain.operations for name in operation.reads]:
            if self._last_reader[name] in done and name not in asked:
                values.pop(name, None)

    def _run_operation(self, operation: Operation, read: Sequence[Tensor]) -> Tensor:
        # Of those that have weights all but linear layers run as chains.
        linear = self._weighted.get(operation.name)
        if linear is None:
            return FUNCTIONS[type(operation)](operation, *read)
        last = linear.name == self._dropped
        given = self.dropout(read[0]) if last else F.dropout(read[0], linear.dropout, self.training)
        return ACTIVATIONS[linear.activation](self.module_of(linear.name)(given))

    def run_chain(self, chain: Chain, x: Tensor) -> Tensor:
        """Convolutions and perhaps the sum with their input: (N, C, H, W) → (N, C', H', W')."""
        modules = tuple(self.module_of(operation.name) for operation in chain.convolutions)
        recompute = self.recompute_expansion and chain.block.kind == INVERTED
        if fused.applies(modules, x):
            return fused.run(modules, x, adds_input=chain.adds_input, recompute=recompute and len(modules) > 1)

        def run(x: Tensor) -> Tensor:
            # Of a chain with something that the kernels lack they run what stands around it.
            for module in modules:
                x = fused.run((module,), x) if fused.applies((module,), x) else module(x)
            return x

        if recompute and torch.compiler.is_compiling():
            # Compiled, the second pass writes no statistics anyway.
            y = checkpoint(run, x, use_reentrant=False)
        elif recompute and torch.is_grad_enabled():
            y = checkpoint(run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _statistics_held(modules)))
        else:
            y = run(x)
        return x + y if chain.adds_input else y

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but batch norm of frozen layers and of single pixels stays in evaluation."""
        super().train(mode)
        for norm in self.pooled_norms:
            norm.eval()
        for name in self._frozen:
            self.body[name].eval()
        return self


class Network(GraphNetwork):
    """A network of the family, built from its description.

    Attributes:
        architecture: the description.
    """

    def __init__(self, architecture: Architecture, *, recompute_expansion: bool = False) -> None:
        super().__init__(architecture.graph, recompute_expansion=recompute_expansion)
        self.architecture = architecture


@contextmanager
def _statistics_held(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Keeps training batch norm from counting a batch twice while it is computed again."""
    norms = [
        part for module in modules for part in module.modules() if isinstance(part, nn.BatchNorm2d) and part.training
    ]
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


def module_name(block_name: str) -> str:
    """Key of a block in `Network.body` and `heads`: torch allows no dots there."""
    return block_name.replace(".", "_")


def _part(block: Block, operation: Any) -> str:
    """What an operation is called within its block."""
    return module_name(operation.label.removeprefix(f"{block.name}."))


def build(
    architecture: Architecture, *, generator: torch.Generator | None = None, recompute_expansion: bool = False
) -> Network:
    """The torch module of a network, in training mode, its weights drawn as the released networks draw theirs.

    Weights come from a normal distribution of deviation 0.09 (a detector's extra levels and heads 0.03, a segmenter's
    last convolution 0.01) cut at two deviations; batch norm starts at scale 1 and shift 0, biases at 0 (TF-slim
    `mobilenet.training_scope`, the Object Detection API's `ssdlite_mobilenet_v2_coco`, DeepLab; the paper does not
    say).

    Args:
        architecture: the description.
        generator: source of the random weights; None takes torch's own.
        recompute_expansion: trade time for memory in training (see `GraphNetwork`).
    """
    network = Network(architecture, recompute_expansion=recompute_expansion)
    for block in architecture.layers:
        deviation = DEVIATIONS.get(block.kind, INITIAL_DEVIATION)
        for operation in block.operations:
            if type(operation) in MODULES:
                for module in network.module_of(operation.name).modules():
                    if isinstance(module, nn.Conv2d | nn.Linear):
                        bound = 2 * deviation
                        nn.init.trunc_normal_(module.weight, std=deviation, a=-bound, b=bound, generator=generator)
                        if module.bias is not None:
                            nn.init.zeros_(module.bias)
    return network
