"""Figure 6: the linear bottleneck and the place of the shortcut, trained; and MobileNetV1 at the same cost.

Each is compared with the base after trainings of several budgets, as far as these are run.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.architecture.cost import cost
from linnet.colours import GREY, INK, MOBILENET_V1, MOBILENET_V2, PURPLE, TEAL
from linnet.paper.ablations import COMMAND, Budget, Runs, experiments, read_budgets
from linnet.paper.effects import Change, Effect, change, counted, effects, points, sentences, span
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Found = Sequence[tuple[Budget, Runs]]

# What differs from the base, and by how many points the paper's curve ends above (+) or below the base's; as digitised.
CLAIMS: dict[str, tuple[str, float | None]] = {
    "relu6": ("ReLU6 in the bottleneck", -0.6),
    "expansion": ("shortcut between expansions", -0.4),
    "none": ("no shortcut", -1.4),
    "mobilenet_v1": ("MobileNetV1 at the same multiply-adds", None),
}
BASE = "linear bottleneck, shortcut between bottlenecks"

COLOURS = {"base": MOBILENET_V2, "relu6": PURPLE, "expansion": TEAL, "none": GREY, "mobilenet_v1": MOBILENET_V1}


def make(results: Path) -> Page:
    """The runs of `benchmarks/ablations.py`, every variant against the base, seed by seed and budget by budget.

    Raises:
        MissingResultsError: see `read_budgets`.
    """
    found = [(budget, _variants(runs)) for budget, runs in read_budgets(results)]
    compared = {name: effects(found, name) for name in CLAIMS}
    words = read(
        "figure6",
        **_conditions(found),
        first_cost=_cost("mobilenet_v1"),
        base_cost=_cost("base"),
        command=COMMAND,
        folder=results,
    )
    return Page(
        "figure6",
        words.title,
        words.text,
        (PaperTable(_HEADINGS, list(_rows(found, compared))),),
        finding=" ".join(sentences(*CLAIMS[name], compared[name]) for name in CLAIMS),
        notes=words.notes,
        document={
            "budgets": [_document(budget, runs, compared) for budget, runs in found],
            "changes": {name: _change(by) for name, each in compared.items() if (by := change(each))},
        },
        plot=_plot(found, compared),
    )


_HEADINGS = ("variant", "pictures seen", "seeds", "top-1", "against the base", "95 % interval", "p", "paper, ImageNet")


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and its standard error (0 of one value)."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.fmean(values), error


def _variants(runs: Runs) -> Runs:
    """Without those of the sweeps."""
    return {name: runs[name] for name in ("base", *CLAIMS) if name in runs}


def _cost(name: str) -> str:
    network = next(group[name] for group in experiments().values() if name in group)
    return f"{cost(network).multiply_adds / 1e6:.2f}"


def _rows(found: Found, compared: Mapping[str, Sequence[Effect]]) -> list[tuple[str, ...]]:
    """Budget below budget of the base and of each variant; its name stands in the first of its rows."""
    rows = [(BASE, *_final(budget, runs, "base"), "", "", "", "") for budget, runs in found]
    for name, (label, printed) in CLAIMS.items():
        by_budget = {effect.budget: effect for effect in compared[name]}
        rows += [
            (label, *_final(budget, runs, name), *_cells(by_budget.get(budget)), points(printed))
            for budget, runs in found
        ]
    return [("" if number and rows[number - 1][0] == row[0] else row[0], *row[1:]) for number, row in enumerate(rows)]


def _final(budget: Budget, runs: Runs, name: str) -> tuple[str, str, str]:
    """Pictures seen, seeds, and top-1 of the last weights."""
    if name not in runs:
        return f"{budget.seen:,}", "0", "not trained"
    ends = [run["top1"][-1] for run in runs[name].values()]
    mean, error = mean_and_error(ends)
    spread = f" ± {100 * error:.1f}" if len(ends) > 1 else ""
    return f"{budget.seen:,}", str(len(ends)), f"{100 * mean:.1f}{spread} %"


def _cells(effect: Effect | None) -> tuple[str, str, str]:
    if effect is None:
        return "", "", ""
    interval = effect.interval
    if interval is None:
        return points(100 * effect.mean), "one seed", ""
    return points(100 * effect.mean), span(interval), f"{interval.p:.2g}"


def _conditions(found: Found) -> dict[str, object]:
    """Under what the variants were trained, as the text says it."""
    trainings = []
    for budget, runs in found:
        minutes = statistics.median(run["seconds"] for run in runs["base"].values()) / 60
        trainings.append(
            f"{budget.pictures:,} training pictures for {budget.epochs} epochs ({counted(budget.seen)} seen; "
            f"{minutes:.1f} minutes a run)"
        )
    first, runs = found[0]
    tests = sorted({budget.test_pictures for budget, _ in found})
    return {
        "millions": next(iter(runs["base"].values()))["multiply_adds"] / 1e6,
        "trainings": "; ".join(trainings),
        "tested": f"the same {first.test_pictures:,} pictures"
        if len(tests) == 1
        else f"{tests[0]:,} to {tests[-1]:,} pictures",
    }


def _document(budget: Budget, runs: Runs, compared: Mapping[str, Sequence[Effect]]) -> dict[str, Any]:
    differences = {
        name: {**vars(effect.interval), "shown": effect.interval.shown}
        for name, each in compared.items()
        for effect in each
        if effect.budget == budget and effect.interval
    }
    return {
        "budget": vars(budget),
        "seen": budget.seen,
        "runs": {name: {seed: run["top1"] for seed, run in each.items()} for name, each in runs.items()},
        "differences": differences,
    }


def _change(found: Change) -> dict[str, Any]:
    seen = {"from": found.first.budget.seen, "to": found.last.budget.seen}
    return {**seen, **vars(found.by), "shown": found.by.shown}


def _plot(found: Found, compared: Mapping[str, Sequence[Effect]]) -> Figure | None:
    figure = new_figure(8, 7.2)
    if figure is None:
        return None
    parts: Any = figure.subfigures(2, 1, height_ratios=(5, 4))
    above, below = parts
    _draw_effects(above.subplots(), compared, [budget.seen for budget, _ in found])
    # The longest of which something can be compared.
    budget, runs = next((each for each in reversed(found) if len(each[1]) == len(COLOURS)), found[0])
    panels = [
        ("(a) the end of a block", {"base": "linear", "relu6": "ReLU6"}),
        ("(b) the shortcut", {"base": "between bottlenecks", "expansion": "between expansions", "none": "none"}),
        ("(c) the same multiply-adds", {"base": "MobileNetV2", "mobilenet_v1": "MobileNetV1"}),
    ]
    below.suptitle(f"on the way to {counted(budget.seen)} pictures", fontsize=10)
    axes = below.subplots(1, len(panels), sharey=True)
    for panel, (title, shown) in zip(axes, panels, strict=True):
        for name, label in shown.items():
            if name in runs:
                _draw_curve(panel, runs[name], label, COLOURS[name])
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("epochs")
        panel.grid(alpha=0.3)
        panel.legend(loc="lower right", fontsize=8)
    axes[0].set_ylabel("top-1, %")
    # Room for the legends.
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low - 0.3 * (high - low), high)
    return figure


def _draw_effects(panel: Axes, compared: Mapping[str, Sequence[Effect]], seen: Sequence[int]) -> None:
    """Points against the base over the pictures seen: 95 % intervals, hollow where a single seed has none."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    panel.axhline(0, color=INK, linewidth=1)
    for number, (name, each) in enumerate(compared.items()):
        label, printed = CLAIMS[name]
        # Side by side, so that no interval hides another.
        places = [effect.budget.seen * 1.04 ** (number - 1.5) for effect in each]
        heights = [100 * effect.mean for effect in each]
        reaches = [100 * (effect.interval.high - effect.mean) if effect.interval else 0 for effect in each]
        paper = "" if printed is None else f" (paper, dotted: {points(printed)})"
        style: dict[str, Any] = {"color": COLOURS[name], "marker": "o"}
        panel.errorbar(places, heights, reaches, capsize=3, label=f"{label}{paper}", **style)
        lone = [place for place, effect in enumerate(each) if effect.interval is None]
        some = [places[place] for place in lone], [heights[place] for place in lone]
        panel.plot(*some, markerfacecolor="white", linestyle="none", zorder=3, **style)
        if printed is not None:
            panel.axhline(printed, color=COLOURS[name], linestyle=":", linewidth=1.3)
    panel.set(xscale="log", xlim=(seen[0] / 1.6, seen[-1] * 1.6))
    panel.set(xlabel="pictures seen in training", ylabel="points against the base\n95 % interval; hollow: one seed")
    panel.xaxis.set_major_locator(FixedLocator(seen))
    panel.xaxis.set_major_formatter(lambda value, _: counted(round(value)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(alpha=0.3)
    if compared:
        panel.legend(fontsize=8)


def _draw_curve(panel: Axes, found: Mapping[int, Mapping[str, Any]], label: str, colour: str) -> None:
    """The mean curve over the seeds in a band of one standard error; the seeds themselves as thin lines."""
    curves = [[100 * value for value in run["top1"]] for run in found.values()]
    summary = [mean_and_error(values) for values in zip(*curves, strict=True)]
    epochs = range(1, len(summary) + 1)
    for curve in curves:
        panel.plot(epochs, curve, color=colour, linewidth=0.5, alpha=0.5)
    seeds = f"{len(found)} seed{'s' * (len(found) > 1)}"
    panel.plot(epochs, [mean for mean, _ in summary], color=colour, linewidth=2, label=f"{label} ({seeds})")
    low, high = [mean - error for mean, error in summary], [mean + error for mean, error in summary]
    panel.fill_between(epochs, low, high, color=colour, alpha=0.25, linewidth=0)
