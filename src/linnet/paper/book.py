"""The paper in our numbers: all pages in one readable text, in the order of the idea rather than of the paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from linnet.figures import save_figure
from linnet.files import write_atomically
from linnet.machine import processor_name
from linnet.paper import ITEMS
from linnet.paper.page import Page
from linnet.paper.prose import paragraphs

PAGES = "Pages: "
"""Begins a paragraph of `book.md` in whose place the pages stand that it names, separated by commas."""


@dataclass(frozen=True)
class Kept:
    """A page as it stands in a text that was written before: `summary` is its line there, `block` all of it."""

    summary: str
    block: str


def placed() -> list[str]:
    """Names of the pages that have a place in the text, in its order."""
    named = [line.removeprefix(PAGES) for line in paragraphs("book", processor="") if line.startswith(PAGES)]
    return [name for names in named for name in names.split(", ")]


def write_book(pages: Mapping[str, Page], missing: Mapping[str, str], path: Path) -> list[Path]:
    """Writes the text and, in a folder of its name beside it, the pictures; returns their paths.

    A text that was written there before keeps the pages that are neither made anew nor missing, and the processor that
    it names: times need not be measured again because trainings have gone on.

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
    before = path.read_text("utf-8") if path.is_file() else ""
    kept = {name: page for name, page in kept_pages(before).items() if name not in pages and name not in missing}
    parts = [*_parts(pages, kept, missing, f"{quote(folder.name)}/")]
    if kept:
        parts[1] = before.split("\n\n", 2)[1]
    write_atomically(path, ("\n\n".join(parts) + "\n").encode())
    return [path, *pictures]


def kept_pages(text: str) -> dict[str, Kept]:
    """The pages, by name, of a text that `write_book` has written; none of any other."""
    found = {}
    if text.startswith(f"{paragraphs('book', processor='')[0]}\n"):
        for title, rest, name in re.findall(r"^### (.+)\n((?:(?!#).*\n)*?)Made by `linnet paper (\S+)`\.$", text, re.M):
            if name in placed():
                (summary,) = re.findall(rf"^\* {re.escape(title)}\. .*$", text, re.M) or [""]
                found[name] = Kept(summary, f"### {title}\n{rest}Made by `linnet paper {name}`.")
    return found


def _parts(
    pages: Mapping[str, Page], kept: Mapping[str, Kept], missing: Mapping[str, str], folder: str
) -> Iterator[str]:
    title, opening, *rest = paragraphs("book", processor=processor_name())
    yield from (title, opening)
    made = {
        name: Kept(
            f"* {page.title}. {page.finding}" if page.finding else "", page.markdown(level=3, folder=folder).rstrip()
        )
        for name, page in pages.items()
    } | dict(kept)
    if summaries := [made[name].summary for name in ITEMS if name in made and made[name].summary]:
        yield "## In short"
        yield "\n".join(summaries)
    for paragraph in rest:
        if not paragraph.startswith(PAGES):
            yield paragraph
            continue
        for name in paragraph.removeprefix(PAGES).split(", "):
            if name in made:
                yield made[name].block
            elif name in missing:
                yield f"*{name} is not here: {missing[name]}*"
