"""What candidates take on this machine: measured once, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from linnet.catalogue import cache_folder
from linnet.choosing.candidates import Candidate
from linnet.choosing.doubts import doubtful
from linnet.engine.library import engine_instruction_set, library_digest
from linnet.engine.runtimes import NativeRuntime
from linnet.engine.timing import measure_latency
from linnet.files import write_atomically
from linnet.machine import processor_name, usable_cores

SECONDS = 0.3
"""For which a candidate runs."""

LIMIT = 240.0
"""Seconds after which what has not been measured is left for another time."""

TRIES = 3
"""Measurements of a candidate whose time looks disturbed."""

KEPT_EVERY = 20
"""Measurements after which the cache is written, so that a stop costs little."""


@dataclass(frozen=True)
class Measured:
    """What a candidate takes.

    Attributes:
        latency_ms: median of one picture; None where nothing runs here.
        least_ms: the fastest run; None likewise.
        memory_bytes: of all activations and scratch spaces, planned beforehand; exact.
        size_bytes: of the checkpoint's file, exact; of a C file, what its weights and tables take.
        tries: measurements, of which the one with the shortest median is this.
    """

    latency_ms: float | None
    least_ms: float | None
    memory_bytes: int
    size_bytes: int
    tries: int = 1

    def or_better(self, other: Measured) -> Measured:
        """The faster of both; with the tries of both."""
        pair = sorted((self, other), key=lambda each: each.latency_ms or 0.0)
        return replace(pair[0], tries=self.tries + other.tries)


def measure(candidate: Candidate, threads: int, seconds: float = SECONDS) -> Measured:
    """Runs a candidate with random weights in the native engine."""
    session = NativeRuntime(candidate.checkpoint(), threads).session
    assert session is not None
    latency = measure_latency(session, seconds=seconds)
    return Measured(1e3 * latency.median, 1e3 * latency.least, session.arena_bytes, candidate.size_bytes())


def native_conditions(threads: int, classes: int) -> dict[str, Any]:
    """On what the engine's figures depend: this machine, the engine, threads and classes."""
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "instruction_set": engine_instruction_set(),
        "engine": library_digest(),
        "threads": threads,
        "classes": classes,
    }


class Cache:
    """What has been measured under these conditions.

    Attributes:
        conditions: on which figures depend: those of `native_conditions`, or others.
        path: of its file, whose name follows from the conditions.
        found: key of a candidate → what was measured.
    """

    def __init__(self, conditions: Mapping[str, Any]) -> None:
        self.conditions = dict(conditions)
        digest = hashlib.sha256(json.dumps(self.conditions, sort_keys=True).encode()).hexdigest()[:16]
        self.path: Path = cache_folder() / "choose" / f"{digest}.json"
        self.found: dict[str, Measured] = {}
        # A damaged cache is measured anew.
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            rows: Mapping[str, Any] = json.loads(self.path.read_bytes())["rows"]
            self.found = {key: Measured(**row) for key, row in rows.items()}

    def forget(self) -> None:
        """Measures everything anew."""
        self.found = {}

    def keep(self) -> None:
        """Writes the file; where that cannot be, the next command measures again."""
        document = {"conditions": self.conditions, "rows": {key: asdict(row) for key, row in self.found.items()}}
        with suppress(OSError):
            write_atomically(self.path, json.dumps(document, indent=1).encode())


def measure_all(
    wanted: Iterable[Candidate],
    cache: Cache,
    how: Callable[[Candidate], Measured],
    *,
    limit: float | None = None,
    progress: Callable[[Candidate], None] = lambda candidate: None,
) -> list[Candidate]:
    """Measures what the cache does not have, in this order and as long as time allows, and again what looks disturbed.

    Args:
        wanted: may look at what has been measured before it gives the next.
        cache: gets the measurements.
        how: finds out what a candidate takes.
        limit: seconds in all; None takes `LIMIT`.
        progress: called with each candidate that is about to be measured.

    Returns:
        Those for which there was no time.
    """
    begun, limit = time.monotonic(), LIMIT if limit is None else limit
    late: list[Candidate] = []
    known: list[Candidate] = []
    fresh = 0
    try:
        for candidate in wanted:
            if candidate.key in cache.found:
                known.append(candidate)
                continue
            if time.monotonic() - begun > limit:
                late.append(candidate)
                continue
            progress(candidate)
            cache.found[candidate.key] = how(candidate)
            known.append(candidate)
            fresh += 1
            if fresh % KEPT_EVERY == 0:
                cache.keep()
        for candidate in _doubted(known, cache):
            if time.monotonic() - begun > limit:
                break
            progress(candidate)
            cache.found[candidate.key] = cache.found[candidate.key].or_better(how(candidate))
            fresh += 1
    finally:
        if fresh:
            cache.keep()
    return late


def _doubted(known: Sequence[Candidate], cache: Cache) -> Iterator[Candidate]:
    """What is to be measured again, round by round: what was disturbed casts doubt on its neighbours no longer."""
    for tries in range(1, TRIES):
        yield from (each for each in doubtful(known, cache.found) if cache.found[each.key].tries <= tries)
