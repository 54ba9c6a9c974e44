"""A network as a list of operations: which are checked, which can be asked, and how one is put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from linnet.architecture.operations import (
    INPUT,
    Activation,
    Add,
    BatchNorm,
    Concatenate,
    Convolve,
    Grid,
    Linear,
    Operation,
    PaddingRule,
    Pool,
    Reshape,
    Resize,
    Shape,
    Weighted,
    of_kind,
    size_at,
)


@dataclass(frozen=True)
class Block:
    """Operations under one name: what tables, freezing, splits and people speak of.

    Attributes:
        name: `stem`, `blocks.3`, `predictors.0.boxes`; of a tensor, it names that of the last operation.
        kind: what tables call it.
        operations: in the order in which they run.
    """

    name: str
    kind: str
    operations: tuple[Operation, ...]

    @property
    def result(self) -> Operation:
        """What stands for the block."""
        return self.operations[-1]

    @property
    def convolutions(self) -> tuple[Convolve, ...]:
        """Its convolutions, in the order in which they run."""
        return of_kind(self.operations, Convolve)

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors from elsewhere that it reads, in order, each once."""
        own = {operation.name for operation in self.operations}
        return tuple(
            dict.fromkeys(name for operation in self.operations for name in operation.reads if name not in own)
        )

    @property
    def adds(self) -> tuple[str, ...]:
        """The tensors from elsewhere that a shortcut adds to its own."""
        outside = set(self.reads)
        return tuple(
            name for operation in self.operations if operation.adds for name in operation.reads if name in outside
        )

    @property
    def joins_input(self) -> bool:
        """Whether what enters it is added to what leaves it: the inverted residual of the paper."""
        return bool(self.adds) and self.adds[-1] == self.operations[0].reads[0]

    def convolution(self, part: str) -> Convolve | None:
        """The convolution called `expand`, `depthwise`, `project`, … within the block; None where it has none."""
        return next((each for each in self.convolutions if each.label == f"{self.name}.{part}"), None)


