"""Chooses the width, resolution and precision that fit a budget.

Every MobileNetV1 and V2 that has a published accuracy, and others between, in float32 and in eight bits, is run by the
native engine on this machine with random weights, which takes up to four minutes; the times are kept in the cache, so
the next choice takes a second. What fits all bounds and is beaten by nothing else is listed, best first, with the
command that trains it. Accuracy is that on ImageNet as published, or, where it is marked with a tilde, interpolated;
with --data it is that of a short training on your own pictures instead. With --target c the costs are those of the C
file for microcontrollers that `linnet export` writes: its RAM, and the flash of its weights and tables; no latency.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from linnet.choosing.candidates import Candidate, candidates
from linnet.choosing.choice import Bounds, Row, fitting, front, nearest, worth_measuring
from linnet.choosing.measuring import LIMIT, Cache, Measured, measure, measure_all, native_conditions
from linnet.cli.terminal import UsageError, check_least, live_progress, parse, print_json, show, size, table
from linnet.engine.library import engine_instruction_set, missing_library, native_version
from linnet.engine.runtimes import MOST_THREADS
from linnet.machine import usable_cores

SHOWN = 12
"""Rows of the table."""

UNSTEADY = 1.5
"""A median of so many times the fastest run is of a machine that did something else."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet choose`."""

    classes: int | None = None
    """The number of classes that the network shall tell apart. The default is that of --data, or 1000."""
    latency: float | None = None
    """The most milliseconds that one picture may take on this machine."""
    memory: int | None = None
    """The most bytes of memory for activations: all tensors and scratch spaces of the engine, weights not counted. With
    --target c all static RAM of the C file."""
    size: int | None = None
    """The most bytes of the model's file. With --target c the most flash for weights and tables; the program's own few
    kilobytes are not counted."""
    multiply_adds: int | None = None
    """The most multiply-adds of one picture."""
    target: Literal["native", "c"] = "native"
    """What runs the network: the native engine on this machine, or the C file for microcontrollers, in int8."""
    threads: int | None = None
    """The number of threads that the engine gets. The default is all cores."""
    data: Path | None = None
    """Labelled pictures of your own. Networks are then ranked by a short training on frozen features of them, which
    takes a few minutes, instead of by ImageNet; only those take part whose ImageNet weights are on this machine."""
    plot: Path | None = None
    """A PNG file to draw accuracy against latency to, or against RAM with --target c, with the choice marked."""
    again: bool = False
    """Measure again what is in the cache."""
    json: bool = False
    """Print the networks as one JSON document, best first."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "choose", __doc__, arguments)
    bounds = _bounds(options)
    ground = None
    if options.data is not None:
        from linnet.choosing.ranking import prepare

        ground = prepare(options.data)
    own = 1000 if ground is None else len(ground.data.classes)
    options = replace(options, classes=options.classes or own)
    rows = _priced(bounds, options) if options.target == "c" else _measured(bounds, options)
    within = fitting(rows, bounds)
    if ground is not None and within:
        from linnet.choosing.ranking import rank

        with live_progress() as reporter:
            rows = within = rank(within, ground, reporter)
    best_first = front(within, bounds)
    if options.plot is not None:
        from linnet.choosing.picture import draw_choice

        draw_choice(options.plot, rows, best_first, bounds, _title(options))
    if not best_first:
        raise ValueError(_refusal(rows, bounds))
    data = shlex.quote(str(options.data)) if options.data is not None else "DATA"
    if options.json:
        print_json([row.to_json(data) for row in best_first])
    else:
        _show(best_first, rows, data)
    return 0


def _bounds(options: Options) -> Bounds:
    check_least("--classes", options.classes, 1)
    check_least("--threads", options.threads, 1)
    for flag in ("latency", "memory", "size", "multiply_adds"):
        value = getattr(options, flag)
        if value is not None and not value > 0:
            raise UsageError(f"--{flag.replace('_', '-')} (={value}) must be above 0.")
    if options.target == "c":
        _check_for_c(options)
    if options.plot is not None and options.plot.suffix.lower() != ".png":
        raise UsageError(f"--plot '{options.plot}' must end with .png.")
    return Bounds(options.latency, options.memory, options.size, options.multiply_adds)


def _check_for_c(options: Options) -> None:
    if options.latency is not None:
        raise UsageError(
            "--latency is measured on this machine, and a microcontroller is not here to be measured. Bound "
            "--multiply-adds with --target c instead."
        )
    if options.threads is not None:
        raise UsageError("--threads is of the native engine; the C file of --target c has no threads. Leave it away.")


def _classes(options: Options) -> int:
    assert options.classes is not None
    return options.classes


def _threads(options: Options) -> int:
    return min(options.threads or usable_cores(), MOST_THREADS)


def _title(options: Options) -> str:
    threads = _threads(options)
    native = f"{threads} thread{'s' * (threads > 1)}, {engine_instruction_set()}"
    return f"{_classes(options):,} classes, {'C file, int8' if options.target == 'c' else native}"


def _priced(bounds: Bounds, options: Options) -> list[Row]:
    """What the C file of every candidate takes."""
    from linnet.choosing.pricing import planner_digest, price

    cache = Cache({"target": "c", "planner": planner_digest(), "classes": _classes(options)})
    return _found(list(candidates(_classes(options), ("int8",))), bounds, cache, price, options)


def _measured(bounds: Bounds, options: Options) -> list[Row]:
    """What every candidate takes in the native engine."""
    if native_version() is None or engine_instruction_set() is None:
        raise ValueError(f"Choosing measures with the native engine, which is not there. {missing_library()}")
    threads = _threads(options)
    cache = Cache(native_conditions(threads, _classes(options)))
    known = len(cache.found) * (not options.again)
    if not known:
        print(
            f"linnet: measuring on {threads} thread{'s' * (threads > 1)}, for {LIMIT / 60:.0f} minutes at most. Leave "
            "the machine alone meanwhile; the times are kept.",
            file=sys.stderr,
        )
    how = partial(measure, threads=threads)
    rows = _found(list(candidates(_classes(options))), bounds, cache, how, options)
    pairs = [(row.measured.latency_ms or 0.0, row.measured.least_ms or 0.0) for row in rows]
    if sum(median > UNSTEADY * least for median, least in pairs) > len(rows) / 4:
        print(
            "linnet: the machine was busy while it was measured: many medians are far above the fastest runs. --again "
            "measures anew, on a quiet machine.",
            file=sys.stderr,
        )
    return rows


def _found(
    every: Sequence[Candidate],
    bounds: Bounds,
    cache: Cache,
    how: Callable[[Candidate], Measured],
    options: Options,
) -> list[Row]:
    """What is known of every candidate, after finding out what is not."""
    if options.again:
        cache.forget()
    with live_progress() as reporter:

        def progress(candidate: Candidate) -> None:
            reporter.update("measuring", len(cache.found), len(every), candidate.key)

        late = measure_all(worth_measuring(every, cache.found, bounds), cache, how, progress=progress)
    if late:
        print(
            f"linnet: {len(late)} networks between the published ones were not measured in the time; the same command "
            "goes on with them.",
            file=sys.stderr,
        )
    return [Row(each, cache.found[each.key]) for each in every if each.key in cache.found]


def _refusal(rows: Sequence[Row], bounds: Bounds) -> str:
    given = bounds.given()
    if not rows or not given:
        return "No network is within --multiply-adds: loosen it."
    best, loosen = nearest(rows, bounds)
    network = best.candidate
    return (
        f"Nothing fits this budget. The nearest is {network.network} {network.width:g} at {network.resolution} in "
        f"{network.precision}: loosen {' and '.join(loosen)}."
    )


def _show(best_first: Sequence[Row], rows: Sequence[Row], data: str) -> None:
    own = best_first[0].data_top1 is not None
    timed = best_first[0].measured.latency_ms is not None
    columns = [("network", "left"), ("width", "right"), ("pixels", "right"), ("precision", "left")]
    columns += [("parameters", "right"), ("multiply-adds", "right"), *([("ms", "right")] if timed else [])]
    columns += [("memory" if timed else "RAM", "right"), ("file" if timed else "flash", "right")]
    columns += [*([("your data", "right")] if own else []), ("ImageNet top-1", "right")]
    lines = []
    for row in best_first[:SHOWN]:
        candidate, accuracy = row.candidate, row.candidate.accuracy
        lines.append(
            (
                candidate.network,
                f"{candidate.width:g}",
                str(candidate.resolution),
                candidate.precision,
                f"{candidate.cost.parameters:,}",
                f"{candidate.cost.multiply_adds:,}",
                *([f"{row.measured.latency_ms:.2f}"] if row.measured.latency_ms is not None else []),
                size(row.measured.memory_bytes),
                size(row.measured.size_bytes),
                *([f"{row.data_top1:.1%}"] if row.data_top1 is not None else []),
                f"{'' if accuracy.published else '~ '}{accuracy.top1:.1%}",
            )
        )
    more = len(best_first) - len(lines)
    show(
        table(columns, lines),
        f"{len(best_first)} of {len(rows)} networks fit and are beaten by none" + f"; {more} more fit" * (more > 0),
        *([] if timed else ["flash is that of weights and tables; the program's own few kilobytes are not counted"]),
        f"the best: {best_first[0].candidate.command(data)}",
    )
