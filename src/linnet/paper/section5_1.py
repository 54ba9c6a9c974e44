"""Section 5.1: activation memory against the number of splits of a block: formula, torch, the engine, and time."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import block_memory, layerwise_memory
from linnet.checkpoint import random_checkpoint
from linnet.colours import BLUE, ENGINE, GREY, TORCH
from linnet.engine.library import engine_instruction_set
from linnet.engine.native import NativeNetwork, NativeSession
from linnet.engine.program import lower
from linnet.paper.ablations import folder_of
from linnet.paper.page import MissingResultsError, Page, PaperTable, new_figure
from linnet.paper.prose import read
from linnet.paper.sweeps import sweep_points

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SPLITS = (1, 2, 3, 4, 5, 6, 8, 16)
ROUNDS = 5


Way = int | str | None
"""A number of splits of every block; None for whole layers; the engine also runs by `rows`, or chooses (`auto`)."""


def make(results: Path) -> Page:
    """The plot that the paper did not print. Torch's columns need torch, the engine's the native library.

    The accuracy against the expansion, with which the number of splits is confused, is there if its results are.
    """
    # PyTorch's padding: TensorFlow's costs torch a padded copy of each tensor that is strided over.
    architecture = MobileNetV2(padding="symmetric", folded=True)
    ways: tuple[Way, ...] = (None, *SPLITS)
    document: list[dict[str, Any]] = [
        {"way": splits, "formula": formula_bytes(architecture, splits)} for splits in (None, *SPLITS)
    ]
    if find_spec("torch"):
        _add(document, "torch", measure(architecture))
    if engine_instruction_set() is not None:
        document += [{"way": "rows"}, {"way": "auto"}]
        _add(document, "engine", measure_engine(MobileNetV2(folded=True), (*ways, "rows", "auto")))
    try:
        expansions = list(sweep_points(folder_of(results), "expansions"))
        missing = ""
    except MissingResultsError as error:
        expansions, missing = [], str(error)
    words = read(
        "section5_1",
        rounds=ROUNDS,
        engine_rounds=2 * ROUNDS,
        curves=" Both curves are drawn." if len(expansions) > 1 else "",
    )
    return Page(
        "section5.1",
        words.title,
        words.text,
        [PaperTable(_HEADINGS, [_row(row) for row in document])],
        finding=_said_of_engine(document),
        notes=(*words.notes, _said_of(expansions, missing)),
        document={"architecture": "mobilenet_v2 1.0 at 224", "rows": document, "expansions": expansions},
        plot=_plot(document, expansions),
    )


_HEADINGS = ("computed in", "formula, MB", "torch's peak, MB", "torch's time", "engine's arena, MB", "engine's time")


def _add(document: list[dict[str, Any]], runtime: str, measured: list[tuple[int, float]]) -> None:
    for row, (count, ratio) in zip(document, measured, strict=True):
        row[runtime], row[f"{runtime}_time"] = count, ratio


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    names = {None: "whole layers", "rows": "by rows", "auto": "as the engine chooses"}
    cells = [names.get(row["way"], f"t = {row['way']}")]
    for key in ("formula", "torch", "torch_time", "engine", "engine_time"):
        scale = 1 if key.endswith("time") else 1e6
        cells.append(f"{row[key] / scale:.2f}" if key in row else "")
    return tuple(cells)


def _said_of_engine(document: list[dict[str, Any]]) -> str:
    whole, chosen = document[0], document[-1]
    if "engine" not in chosen:
        return "The engine's columns need the native library, which is not there."
    halves = next(row for row in document if row["way"] == 2)
    return (
        f"In two splits the engine needs {halves['engine'] / 1e6:.1f} MB instead of {whole['engine'] / 1e6:.1f} and "
        f"{halves['engine_time']:.2f} of the time of whole layers; as it chooses itself "
        f"{chosen['engine'] / 1e6:.1f} MB and {chosen['engine_time']:.2f} of the time."
    )


def _said_of(expansions: list[dict[str, Any]], missing: str) -> str:
    if missing:
        return f"The accuracy against the expansion is not drawn: {missing}"
    if len(expansions) < 2:
        return "The accuracy against the expansion is not drawn: `linnet paper sweeps` has no results of that sweep."
    return "The accuracies against the expansion are those of `linnet paper sweeps`: CIFAR-10, equal width."


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


def measure_engine(
    architecture: MobileNetV2, ways: tuple[Way, ...], rounds: int = 2 * ROUNDS
) -> list[tuple[int, float]]:
    """The engine's arena in bytes, and its time relative to the first way, for each way, interleaved; one thread."""
    network = NativeNetwork(lower(architecture, random_checkpoint(architecture).tensors))
    table = np.linspace(np.full(3, -1), np.full(3, 1), 256, axis=1, dtype=np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (1, *architecture.input_size, 3), dtype=np.uint8)
    sessions = []
    for way in ways:
        options: dict[str, Any] = {"schedule": way} if isinstance(way, str) else {"schedule": "layerwise"}
        if isinstance(way, int):
            options = {"schedule": "groups", "groups": groups_of(architecture, way)}
        sessions.append(
            NativeSession(network, architecture.input_size, np.ascontiguousarray(table), ["classifier"], **options)
        )
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):
        for session, taken in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(pixels)
            taken.append(time.perf_counter() - start)
    # The first round warms up.
    fastest = [min(taken[1:]) for taken in times]
    return [(session.arena_bytes, taken / fastest[0]) for session, taken in zip(sessions, fastest, strict=True)]


