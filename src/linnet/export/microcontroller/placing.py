"""Where tensors and rings lie in one arena: as low as those that live at the same time let them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALIGNMENT = 4
"""Bytes: processors read words."""

SHUFFLES = 24
"""Orders that are tried beside the obvious ones."""


@dataclass(frozen=True)
class Item:
    """Bytes that are needed from one step to another, both included."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Overlap:
    """How one item may lie over another that lives at the same time.

    Attributes:
        below: it may begin so many bytes below the other, or more; None: it may not.
        same: both may begin at the same place.
    """

    below: int | None
    same: bool


def round_up(value: int) -> int:
    """The next multiple of the alignment."""
    return -(-value // ALIGNMENT) * ALIGNMENT


def place(items: Sequence[Item], overlaps: Mapping[tuple[int, int], Overlap]) -> tuple[list[int], int]:
    """Offsets of all items, and the bytes of the arena.

    Args:
        items: what is placed.
        overlaps: numbers of two items, what writes and what dies → how the first may lie over the second.
    """
    numbers = range(len(items))
    by_size = sorted(numbers, key=lambda number: (-items[number].bytes, number))
    orders = [by_size, list(numbers), list(reversed(numbers))]
    # The most crowded moment first.
    crowd = max(numbers, key=lambda number: _alive(items, items[number].first))
    moment = items[crowd].first
    orders.append(sorted(by_size, key=lambda number: not items[number].first <= moment <= items[number].last))
    generator = random.Random(0)
    best = min((_place_in(items, overlaps, order) for order in orders), key=lambda found: found[1])
    least = max(_alive(items, item.first) for item in items) if not overlaps else 0
    for _ in range(SHUFFLES):
        if best[1] == least:
            break
        order = by_size[:]
        one, other = generator.randrange(len(order)), generator.randrange(len(order))
        order.insert(0, order.pop(one))
        order.insert(min(1, len(order) - 1), order.pop(other))
        best = min(best, _place_in(items, overlaps, order), key=lambda found: found[1])
    return best


def _alive(items: Sequence[Item], moment: int) -> int:
    return sum(round_up(item.bytes) for item in items if item.first <= moment <= item.last)


def _place_in(
    items: Sequence[Item], overlaps: Mapping[tuple[int, int], Overlap], order: Sequence[int]
) -> tuple[list[int], int]:
    """Places items one after the other, each at the lowest place that is free."""
    offsets = [-1] * len(items)
    placed: list[int] = []
    for number in order:
        own = items[number]
        rivals = [each for each in placed if items[each].first <= own.last and own.first <= items[each].last]
        candidates = {0}
        for each in rivals:
            candidates |= {round_up(offsets[each] + items[each].bytes), offsets[each]}
            writes, dies = overlaps.get((number, each)), overlaps.get((each, number))
            if writes is not None and writes.below is not None:
                candidates.add((offsets[each] - writes.below) // ALIGNMENT * ALIGNMENT)
            if dies is not None and dies.below is not None:
                candidates.add(round_up(offsets[each] + dies.below))
        offsets[number] = min(
            offset
            for offset in candidates
            if offset >= 0 and all(_fits(items, overlaps, offsets, number, offset, each) for each in rivals)
        )
        placed.append(number)
    return offsets, max(round_up(offset + item.bytes) for offset, item in zip(offsets, items, strict=True))


def _fits(
    items: Sequence[Item],
    overlaps: Mapping[tuple[int, int], Overlap],
    offsets: Sequence[int],
    number: int,
    offset: int,
    other: int,
) -> bool:
    """Whether an item at an offset leaves another one alone."""
    if offset + items[number].bytes <= offsets[other] or offsets[other] + items[other].bytes <= offset:
        return True
    writes, dies = overlaps.get((number, other)), overlaps.get((other, number))
    for overlap, writer, dying in ((writes, offset, offsets[other]), (dies, offsets[other], offset)):
        if overlap is None:
            continue
        if overlap.same and writer == dying:
            return True
        if overlap.below is not None and writer + overlap.below <= dying:
            return True
    return False
