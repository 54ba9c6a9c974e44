"""What the demo shows at the end: one picture with all of its pictures, and a page of HTML that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HEIGHT = 300
"""Of each picture on the sheet, in pixels."""

GAP = 16

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
.pictures { display: grid; grid-template-columns: repeat(2, minmax(0, 27rem)); gap: 1.5rem 1rem; margin: 1rem 0; }
figure { margin: 0; }
img { max-height: 16rem; max-width: 100%; border-radius: 4px; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: 0.2rem 1.2rem 0.2rem 0; border-bottom: 1px solid #8886; }
td { white-space: nowrap; }
"""


@dataclass(frozen=True)
class Shown:
    """A picture, and what is to be said of it."""

    image: Image.Image
    text: str


def draw_sheet(shown: Sequence[Shown], columns: int = 3) -> Image.Image:
    """All pictures in rows, each of one height with its sentence under it."""
    font = ImageFont.load_default(size=24)
    scaled = [each.image.convert("RGB").resize((_width(each.image), HEIGHT)) for each in shown]
    rows = [range(start, min(start + columns, len(shown))) for start in range(0, len(shown), columns)]
    line = HEIGHT + 46
    width = max(sum(scaled[place].width + GAP for place in row) for row in rows) + GAP
    sheet = Image.new("RGB", (width, len(rows) * line + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        left, top = GAP, GAP + number * line
        for place in row:
            sheet.paste(scaled[place], (left, top))
            pen.text((left, top + HEIGHT + 6), _fitting(shown[place].text, scaled[place].width, font), "black", font)
            left += scaled[place].width + GAP
    return sheet


def _width(image: Image.Image) -> int:
    return max(round(image.width * HEIGHT / image.height), 1)


def _fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a sentence as stands under its picture."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def write_page(path: Path, sections: Sequence[tuple[str, Sequence[Shown], Sequence[Sequence[str]]]]) -> None:
    """A page with pictures and a table under each heading; the pictures stand in it.

    Args:
        path: the file.
        sections: heading, pictures, and the rows of a table, whose first is its heading.
    """
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>linnet</title>"
    parts = [f"<!doctype html><html lang='en'>{head}<style>{STYLE}</style><h1>linnet</h1>"]
    for heading, shown, rows in sections:
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        # Two in a row: a picture, and what was made of it.
        figures = [
            f"<figure><img alt='{html.escape(each.text, quote=True)}' src='{_embedded(each.image)}'>"
            f"<figcaption>{html.escape(each.text)}</figcaption></figure>"
            for each in shown
        ]
        if figures:
            parts.append(f"<div class='pictures'>{''.join(figures)}</div>")
        if rows:
            cells = [("th" if number == 0 else "td", row) for number, row in enumerate(rows)]
            lines = [
                "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in row) + "</tr>"
                for kind, row in cells
            ]
            parts.append(f"<table>{''.join(lines)}</table>")
    path.write_text("\n".join(parts), encoding="utf-8")


def _embedded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
