"""Eight bits: what each step of quantising after training gives, on networks of several origins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from linnet.colours import MODELS, SERIES
from linnet.paper.effects import points
from linnet.paper.page import MissingResultsError, Page, PaperTable, new_figure, plain
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMAND = "python benchmarks/eight_bits.py MODEL DATA"

Way = Literal["min-max", "percentile", "least-squares"]


@dataclass(frozen=True)
class Row:
    """One way to quantise, as `linnet.quantisation.post_training` names its parts.

    Attributes:
        words: what it is.
        ways: of calibrating, from which one is chosen for each tensor.
        equalises: channels of a tensor are made to reach equally far.
        corrects: biases take back what rounding adds to means.
        per_tensor: one scale for all output channels of a weight.
    """

    words: str
    ways: tuple[Way, ...] = ("min-max",)
    equalises: bool = False
    corrects: bool = False
    per_tensor: bool = False


ALL: tuple[Way, ...] = ("min-max", "percentile", "least-squares")

METHODS = {
    "tensor": Row("weights per tensor, min-max", per_tensor=True),
    "tensor+bias": Row("the same, biases corrected", per_tensor=True, corrects=True),
    "tensor+equal": Row("the same, equalised", per_tensor=True, equalises=True),
    "tensor+equal+bias": Row("equalised and corrected", per_tensor=True, equalises=True, corrects=True),
    "channel": Row("weights per channel, min-max"),
    "percentile": Row("per channel, percentile 99.99", ("percentile",)),
    "squares": Row("per channel, least squares", ("least-squares",)),
    "chosen": Row("per channel, chosen for each tensor", ALL),
    "chosen+bias": Row("the same, biases corrected", ALL, corrects=True),
    "chosen+equal": Row("the same, equalised", ALL, equalises=True),
    "all": Row("equalised and corrected: `linnet quantize`", ALL, equalises=True, corrects=True),
}
"""Key in the documents → what is done, from the least to everything."""

PUBLISHED: tuple[tuple[str, str, str, str], ...] = (
    ("per tensor", "71.8", "0.1", "jakc4103/DFQ"),
    ("per tensor, ReLU for ReLU6, equalised", "71.8", "70.3", "jakc4103/DFQ"),
    ("per tensor, the same, biases corrected", "71.8", "70.8", "jakc4103/DFQ"),
    ("per tensor, biases corrected only", "71.8", "57.1", "jakc4103/DFQ"),
    ("8 bits after training", "71.7", "71.1", "AIMET's zoo"),
    ("per channel", "72.7", "72.5", "MQBench"),
    ("8 bits after training", "69.4", "68.4", "OpenCV's zoo"),
    ("trained for 8 bits", "71.9", "70.9", "TensorFlow Lite"),
)
"""Way, float and int8 top-1 of MobileNetV2 1.0 at 224 on ImageNet's validation pictures, and who published them."""


def make(results: Path) -> Page:
    """The documents of `benchmarks/eight_bits.py`, one table a network.

    Raises:
        MissingResultsError: if there are none, or one is broken.
    """
    folder = results / "eight-bits"
    found = _documents(folder)
    words = read("eight_bits", command=f"{COMMAND} --out {folder}/NAME.json", networks=len(found))
    tables = [_table(document) for document in found.values()]
    tables.append(_spreads(found))
    headings = ("way", "float", "int8", "published by")
    printed = PaperTable(headings, PUBLISHED, "Published for MobileNetV2 1.0 at 224, top-1 of ImageNet in %")
    return Page(
        "eight-bits",
        words.title,
        words.text,
        (*tables, printed),
        finding=_finding(found),
        notes=words.notes,
        document=found,
        plot=_plot(found),
    )


def _documents(folder: Path) -> dict[str, Any]:
    """Name → document, the networks in the order of their names."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_text("utf-8"))
            rows = document["methods"]
            complete = isinstance(document["title"], str) and rows.keys() == METHODS.keys()
        except (ValueError, KeyError, TypeError, AttributeError):
            complete = False
        if not complete:
            raise MissingResultsError(f"'{path}' is not what this version writes: make it again with `{COMMAND}`.")
        found[path.stem] = document
    if not found:
        raise MissingResultsError(
            f"there are no results in '{folder}': `{COMMAND} --out {folder}/NAME.json` makes them."
        )
    return found


def _table(document: Mapping[str, Any]) -> PaperTable:
    percent = document["figure"] == "top1"
    rows = [("float", _value(document["float"], percent), "", "", "")]
    for name, row in METHODS.items():
        entry = document["methods"][name]
        low, high = entry["difference_95"]
        rows.append(
            (
                row.words.replace("`", ""),
                _value(entry["value"], percent),
                f"{points(100 * entry['difference'])} ({points(100 * low)} to {points(100 * high)})",
                f"{100 * entry['same']:.1f} % ({100 * entry['same_95'][0]:.1f} to {100 * entry['same_95'][1]:.1f})",
                f"{entry['sqnr_db']:.1f}",
            )
        )
    caption = (
        f"{document['title']}; calibrated on {document['calibrated_on']:,} pictures, measured on "
        f"{document['images']:,} ({document['measured_on']})"
    )
    figure = "top-1" if percent else document["figure"]
    return PaperTable(("way", figure, "difference, points", "equal answers", "outputs, dB"), rows, caption)


def _value(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def _spreads(found: Mapping[str, Any]) -> PaperTable:
    rows = []
    for document in found.values():
        spread, per_tensor = document["spread"], document["methods"]["tensor"]
        rows.append(
            (
                document["title"],
                f"{spread['largest_to_median']:.1f}",
                f"{spread['largest_to_median_worst']:.1f}",
                f"{100 * spread['few_steps']:.1f} %",
                f"{points(100 * per_tensor['difference'])}",
            )
        )
    headings = ("network", "largest / median", "the worst layer's", "channels below 4 steps", "per tensor, points")
    return PaperTable(headings, rows, "How unequal the channels of depthwise weights are, and what one scale costs")


def _finding(found: Mapping[str, Any]) -> str:
    """What the steps give, from the documents."""
    decibels = {name: [document["methods"][name]["sqnr_db"] for document in found.values()] for name in METHODS}
    gain = [after - before for before, after in zip(decibels["channel"], decibels["all"], strict=True)]
    changed = [document["methods"]["all"]["difference"] for document in found.values()]
    same = [document["methods"]["all"]["same"] for document in found.values()]
    worst = min(found.values(), key=lambda document: document["methods"]["tensor"]["difference"])
    least, most = (points(100 * value) for value in (min(changed), max(changed)))
    return (
        f"With everything the {len(found)} networks change by {least} to {most} points and give "
        f"{100 * min(same):.1f} to {100 * max(same):.1f} % of the same answers; choosing, equalising and "
        f"correcting add {min(gain):.1f} to {max(gain):.1f} dB to weights per channel. One scale a tensor costs up to "
        f"{-100 * worst['methods']['tensor']['difference']:.1f} points ({worst['title']})."
    )


def _plot(found: Mapping[str, Any]) -> Figure | None:
    figure = new_figure(8, 5.2)
    if figure is None:
        return None
    axes = figure.subplots()
    names = list(METHODS)
    for number, (name, document) in enumerate(found.items()):
        colour = MODELS.get(name, SERIES[number % len(SERIES)])
        decibels = [document["methods"][name]["sqnr_db"] for name in names]
        axes.plot(range(len(names)), decibels, marker="o", color=colour, label=plain(document["title"]))
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set(ylabel="signal to noise at the outputs, dB")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=8, ncols=3)
    return figure