def groups_of(architecture: MobileNetV2, splits: int) -> dict[str, int]:
    """Depthwise layer of each block → expanded channels of a group, for so many splits."""
    layers = [convolution for convolution in architecture.convolutions if convolution.depthwise]
    return {depthwise.name: -(-depthwise.out_channels // splits) for depthwise in layers}


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


def _plot(document: list[dict[str, Any]], expansions: list[dict[str, Any]]) -> Figure | None:
    timed = [(runtime, colour) for runtime, colour in _COLOURS if f"{runtime}_time" in document[0]]
    panels = 1 + bool(timed) + (len(expansions) > 1)
    layout = {1: "a", 2: "ab", 3: "ab\ncc"}[panels]
    figure = new_figure(8, 6.4 if panels == 3 else 3.6)
    if figure is None:
        return None
    axes = list(figure.subplot_mosaic(layout, height_ratios=(4, 3)[: 1 + (panels == 3)]).values())
    splits = [row for row in document if isinstance(row["way"], int)]
    counts = [row["way"] for row in splits]
    for what, colour in (("formula", BLUE), *timed):
        axes[0].axhline(document[0][what] / 1e6, color=colour, linestyle=":")
        axes[0].plot(counts, [row[what] / 1e6 for row in splits], marker="o", color=colour, label=what)
    if "engine" in document[-1]:
        axes[0].axhline(document[-1]["engine"] / 1e6, color=ENGINE, linestyle="--", label="engine, as it chooses")
    axes[0].set(title="memory against splits", xlabel="splits t", ylabel="activation memory, MB", ylim=(0, None))
    axes[0].legend(title="dotted: whole layers", fontsize=8, title_fontsize=8, **UNDER)
    if timed:
        for runtime, colour in timed:
            axes[1].plot(counts, [row[f"{runtime}_time"] for row in splits], marker="o", color=colour, label=runtime)
        axes[1].axhline(1, color=GREY, linestyle=":")
        axes[1].set(title="time against splits", xlabel="splits t", ylabel="time, whole layers = 1", ylim=(0, None))
        axes[1].legend(fontsize=8)
    if len(expansions) > 1:
        places, heights = [point["at"] for point in expansions], [100 * point["top1"] for point in expansions]
        errors = [100 * (point["error"] or 0) for point in expansions]
        axes[-1].errorbar(places, heights, errors, marker="s", capsize=3, color=BLUE)
        axes[-1].set(
            title="accuracy against expansion", xlabel="expansion t", ylabel="CIFAR-10 top-1, %\n± standard error"
        )
    for panel in axes:
        panel.grid(alpha=0.3)
        panel.locator_params(axis="x", integer=True)
    return figure


_COLOURS = (("torch", TORCH), ("engine", ENGINE))

UNDER: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (1, 0.94)}
"""Where a legend lies under the topmost line."""
