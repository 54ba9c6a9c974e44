"""A matplotlib figure to draw on that no window knows of, and its file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 144

WIDEST = 8.0
"""Inches of a figure of the documentation at most: shown 700 to 800 pixels wide, its text of 10 points is then as large
as the page's."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a file of the format that its ending says (.png or .svg), whole or not at all."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # matplotlib's own font lacks most scripts; it draws boxes for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(content, format=path.suffix[1:] or "png", dpi=DOTS_PER_INCH)
    write_atomically(path, content.getvalue())
