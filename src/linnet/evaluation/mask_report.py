"""A folder that shows how good a segmenter is: figures, classes, what is taken for what, the worst pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from linnet.evaluation.plots import draw_bars, draw_matrix, missing_plots, plain_name, shorten
from linnet.evaluation.segmenter import SegmenterFigures, Worst
from linnet.figures import new_figure, save_figure
from linnet.files import write_atomically
from linnet.images import decode
from linnet.results.overlay import background_of, draw_legend, lay_over

if TYPE_CHECKING:
    from PIL import Image

NAMED_CLASSES = 40
"""Above so many classes only those with the most pixels are drawn."""

TILE = 420
"""Pixels of the longer side of a picture on the sheet."""

GAP, CAPTION, HEADING = 8, 22, 30


def write_mask_report(figures: SegmenterFigures, folder: str | Path) -> list[str]:
    """Writes report.json, worst.png and, where matplotlib is installed, classes.png and confusion.png.

    Returns:
        Sentences on what could not be written.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    document = {name: value for name, value in figures.to_json().items() if name != "failed"}
    document |= {"confusion": figures.confusion.tolist(), "classes": list(figures.classes)}
    document["worst"] = [{"file": each.sample.name, "pixel_accuracy": each.share_right} for each in figures.worst]
    write_atomically(folder / "report.json", json.dumps(document, indent=1, ensure_ascii=False).encode())
    draw_worst(figures).save(folder / "worst.png")
    if missing := missing_plots("overlays"):
        return missing
    plot_classes(figures, folder / "classes.png")
    plot_confusion(figures, folder / "confusion.png")
    return []


def plot_classes(figures: SegmenterFigures, path: Path) -> None:
    """IoU of each class with its 95 % interval, the worst at the bottom, and the mean."""
    bars = [
        (plain_name(figures.classes[index]), figures.of_class(index) or 0.0, figures.intervals.get(f"IoU.{index}"))
        for index in figures.ranked()[:NAMED_CLASSES]
    ]
    mean = ("mean", figures.figure("mIoU") or 0.0, figures.intervals.get("mIoU"))
    draw_bars(path, [*bars, mean], "IoU, with its 95 % interval over the pictures")


def plot_confusion(figures: SegmenterFigures, path: Path) -> None:
    """Pixels of each class by what they were taken for, as shares of the class."""
    counts = figures.confusion
    busy = np.argsort(-(counts.sum(axis=0) + counts.sum(axis=1)), kind="stable")
    chosen = sorted(busy[:NAMED_CLASSES].tolist())
    share = counts[np.ix_(chosen, chosen)] / np.maximum(counts[chosen].sum(axis=1, keepdims=True), 1)
    texts = [[_percent(value) for value in row] for row in share.tolist()]
    names = [figures.classes[index] for index in chosen]
    side = max(5.0, 2.5 + 0.45 * len(chosen))
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    axes.set_title(f"{figures.images:,} pictures, mean IoU {figures.figure('mIoU') or 0:.3f}")
    draw_matrix(axes, share, texts, names, names)
    axes.set(xlabel="taken for (numbers: % of the row's pixels)", ylabel="class")
    save_figure(figure, path)


def _percent(share: float) -> str:
    """Nothing below half a per cent."""
    return f"{100 * share:.0f}" if share >= 0.005 else ""


def draw_worst(figures: SegmenterFigures) -> Image.Image:
    """A sheet of the worst pictures: each beside its mask and beside what the model says, and a legend."""
    from PIL import Image, ImageDraw, ImageFont

    rows = [_row(each, figures) for each in figures.worst]
    width = max(row.width for row in rows) + 2 * GAP
    seen = np.flatnonzero(figures.confusion.sum(axis=0) + figures.confusion.sum(axis=1)).tolist()
    legend = draw_legend(width, [(figures.classes[index], index) for index in seen])
    height = HEADING + legend.height + sum(row.height + GAP for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    pen.text((GAP, 7), "the pictures with the most wrong pixels: as they are, masks, model", fill="black", font=font)
    sheet.paste(legend, (0, HEADING))
    top = HEADING + legend.height
    for row in rows:
        sheet.paste(row, (GAP, top))
        top += row.height + GAP
    return sheet


def _row(worst: Worst, figures: SegmenterFigures) -> Image.Image:
    """A picture, the same under its mask and under the model's label map, with a line below."""
    from PIL import Image, ImageDraw, ImageFont

    picture, clear = decode(worst.sample.picture), background_of(figures.classes)
    maps = (worst.sample.mask.read(picture.size), worst.answer.labels)
    shown = [picture, *(lay_over(picture, labels, clear) for labels in maps)]
    scale = TILE / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    row = Image.new("RGB", (3 * size[0] + 2 * GAP, size[1] + CAPTION), "white")
    for place, each in enumerate(shown):
        row.paste(each.resize(size), (place * (size[0] + GAP), 0))
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(size=14)
    text = f"{worst.share_right:.1%} of its pixels are right: {worst.sample.name}"
    pen.text((2, size[1] + 3), shorten(pen, font, text, row.width - 4), fill="black", font=font)
    return row
