"""linnet's engine beside the runtimes that people would otherwise pick: one network, one picture, taken in turns."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from linnet.bench.runtimes import (
    FINISHES,
    INTEGER_RUNTIMES,
    RUNTIMES,
    Arrays,
    Files,
    MissingRuntime,
    Opener,
    Run,
    Setting,
    expected_of,
    run_shipped,
)
from linnet.checkpoint import Checkpoint
from linnet.engine.library import instruction_sets
from linnet.export import export
from linnet.export.segmenter import shortfall
from linnet.export.shipped import Shipped
from linnet.export.written import Precision
from linnet.images import normalise
from linnet.predictor import Predictor
from linnet.weights import read

AGREEMENT: dict[Precision, float] = {"float32": 1e-3, "int8": 0.05}
"""Most by which another runtime may differ, relative to the largest output, before its time is measured. Runtimes round
integers in ways of their own. Of a segmenter, which gives labels, it is half of what the logits of these lie below the
best: each of the two may differ. The share of other labels would say little: a network with random weights has the same
two classes nearly everywhere, and of 513 x 513 pixels 14 % are ties and 31 % one step from one."""

OWN_INTEGERS = {"ncnn": 0.1}
"""Runtime that rounds a network to integers of its own → most by which these may differ from the network in float.
ncnn's have no zero points: of values that are never negative, as behind a ReLU6, it uses half of the integers."""

DOT_PRODUCTS = ("_vnni", "_dot")
"""Ends of instruction sets with which other runtimes multiply uint8 by int8 without overflow."""

FILE = "file"
"""The lane of an exported file in its own runtime."""

BURST_SECONDS = 0.15
"""For which each runtime runs before the next one has its turn."""

PAUSE_SECONDS = 0.02
"""After each burst: threads of some runtimes spin on for a while, which would slow the next one down."""

Advance = Callable[[str, int, int, str], None]
"""Hears what is being done, how much of it is done, how much there is in all, and whose turn it is."""


@dataclass(frozen=True)
class Measurement:
    """Times of one runtime.

    Attributes:
        runtime: its name, with the version.
        precision: of its arithmetic: `float32`, or `int8` of a quantised network.
        threads: that it was given.
        batch: pictures a run.
        median_ms: of all runs.
        min_ms: the fastest run.
        ratio: its median over linnet's; above 1 linnet is faster.
        min_ratio: the same of the fastest runs.
        difference: largest difference of its output from numpy's, relative to the largest output; see `AGREEMENT`.
        problem: why it was not measured.
    """

    runtime: str
    precision: Precision
    threads: int
    batch: int
    median_ms: float | None = None
    min_ms: float | None = None
    ratio: float | None = None
    min_ratio: float | None = None
    difference: float | None = None
    problem: str | None = None


def compare(
    network: Checkpoint | Shipped,
    *,
    threads: Sequence[int] = (1, 2),
    batches: Sequence[int] = (1,),
    seconds: float = 4.0,
    runtimes: Sequence[str] = (),
    progress: Callable[[str], None] = lambda text: None,
    advance: Advance = lambda text, done, total, name: None,
) -> list[Measurement]:
    """Measures every runtime that is installed, interleaved, after its output was compared with numpy's.

    Of a quantised network linnet, numpy and what reads the integers of an ONNX file compute with these; linnet and all
    others are measured with float32 too, and every ratio is to linnet's integers. An exported file is measured as it is
    in its own runtime, beside the network that linnet reads from it.

    Args:
        network: a network that takes pictures, or an exported file of one.
        threads: numbers of threads, each a table of its own.
        batches: pictures a run, likewise.
        seconds: for which each runtime runs in all, for each table.
        runtimes: names of `RUNTIMES` to measure beside linnet; none: all.
        progress: called with what is being measured, as a sentence.
        advance: called between the turns, never within one.

    Raises:
        ValueError: if the network takes no pictures, a name is unknown, or linnet reads no weights from the file.
    """
    unknown = sorted(set(runtimes) - RUNTIMES.keys())
    if unknown:
        raise ValueError(f"There is no runtime {unknown[0]!r} to compare with. There are {', '.join(RUNTIMES)}.")
    shipped = network if isinstance(network, Shipped) else None
    checkpoint = network if isinstance(network, Checkpoint) else read(network.path).checkpoint
    rows: list[Measurement] = []
    networks: dict[Precision, Checkpoint] = {"float32": checkpoint.dequantised()}
    if checkpoint.quantisation is not None:
        networks = {"int8": checkpoint, **networks}
    with ExitStack() as stack:
        files = {precision: stack.enter_context(exported(network)) for precision, network in networks.items()}
        for count in threads:
            for batch in batches:
                progress(text := f"{count} thread{'s' * (count > 1)}, batch {batch}")
                settings = {
                    precision: setting_for(network, count, batch, files[precision])
                    for precision, network in networks.items()
                }
                names = runtimes or tuple(RUNTIMES)
                opened: dict[str, Opener] = dict(RUNTIMES)
                if shipped is not None:
                    opened[FILE] = partial(run_shipped, shipped)
                rows += _table(settings, (*([FILE] if shipped else []), *names), opened, seconds, text, advance)
    return rows


