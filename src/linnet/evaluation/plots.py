"""What the pictures of all reports have in common; figures need matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.colours import BLUE_TINTS, GRID, INK
from linnet.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from PIL import ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def missing_plots(written: str) -> list[str]:
    """A sentence on the figures where matplotlib is not installed, and on what is written without it."""
    if find_spec("matplotlib") is not None:
        return []
    return [f"The plots need matplotlib: pip install 'linnet[train]'. The JSON report and the {written} are written."]


def plain_name(name: str) -> str:
    """A class's name as a figure can show it: a dollar sign would begin mathematics."""
    return name[:24].replace("$", r"\$")


def draw_matrix(
    axes: Axes, share: NDArray[Any], texts: Sequence[Sequence[str]], rows: Sequence[str], columns: Sequence[str]
) -> None:
    """A confusion matrix: shares (R, C) from 0 to 1 as shades of blue, with a text in each cell."""
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(len(columns)), [plain_name(name) for name in columns], rotation=90)
    axes.set_yticks(range(len(rows)), [plain_name(name) for name in rows])
    for row, column in np.ndindex(share.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=8, color=colour)


def draw_bars(path: Path, bars: Sequence[tuple[str, float, tuple[float, float] | None]], label: str) -> None:
    """Writes a figure of horizontal bars from 0 to 1, each a name, a value and perhaps the ends of its interval."""
    figure = new_figure(7, max(2.5, 1.2 + 0.28 * len(bars)))
    axes = figure.add_subplot()
    values = np.array([value for _, value, _ in bars])
    ends = np.array([interval or (value, value) for _, value, interval in bars]).reshape(-1, 2)
    errors = np.abs(ends - values[:, None]).T
    axes.barh(range(len(bars)), values, xerr=errors, color=BLUE_TINTS[2], ecolor=INK, capsize=3)
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set(xlim=(0, 1.02), xlabel=label)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    save_figure(figure, path)


def shorten(draw: ImageDraw.ImageDraw, font: Font, text: str, width: int) -> str:
    """The text on one line, cut so that it fits into so many pixels."""
    shown = text = " ".join(text.split())
    while draw.textlength(shown, font=font) > width and len(text) > 1:
        text = text[:-1]
        shown = f"{text.rstrip(' ,')}…"
    return shown
