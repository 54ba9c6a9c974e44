"""What runs as one: layers grouped into stages that make rows, and stages into steps.

A stage makes one row of its result at a time: of a window's pixels, gathered or filtered a few pixels at a time, and
the products with them. A chain is a row of stages of which each makes its next row as soon as the rows that it reads
are there, the last stage first; what lies between two of them is a ring of a few rows. No row is ever made twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from linnet.export.microcontroller.layers import Layer, Network

NEVER = 1 << 30
"""A row that no map has."""


@dataclass(frozen=True, eq=False)
class Stage:
    """What makes the rows of one tensor.

    Attributes:
        result: number of the layer whose tensor it gives.
        filter: the depthwise layer; None: there is none.
        product: the convolution or linear layer; None: there is none.
        reads: number of the layer that it reads; -1 for the picture.
        input_shape: height, width and channels of that.
    """

    result: int
    filter: Layer | None
    product: Layer | None
    reads: int
    input_shape: tuple[int, int, int]

    @property
    def last(self) -> Layer:
        """The layer whose tensor it gives."""
        layer = self.product or self.filter
        assert layer is not None
        return layer

    @property
    def first(self) -> Layer:
        """The layer that reads what it reads."""
        layer = self.filter or self.product
        assert layer is not None
        return layer

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of its result."""
        return self.last.shape

    @property
    def added(self) -> int | None:
        """Number of the layer that is added."""
        return self.last.added

    @property
    def gathered(self) -> int:
        """Bytes that it gathers for one pixel before its products; 0: it reads what it reads as it is."""
        window = self.first.window
        if window is None or self.product is None:
            return 0
        return self.input_shape[2] * (1 if self.filter else window.kernel**2)

    @cached_property
    def rows(self) -> tuple[tuple[int, int], ...]:
        """Of each row of the result the first and the last row that are read for it."""
        window, height = self.first.window, self.input_shape[0]
        if window is None:
            return tuple((row, row) for row in range(self.shape[0]))
        tops = [row * window.stride - window.pads[0] for row in range(self.shape[0])]
        reach = (window.kernel - 1) * window.dilation
        return tuple((max(top, 0), min(top + reach, height - 1)) for top in tops)

    def oldest(self, made: int) -> int:
        """The first row that is still needed once so many rows of the result are made."""
        return self.rows[made][0] if made < len(self.rows) else NEVER


@dataclass(frozen=True, eq=False)
class Step:
    """What runs after each other on whole tensors.

    Attributes:
        kind: `chain` of stages; `mean` over a map, perhaps of the products of a stage that are never kept; `sum` of two
            tensors; `output` of a tensor.
        stages: of a chain at least one, of a mean none or one.
        layer: number of the layer of a mean or a sum; of an output that of the tensor.
        output, piece: of an output, which one and which of its pieces.
    """

    kind: Literal["chain", "mean", "sum", "output"]
    stages: tuple[Stage, ...] = ()
    layer: int = -1
    output: int = 0
    piece: int = 0

    @property
    def result(self) -> int:
        """Number of the layer whose tensor it leaves; -1: it leaves none."""
        return self.stages[-1].result if self.kind == "chain" else -1 if self.kind == "output" else self.layer

    def reads(self, network: Network) -> set[int]:
        """Numbers of the whole tensors that it reads."""
        if self.kind == "output":
            return {self.layer}
        own = {stage.result for stage in self.stages}
        read = {each for stage in self.stages for each in (stage.reads, stage.added) if each is not None}
        if self.kind != "chain":
            layer = network.layers[self.layer]
            read |= {each for each in (layer.reads, layer.added) if each is not None}
        return read - own - {-1}


def readers_of(network: Network) -> dict[int, list[int]]:
    """Number of each layer → those of the layers that read its tensor or add it."""
    found: dict[int, list[int]] = {number: [] for number in range(-1, len(network.layers))}
    for number, layer in enumerate(network.layers):
        for read in (layer.reads, layer.added):
            if read is not None:
                found[read].append(number)
    return found


def find_units(network: Network) -> list[list[Stage] | Step]:
    """Stages that belong together (an expansion, and what filters and projects it), means and sums, in order."""
    kept = {piece.layer for output in network.outputs for piece in output.pieces}
    readers = readers_of(network)

    def only_next(number: int) -> Layer | None:
        """The next layer, if nothing else needs this one's tensor."""
        alone = readers[number] == [number + 1] and number not in kept
        return network.layers[number + 1] if alone and network.layers[number + 1].added != number else None

    units: list[list[Stage] | Step] = []
    number, grows = 0, False
    while number < len(network.layers):
        layer = network.layers[number]
        shape = network.input_shape if layer.reads < 0 else network.layers[layer.reads].shape
        following = only_next(number)
        if layer.weights is None:
            units.append(Step("mean" if layer.mean else "sum", (), number))
        elif layer.depthwise:
            projects = following is not None and following.weights is not None and following.window is None
            stage = Stage(number + projects, layer, following if projects else None, layer.reads, shape)
            units[-1:] = [[*units[-1], stage]] if grows and isinstance(units[-1], list) else [units[-1], [stage]]
            number += projects
        elif following is not None and following.mean is not None and layer.window is None and layer.added is None:
            units.append(Step("mean", (Stage(number, None, layer, layer.reads, shape),), number + 1))
            number += 1
        else:
            units.append([Stage(number, None, layer, layer.reads, shape)])
        # What only a filter reads, which comes next, is never whole.
        behind = only_next(number)
        grows = behind is not None and behind.depthwise and layer.weights is not None and layer.window is None
        number += 1
    return units


