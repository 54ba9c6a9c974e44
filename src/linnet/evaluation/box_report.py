"""A folder that shows how good a detector is: figures, curves, confusion with the background, the worst mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.colours import CLASS_LINES, GREY, GRID, INK, MARGIN, RIGHT, RIGHT_NEAR, SERIES, WRONG
from linnet.evaluation.average_precision import RECALLS, AveragePrecision
from linnet.evaluation.box_mistakes import BoxMistake, BoxMistakes
from linnet.evaluation.detector import DetectorFigures
from linnet.evaluation.plots import draw_bars, draw_matrix, missing_plots, plain_name, shorten
from linnet.figures import new_figure, save_figure
from linnet.files import write_atomically
from linnet.images import decode

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

NAMED_CLASSES = 40
"""Above so many classes only those with the most objects are drawn."""

CURVES = 10
"""Above so many classes only the best and the worst ones have a curve of their own."""

TILE = 240
CAPTION = 62
GAP = 12
COLUMNS = 6
HEADING = 38

SURROUNDINGS = 1.8
"""Sides of what is shown around a mistake, in sides of its box."""


LEAST_SIDE = 48
"""Pixels of the picture that are shown at least."""


def write_box_report(figures: DetectorFigures, folder: str | Path) -> list[str]:
    """Writes report.json, mistakes.png and, where matplotlib is installed, curves.png, classes.png, confusion.png.

    Returns:
        Sentences on what could not be written.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    precision, mistakes = figures.precision, figures.mistakes
    document = {name: value for name, value in figures.to_json().items() if name != "failed"} | mistakes.to_json()
    write_atomically(folder / "report.json", json.dumps(document, indent=1, ensure_ascii=False).encode())
    if mistakes.mistakes:
        draw_mistakes(mistakes).save(folder / "mistakes.png")
    else:
        # An older report's sheet would pass for this one's.
        (folder / "mistakes.png").unlink(missing_ok=True)
    if missing := missing_plots("mistakes"):
        return missing
    plot_curves(precision, folder / "curves.png")
    plot_classes(figures, folder / "classes.png")
    plot_confusion(mistakes, folder / "confusion.png")
    return []


