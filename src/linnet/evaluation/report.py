"""A folder that shows how good a classifier is: figures, confusion matrix, reliability and the worst mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from linnet.colours import BLUE, BLUE_TINTS, GREY, MARGIN, RIGHT, WRONG
from linnet.evaluation.accuracy import BINS, Accuracy
from linnet.evaluation.plots import draw_bars, draw_matrix, missing_plots, plain_name, shorten
from linnet.evaluation.uncertainty import wilson
from linnet.figures import new_figure, save_figure
from linnet.files import write_atomically
from linnet.images import decode

if TYPE_CHECKING:
    from PIL import Image

NAMED_CLASSES = 40
"""Above so many classes a confusion matrix has no room for names."""

TILE = 200
CAPTION = 46
COLUMNS = 6
HEADING = 34


def write_report(accuracy: Accuracy, folder: str | Path) -> list[str]:
    """Writes report.json, mistakes.png and, where matplotlib is installed, confusion, classes and reliability.png.

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
    if missing := missing_plots("mistakes"):
        return missing
    _plot_confusion(accuracy, folder / "confusion.png")
    _plot_classes(accuracy, folder / "classes.png")
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
        sheet.paste(ImageOps.pad(decode(mistake.sample.picture), (TILE, TILE), color=MARGIN), (x, y))
        guess = f"{mistake.score:.0%} {accuracy.names[mistake.guess]}"
        draw.text((x, y + TILE + 4), shorten(draw, font, guess, TILE), fill=WRONG, font=font)
        draw.text((x, y + TILE + 24), shorten(draw, font, accuracy.names[mistake.truth], TILE), fill=RIGHT, font=font)
    return sheet


def _plot_confusion(accuracy: Accuracy, path: Path) -> None:
    counts = accuracy.confusion
    named = len(counts) <= NAMED_CLASSES
    seen = np.arange(len(counts)) if named else np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    share = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(seen, seen)]
    side = max(5.0, 2.5 + 0.45 * len(seen)) if named else 8.0
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.set_title(f"{accuracy.images} pictures, top-1 {100 * accuracy.top1:.1f} %")
    if named:
        names = [accuracy.names[index] for index in seen]
        texts = [[f"{100 * value:.0f}" if value else "" for value in row] for row in share.tolist()]
        draw_matrix(axes, share, texts, names, names)
        axes.set(xlabel="taken for (numbers: % of the row)", ylabel="class")
    else:
        # Points: the cells of so large a matrix would be smaller than a pixel.
        rows, columns = np.nonzero(share)
        right = rows == columns
        axes.scatter(columns[right], rows[right], s=2, color=BLUE, label="right")
        axes.scatter(columns[~right], rows[~right], s=14 * share[rows, columns][~right], color=WRONG, label="wrong")
        axes.set(xlim=(-1, len(seen)), ylim=(len(seen), -1), aspect="equal", ylabel="class")
        axes.set_xlabel(f"taken for ({len(seen)} classes that occur, in order)")
        axes.legend(loc="upper right")
    save_figure(figure, path)


def _plot_classes(accuracy: Accuracy, path: Path) -> None:
    """Top-1 of each class, the worst at the bottom, and of all together, with Wilson's intervals."""
    worst = sorted(accuracy.per_class(), key=lambda entry: -entry[2])[-NAMED_CLASSES:][::-1]
    bars = [(plain_name(name), top1, wilson(round(top1 * count), count)) for name, count, top1 in worst]
    whole = ("all", accuracy.top1, wilson(round(accuracy.top1 * accuracy.images), accuracy.images))
    draw_bars(path, [*bars, whole], "top-1, with its 95 % interval over the pictures")


def _plot_reliability(accuracy: Accuracy, path: Path) -> None:
    count, total, right = accuracy.confidence.T
    filled = count > 0
    figure = new_figure(5.5, 6.5)
    curve, histogram = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    curve.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="confidence = accuracy")
    curve.plot(total[filled] / count[filled], right[filled] / count[filled], marker="o", color=BLUE, label="this model")
    curve.set(ylabel="share that is right", ylim=(0, 1.02))
    curve.set_title(f"calibration error {accuracy.calibration_error:.3f}, {accuracy.images} pictures")
    curve.legend(loc="upper left")
    histogram.bar((np.arange(BINS) + 0.5) / BINS, count, width=0.9 / BINS, color=BLUE_TINTS[2])
    histogram.set(xlabel="confidence of the best class", ylabel="pictures", xlim=(0, 1))
    save_figure(figure, path)
