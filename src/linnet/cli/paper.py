"""Reproduces tables and figures of the MobileNetV2 paper, with the printed values beside ours.

Without a name it lists the tables and figures. `all` makes all of them. Those about trained networks are made from the
results of experiments (--results); where these are missing, the command that makes them is named.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from linnet.cli.terminal import UsageError, parse, prepare_folder, print_json, progress, show, table
from linnet.paper import ITEMS, make
from linnet.paper.book import write_book
from linnet.paper.page import MissingResultsError, Page

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Options:
    """Options of `linnet paper`."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """The tables and figures to make, such as `table2 figure1`, or `all`."""
    out: Path | None = None
    """A folder to write each page to: Markdown, JSON, and plots as PNG and SVG."""
    book: Path | None = None
    """A file such as docs/paper.md to write all pages to as one text, with the plots in a folder beside it. Pages that
    it has from before and that are not asked for stay as they are."""
    results: Path = Path("docs/experiments")
    """The folder with the results of experiments, for the pages about trained networks."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "paper", __doc__, arguments)
    if not options.names:
        if options.json:
            print_json({name: item.shows for name, item in ITEMS.items()})
        else:
            show(table((("name", "left"), ("shows", "left")), [(name, item.shows) for name, item in ITEMS.items()]))
        return 0
    unknown = [name for name in options.names if name not in (*ITEMS, "all")]
    if unknown:
        print(f"linnet paper: there is no {unknown[0]!r}. There are {', '.join(ITEMS)}, or all.", file=sys.stderr)
        return 2
    names = list(ITEMS) if "all" in options.names else list(dict.fromkeys(options.names))
    # Before the work begins, not after minutes.
    prepare_folder("--out", options.out)
    if options.book is not None:
        prepare_folder("--book", options.book.parent)
        if options.book.is_dir():
            raise UsageError(f"--book '{options.book}' is a folder; name a file, such as paper.md.")
    pages, missing = _make(names, options.results)
    for page in pages:
        if not options.json:
            show(*_lines(page))
        if options.out is not None:
            for path in page.write(options.out):
                print(f"written: {path}", file=sys.stderr)
    if options.book is not None:
        for path in write_book({page.name: page for page in pages}, missing, options.book):
            print(f"written: {path}", file=sys.stderr)
    if options.json:
        print_json({page.name: dict(page.document) for page in pages})
    if (options.out or options.book) and find_spec("matplotlib") is None:
        print("linnet: the plots need matplotlib: pip install 'linnet[train]'.", file=sys.stderr)
    for name, reason in missing.items():
        print(f"linnet paper: {name} could not be made: {reason}", file=sys.stderr)
    # Who asks for everything gets what there is.
    return 1 if missing and "all" not in options.names else 0


def _make(names: list[str], results: Path) -> tuple[list[Page], dict[str, str]]:
    """The pages, and why the others are missing."""
    pages, missing = [], {}
    with progress(len(names), "computing") as advance:
        for number, name in enumerate(names, start=1):
            try:
                pages.append(make(name, results))
            except MissingResultsError as error:
                missing[name] = str(error)
            advance(number)
    return pages, missing


def _lines(page: Page) -> list[str | Table]:
    lines: list[str | Table] = [page.title, "", "\n\n".join(page.paragraphs)]
    for shown in page.tables:
        columns = [(heading, "right" if number else "left") for number, heading in enumerate(shown.headings)]
        lines += ["", shown.caption] if shown.caption else [""]
        lines.append(table(columns, shown.rows))
    return [*lines, *(f"* {note}" for note in page.notes), ""]
