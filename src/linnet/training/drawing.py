"""What a run draws: its curves, and a sheet of what the network saw."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linnet.colours import BLUE, GREY, RIGHT, SERIES
from linnet.figures import new_figure, save_figure
from linnet.files import write_atomically

TILE, SHEET_WIDTH, CAPTION, SHOWN = 160, 1280, 22, 32

History = Sequence[Mapping[str, Any]]
"""The epochs, as lines of the log."""


def draw_curves(path: Path, history: History, score: str) -> None:
    """Losses, scores, learning rate and time of every epoch, as a PNG."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8, 6)
    ((losses, scores), (rates, times)) = figure.subplots(2, 2)
    _draw_losses(losses, history)
    _draw_scores(scores, history, score)
    quantised = [entry["number"] for entry in history if entry.get("quantised")]
    for axes in (losses, scores) if quantised else ():
        axes.axvspan(quantised[0] - 0.5, quantised[-1] + 0.5, color=RIGHT, alpha=0.08, label="in eight bits")
    _draw_series(rates, history, "learning rate", [entry["learning_rate"] for entry in history])
    rates.set(title="learning rate", ylim=(0, None))
    _draw_times(times, history)
    for axes in (losses, scores, rates, times):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes is not rates and axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, ncols=2 if axes is times else 1)
    save_figure(figure, path)


def _draw_series(
    axes: Any,
    history: History,
    label: str,
    values: Sequence[float | None],
    colour: str = BLUE,
    style: str = "-",
) -> None:
    """A line through the epochs that have a value; few of them have points."""
    points = [(entry["number"], value) for entry, value in zip(history, values, strict=True) if value is not None]
    if points:
        mark = "o" if len(points) < 40 else None
        axes.plot(*zip(*points, strict=True), style, color=colour, label=label, marker=mark, ms=3)


def _draw_losses(axes: Any, history: History) -> None:
    figures = [entry["figures"] for entry in history]
    training = [entry["losses"].get("loss") for entry in history]
    _draw_series(axes, history, "training, augmented", training, GREY)
    _draw_series(axes, history, "validation", [values.get("loss") for values in figures])
    averaged = [values.get("average_loss") for values in figures]
    _draw_series(axes, history, "validation, averaged weights", averaged, style="--")
    axes.set(title="loss", ylim=(0, None))


def _draw_scores(axes: Any, history: History, score: str) -> None:
    names = (score, f"average_{score}")
    plain, averaged = ([entry["figures"].get(name) for entry in history] for name in names)
    _draw_series(axes, history, "validation", plain)
    _draw_series(axes, history, "validation, averaged weights", averaged, style="--")
    axes.set_title(score)
    best = [entry for entry in history if entry["best"]]
    values = [value for name in names if (value := best[-1]["figures"].get(name))] if best else []
    if values:
        axes.plot(best[-1]["number"], max(values), "*", ms=12, color=RIGHT, label=f"kept: {max(values):.3f}")


def _draw_times(axes: Any, history: History) -> None:
    numbers, bottom = [entry["number"] for entry in history], np.zeros(len(history))
    for name, colour in zip(("network", "augmenting", "waiting", "evaluating"), SERIES, strict=False):
        seconds = np.array([entry["stages"].get(name, 0.0) for entry in history])
        axes.bar(numbers, seconds, bottom=bottom, color=colour, label=name)
        bottom += seconds
    # Room for the legend above the bars.
    axes.set(title="seconds an epoch", ylim=(0, 1.3 * float(bottom.max(initial=0)) or 1))


def draw_batch(path: Path, pictures: Sequence[Any], labels: Sequence[str], *, tile: int = TILE) -> None:
    """A sheet of what the network saw, augmented, with its labels.

    Args:
        path: PNG to write.
        pictures: (H, W, 3) RGB arrays, or pictures of PIL.
        labels: one a picture.
        tile: pixels of the longer side of each.
    """
    from PIL import Image, ImageDraw, ImageFont

    shown = min(len(pictures), SHOWN)
    columns = min(SHEET_WIDTH // tile, shown)
    rows = -(-shown // columns)
    sheet = Image.new("RGB", (columns * (tile + 6) + 6, rows * (tile + CAPTION + 6) + 6), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number in range(shown):
        x, y = 6 + number % columns * (tile + 6), 6 + number // columns * (tile + CAPTION + 6)
        picture = pictures[number]
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        scale = tile / max(picture.size)
        resampling = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        sheet.paste(picture.resize(size, resampling), (x, y))
        text = labels[number]
        while draw.textlength(text, font=font) > tile and len(text) > 2:
            text = f"{text.rstrip('…')[:-1]}…"
        draw.text((x, y + tile + 2), text, fill="black", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())
