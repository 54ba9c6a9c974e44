"""The manifold of interest: how many dimensions the bottlenecks and the expansions of trained networks really use."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.colours import MODELS, SERIES
from linnet.paper.activations import block_numbers, read_activations
from linnet.paper.page import Page, PaperTable, new_figure, plain
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FULL = 0.9
"""Share of its channels from which on a bottleneck is said to be nearly full."""

ENOUGH = 10
"""Vectors a channel from which on their number limits the rank by less than 4 % (see docs/experiments.md)."""

ENDS = {"bottleneck": "bottlenecks", "expansion": "expansions"}


def make(results: Path) -> Page:
    """All models that were measured.

    Raises:
        MissingResultsError: see `read_activations`.
    """
    models = read_activations(results / "activations")
    summaries = {name: summary(model) for name, model in models.items()}
    rows = [
        (
            name,
            f"{model['width']:g}",
            _percent(found["bottleneck"]["participation"]),
            _percent(found["bottleneck"]["components"]),
            _percent(found["expansion"]["participation"]),
            _percent(found["expansion"]["components"]),
            f"{found['spanning_width']:.2f}",
            found["fullest"],
        )
        for (name, model), found in zip(models.items(), summaries.values(), strict=True)
    ]
    largest = max(
        models, key=lambda name: (models[name]["width"], models[name]["resolution"], models[name]["pictures"])
    )
    words = read("manifold")
    return Page(
        "manifold",
        words.title,
        words.text,
        [
            PaperTable(
                (
                    "model",
                    "width",
                    "bottlenecks, participation",
                    "components",
                    "expansions, participation",
                    "components",
                    "width that spans",
                    "fullest block",
                ),
                rows,
                "Shares of the channels, median over the blocks that expand",
            ),
            _layers(largest, models[largest]),
        ],
        finding=_finding(models, summaries),
        notes=(
            *words.notes,
            *(
                f"{name}: {model['pictures']} pictures of {model['data']} at {model['resolution'][0]} pixels, at most "
                f"{model['positions']} positions of each map: {_vectors(model)}."
                for name, model in models.items()
            ),
        ),
        document={"models": models, "summaries": summaries},
        plot=_plot(models),
    )


def summary(model: Mapping[str, Any]) -> dict[str, Any]:
    """Medians over the blocks of the shares of channels, at both ends, and the width that spans all bottlenecks."""
    blocks = model["trained"]
    found: dict[str, Any] = {
        end: {
            key: statistics.median(block[end][key] / block[end]["channels"] for block in blocks)
            for key in ("participation", "components")
        }
        for end in ENDS
    }
    shares = {block["block"]: block["bottleneck"]["components"] / block["bottleneck"]["channels"] for block in blocks}
    fullest = max(shares, key=shares.__getitem__)
    return found | {"fullest": fullest, "spanning_width": float(model["width"]) * shares[fullest]}


def _finding(models: Mapping[str, Mapping[str, Any]], summaries: Mapping[str, Mapping[str, Any]]) -> str:
    shares = {name: found["bottleneck"]["components"] for name, found in summaries.items()}
    listed = ", ".join(
        f"{name} {_percent(share)}" for name, share in sorted(shares.items(), key=lambda entry: -entry[1])
    )
    inner = [found["expansion"]["components"] for found in summaries.values()]
    full = [name for name, share in shares.items() if share >= FULL]
    last = {name: model["trained"][-1]["bottleneck"] for name, model in models.items()}
    emptiest = min(last, key=lambda name: float(last[name]["components"] / last[name]["channels"]))
    return (
        f"For 99 % of the variance the median bottleneck needs, of its channels: {listed}. "
        + (f"So the bottlenecks of {' and '.join(full)} are nearly full. " if full else "")
        + f"The median expansion needs {_percent(min(inner))} to {_percent(max(inner))}. The emptiest last bottleneck "
        f"is that of {emptiest}: {last[emptiest]['components']} of {last[emptiest]['channels']}."
    )


def _vectors(model: Mapping[str, Any]) -> str:
    """Samples a channel where they are fewest, and whether that is enough."""
    fewest = min(block[end]["samples"] / block[end]["channels"] for block in model["trained"] for end in ENDS)
    if fewest < ENOUGH:
        return f"{fewest:.1f} vectors a channel at the fewest, of which some components too few come out"
    return f"{fewest:.0f} vectors a channel or more, so that their number hardly limits the ranks"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _layers(name: str, model: Mapping[str, Any]) -> PaperTable:
    rows = []
    for block in model["trained"]:
        cells = [block["block"]]
        for end in ENDS:
            found = block[end]
            cells += [f"{found['channels']}", f"{found['participation']:.1f}", f"{found['components']}"]
        rows.append(cells)
    headings = [
        "block",
        "bottleneck, channels",
        "participation",
        "99 %",
        "expansion, channels",
        "participation",
        "99 %",
    ]
    return PaperTable(headings, rows, f"Layer by layer: {name}")


def _plot(models: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    figure = new_figure(8, 4.4)
    if figure is None:
        return None
    axes = figure.subplots(1, 2, sharey=True)
    for panel, (end, label) in zip(axes, ENDS.items(), strict=True):
        for number, (name, model) in enumerate(models.items()):
            shares = [block[end]["components"] / block[end]["channels"] for block in model["trained"]]
            panel.plot(
                block_numbers(model["trained"]),
                shares,
                marker="o",
                markersize=3,
                color=MODELS.get(name, SERIES[number % len(SERIES)]),
                label=plain(name),
            )
        panel.set(title=f"{label}", xlabel="block", ylim=(0, 1.05))
        panel.grid(alpha=0.3)
        panel.locator_params(axis="x", integer=True)
    axes[0].set_ylabel("share of channels for 99 % of the variance")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=4)
    return figure
