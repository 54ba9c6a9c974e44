"""A folder that shows how good a classifier is: figures, confusion matrix, reliability and the worst mistakes."""

from __future__ import annotations

import json
import warnings
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
HEADING = 34
WRONG, RIGHT = "#b00020", "#1b5e20"


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
            {
                "label": accuracy.names[row],
                "taken_for": accuracy.names[column],
                "images": int(accuracy.confusion[row, column]),
            }
            for row, column in np.argwhere(accuracy.confusion)
        ],
        "reliability": [
            {"images": int(count), "confidence": total / count, "top1": right / count}
            for count, total, right in accuracy.confidence.tolist()
            if count
        ],
        "mistakes": [
            {
                "file": mistake.sample.name,
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
    else:
        # An older report's sheet would pass for this one's.
        (folder / "mistakes.png").unlink(missing_ok=True)
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
    sheet = Image.new("RGB", (max(columns * (TILE + 10) + 10, 430), rows * (TILE + CAPTION + 10) + HEADING), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    draw.text((10, 8), "most confident mistakes:", fill="black", font=font)
    draw.text((190, 8), "taken for", fill=WRONG, font=font)
    draw.text((265, 8), "is labelled", fill=RIGHT, font=font)
    for number, mistake in enumerate(mistakes):
        x = 10 + number % columns * (TILE + 10)
        y = HEADING + number // columns * (TILE + CAPTION + 10)
        sheet.paste(ImageOps.pad(decode(mistake.sample.picture), (TILE, TILE), color="#f0f0f0"), (x, y))
        guess = f"{mistake.score:.0%} {accuracy.names[mistake.guess]}"
        draw.text((x, y + TILE + 4), _shorten(draw, font, guess), fill=WRONG, font=font)
        draw.text((x, y + TILE + 24), _shorten(draw, font, accuracy.names[mistake.truth]), fill=RIGHT, font=font)
    return sheet


def _shorten(draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> str:
    """The text, cut so that it fits under a tile."""
    shown = text = " ".join(text.split())
    while draw.textlength(shown, font=font) > TILE and len(text) > 1:
        text = text[:-1]
        shown = f"{text.rstrip(' ,')}…"
    return shown


def _plot_confusion(accuracy: Accuracy, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = accuracy.confusion
    named = len(counts) <= NAMED_CLASSES
    seen = np.arange(len(counts)) if named else np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    share = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(seen, seen)]
    side = max(5.0, 2.5 + 0.45 * len(seen)) if named else 8.0
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(f"{accuracy.images} pictures, top-1 {accuracy.top1:.1%}")
    rows, columns = np.nonzero(share)
    if named:
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        # A dollar sign would begin mathematics.
        names = [accuracy.names[index][:24].replace("$", r"\$") for index in seen]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{100 * share[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set(xlabel="taken for (numbers: % of the row)", ylabel="class")
    else:
        # Points: the cells of so large a matrix would be smaller than a pixel.
        right = rows == columns
        axes.scatter(columns[right], rows[right], s=2, color="#1565c0", label="right")
        axes.scatter(columns[~right], rows[~right], s=14 * share[rows, columns][~right], color=WRONG, label="wrong")
        axes.set(xlim=(-1, len(seen)), ylim=(len(seen), -1), aspect="equal", ylabel="class")
        axes.set_xlabel(f"taken for ({len(seen)} classes that occur, in order)")
        axes.legend(loc="upper right")
    with warnings.catch_warnings():
        # matplotlib's own font lacks most scripts; it draws boxes for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
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