def steps_of(network: Network, units: Sequence[list[Stage] | Step], first_chain: int) -> list[Step]:
    """Steps: the first units as one chain, each other by itself, and outputs as soon as they are there."""
    joined = [stage for unit in units[:first_chain] for stage in unit if isinstance(unit, list)]  # type: ignore[union-attr]
    steps = [Step("chain", tuple(joined))]
    steps += [Step("chain", tuple(unit)) if isinstance(unit, list) else unit for unit in units[first_chain:]]
    result = []
    for step in steps:
        result.append(step)
        for output, given in enumerate(network.outputs):
            for piece, part in enumerate(given.pieces):
                if part.layer == step.result:
                    result.append(Step("output", layer=part.layer, output=output, piece=piece))
    return result


def longest_chain(network: Network, units: Sequence[list[Stage] | Step]) -> int:
    """How many units from the first on may be one chain: nothing else reads what lies between them."""
    kept = {piece.layer for output in network.outputs for piece in output.pieces}
    readers, stages = readers_of(network), list[Stage]()
    for count, unit in enumerate(units):
        if not isinstance(unit, list):
            return count
        if stages:
            between, own = stages[-1].result, {stage.result for stage in unit}
            layers = {number for stage in unit for number in (stage.result, stage.result - 1)}
            if unit[0].reads != between or between in kept or not set(readers[between]) <= own | layers:
                return count
            if any(stage.added is not None and stage.added not in own | {between} for stage in unit):
                return count
        stages += unit
    return len(units)


@dataclass(frozen=True)
class Rings:
    """What a chain needs, found by running it.

    Attributes:
        input: rows of what it reads that must be there at one time, if rows are fed to it one by one.
        between: rows of each ring between two stages.
        dead: of each row of the result, how many rows of the input nothing reads any more once it is written.
        order: stage and row in the order in which rows are made.
    """

    input: int
    between: tuple[int, ...]
    dead: tuple[int, ...]
    order: tuple[tuple[int, int], ...]


def run_rows(stages: Sequence[Stage], *, fed: bool) -> Rings:
    """Runs a chain without numbers: which rows are made when, and how long they are needed.

    The C file's `linnet_advance` makes rows in this order.
    """
    made, given = [0] * len(stages), 0 if fed else stages[0].input_shape[0]
    slots, input_slots, dead = [1] * (len(stages) - 1), 1, []
    order: list[tuple[int, int]] = []
    number = {stage.result: i for i, stage in enumerate(stages)}
    added = {number[stage.added]: i for i, stage in enumerate(stages) if stage.added in number}

    def oldest(i: int) -> int:
        """The first row of a ring that is still needed: by the next stage, or by the one that adds it."""
        first = stages[i + 1].oldest(made[i + 1])
        if i in added:
            adds = added[i]
            first = min(first, made[adds] if made[adds] < len(stages[adds].rows) else NEVER)
        return first

    while True:
        for i in _ready(stages, made, given):
            if i + 1 < len(stages):
                slots[i] = max(slots[i], made[i] + 1 - min(oldest(i), made[i]))
            else:
                # While the only stage of a chain writes a row it still reads what that row is made of.
                dead.append(min(stages[0].oldest(made[0]), stages[0].input_shape[0]))
            order.append((i, made[i]))
            made[i] += 1
        if given == stages[0].input_shape[0]:
            return Rings(input_slots, tuple(slots), tuple(dead), tuple(order))
        input_slots = max(input_slots, given + 1 - min(stages[0].oldest(made[0]), given))
        given += 1


def _ready(stages: Sequence[Stage], made: list[int], given: int) -> Iterator[int]:
    """The stage that makes a row next, again and again until more rows are needed: the last one that can."""
    rows, i = [stage.rows for stage in stages], len(stages) - 1
    while i >= 0:
        there = made[i - 1] if i else given
        if made[i] < len(rows[i]) and rows[i][made[i]][1] < there:
            yield i
            # Of the stages behind it only the next one can have become ready.
            i = min(i + 1, len(stages) - 1)
        else:
            i -= 1
