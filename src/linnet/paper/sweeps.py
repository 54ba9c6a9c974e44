"""Sweeps beside Figure 6: accuracy against the expansion, at equal width and at equal cost, and against the width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.architecture import MobileNetV2
from linnet.colours import BLUE, ORANGE
from linnet.paper.ablations import COMMAND, experiments, folder_of, read_runs
from linnet.paper.figure6 import mean_and_error
from linnet.paper.page import MissingResultsError, Page, PaperTable, new_figure
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SWEEPS = {
    "expansions": ("Expansion at equal width", "expansion t"),
    "matched": ("Expansion at matched multiply-adds", "expansion t"),
    "widths": ("Width at expansion 6", "width"),
}


def make(results: Path) -> Page:
    """The sweeps of `benchmarks/ablations.py`, as far as they are run.

    Raises:
        MissingResultsError: if no sweep has a result; see also `read_runs`.
    """
    folder = folder_of(results)
    points = {sweep: list(sweep_points(folder, sweep)) for sweep in SWEEPS}
    points = {sweep: found for sweep, found in points.items() if len(found) > 1}
    if not points:
        raise MissingResultsError(f"there are no results of sweeps in '{folder}'. Make them by `{COMMAND}`.")
    tables = [
        PaperTable(
            (SWEEPS[sweep][1], *["width"] * (sweep != "widths"), "multiply-adds", "seeds", "top-1"),
            [(f"{point['at']:g}", *[f"{point['width']:g}"] * (sweep != "widths"), *_cells(point)) for point in found],
            SWEEPS[sweep][0],
        )
        for sweep, found in points.items()
    ]
    left = [SWEEPS[sweep][0].lower() for sweep in SWEEPS if sweep not in points]
    more = [f"Not yet run: {', '.join(left)}. `{COMMAND} --out {folder}` goes on with them."] if left else []
    words = read("sweeps")
    return Page(
        "sweeps",
        words.title,
        words.text,
        tables,
        finding=" ".join(_said_of(sweep, found) for sweep, found in points.items()),
        notes=(*words.notes, *more),
        document={"sweeps": points},
        plot=_plot(points),
    )


def sweep_points(folder: Path, sweep: str) -> Iterator[dict[str, Any]]:
    """Of a sweep, where it stands (`at`), the network's width and cost, and mean and error of top-1; base included.

    Raises:
        MissingResultsError: see `read_runs`.
    """
    runs = read_runs(folder)
    groups = experiments()
    networks = {**groups[sweep], "base": groups["variants"]["base"]}
    ordered = sorted(networks.items(), key=lambda entry: _place(entry[1], sweep))
    for name, network in ordered:
        if name in runs and isinstance(network, MobileNetV2):
            found = runs[name]
            mean, error = mean_and_error([run["top1"][-1] for run in found.values()])
            yield {
                "at": _place(network, sweep),
                "width": network.width,
                "multiply_adds": next(iter(found.values()))["multiply_adds"],
                "seeds": len(found),
                "top1": mean,
                "error": error if len(found) > 1 else None,
            }


def _said_of(sweep: str, found: Sequence[Mapping[str, Any]]) -> str:
    best = max(found, key=lambda point: float(point["top1"]))
    label, axis = SWEEPS[sweep]
    return (
        f"{label}: from {100 * found[0]['top1']:.1f} % at {axis} {found[0]['at']:g} to "
        f"{100 * found[-1]['top1']:.1f} % at {found[-1]['at']:g}; the highest is {100 * best['top1']:.1f} % at "
        f"{best['at']:g}"
        + (" (points of one seed among them)." if any(point["seeds"] == 1 for point in found) else ".")
    )


def _place(network: Any, sweep: str) -> float:
    return float(network.width if sweep == "widths" else network.expansion)


def _cells(point: Mapping[str, Any]) -> tuple[str, str, str]:
    error = "" if point["error"] is None else f" ± {100 * point['error']:.1f}"
    return f"{point['multiply_adds'] / 1e6:.2f} M", str(point["seeds"]), f"{100 * point['top1']:.1f}{error} %"


def _plot(points: Mapping[str, list[dict[str, Any]]]) -> Figure | None:
    figure = new_figure(8, 3.8)
    if figure is None:
        return None
    from matplotlib.ticker import LogLocator, NullFormatter

    left, right = figure.subplots(1, 2)
    colours = {"expansions": BLUE, "matched": ORANGE, "widths": BLUE}
    for sweep, found in points.items():
        panel, across = (right, "multiply_adds") if sweep == "widths" else (left, "at")
        scale = 1e-6 if sweep == "widths" else 1
        places, heights = [scale * point[across] for point in found], [100 * point["top1"] for point in found]
        errors = [100 * (point["error"] or 0) for point in found]
        panel.errorbar(places, heights, errors, marker="o", capsize=3, color=colours[sweep], label=SWEEPS[sweep][0])
        if sweep == "widths":
            for place, height, point in zip(places, heights, found, strict=True):
                panel.annotate(f"  {point['at']:g}", (place, height), va="top", fontsize=8)
    left.set(xlabel="expansion t", ylabel="CIFAR-10 top-1, % ± standard error")
    right.set(xlabel="multiply-adds, millions", xscale="log")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter(NullFormatter())
    for panel in (left, right):
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(loc="lower right", fontsize=8)
    return figure
