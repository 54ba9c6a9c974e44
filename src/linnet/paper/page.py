"""What a table or figure becomes: text and tables for people, numbers for machines, plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.figures import new_figure as empty_figure
from linnet.figures import save_figure
from linnet.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class MissingResultsError(Exception):
    """The results that a page is made from are not there or are broken; the message says how to get them."""


@dataclass(frozen=True)
class PaperTable:
    """Headings and cells, under a caption if there is one; the first column is text, the others are numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def markdown(self) -> str:
        """The table in Markdown."""
        rule = ["---", *["---:"] * (len(self.headings) - 1)]
        lines = [f"{self.caption}:", ""] if self.caption else []
        rows = ([cell.replace("|", "\\|") for cell in cells] for cells in (self.headings, rule, *self.rows))
        return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


@dataclass(frozen=True)
class Page:
    """One table or figure.

    Attributes:
        name: as on the command line.
        title: one line.
        text: paragraphs before the tables.
        finding: what comes out, in a sentence or two; last of the paragraphs, and in the summary of all pages.
        tables: the numbers, ours beside the printed ones.
        notes: footnotes, among them where the paper is wrong.
        document: everything as JSON.
        plot: draws the figure; None where there is none or matplotlib is not installed.
    """

    name: str
    title: str
    text: str
    tables: Sequence[PaperTable]
    finding: str = ""
    notes: Sequence[str] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    plot: Figure | None = None

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The text, and what comes out."""
        return (self.text, self.finding) if self.finding else (self.text,)

    def markdown(self, *, level: int = 1, folder: str = "") -> str:
        """The whole page in Markdown under a heading of a level, with a link to its plot: `folder` is "" or "a/"."""
        parts = [f"{'#' * level} {self.title}", *self.paragraphs, *(table.markdown() for table in self.tables)]
        if self.plot is not None:
            parts.append(f"![{self.title}]({folder}{self.name}.png)")
        if self.notes:
            parts.append("\n".join(f"* {note}" for note in self.notes))
        parts.append(f"Made by `linnet paper {self.name}`.")
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Writes NAME.md and NAME.json, and NAME.png and NAME.svg of a plot; returns their paths."""
        written = [folder / f"{self.name}.md", folder / f"{self.name}.json"]
        write_atomically(written[0], self.markdown().encode())
        write_atomically(written[1], (json.dumps(dict(self.document), indent=1) + "\n").encode())
        if self.plot is not None:
            for suffix in ("png", "svg"):
                written.append(folder / f"{self.name}.{suffix}")
                save_figure(self.plot, written[-1])
        return written


def new_figure(width: float, height: float) -> Figure | None:
    """An empty figure in inches that needs no screen; None where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return None
    return empty_figure(width, height)


def plain(name: str) -> str:
    """A name from outside as matplotlib shows it literally: `$` begins no formula."""
    return name.replace("$", r"\$")


def difference(ours: float, printed: float) -> str:
    """Ours against the printed value in percent: `+2.2 %`, or `=` where they agree to its digits."""
    share = ours / printed - 1
    return "=" if abs(share) < 5e-4 else f"{100 * share:+.1f} %"
