"""What processes that decode pictures hand over, and how they are told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

B = TypeVar("B")
"""A batch."""

Seed = tuple[int, int, int]
"""Run seed, epoch, picture number."""


class Item(NamedTuple):
    """A decoded sample, or why there is none: workers would wrap an error in a traceback."""

    content: Any
    seed: Seed
    total: int
    seconds: float


def leave_signals_to_the_loop(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: the loop finishes its step first, and needs its workers for that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def checked(batch: B | Exception) -> B:
    """The batch that a worker handed over; raises the error that it did instead."""
    if isinstance(batch, Exception):
        raise batch
    return batch


def collated(join: Callable[[list[Any], list[Seed], int, float], B], items: list[Item]) -> B | Exception:
    """A batch of decoded samples, joined by `join`; the first error if there is one."""
    contents = [item.content for item in items]
    error = next((content for content in contents if isinstance(content, Exception)), None)
    if error is not None:
        return error
    return join(contents, [item.seed for item in items], items[0].total, sum(item.seconds for item in items))
