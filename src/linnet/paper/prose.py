"""The words of a table or figure: a Markdown file beside its module, with places for the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

NOTES = "## Notes"


class Prose(NamedTuple):
    """What a page says besides its tables."""

    title: str
    text: str
    notes: tuple[str, ...]


def read(name: str, /, **numbers: object) -> Prose:
    """The words of NAME.md: its heading, its paragraphs, and the list under the heading `Notes` if it has one.

    Raises:
        KeyError: see `paragraphs`.
    """
    heading, *rest = paragraphs(name, **numbers)
    text = rest[: rest.index(NOTES)] if NOTES in rest else rest
    notes = rest[len(text) + 1 :]
    return Prose(heading.removeprefix("# "), "\n\n".join(text), tuple(note.removeprefix("* ") for note in notes))


def paragraphs(name: str, /, **numbers: object) -> list[str]:
    """Headings, paragraphs and items of lists of NAME.md, each in one line.

    `{key}` or `{key:format}` stand for numbers, as in `str.format`.

    Raises:
        KeyError: if a number is missing.
    """
    text = Path(__file__).with_name(f"{name}.md").read_text("utf-8").replace("\n* ", "\n\n* ")
    # Laid out first: what is filled in may have line breaks of its own.
    return [" ".join(part.split()).format(**numbers) for part in text.split("\n\n") if part.strip()]