@dataclass(frozen=True)
class Graph:
    """A network as operations.

    Attributes:
        input_shape: height, width and channels of the picture.
        operations: each after those that it reads.
        outputs: names of what the network gives, in order.
        blocks: groups of neighbouring operations; an operation need not be in one.

    Raises:
        ValueError: if two things share a name, something reads what does not stand before it, or shapes do not fit.

    Examples:
        >>> build = GraphBuilder((8, 8, 3))
        >>> first = build.convolve("first", INPUT, 4, kernel=3, activation="relu6")
        >>> second = build.convolve("second", first, 4)
        >>> build.graph(build.add("sum", second, first)).shape_of("sum")
        (8, 8, 4)
    """

    input_shape: tuple[int, int, int]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what could not run."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for operation in self.operations:
            if operation.name in shapes:
                raise ValueError(f"Two operations are called {operation.name!r}.")
            missing = [name for name in operation.reads if name not in shapes]
            if missing or not operation.reads:
                raise ValueError(f"{operation.name!r} reads {missing or 'nothing'}, which does not stand before it.")
            try:
                inferred = operation.infer(*(shapes[name] for name in operation.reads))
            except ValueError as error:
                raise ValueError(f"{operation.name!r} cannot run: {error}.") from None
            if inferred != operation.shape:
                raise ValueError(f"{operation.name!r} gives {inferred}; it is described with {operation.shape}.")
            shapes[operation.name] = operation.shape
        lost = [name for name in self.outputs if name not in shapes or name == INPUT]
        if lost or not self.outputs:
            raise ValueError(f"The outputs must be operations; {lost or 'none'} is given.")
        taken: set[str] = set()
        for block in self.blocks:
            own = {operation.name for operation in block.operations}
            if not own:
                raise ValueError(f"The block {block.name!r} has no operation.")
            if block.name in taken or block.name in shapes.keys() - own:
                raise ValueError(f"Two blocks, or a block and an operation outside it, are called {block.name!r}.")
            taken.add(block.name)

    @cached_property
    def by_name(self) -> dict[str, Operation]:
        """Name → operation."""
        return {operation.name: operation for operation in self.operations}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Every name by which a tensor can be asked for → name of the operation that gives it."""
        names = {operation.name: operation.name for operation in self.operations}
        return {block.name: block.result.name for block in self.blocks} | names

    @cached_property
    def tensor_names(self) -> tuple[str, ...]:
        """Names of every tensor of the blocks (of all operations where there are none), each block's behind its own."""
        names: list[str] = []
        for block in self.blocks or self.groups:
            names += [operation.name for operation in block.operations]
            if block.name not in self.by_name:
                names.append(block.name)
        return tuple(names)

    @cached_property
    def groups(self) -> tuple[Block, ...]:
        """All operations in order: the blocks, and each operation that is in none as a block of its own."""
        block_of = {operation.name: block for block in self.blocks for operation in block.operations}
        groups = (
            block_of.get(operation.name) or Block(operation.name, operation.kind, (operation,))
            for operation in self.operations
        )
        return tuple({block.name: block for block in groups}.values())

    @cached_property
    def readers(self) -> dict[str, tuple[str, ...]]:
        """Name of each tensor → names of the operations that read it, in order."""
        found: dict[str, list[str]] = {name: [] for name in (INPUT, *self.by_name)}
        for operation in self.operations:
            for name in operation.reads:
                found[name].append(operation.name)
        return {name: tuple(names) for name, names in found.items()}

    @property
    def convolutions(self) -> tuple[Convolve, ...]:
        """Every convolution in the order in which it runs."""
        return of_kind(self.operations, Convolve)

    @cached_property
    def weighted(self) -> dict[str, Weighted]:
        """Name → operation of those that multiply by weights, in order."""
        return {each.name: each for each in self.operations if isinstance(each, Weighted)}

    def weighted_readers(self, name: str) -> tuple[Weighted, ...]:
        """The operations with weights that read a tensor, in order."""
        return tuple(self.weighted[reader] for reader in self.readers[name] if reader in self.weighted)

    @property
    def averaged(self) -> tuple[Operation, Operation] | None:
        """The average over a map and the linear layer that makes the answer of it, where a network ends with them."""
        last = self.by_name[self.outputs[0]]
        source = self.by_name.get(last.reads[0])
        if source is None or not source.averages or last.name not in self.weighted or len(last.shape) > 1:
            return None
        return source, last

    @property
    def tensors(self) -> dict[str, Shape]:
        """Names and shapes of all the tensors of a checkpoint, in order."""
        return {name: shape for operation in self.operations for name, shape in operation.tensors.items()}

    @property
    def folded(self) -> Graph:
        """The same network with batch norm folded into weights and biases."""
        plain = {each.name: replace(each, norm=None) for each in self.convolutions}
        return Graph(
            self.input_shape,
            tuple(plain.get(operation.name, operation) for operation in self.operations),
            self.outputs,
            tuple(
                replace(block, operations=tuple(plain.get(each.name, each) for each in block.operations))
                for block in self.blocks
            ),
        )

    def shape_of(self, name: str) -> Shape:
        """Shape of the picture or of a tensor."""
        return self.input_shape if name == INPUT else self.by_name[self.aliases[name]].shape

    def leaves(self, block: Block) -> tuple[str, ...]:
        """The tensors of a block that something outside reads, or that are outputs; its result in any case."""
        own = {operation.name for operation in block.operations}
        return tuple(
            operation.name
            for operation in block.operations
            if operation is block.result
            or operation.name in self.outputs
            or any(reader not in own for reader in self.readers[operation.name])
        )

    def check_names(self, names: Iterable[str]) -> None:
        """Raises a ValueError that lists what there is, unless every name is a tensor of the network."""
        for name in names:
            if name not in self.aliases:
                raise ValueError(f"There is no tensor {name!r} in this network; it has {', '.join(self.tensor_names)}.")


