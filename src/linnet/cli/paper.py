"""Makes tables and figures of the MobileNetV2 paper again, beside the printed values.

Without a name it lists what there is; `all` makes everything.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import tyro

from linnet.cli.terminal import parse, print_json, progress, show, table
from linnet.paper import ITEMS
from linnet.paper.page import Page


@dataclass(frozen=True)
class Options:
    """Options of `linnet paper`."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Tables and figures, such as table2 figure1, or all."""
    out: Path | None = None
    """Folder to write Markdown, JSON and plots (PNG and SVG) to."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "paper", __doc__, arguments)
    if not options.names:
        if options.json:
            print_json(ITEMS)
        else:
            show(table((("name", "left"), ("shows", "left")), list(ITEMS.items())))
        return 0
    names = list(ITEMS) if "all" in options.names else list(dict.fromkeys(options.names))
    unknown = [name for name in names if name not in ITEMS]
    if unknown:
        print(f"linnet paper: there is no {unknown[0]!r}. There are {', '.join(ITEMS)}, or all.", file=sys.stderr)
        return 2
    pages: list[Page] = []
    with progress(len(names), "computing") as advance:
        for number, name in enumerate(names, start=1):
            pages.append(import_module(f"linnet.paper.{name.replace('.', '_')}").make())
            advance(number)
    for page in pages:
        if not options.json:
            columns = [(heading, "right" if number else "left") for number, heading in enumerate(page.table.headings)]
            show(page.title, "", page.text, table(columns, page.table.rows), *(f"* {note}" for note in page.notes), "")
        if options.out is not None:
            for path in page.write(options.out):
                print(f"written: {path}", file=sys.stderr)
    if options.json:
        print_json({page.name: dict(page.document) for page in pages})
    if options.out is not None and find_spec("matplotlib") is None:
        print("linnet: the plots need matplotlib: pip install 'linnet[train]'.", file=sys.stderr)
    return 0
