"""Accuracy against latency, or the memory of a microcontroller, the choice marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linnet.choosing.choice import Bounds, Row, front, spent
from linnet.colours import BLUE_TINTS, INK, MOBILENET_V1, MOBILENET_V2, ORANGE_LIGHT, RIGHT, WRONG
from linnet.figures import new_figure, save_figure

STYLES = {
    ("mobilenet_v2", "int8"): ("o", MOBILENET_V2, "MobileNetV2, int8"),
    ("mobilenet_v2", "float32"): ("o", BLUE_TINTS[2], "MobileNetV2, float32"),
    ("mobilenet_v1", "int8"): ("s", MOBILENET_V1, "MobileNetV1, int8"),
    ("mobilenet_v1", "float32"): ("s", ORANGE_LIGHT, "MobileNetV1, float32"),
}
"""Family and precision → marker, colour and name."""

KB = 1000


def draw_choice(path: Path, every: Sequence[Row], best_first: Sequence[Row], bounds: Bounds, title: str) -> None:
    """Writes a PNG: every network measured, the front of those that fit, the bound on latency, and the choice.

    Filled marks are published accuracies, hollow ones lie between them. Where no latency was measured memory is drawn.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    cost = spent(every)
    timed = cost == "latency_ms"
    figure = new_figure(8, 5.6)
    axes = figure.add_subplot()
    axes.set(xscale="log")
    for (network, precision), (marker, colour, name) in STYLES.items():
        shown = [row for row in every if (row.candidate.network, row.candidate.precision) == (network, precision)]
        for published in (True, False):
            some = [row for row in shown if row.candidate.published == published]
            axes.plot(
                [_value(row, cost) for row in some],
                [100 * row.quality for row in some],
                marker,
                color=colour,
                markerfacecolor=colour if published else "none",
                markersize=5 if published else 3.5,
                label=name if published and some else "",
                linestyle="none",
            )
    if best_first:
        # Of those that nothing beats, some only take less memory than a faster one.
        line = front(best_first, Bounds())[::-1]
        axes.step(
            [_value(row, cost) for row in line],
            [100 * row.quality for row in line],
            where="post",
            color=INK,
            linewidth=1.2,
            label=f"fits, and nothing is as {'fast' if timed else 'small'} and better",
            zorder=1,
        )
        best = best_first[0]
        text = f"{best.candidate.width:g} at {best.candidate.resolution}, {best.candidate.precision}"
        place = (_value(best, cost), 100 * best.quality)
        axes.plot(*place, "*", color=RIGHT, markersize=17, label=f"the choice: {text}")
    bound, flag = (bounds.latency, "latency") if timed else (bounds.memory, "memory")
    if bound is not None:
        axes.axvline(bound / (1 if timed else KB), color=WRONG, linestyle="--", label=f"--{flag} {bound:g}")
    own = any(row.data_top1 is not None for row in every)
    axes.set(
        xlabel="milliseconds a picture, measured here"
        if timed
        else "kB of RAM that the C file needs, weights not counted",
        ylabel=f"top-1 on {'your data' if own else 'ImageNet'}, % (filled: published in float32)",
        title=title,
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, alpha=0.25)
    axes.legend(fontsize=8, loc="lower right")
    save_figure(figure, path)


def _value(row: Row, cost: str) -> float:
    """Milliseconds, or kilobytes."""
    return row.takes[cost] / (1 if cost == "latency_ms" else KB)
