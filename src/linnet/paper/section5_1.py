"""Section 5.1: activation memory against the number of splits of a block: formula, torch's allocator, and time."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import block_memory, layerwise_memory
from linnet.paper.page import Page, PaperTable, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Section 5.1: memory against the number of splits"

SPLITS = (1, 2, 3, 4, 5, 6, 8, 16)
ROUNDS = 5


def make() -> Page:
    """The plot that the paper did not print; measured columns need torch."""
    # PyTorch's padding: TensorFlow's costs torch a padded copy of each tensor that is strided over.
    architecture = MobileNetV2(padding="symmetric", folded=True)
    ways: tuple[int | None, ...] = (None, *SPLITS)
    formulas = [formula_bytes(architecture, way) for way in ways]
    measured = measure(architecture, ways) if find_spec("torch") else None
    rows, document = [], []
    for number, (way, formula) in enumerate(zip(ways, formulas, strict=True)):
        name = "whole layers" if way is None else f"t = {way}"
        row: dict[str, Any] = {"splits": way, "formula": formula}
        cells = ["not measured", "not measured"]
        if measured is not None:
            row |= {"measured": measured[number][0], "time_ratio": measured[number][1]}
            cells = [f"{row['measured'] / 1e6:.2f}", f"{row['time_ratio']:.2f}"]
        document.append(row)
        rows.append((name, f"{formula / 1e6:.2f}", *cells))
    return Page(
        "section5.1",
        TITLE,
        "A block is a sum over its expanded channels, so it may be computed in t slices of which one exists at a time. "
        "MobileNetV2 1.0 at 224, one picture, float32, one thread; time relative to whole layers, minima of "
        f"{ROUNDS} interleaved rounds.",
        (PaperTable(("computed in", "formula, MB", "torch's peak, MB", "time"), rows),),
        notes=(
            "torch needs more than the formula counts: its convolutions have scratch memory of their own.",
            "From t = 4 on the first block dominates, and its input and output cannot be split: the gain saturates. "
            "That is why the paper recommends 2 to 5 splits. It says so of the splits, not of the expansion ratio.",
        ),
        document={"architecture": "mobilenet_v2 1.0 at 224", "rows": document},
        plot=_plot(document),
    )


def formula_bytes(architecture: MobileNetV2, way: int | None) -> int:
    """Formula (2) for whole layers (None), or for blocks as single operations in a number of splits."""
    memory = layerwise_memory(architecture) if way is None else block_memory(architecture, splits=way)
    return memory.peak.bytes


def measure(
    architecture: MobileNetV2, ways: tuple[int | None, ...] = (None, *SPLITS), rounds: int = ROUNDS
) -> list[tuple[int, float]]:
    """Peak bytes of one forward pass on one thread, and its time relative to the first way, for each way.

    A way is a number of splits, or None for whole layers. The ways are interleaved, round by round.
    """
    # Some builds of torch's profiler otherwise report each start and stop on stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    import torch

    from linnet.nn import build, forward_in_splits

    network = build(architecture, generator=torch.Generator().manual_seed(0)).eval()
    images = torch.randn(1, 3, *architecture.input_size, generator=torch.Generator().manual_seed(0))

    def run(way: int | None) -> None:
        with torch.no_grad():
            network(images) if way is None else forward_in_splits(network, images, splits=way)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times: list[list[float]] = [[] for _ in ways]
        for _ in range(rounds + 1):
            for way, taken in zip(ways, times, strict=True):
                start = time.perf_counter()
                run(way)
                taken.append(time.perf_counter() - start)
        # The first round warms up.
        fastest = [min(taken[1:]) for taken in times]
        return [
            (peak_bytes(lambda way=way: run(way)) + images.nbytes, seconds / fastest[0])
            for way, seconds in zip(ways, fastest, strict=True)
        ]
    finally:
        torch.set_num_threads(threads)


def peak_bytes(work: Any) -> int:
    """Largest sum of what torch's CPU allocator has handed out and not got back while `work()` runs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    live = peak = 0
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def _plot(document: list[dict[str, Any]]) -> Figure | None:
    timed = "time_ratio" in document[0]
    figure = new_figure(10 if timed else 6, 4)
    if figure is None:
        return None
    panels = figure.subplots(1, 2 if timed else 1, squeeze=False)[0]
    splits = [row for row in document if row["splits"]]
    counts = [row["splits"] for row in splits]
    for what, colour, label in (("formula", "#1565c0", "formula"), ("measured", "#e07b00", "torch")):
        if what in document[0]:
            panels[0].axhline(document[0][what] / 1e6, color=colour, linestyle=":", label=f"{label}, whole layers")
            panels[0].plot(counts, [row[what] / 1e6 for row in splits], marker="o", color=colour, label=label)
    # Room for the legend above the highest line.
    panels[0].set(xlabel="splits t", ylabel="peak activation memory, MB", ylim=(0, 18 if timed else 10))
    panels[0].legend(loc="upper right", ncols=2, fontsize=8)
    if timed:
        panels[1].plot(counts, [row["time_ratio"] for row in splits], marker="o", color="#777777")
        panels[1].axhline(1, color="#777777", linestyle=":")
        panels[1].set(xlabel="splits t", ylabel="time, whole layers = 1", ylim=(0, None))
    return figure
