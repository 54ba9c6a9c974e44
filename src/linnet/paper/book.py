"""The paper in our numbers: all pages in one readable text, in the order of the idea rather than of the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from linnet.figures import save_figure
from linnet.files import write_atomically
from linnet.machine import processor_name
from linnet.paper.page import Page
from linnet.paper.prose import paragraphs

PAGES = "Pages: "
"""Begins a paragraph of `book.md` in whose place the pages stand that it names, separated by commas."""


def placed() -> list[str]:
    """Names of the pages that have a place in the text, in its order."""
    named = [line.removeprefix(PAGES) for line in paragraphs("book", processor="") if line.startswith(PAGES)]
    return [name for names in named for name in names.split(", ")]


def write_book(pages: Mapping[str, Page], missing: Mapping[str, str], path: Path) -> list[Path]:
    """Writes the text and, in a folder of its name beside it, the pictures; returns their paths.

    Args:
        pages: by name; those of no chapter are refused.
        missing: names of the others, and why they could not be made: it is said in their place.
        path: of the text, such as docs/paper.md. The pictures of a name without suffix are in NAME-pictures.
    """
    if unplaced := (set(pages) | set(missing)).difference(placed()):
        raise KeyError(f"No chapter has {', '.join(sorted(unplaced))}.")
    # A name without a suffix is the text's; the folder needs another.
    folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-pictures")
    pictures = [folder / f"{page.name}.png" for page in pages.values() if page.plot is not None]
    if pictures:
        folder.mkdir(parents=True, exist_ok=True)
    for page, picture in zip((page for page in pages.values() if page.plot is not None), pictures, strict=True):
        assert page.plot is not None
        save_figure(page.plot, picture)
    write_atomically(path, ("\n\n".join(_parts(pages, missing, f"{quote(folder.name)}/")) + "\n").encode())
    return [path, *pictures]


def _parts(pages: Mapping[str, Page], missing: Mapping[str, str], folder: str) -> Iterator[str]:
    title, opening, *rest = paragraphs("book", processor=processor_name())
    yield from (title, opening)
    found = [(page.title, page.finding) for page in pages.values() if page.finding]
    if found:
        yield "## In short"
        yield "\n".join(f"* {title}. {finding}" for title, finding in found)
    for paragraph in rest:
        if not paragraph.startswith(PAGES):
            yield paragraph
            continue
        for name in paragraph.removeprefix(PAGES).split(", "):
            if name in pages:
                yield pages[name].markdown(level=3, folder=folder).rstrip()
            elif name in missing:
                yield f"*{name} is not here: {missing[name]}*"
