"""Figure 5: published ImageNet accuracy against exact multiply-adds, MobileNetV1 and V2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.colours import MOBILENET_V1, MOBILENET_V2
from linnet.paper.page import MissingResultsError, Page, PaperTable, difference, new_figure
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure


RESOLUTIONS = (224, 192, 160, 128, 96)

Published = dict[float, tuple[tuple[float, ...], tuple[float, ...]]]

# Width → top-1 of the released networks at 224, 192, 160, 128 and 96, and the multiply-adds (M) that the figure plots.
SECOND: Published = {
    1.4: ((75.0,), (582.29,)),
    1.0: ((71.8, 70.7, 68.8, 65.3, 60.3), (300.84, 221.36, 154.12, 99.10, 56.30)),
    0.75: ((69.8, 68.7, 66.4, 63.2, 58.8), (209.13, 153.99, 107.33, 69.15, 39.46)),
    0.5: ((65.4, 63.9, 61.0, 57.7, 51.2), (97.20, 71.75, 50.22, 32.60, 18.90)),
    0.35: ((60.3, 58.2, 55.7, 50.8, 45.5), (59.35, 43.94, 30.91, 20.24, 11.95)),
}
# The same of MobileNetV1 as the figure plots them (224, 192, 160, 128).
FIRST: Published = {
    1.0: ((70.6, 69.1, 67.2, 64.4), (568.8, 418.1, 290.7, 186.4)),
    0.75: ((68.4, 67.3, 64.7, 62.2), (316.9, 233.1, 162.1, 104.0)),
    0.5: ((63.7, 62.5, 60.2, 55.8), (149.5, 110.0, 76.5, 49.2)),
    0.25: ((50.6, 47.6, 45.3, 42.9), (41.0, 34.1, 21.1, 13.6)),
}


_FAMILIES: dict[str, type[MobileNetV1 | MobileNetV2]] = {"MobileNetV2": MobileNetV2, "MobileNetV1": MobileNetV1}

COMMAND = "python benchmarks/published.py PICTURES --models MODEL..."


def make(results: Path) -> Page:
    """Every point of the two families: its published top-1, the plotted and the exact multiply-adds.

    Points of our own on other pictures are there if they were measured.

    Raises:
        MissingResultsError: if the file of those points is broken, naming it.
    """
    path = results / "imagenet-samples.json"
    measured = read_measured(path)
    rows: list[tuple[str, ...]] = []
    document: list[dict[str, Any]] = []
    curves: dict[str, dict[float, list[tuple[float, float]]]] = {"MobileNetV2": {}, "MobileNetV1": {}}
    for family, published in (("MobileNetV2", SECOND), ("MobileNetV1", FIRST)):
        kind = _FAMILIES[family]
        for width, (scores, plotted) in published.items():
            for resolution, top1, shown in zip(RESOLUTIONS, scores, plotted, strict=False):
                exact = cost(kind(width=width, resolution=resolution)).multiply_adds
                curves[family].setdefault(width, []).append((exact / 1e6, top1))
                name = f"{family} {width:g} at {resolution}"
                rows.append((name, f"{top1:.1f}", f"{shown:.2f} M", f"{exact:,}", difference(exact / 1e6, shown)))
                document.append({"network": name, "top1": top1, "plotted": shown, "multiply_adds": exact})
    smallest = min(row["multiply_adds"] for row in document)
    words = read("figure5", smallest=smallest)
    return Page(
        "figure5",
        words.title,
        words.text,
        [
            PaperTable(("network", "top-1", "multiply-adds plotted", "exact", ""), rows),
            *([_table(measured)] if measured else []),
        ],
        notes=(
            *words.notes,
            "Our own points are of another test set: photographs that are almost certainly among ImageNet's training "
            "pictures. They stand far above the published ones and show the order of the networks, not their accuracy. "
            f"`{COMMAND}` makes them."
            if measured
            else f"Points of our own are not drawn: '{path}' is not there. `{COMMAND}` makes it.",
        ),
        document={"rows": document, "measured": measured},
        plot=_plot(curves, measured),
    )


def read_measured(path: Path) -> list[dict[str, Any]]:
    """Our own points: model, family, width, resolution, multiply-adds, pictures and top-1; none if there is no file.

    Raises:
        MissingResultsError: if the file is broken, naming it.
    """
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_bytes())
        if not isinstance(rows, list) or not rows:
            raise ValueError("it has no row")
        for row in rows:
            str(row["model"])
            if row["family"] not in _FAMILIES or not 0 <= row["top1"] <= 1:
                raise ValueError(f"{row['model']} is of no family of the figure, or its top-1 is no share of 1")
            if not (row["pictures"] > 0 and row["multiply_adds"] > 0 and row["width"] > 0 and row["resolution"] > 0):
                raise ValueError(f"{row['model']} has no pictures or no cost")
            # A class more or less is the same network.
            now = cost(_FAMILIES[row["family"]](width=row["width"], resolution=row["resolution"])).multiply_adds
            if abs(row["multiply_adds"] / now - 1) > 0.01:
                raise ValueError(f"{row['model']} costs {now:,} multiply-adds by now, not {row['multiply_adds']:,}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissingResultsError(
            f"'{path}' holds no measured networks ({type(error).__name__}: {error}). Delete it and make it again by "
            f"`{COMMAND}`."
        ) from None
    return rows


def _table(measured: list[dict[str, Any]]) -> PaperTable:
    rows = [
        (
            f"{row['family']} {row['width']:g} at {row['resolution']} (`{row['model']}`)",
            f"{100 * row['top1']:.1f}",
            f"{row['multiply_adds']:,}",
            f"{row['pictures']}",
        )
        for row in measured
    ]
    return PaperTable(("network", "top-1", "multiply-adds", "pictures"), rows, "Our own, on training photographs")


def _plot(curves: dict[str, dict[float, list[tuple[float, float]]]], measured: list[dict[str, Any]]) -> Figure | None:
    figure = new_figure(8, 5.2)
    if figure is None:
        return None
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = figure.add_subplot()
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    text: dict[str, Any] = {"fontsize": 8, "bbox": box}
    styles = {"MobileNetV2": ("o", MOBILENET_V2), "MobileNetV1": ("s", MOBILENET_V1)}
    for family, widths in curves.items():
        marker, colour = styles[family]
        for number, (width, points) in enumerate(widths.items()):
            axes.plot(*zip(*points, strict=True), marker=marker, color=colour, label="" if number else family)
            # Below the right end: there both families leave room.
            axes.annotate(f"{width:g}", points[0], (3, -12), textcoords="offset points", color=colour, **text)
    for family, (marker, colour) in styles.items():
        own = [(row["multiply_adds"] / 1e6, 100 * row["top1"]) for row in measured if row["family"] == family]
        if own:
            label = f"{family}, ours, on training photographs"
            axes.plot(*zip(*own, strict=True), marker, color=colour, markerfacecolor="none", markersize=9, label=label)
    axes.set(xscale="log", xlabel="multiply-adds, millions (exact)", ylabel="ImageNet top-1, % (filled: published)")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return figure
