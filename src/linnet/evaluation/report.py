"""A folder that shows how good a classifier is: figures, confusion matrix, reliability and the worst mistakes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from linnet.checkpoint import write_atomically
from linnet.evaluation.accuracy import BINS, Accuracy
from linnet.images import decode

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

NAMED_CLASSES = 40
"""Above so many classes a confusion matrix has no room for names."""

TILE = 200
CAPTION = 46
COLUMNS = 6


def write_report(accuracy: Accuracy, folder: str | Path) -> list[str]:
    """Writes report.json, mistakes.png and, where matplotlib is installed, confusion.png and reliability.png.

    Returns:
        Sentences on what could not be written.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    document = accuracy.to_json() | {
        "confusion": [
            {"label": accuracy.names[row], "taken_for": accuracy.names[column], "images": int(accuracy.confusion[row, column])}
            for row, column in np.argwhere(accuracy.confusion)
        ],
        "reliability": [
            {"images": int(count), "confidence": total / count, "top1": right / count}
            for count, total, right in accuracy.confidence.tolist()
            if count
        ],
        "mistakes": [
            {
                "file": str(mistake.file),
                "label": accuracy.names[mistake.truth],
                "taken_for": accuracy.names[mistake.guess],
                "score": mistake.score,
            }
            for mistake in accuracy.mistakes
        ],
    }
    write_atomically(folder / "report.json", json.dumps(document, indent=1, ensure_ascii=False).encode())
    if accuracy.mistakes:
        draw_mistakes(accuracy).save(folder / "mistakes.png")
    if find_spec("matplotlib") is None:
        return ["The plots need matplotlib: pip install 'linnet[train]'. The JSON report and the mistakes are written."]
    _plot_confusion(accuracy, folder / "confusion.png")
    _plot_reliability(accuracy, folder / "reliability.png")
    return []


def draw_mistakes(accuracy: Accuracy) -> Image.Image:
    """A sheet of the most confident mistakes, each with what it was taken for, its confidence and its class."""
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    mistakes = accuracy.mistakes
    columns = min(COLUMNS, len(mistakes))
    rows = -(-len(mistakes) // columns)
    sheet = Image.new("RGB", (columns * (TILE + 10) + 10, rows * (TILE + CAPTION + 10) + 10), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for number, mistake in enumerate(mistakes):
        x = 10 + number % columns * (TILE + 10)
        y = 10 + number // columns * (TILE + CAPTION + 10)
        sheet.paste(ImageOps.pad(decode(mistake.file), (TILE, TILE), color="#f0f0f0"), (x, y))
        guess = f"{mistake.score:.0%} {accuracy.names[mistake.guess]}"
        draw.text((x, y + TILE + 4), _shorten(draw, font, guess), fill="#b00020", font=font)
        draw.text((x, y + TILE + 24), _shorten(draw, font, accuracy.names[mistake.truth]), fill="#1b5e20", font=font)
    return sheet


def _shorten(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> str:
    """The text, cut so that it fits under a tile."""
    shown = text
    while draw.textlength(shown, font=font) > TILE and len(text) > 1:
        text = text[:-1]
        shown = f"{text.rstrip(' ,')}…"
    return shown


def _plot_confusion(accuracy: Accuracy, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    totals = accuracy.confusion.sum(axis=1, keepdims=True)
    present = np.flatnonzero(totals[:, 0]) if len(totals) > NAMED_CLASSES else np.arange(len(totals))
    share = (accuracy.confusion / np.maximum(totals, 1))[np.ix_(present, present)]
    side = 8 if len(present) > NAMED_CLASSES else max(5.0, 2.5 + 0.45 * len(present))
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="taken for", ylabel="class")
    axes.set_title(f"{accuracy.images} pictures, top-1 {accuracy.top1:.1%}")
    if len(present) <= NAMED_CLASSES:
        names = [accuracy.names[index][:24] for index in present]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for row, column in np.argwhere(share > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{share[row, column]:.0%}".removesuffix("%")
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xlabel("taken for (numbers: % of the row)")
    else:
        axes.set(xlabel=f"taken for ({len(present)} classes with pictures, in order)", ylabel="class")
    figure.savefig(path, dpi=110)


def _plot_reliability(accuracy: Accuracy, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count, total, right = accuracy.confidence.T
    filled = count > 0
    figure = Figure(figsize=(5.5, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    curve, histogram = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color="#999999", linestyle="--", label="confidence = accuracy")
    curve.plot(total[filled] / count[filled], right[filled] / count[filled], marker="o", label="this model")
    curve.set(ylabel="share that is right", ylim=(0, 1.02))
    curve.set_title(f"calibration error {accuracy.calibration_error:.3f}, {accuracy.images} pictures")
    curve.legend(loc="upper left")
    histogram.bar((np.arange(BINS) + 0.5) / BINS, count, width=0.9 / BINS)
    histogram.set(xlabel="confidence of the best class", ylabel="pictures", xlim=(0, 1))
    figure.savefig(path, dpi=110)
