"""Does docs/data.md say what the code's tables say? Run as a program, it writes these parts of the page anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linnet.data.formats import FORMATS
from linnet.data.parts import PART_NAMES, PARTS
from linnet.images import SUFFIXES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def layouts() -> str:
    """Every format with its trees."""
    sections = []
    for one in FORMATS:
        images = " The pictures may lie elsewhere: `--images FOLDER`." if one.images else ""
        lines = [f"### `{one.name}`: {one.title}", "", f"{one.recognise.__doc__ or ''}{images}"]
        for heading, tree in one.layouts:
            lines += ["", f"{heading}:", "", *(f"    {line}" for line in tree.splitlines())]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def parts() -> str:
    """A table of the names of parts."""
    rows = [f"| {part} | {', '.join(f'`{name}`' for name, of in PART_NAMES.items() if of == part)} |" for part in PARTS]
    return "\n".join(["| part | names |", "|---|---|", *rows])


def suffixes() -> str:
    """Endings of pictures."""
    return ", ".join(f"`{suffix}`" for suffix in SUFFIXES)


def written(page: str) -> str:
    """The page with the parts that the tables tell."""
    for name, text in (("layouts", layouts()), ("parts", parts())):
        page = re.sub(
            rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)",
            lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
    return re.sub(r"[^\n]*<!-- suffixes -->", f"{suffixes()}<!-- suffixes -->", page)


def test_the_page_says_what_the_tables_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if page != written(page):
        pytest.fail("docs/data.md is not what the tables of formats and parts say: python tests/data/test_docs.py")
    for one in FORMATS:
        assert f"`{one.name}`" in page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