class GraphBuilder:
    """Puts a graph together, operation by operation; shapes follow from what is read.

    Args:
        input_shape: height, width and channels of the picture.
        activation: of convolutions that are not given another.
        padding: the same.
        norm: batch norm of convolutions, unless they are given `norm=None`.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        *,
        activation: Activation = "linear",
        padding: PaddingRule = "same",
        norm: BatchNorm | None = None,
    ) -> None:
        self.input_shape = input_shape
        self.activation, self.padding, self.norm = activation, padding, norm
        self._operations: dict[str, Operation] = {}
        self._blocks: list[Block] = []
        self._open: str | None = None

    @contextmanager
    def block(self, name: str, kind: str) -> Iterator[None]:
        """Within it, operations belong to one block; their names are given without the block's.

        A name that is empty is the block's own.
        """
        if self._open is not None:
            raise ValueError(f"The block {name!r} begins within {self._open!r}: blocks hold operations only.")
        before = len(self._operations)
        self._open = name
        try:
            yield
        finally:
            self._open = None
        self._blocks.append(Block(name, kind, tuple(self._operations.values())[before:]))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Those that are complete, in order."""
        return tuple(self._blocks)

    def shape(self, name: str) -> Shape:
        """Shape of the picture or of a tensor."""
        return self.input_shape if name == INPUT else self._operations[self._resolve(name)].shape

    def convolve(
        self,
        name: str,
        source: str,
        channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        depthwise: bool = False,
        activation: Activation | None = None,
        bare: bool = False,
        dropout: float = 0.0,
        holds: str = "",
    ) -> str:
        """A convolution of a map; `bare` has a bias and no batch norm."""
        height, width, inputs = self._map(name, source)
        _check_counts(self._full(name), channels=channels, kernel=kernel, stride=stride, dilation=dilation)
        size = (-(-height // stride), -(-width // stride))
        return self._append(
            Convolve(
                self._full(name),
                (source,),
                (*size, channels),
                (height, width, inputs),
                kernel=kernel,
                stride=stride,
                dilation=dilation,
                depthwise=depthwise,
                activation=activation or self.activation,
                padding=self.padding,
                norm=None if bare else self.norm,
                dropout=dropout,
                holds=self._full(holds) if holds else "",
            )
        )

    def add(self, name: str, first: str, second: str) -> str:
        """The sum of two tensors."""
        return self._append(Add(self._full(name), (first, second), self.shape(first)))

    def pool(self, name: str, source: str, *, keeps_map: bool = False) -> str:
        """The mean over all pixels: a vector, or a map of one pixel."""
        channels = self._map(name, source)[2]
        return self._append(
            Pool(self._full(name), (source,), (1, 1, channels) if keeps_map else (channels,), keeps_map)
        )

    def resize(self, name: str, source: str, stride: int, *, grid: Grid) -> str:
        """A map at the size of those of this stride."""
        _check_counts(self._full(name), stride=stride)
        channels = self._map(name, source)[2]
        shape = (*size_at(self.input_shape[:2], stride), channels)
        return self._append(Resize(self._full(name), (source,), shape, stride, grid))

    def linear(
        self,
        name: str,
        source: str,
        outputs: int,
        *,
        dropout: float = 0.0,
        activation: Activation = "linear",
        bias: bool = True,
    ) -> str:
        """A linear layer."""
        _check_counts(self._full(name), outputs=outputs)
        inputs = self.shape(source)[-1]
        return self._append(Linear(self._full(name), (source,), (outputs,), inputs, dropout, activation, bias))

    def reshape(self, name: str, source: str, slots: int) -> str:
        """A map as rows of so many numbers."""
        height, width, channels = self._map(name, source)
        _check_counts(self._full(name), slots=slots)
        return self._append(Reshape(self._full(name), (source,), (height * width * channels // slots, slots)))

    def concatenate(self, name: str, sources: Iterable[str], *, axis: int = 2) -> str:
        """Tensors behind each other."""
        sources = tuple(sources)
        shapes = [self.shape(source) for source in sources]
        if not shapes or any(not 0 <= axis < len(shape) for shape in shapes):
            raise ValueError(f"{self._full(name)!r} cannot join {len(shapes)} tensors along axis {axis}.")
        total = sum(shape[axis] for shape in shapes)
        return self._append(
            Concatenate(self._full(name), sources, (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), axis)
        )

    def graph(self, *outputs: str) -> Graph:
        """What was put together."""
        return Graph(
            self.input_shape,
            tuple(self._operations.values()),
            tuple(self._resolve(name) for name in outputs),
            tuple(self._blocks),
        )

    def _map(self, name: str, source: str) -> tuple[int, int, int]:
        """Shape of a map that is read."""
        shape = self.shape(source)
        if len(shape) != 3:
            raise ValueError(f"{self._full(name)!r} reads a map (height, width, channels); {source!r} gives {shape}.")
        return shape[0], shape[1], shape[2]

    def _append(self, operation: Operation) -> str:
        operation = replace(operation, reads=tuple(self._resolve(name) for name in operation.reads))
        if operation.name in self._operations:
            raise ValueError(f"Two operations are called {operation.name!r}.")
        self._operations[operation.name] = operation
        return operation.name

    def _full(self, name: str) -> str:
        return ".".join(part for part in (self._open, name) if part)

    def _resolve(self, name: str) -> str:
        """A block's name stands for what it gives."""
        if name == INPUT or name in self._operations:
            return name
        found = next((block.result.name for block in self._blocks if block.name == name), None)
        if found is None:
            raise ValueError(f"There is no tensor {name!r} yet.")
        return found


def _check_counts(owner: str, **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"`{name}` of {owner!r} (={count!r}) must be at least 1.")
