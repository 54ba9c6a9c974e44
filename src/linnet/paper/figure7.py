"""Figure 7: positive channels after each expansion, before and after training, against what a bottleneck passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.colours import BLUE, GREY, ORANGE
from linnet.paper.activations import COMMAND, block_numbers, read_activations
from linnet.paper.page import MissingResultsError, Page, PaperTable, new_figure, plain
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Channels of each expansion, then average, least and most positive ones: at step 0, and fully trained; as digitised.
PRINTED = (
    (96, (47.9, 32, 65), (49.2, 27, 73)),
    (144, (70.4, 52, 87), (73.5, 47, 102)),
    (144, (73.4, 52, 93), (71.7, 40, 115)),
    (192, (91.7, 71, 115), (95.7, 64, 128)),
    (192, (95.5, 75, 117), (95.7, 65, 132)),
    (192, (89.3, 67, 113), (94.4, 27, 170)),
    (384, (175.7, 151, 209), (188.7, 137, 237)),
    (384, (184.1, 154, 216), (191.7, 139, 245)),
    (384, (192.0, 167, 219), (190.2, 129, 263)),
    (384, (203.5, 170, 227), (190.0, 79, 296)),
    (576, (270.9, 232, 312), (280.8, 199, 379)),
    (576, (288.3, 249, 326), (280.9, 167, 427)),
    (576, (290.2, 261, 330), (275.0, 54, 550)),
    (960, (493.9, 452, 537), (463.0, 334, 673)),
    (960, (475.5, 439, 516), (467.7, 261, 722)),
    (960, (492.8, 460, 532), (466.0, 82, 855)),
)
COLUMNS = {"initial": "at step 0", "trained": "trained"}


def make(results: Path) -> Page:
    """The models that were measured with random weights too.

    Raises:
        MissingResultsError: if there is none; see also `read_activations`.
    """
    folder = results / "activations"
    models = {name: found for name, found in read_activations(folder).items() if "initial" in found}
    if not models:
        raise MissingResultsError(f"no result in '{folder}' has an initial network. Make one by `{COMMAND} --initial`.")
    printed_below = [number for number, (total, _, (_, least, _)) in enumerate(PRINTED) if least < total / 6]
    means = [trained[0] / total for total, _, trained in PRINTED]
    words = read(
        "figure7",
        count_below=len(printed_below),
        below=", ".join(f"blocks.{number + 1}" for number in printed_below),
        least=100 * min(means),
        most=100 * max(means),
    )
    return Page(
        "figure7",
        words.title,
        words.text,
        [_table(name, model) for name, model in models.items()],
        finding=" ".join(_said_of(name, model) for name, model in models.items()),
        notes=words.notes,
        document={name: {part: model[part] for part in COLUMNS} for name, model in models.items()},
        plot=_plot(models),
    )


def below_threshold(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Blocks in which some position has fewer positive channels than the bottleneck had."""
    return [block["block"] for block in blocks if block["positive"]["least"] < block["inputs"]]


def _said_of(name: str, model: Mapping[str, Any]) -> str:
    shares = [block["positive"]["mean"] / block["expansion"]["channels"] for block in model["trained"]]
    below = below_threshold(model["trained"])
    where = f"in {len(below)} of {len(shares)} ({', '.join(below)})" if below else f"in none of {len(shares)}"
    return (
        f"**{name}**: after training {100 * min(shares):.0f} to {100 * max(shares):.0f} % of an expansion's channels "
        f"are positive on average; somewhere there are fewer than 1/t {where}."
    )


def _cell(positive: Mapping[str, float]) -> str:
    return f"{positive['mean']:.1f} ({positive['least']:g} to {positive['most']:g})"


def _table(name: str, model: Mapping[str, Any]) -> PaperTable:
    trained, initial = model["trained"], model["initial"]
    beside = [block["expansion"]["channels"] for block in trained] == [total for total, *_ in PRINTED]
    headings = ["expansion of", "channels", "threshold", "at step 0"]
    headings += ["paper"] * beside + ["trained"] + ["paper"] * beside
    rows = []
    for number, (before, after) in enumerate(zip(initial, trained, strict=True)):
        cells = [after["block"], f"{after['expansion']['channels']}", f"{after['inputs']}", _cell(before["positive"])]
        cells += [_printed(PRINTED[number][1])] * beside
        cells += [_cell(after["positive"])] + [_printed(PRINTED[number][2])] * beside
        rows.append(cells)
    return PaperTable(headings, rows, f"{name}, {model['pictures']} pictures: mean (least to most) positive channels")


def _printed(entry: tuple[float, float, float]) -> str:
    return f"{entry[0]:.1f} ({entry[1]:g} to {entry[2]:g})"


def _plot(models: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    figure = new_figure(8, 0.5 + 2.7 * len(models))
    if figure is None:
        return None
    axes = figure.subplots(len(models), 2, sharey=True, squeeze=False)
    for row, (name, model) in zip(axes, models.items(), strict=True):
        for panel, (part, label) in zip(row, COLUMNS.items(), strict=True):
            _draw(panel, model[part])
            panel.set(title=f"{plain(name)}, {label}", xlabel="block", ylim=(0, 1))
        row[0].set_ylabel("positive channels, of 1")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", fontsize=9, ncols=5)
    return figure


def _draw(panel: Axes, blocks: Sequence[Mapping[str, Any]]) -> None:
    places = block_numbers(blocks)
    of_all = [
        {key: value / block["expansion"]["channels"] for key, value in block["positive"].items()} for block in blocks
    ]
    low, high = ([at["mean"] + sign * at["deviation"] for at in of_all] for sign in (-1, 1))
    panel.plot(places, [at["mean"] for at in of_all], color=BLUE, marker="o", markersize=3, label="mean")
    panel.fill_between(places, low, high, color=BLUE, alpha=0.25, linewidth=0, label="± 1 standard deviation")
    for key, label in (("least", "least and most"), ("most", "")):
        panel.plot(places, [at[key] for at in of_all], color=GREY, linewidth=0.8, label=label)
    thresholds = [block["inputs"] / block["expansion"]["channels"] for block in blocks]
    panel.plot(places, thresholds, color=ORANGE, linestyle="--", label="1/t")
    panel.grid(alpha=0.3)
    panel.locator_params(axis="x", integer=True)
