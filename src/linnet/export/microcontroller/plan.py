"""The plan of a microcontroller's run: which units are one chain, and where in the arena everything lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from linnet.export.microcontroller.layers import Network
from linnet.export.microcontroller.placing import Item, Overlap, place, round_up
from linnet.export.microcontroller.stages import Rings, Stage, Step, find_units, longest_chain, run_rows, steps_of

FEWEST_PIXELS = 4
"""Pixels whose window is gathered before the products with them: each weight is then read once for four."""

LARGEST_GATHERED = 2048
"""Bytes that are gathered for so many pixels; above, one at a time is."""

MOST_WORSE = 4
"""Plans with ever longer chains that may be worse than the best one before no longer ones are tried."""

PICTURE = -1


@dataclass(frozen=True)
class Map:
    """A tensor, or a ring of its rows: row y is in slot y % slots, pixel by pixel, channel by channel."""

    offset: int
    slots: int
    height: int
    width: int
    channels: int

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.slots * self.width * self.channels


@dataclass(frozen=True, eq=False)
class Plan:
    """Steps with places.

    Attributes:
        steps: in the order in which they run; the first takes the picture row by row.
        maps: of each step, number of each layer that it reads or gives (-1: the picture) → where that lies.
        tiles: of each step, offset of the bytes that are gathered, and for how many pixels at a time, stage by stage.
        arena: bytes of all.
    """

    steps: tuple[Step, ...]
    maps: tuple[dict[int, Map], ...]
    tiles: tuple[tuple[int, tuple[int, ...]], ...]
    arena: int

    @property
    def most_stages(self) -> int:
        """Of a chain."""
        return max(len(step.stages) for step in self.steps)


def make_plan(network: Network) -> Plan:
    """The plan with the least memory, among all numbers of units that begin as one chain; then with longer tiles."""
    units = find_units(network)
    plans: list[Plan] = []
    for count in range(1, longest_chain(network, units) + 1):
        plans.append(_Placing(network, steps_of(network, units, count)).plan())
        # Chains that are longer still only have more rings.
        if len(plans) > MOST_WORSE and min(plans[-MOST_WORSE:], key=_arena).arena > min(plans, key=_arena).arena:
            break
    best = min(plans, key=_arena)
    # Longer tiles read weights less often: they are taken where they cost nothing, most likely behind the chain.
    for first in (0, 1):
        longer = _Placing(network, best.steps, whole_rows=first).plan()
        if longer.arena <= best.arena:
            return longer
    return best


def _arena(plan: Plan) -> int:
    return plan.arena


class _Placing:
    """What a row of steps needs, item by item; from the step `whole_rows` on tiles are rows (None: nowhere)."""

    def __init__(self, network: Network, steps: Sequence[Step], whole_rows: int | None = None) -> None:
        self.network, self.steps, self.whole_rows = network, steps, whole_rows
        self.items: list[Item] = []
        self.overlaps: dict[tuple[int, int], Overlap] = {}
        self.maps: list[dict[int, Map]] = [{} for _ in steps]
        self.places: list[tuple[int, int, int]] = []  # step, layer, item
        self.tensors: dict[int, int] = {}  # layer → item

    def plan(self) -> Plan:
        last_use = {read: number for number, step in enumerate(self.steps) for read in step.reads(self.network)}
        tiles = []
        for number, step in enumerate(self.steps):
            for read in sorted(step.reads(self.network)):
                self._at(number, read, self.tensors[read])
            if step.result >= 0:
                self._tensor(number, step.result, last_use.get(step.result, number))
            rings = self._rings(number, step) if step.kind == "chain" else None
            self._overlap(step, rings, {read for read in step.reads(self.network) if last_use[read] == number})
            tiles.append(self._tile(number, step))
        offsets, arena = place(self.items, self.overlaps)
        for number, layer, item in self.places:
            self.maps[number][layer] = replace(self.maps[number][layer], offset=offsets[item])
        placed = tuple((0 if item is None else offsets[item], pixels) for item, pixels in tiles)
        return Plan(tuple(self.steps), tuple(self.maps), placed, arena)

    def _item(self, size: int, first: int, last: int) -> int:
        self.items.append(Item(size, first, last))
        return len(self.items) - 1

    def _at(self, step: int, layer: int, item: int, slots: int | None = None) -> None:
        """A step reads or writes a layer's tensor, or a ring of it, which is this item."""
        shape = self.network.input_shape if layer == PICTURE else self.network.layers[layer].shape
        self.maps[step][layer] = Map(0, slots or shape[0], *shape)
        self.places.append((step, layer, item))

    def _tensor(self, step: int, layer: int, last: int) -> None:
        height, width, channels = self.network.layers[layer].shape
        self.tensors[layer] = self._item(height * width * channels, step, last)
        self._at(step, layer, self.tensors[layer])

    def _rings(self, number: int, step: Step) -> Rings:
        fed = step.stages[0].reads == PICTURE
        rings = run_rows(step.stages, fed=fed)
        between = zip((stage.result for stage in step.stages[:-1]), rings.between, strict=True)
        for layer, slots in [*([(PICTURE, rings.input)] if fed else []), *between]:
            shape = self.network.input_shape if layer == PICTURE else self.network.layers[layer].shape
            self._at(number, layer, self._item(slots * shape[1] * shape[2], number, number), slots)
        return rings

    def _overlap(self, step: Step, rings: Rings | None, dying: set[int]) -> None:
        """How the result of a step may lie over what is read for the last time."""
        if step.kind not in ("chain", "sum"):
            return
        added = {stage.added for stage in step.stages} if rings else {self.network.layers[step.layer].added}
        result = self.tensors[step.result]
        _, width, channels = self.network.layers[step.result].shape
        for layer in dying:
            below = None
            if rings is not None and layer == step.stages[0].reads:
                row = self.network.layers[layer].shape[1] * self.network.layers[layer].shape[2]
                kept = self.network.layers[layer].shape[0]
                below = max(
                    ((r + 1) * width * channels - dead * row for r, dead in enumerate(rings.dead) if dead < kept),
                    default=-self.items[self.tensors[layer]].bytes,
                )
            # A sum is written number by number over one of its terms.
            same = layer in added or rings is None
            if same and below is not None:
                same, below = below <= 0, None
            self.overlaps[result, self.tensors[layer]] = Overlap(below, same)

    def _tile(self, number: int, step: Step) -> tuple[int | None, tuple[int, ...]]:
        whole = self.whole_rows is not None and number >= self.whole_rows
        pixels = tuple(_pixels(stage, whole) for stage in step.stages)
        needed = max((count * stage.gathered for count, stage in zip(pixels, step.stages, strict=True)), default=0)
        return (self._item(round_up(needed), number, number) if needed else None), pixels


def _pixels(stage: Stage, whole_rows: bool) -> int:
    """How many pixels a stage gathers at a time."""
    width = stage.shape[1]
    if whole_rows and stage.gathered:
        return width
    return min(FEWEST_PIXELS, width) if stage.gathered * FEWEST_PIXELS <= LARGEST_GATHERED else 1