def setting_for(checkpoint: Checkpoint, threads: int, batch: int, network: Files) -> Setting:
    """What the runtimes are given: a random picture, as bytes and as the network wants it."""
    contract = Predictor(checkpoint, runtime="numpy").preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *contract.size, 3), dtype=np.uint8)
    inputs = np.ascontiguousarray(normalise(pixels, contract).transpose(0, 3, 1, 2))
    return Setting(checkpoint, threads, pixels, inputs, network)


@contextmanager
def exported(checkpoint: Checkpoint) -> Iterator[Files]:
    """The network as files, for those that read them, as far as there are packages to write and run them."""
    with tempfile.TemporaryDirectory() as folder:
        written = Files()
        if find_spec("onnx") is not None:
            # The faster of the two files that is right here.
            integers = checkpoint.quantisation
            dots = any(name.endswith(DOT_PRODUCTS) for name in instruction_sets())
            signed = integers is not None and integers.dtype == "int8" and dots
            path = export(checkpoint, Path(folder) / "network.onnx", signed_weights=signed).path
            written = replace(written, onnx=path)
        if find_spec("ai_edge_litert") is not None:
            try:
                # Labels of a segmenter, and offsets and logits of a detector, as all others give them.
                raw = checkpoint.task not in FINISHES
                path = export(checkpoint, Path(folder) / "network.tflite", raw=raw).path
                written = replace(written, tflite=path)
            except ValueError as error:
                written = replace(written, problem=str(error))
        yield written


Lane = tuple[str, Precision]
"""A runtime and the numbers that it computes with."""


def _lanes(names: Sequence[str], precisions: Sequence[Precision]) -> list[Lane]:
    """What is measured: every runtime with the first precision that it has, linnet with all of them and first."""
    first = precisions[0]
    ours: list[Lane] = [("linnet", precision) for precision in precisions]
    others = (name for name in names if name != "linnet")
    integers = {*INTEGER_RUNTIMES, FILE}
    return ours + [(name, first if first == "float32" or name in integers else "float32") for name in others]


def _table(
    settings: Mapping[Precision, Setting],
    names: Sequence[str],
    runtimes: Mapping[str, Opener],
    seconds: float,
    text: str,
    advance: Advance,
) -> list[Measurement]:
    expected = {precision: expected_of(setting) for precision, setting in settings.items()}
    ready: dict[Lane, Run] = {}
    rows: dict[Lane, Measurement] = {}
    every = _lanes(names, tuple(settings))
    for number, lane in enumerate(every):
        (name, precision), setting = lane, settings[lane[1]]
        advance(f"{text}: preparing", number, len(every), name)
        row = Measurement(name, precision, setting.threads, len(setting.pixels))
        try:
            version, run = runtimes[name](setting)
            own = precision == "int8" and name in OWN_INTEGERS
            difference = _difference(run(), expected["float32" if own else precision])
        except MissingRuntime as missing:
            rows[lane] = replace(row, problem=str(missing))
            continue
        rows[lane] = replace(row, runtime=f"{name} {version}".strip(), difference=difference)
        if difference > (OWN_INTEGERS[name] if own else AGREEMENT[precision]):
            rows[lane] = replace(rows[lane], problem=f"its output differs by {difference:.1e}")
        else:
            ready[lane] = run
    times = _interleave(ready, seconds, lambda done, total, lane: advance(text, done, total, lane[0]))
    ours = every[0]
    if ours not in times:
        return list(rows.values())
    medians = {lane: statistics.median(taken) for lane, taken in times.items()}
    for lane, taken in times.items():
        rows[lane] = replace(
            rows[lane],
            median_ms=1e3 * medians[lane],
            min_ms=1e3 * min(taken),
            ratio=medians[lane] / medians[ours],
            min_ratio=min(taken) / min(times[ours]),
        )
    return list(rows.values())


def _difference(found: Arrays, expected: Arrays) -> float:
    """The largest of all outputs, each relative to its largest value; of labels see `AGREEMENT`.

    There is none of boxes that a file itself has found.
    """
    if len(found) > len(expected):
        return 0.0
    if found[0].dtype.kind in "iu":
        (labels,), (logits,) = found, expected
        return shortfall(labels, logits) / 2 if labels.shape == logits.shape[:-1] else math.inf
    if [array.shape for array in found] != [array.shape for array in expected]:
        return math.inf
    return max(
        float(np.abs(mine - theirs).max() / np.abs(theirs).max()) for mine, theirs in zip(found, expected, strict=True)
    )


def _interleave(
    ready: dict[Lane, Run], seconds: float, advance: Callable[[int, int, Lane], None]
) -> dict[Lane, list[float]]:
    """Seconds of every run. Each round gives every runtime one burst, so that all meet the same disturbances."""
    times: dict[Lane, list[float]] = {lane: [] for lane in ready}
    rounds = math.ceil(seconds / BURST_SECONDS)
    for number in range(rounds):
        for place, (lane, run) in enumerate(ready.items()):
            advance(number * len(ready) + place, rounds * len(ready), lane)
            # The first run of a burst finds cold caches and sleeping threads.
            run()
            begun = time.perf_counter()
            while (now := time.perf_counter()) - begun < BURST_SECONDS:
                run()
                times[lane].append(time.perf_counter() - now)
            time.sleep(PAUSE_SECONDS)
    return times