def plot_curves(precision: AveragePrecision, path: Path) -> None:
    """Precision by recall at IoU 0.5, one curve for each class and one for their mean, and the score at each recall."""
    figure = new_figure(7, 8)
    curves, scores = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    measured = np.flatnonzero(np.isfinite(precision.precision).all(axis=1))
    ranked = sorted(measured.tolist(), key=lambda index: -(precision.per_class[index][1] or 0))
    shown = ranked if len(ranked) <= CURVES else ranked[: CURVES // 2] + ranked[-CURVES // 2 :]
    # As their boxes are drawn, as long as no two classes share a colour.
    own = len(precision.classes) <= len(CLASS_LINES)
    for number, index in enumerate(shown):
        colour = CLASS_LINES[index] if own else SERIES[number % len(SERIES)]
        style: dict[str, Any] = {"color": colour, "linestyle": ("-", "-.")[number // len(SERIES)]}
        label = f"{plain_name(precision.classes[index])}: {precision.per_class[index][1] or 0:.3f}"
        curves.plot(RECALLS, precision.precision[index], linewidth=1.6, label=label, **style)
        reached = precision.scores[index] > 0
        scores.plot(RECALLS[reached], precision.scores[index][reached], linewidth=1.6, **style)
    if len(ranked) > 1:
        mean = precision.precision[measured].mean(axis=0)
        title = f"all {len(ranked)} classes: {precision.figures['AP50'] or 0:.3f}"
        curves.plot(RECALLS, mean, color=INK, linewidth=2.2, linestyle="--", label=title)
    whole = precision.figures["AP"]
    text = "no objects" if whole is None else f"AP {whole:.3f}, AP50 {precision.figures['AP50'] or 0:.3f}"
    curves.set_title(f"{precision.images:,} pictures, {sum(precision.objects):,} objects: {text}")
    curves.set(ylabel="precision at IoU 0.5", ylim=(0, 1.02), xlim=(0, 1))
    scores.set(xlabel="recall", ylabel="score", ylim=(0, 1.02))
    for axes in (curves, scores):
        axes.grid(color=GRID)
    if ranked:
        curves.legend(loc="lower left", title="AP50" + f" ({len(shown)} of {len(ranked)})" * (len(shown) < len(ranked)))
    save_figure(figure, path)


def plot_classes(figures: DetectorFigures, path: Path) -> None:
    """AP of each class with its 95 % interval, the worst at the bottom, and of all together."""
    precision = figures.precision
    ranked = [index for index, (ap, _) in enumerate(precision.per_class) if ap is not None]
    ranked = sorted(ranked, key=lambda index: precision.per_class[index][0] or 0)[-NAMED_CLASSES:]
    bars = [(plain_name(precision.classes[index]), precision.per_class[index][0] or 0, index) for index in ranked]
    draw_bars(
        path,
        [(name, value, figures.intervals.get(f"per_class_AP.{index}")) for name, value, index in bars]
        + [("all", precision.figures["AP"] or 0, figures.intervals.get("AP"))],
        "AP, with its 95 % interval over the pictures",
    )


def plot_confusion(mistakes: BoxMistakes, path: Path) -> None:
    """Objects of each class by what they were taken for, with a column for those missed, a row for what is none."""
    counts = mistakes.confusion
    last = len(mistakes.classes)
    busy = np.argsort(-(counts[:last].sum(axis=1) + counts[:, :last].sum(axis=0)), kind="stable")
    chosen = [*sorted(busy[:NAMED_CLASSES].tolist()), last]
    names = [*mistakes.classes, ""]
    part = counts[np.ix_(chosen, chosen)]
    share = part / np.maximum(counts[chosen].sum(axis=1, keepdims=True), 1)
    # Of what is nothing there is no number to have a share of: what was taken for a class has one.
    share[-1] = part[-1] / np.maximum(counts[:, chosen].sum(axis=0), 1)
    texts = [
        [f"{count:,}\n{100 * value:.0f} %" if count else "" for count, value in zip(*row, strict=True)]
        for row in zip(part.tolist(), share.tolist(), strict=True)
    ]
    side = max(5.0, 2.6 + 0.62 * len(chosen))
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    shown = [names[index] for index in chosen[:-1]]
    draw_matrix(axes, share, texts, [*shown, "nothing"], [*shown, "missed"])
    axes.axhline(len(shown) - 0.5, color=GREY, linewidth=1)
    axes.axvline(len(shown) - 0.5, color=GREY, linewidth=1)
    right = int(np.trace(counts[:last, :last]))
    axes.set_title(f"{right:,} of {int(counts[:last].sum()):,} objects found, from score {mistakes.least_score:g}")
    axes.set(xlabel="taken for (%: of the row; in the last row, of the column)", ylabel="is")
    save_figure(figure, path)


def draw_mistakes(mistakes: BoxMistakes) -> Image.Image:
    """A sheet of the worst mistakes: what was seen in red, what is there in green."""
    from PIL import Image, ImageDraw, ImageFont

    worst = mistakes.mistakes
    columns = min(COLUMNS, len(worst))
    rows = -(-len(worst) // columns)
    width = max(columns * (TILE + GAP) + GAP, 500)
    sheet = Image.new("RGB", (width, rows * (TILE + CAPTION + GAP) + HEADING), "white")
    draw, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(size=15), ImageFont.load_default(size=12)
    x = GAP
    for text, colour in (("worst mistakes:", "black"), ("what was seen", WRONG), ("what is there", RIGHT)):
        draw.text((x, 10), text, fill=colour, font=font)
        x += int(draw.textlength(text, font=font)) + 10
    for number, mistake in enumerate(worst):
        x = GAP + number % columns * (TILE + GAP)
        y = HEADING + number // columns * (TILE + CAPTION + GAP)
        sheet.paste(_tile(mistake), (x, y))
        seen, there = _captions(mistake, mistakes.classes)
        lines = ((seen, WRONG, font, 4), (there, RIGHT, font, 23), (mistake.sample.file.name, GREY, small, 43))
        for text, colour, face, down in lines:
            draw.text((x, y + TILE + down), shorten(draw, face, text, TILE), fill=colour, font=face)
    return sheet


def _captions(mistake: BoxMistake, classes: Sequence[str]) -> tuple[str, str]:
    """What was seen, and what is there."""
    truth = "" if mistake.truth is None else classes[mistake.truth]
    seen = "nothing" if mistake.guess is None else f"{mistake.score:.0%} {classes[mistake.guess]}"
    there = {
        "background": "nothing",
        "confused": truth,
        "displaced": f"{truth}, IoU {mistake.overlap:.2f}",
        "double": f"{truth}, found already",
        "missed": truth,
    }
    return seen, there[mistake.kind]


def _tile(mistake: BoxMistake) -> Image.Image:
    """The surroundings of a mistake, with all objects in them and the box that was seen."""
    from PIL import Image, ImageDraw

    image = decode(mistake.sample.picture)
    x0, y0, x1, y1 = mistake.box
    side = max(SURROUNDINGS * max(x1 - x0, y1 - y0), LEAST_SIDE)
    # Within the picture if it is large enough.
    side = min(side, max(image.size))
    left = _inside((x0 + x1 - side) / 2, side, image.width)
    top = _inside((y0 + y1 - side) / 2, side, image.height)
    scale = TILE / side
    # Only what is inside: Pillow would fill the rest with black.
    part = (max(left, 0), max(top, 0), min(left + side, image.width), min(top + side, image.height))
    size = tuple(max(round((part[axis + 2] - part[axis]) * scale), 1) for axis in (0, 1))
    tile = Image.new("RGB", (TILE, TILE), MARGIN)
    place = (round((part[0] - left) * scale), round((part[1] - top) * scale))
    tile.paste(image.resize((size[0], size[1]), Image.Resampling.BICUBIC, part, reducing_gap=3), place)
    draw = ImageDraw.Draw(tile)
    shown = np.append(mistake.sample.boxes, [mistake.box], axis=0) - (left, top, left, top)
    *objects, seen = (shown * scale).tolist()
    for number, box in enumerate(objects):
        if number != mistake.object:
            _frame(draw, box, RIGHT_NEAR, 1)
    if mistake.object is not None:
        _frame(draw, objects[mistake.object], RIGHT, 3)
    if mistake.guess is not None:
        _frame(draw, seen, WRONG, 3)
    return tile


def _inside(start: float, side: float, length: int) -> float:
    """Where a stretch begins that shall lie within 0 and `length`; centred if it is longer."""
    return (length - side) / 2 if side >= length else min(max(start, 0), length - side)


def _frame(draw: ImageDraw.ImageDraw, box: Sequence[float], colour: str, width: int) -> None:
    """A rectangle; a thick one has a white seam, which shows on any ground. Lines outside the tile are not drawn."""
    x0, y0, x1, y1 = (min(max(side, -width - 2), TILE + width + 2) for side in box)
    if x1 > 0 and y1 > 0 and x0 < TILE and y0 < TILE:
        if width > 1:
            draw.rectangle((x0 - 1, y0 - 1, max(x1 + 1, x0), max(y1 + 1, y0)), outline="white", width=width + 2)
        draw.rectangle((x0, y0, max(x1, x0), max(y1, y0)), outline=colour, width=width)
