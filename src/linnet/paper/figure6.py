"""Figure 6: the linear bottleneck and the place of the shortcut, trained; and MobileNetV1 at the same cost."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.architecture.cost import cost
from linnet.colours import BLUE, GREY, ORANGE
from linnet.paper.ablations import COMMAND, Paired, experiments, paired, read_runs
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What differs from the base, and by how many points the paper's curve ends above (+) or below the base's; as digitised.
CLAIMS: dict[str, tuple[str, float | None]] = {
    "relu6": ("ReLU6 in the bottleneck", -0.6),
    "expansion": ("shortcut between expansions", -0.4),
    "none": ("no shortcut", -1.4),
    "mobilenet_v1": ("MobileNetV1 at the same multiply-adds", None),
}
BASE = "linear bottleneck, shortcut between bottlenecks"

Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]


def make(results: Path) -> Page:
    """The runs of `benchmarks/ablations.py`, every variant against the base, seed by seed.

    Raises:
        MissingResultsError: see `read_runs`.
    """
    folder = results / "figure6"
    runs = {name: found for name, found in read_runs(folder).items() if name in ("base", *CLAIMS)}
    comparisons = {name: against_base(runs, name) for name in CLAIMS if name in runs}
    rows = [(BASE, *_final(runs["base"]), "", "", "", "")]
    for name, (label, printed) in CLAIMS.items():
        if name in comparisons:
            rows.append((label, *_final(runs[name]), *_cells(comparisons[name]), points(printed)))
        else:
            rows.append((label, "0", "not trained", "", "", "", points(printed)))
    words = read(
        "figure6",
        **_conditions(runs["base"]),
        first_cost=_cost("mobilenet_v1"),
        base_cost=_cost("base"),
        command=COMMAND,
        folder=folder,
    )
    return Page(
        "figure6",
        words.title,
        words.text,
        (PaperTable(("variant", "seeds", "top-1", "against the base", "95 % interval", "p", "paper, ImageNet"), rows),),
        finding=verdict(comparisons),
        notes=words.notes,
        document={
            "budget": _any(runs["base"])["budget"],
            "runs": {name: {seed: run["top1"] for seed, run in found.items()} for name, found in runs.items()},
            "differences": {
                name: {**vars(found), "shown": found.shown} for name, found in comparisons.items() if found
            },
        },
        plot=_plot(runs),
    )


def against_base(runs: Runs, name: str) -> Paired | None:
    """Final top-1 of a variant less that of the base over the seeds that both have; None if those are fewer than 2."""
    seeds = sorted(set(runs[name]) & set(runs["base"]))
    if len(seeds) < 2:
        return None
    first, second = ([runs[which][seed]["top1"][-1] for seed in seeds] for which in (name, "base"))
    return paired(first, second)


def verdict(comparisons: Mapping[str, Paired | None]) -> str:
    """What reproduces and what does not, in sentences made from the intervals."""
    sentences = []
    for name, found in comparisons.items():
        label, printed = CLAIMS[name]
        what = f"**{label[0].upper()}{label[1:]}**"
        if found is None:
            sentences.append(f"{what}: too few seeds for a statement.")
        elif not found.shown:
            sentences.append(f"{what}: no difference is shown at this scale.")
        else:
            side = "worse" if found.mean < 0 else "better"
            as_printed = found.mean < 0 if printed is None else found.mean * printed > 0
            agrees = "as in the paper" if as_printed else "the opposite of the paper"
            agrees += f" ({points(printed)} there)" if printed is not None else ""
            sentences.append(f"{what}: {abs(100 * found.mean):.1f} points {side}, {agrees}.")
    return " ".join(sentences)


def points(value: float | None) -> str:
    """A difference in points, with its sign."""
    return "" if value is None else f"{value:+.1f}".replace("-", "−")


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and its standard error (0 of one value)."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.fmean(values), error


def _any(found: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any]:
    return next(iter(found.values()))


def _cost(name: str) -> str:
    network = next(group[name] for group in experiments().values() if name in group)
    return f"{cost(network).multiply_adds / 1e6:.2f}"


def _final(found: Mapping[int, Mapping[str, Any]]) -> tuple[str, str]:
    mean, error = mean_and_error([run["top1"][-1] for run in found.values()])
    return str(len(found)), f"{100 * mean:.1f} ± {100 * error:.1f} %"


def _cells(found: Paired | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    return points(100 * found.mean), f"{points(100 * found.low)} to {points(100 * found.high)}", f"{found.p:.2g}"


def _conditions(found: Mapping[int, Mapping[str, Any]]) -> dict[str, object]:
    """Under what the variants were trained, as the text says it."""
    run = _any(found)
    budget = run["budget"]
    return {
        "millions": run["multiply_adds"] / 1e6,
        "pictures": budget["pictures"],
        "epochs": budget["epochs"],
        "test_pictures": budget["test_pictures"],
        "minutes": statistics.median(run["seconds"] for run in found.values()) / 60,
    }


def _plot(runs: Runs) -> Figure | None:
    panels = [
        ("(a) the end of a block", {"base": "linear", "relu6": "ReLU6"}),
        ("(b) the shortcut", {"base": "between bottlenecks", "expansion": "between expansions", "none": "none"}),
        ("(c) the same multiply-adds", {"base": "MobileNetV2", "mobilenet_v1": "MobileNetV1"}),
    ]
    figure = new_figure(8, 3.6)
    if figure is None:
        return None
    axes = figure.subplots(1, len(panels), sharey=True)
    for panel, (title, shown) in zip(axes, panels, strict=True):
        for colour, (name, label) in zip((BLUE, ORANGE, GREY), shown.items(), strict=False):
            if name in runs:
                _draw(panel, runs[name], label, colour)
        panel.set(title=title, xlabel="epochs")
        panel.grid(alpha=0.3)
        panel.legend(loc="lower right", fontsize=7.5)
    axes[0].set_ylabel("top-1, %: mean ± standard error")
    return figure


def _draw(panel: Axes, found: Mapping[int, Mapping[str, Any]], label: str, colour: str) -> None:
    """The mean curve over the seeds in a band of one standard error; the seeds themselves as thin lines."""
    curves = [[100 * value for value in run["top1"]] for run in found.values()]
    summary = [mean_and_error(values) for values in zip(*curves, strict=True)]
    epochs = range(1, len(summary) + 1)
    for curve in curves:
        panel.plot(epochs, curve, color=colour, linewidth=0.5, alpha=0.5)
    panel.plot(epochs, [mean for mean, _ in summary], color=colour, linewidth=2, label=f"{label} ({len(found)} seeds)")
    low, high = [mean - error for mean, error in summary], [mean + error for mean, error in summary]
    panel.fill_between(epochs, low, high, color=colour, alpha=0.25, linewidth=0)
