"""Files that tell the classes of masks: their names, and the values or colours that stand for them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linnet.data.masks.coding import Colour
from linnet.data.places import Folder

FILES = (
    "classes.txt", "_classes.csv", "class_dict.csv", "class_dict_seg.csv", "classes.csv", "label_colors.txt",
    "label_colours.txt", "label_colors.csv", "labelmap.txt", "label_map.txt", "class_names.txt", "labels.txt",
    "codes.txt", "colors.txt", "colours.txt", "colormap.txt", "classes.json", "id2label.json", "label_map.json",
)  # fmt: skip
"""Names of such files, in lower case; of several, the first."""

DEPTH = 1
"""Folders below the place in which they are looked for."""

LARGEST = 1_000_000
"""Bytes of such a file; a thousand classes take less than a tenth."""

MOST_VALUE = 65_535

NAMES = ("name", "class", "label", "class_name", "label_name", "classname", "category")
VALUES = ("pixel value", "value", "id", "index", "class_id", "label_id", "class_index", "pixel_value", "train_id")
RED_GREEN_BLUE = (("r", "red"), ("g", "green"), ("b", "blue"))
COLOURS = ("color", "colour", "rgb", "hex")
"""Headings of columns, in lower case."""

APART = r"[\s,;:]+"
RGB = rf"(?P<r>\d{{1,5}}){APART}(?P<g>\d{{1,5}}){APART}(?P<b>\d{{1,5}})"
HEX = r"#([0-9a-fA-F]{6})"
FORMS: tuple[tuple[str, str], ...] = (
    # CVAT's: name:red,green,blue:parts:actions.
    (rf"(?P<name>.+?):{RGB}(:.*)?", "name r g b"),
    (rf"(?P<name>{RGB})", "r g b"),
    (rf"(?P<value>\d+){APART}{RGB}{APART}(?P<name>\S.*)", "value r g b name"),
    (rf"{RGB}{APART}(?P<name>\S.*)", "r g b name"),
    (rf"(?P<value>\d+){APART}(?P<name>\D.*?){APART}{RGB}", "value name r g b"),
    (rf"(?P<name>.+?){APART}[(\[]?{RGB}[)\]]?", "name r g b"),
    (rf"(?P<name>.+?){APART}{HEX}", "name #rrggbb"),
    (rf"{HEX}{APART}(?P<name>\S.*)", "#rrggbb name"),
    (r"(?P<value>\d+)(\s*[:,;=\t]\s*|\s+)(?P<name>\S.*)", "value name"),
    (r"(?P<name>.+?)\s*[:,;=\t]\s*(?P<value>\d+)", "name value"),
)
"""What a line may look like, the plainest first."""


@dataclass(frozen=True)
class ClassList:
    """The classes as a file tells them, in its order.

    Attributes:
        file: the file.
        names: of the classes.
        values: that stand for each; None where the file tells none.
        colours: that stand for each; None where the file tells none.
    """

    file: str
    names: tuple[str, ...]
    values: tuple[int, ...] | None = None
    colours: tuple[Colour, ...] | None = None


def find_class_list(folder: Folder) -> tuple[ClassList | None, list[str]]:
    """What the first class file tells that is in a folder or directly below it, and the files that were read.

    Files of one name in the folders of several parts must tell the same.

    Raises:
        ValueError: if it cannot be understood, or two differ; the text names the file and the line.
        OSError: if it cannot be read.
    """
    levels = [folder, *(one for name, one in folder.folders.items() if not name.startswith("."))]
    for wanted in FILES:
        paths = [Path(level.join(name)) for level in levels for name in level.files if name.lower() == wanted]
        found = [(path, one) for path in paths if (one := read_class_list(path)) is not None]
        if found:
            (first, listed), *others = found
            for path, other in others:
                if (other.names, other.values, other.colours) != (listed.names, listed.values, listed.colours):
                    raise ValueError(f"'{first}' and '{path}' tell different classes: which is right?")
            return listed, [str(path) for path, _ in found]
    return None, []


def read_class_list(path: Path) -> ClassList | None:
    """What a class file tells; None where it is none, such as a list of files of this name.

    Raises:
        ValueError: if a line of it cannot be understood, or two classes share a name, a value or a colour.
        OSError: if it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is no text in UTF-8: the names of the classes were expected.") from None
    if path.suffix.lower() == ".json":
        return _of_json(path, text)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    # A heading as CVAT writes it; but #ff0000 may be a colour.
    lines = [(number, line) for number, line in lines if not line.startswith("#") or re.match(HEX, line)]
    if not lines:
        return None
    columns = [column.strip().lower() for column in next(csv.reader([lines[0][1]]))]
    if len(columns) > 1 and set(columns) & set(NAMES) and not any(column.isdecimal() for column in columns):
        rows = csv.reader([line for _, line in lines[1:]])
        return _of_table(path, columns, [(number, row) for (number, _), row in zip(lines[1:], rows, strict=True)])
    return _of_lines(path, lines)


def _of_lines(path: Path, lines: Sequence[tuple[int, str]]) -> ClassList:
    for form, described in FORMS:
        matches = [re.fullmatch(form, line) for _, line in lines]
        coloured = "g b" in described or "#" in described
        if matches[0] is None or (matches.count(None) and not (coloured and matches.count(None) * 2 < len(matches))):
            continue
        entries = []
        for (number, line), match in zip(lines, matches, strict=True):
            if match is None:
                raise ValueError(f"'{path}', line {number}: {line[:80]!r} was expected to be {described}, as line 1.")
            told = match.groupdict()
            value = int(told["value"]) if "value" in told else None
            colour = _hex(line) if "#" in described else _colour(match) if coloured else None
            if coloured and colour is None:
                raise ValueError(
                    f"'{path}', line {number}: a colour has three numbers from 0 to 255, not {line[:80]!r}."
                )
            entries.append((number, told["name"], value, colour))
        return _made(path, entries)
    return _made(path, [(number, line, None, None) for number, line in lines])


def _colour(match: re.Match[str]) -> Colour | None:
    """The three numbers of a line that are neither its value nor its name."""
    red, green, blue = (int(each) for each in (match["r"], match["g"], match["b"]))
    return (red, green, blue) if max(red, green, blue) < 256 else None


def _hex(text: str) -> Colour | None:
    found = re.search(HEX, text)
    if found is None:
        return None
    code = int(found[1], 16)
    return code >> 16, code >> 8 & 255, code & 255


def _of_table(path: Path, columns: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]) -> ClassList | None:
    def column(*names: str) -> int | None:
        return next((place for place, name in enumerate(columns) if name in names), None)

    name, value, written = column(*NAMES), column(*VALUES), column(*COLOURS)
    three = [column(*names) for names in RED_GREEN_BLUE]
    if name is None:
        return None
    entries = []
    for number, row in rows:
        try:
            colour = None
            if None not in three:
                red, green, blue = (int(row[place]) for place in three if place is not None)
                colour = red, green, blue
            elif written is not None:
                numbers = [int(each) for each in re.findall(r"\d+", row[written])]
                colour = _hex(row[written]) or (numbers[0], numbers[1], numbers[2])
            entries.append((number, row[name].strip(), None if value is None else int(row[value]), colour))
        except (ValueError, IndexError):
            raise ValueError(f"'{path}', line {number}: {', '.join(columns)} were expected.") from None
        if colour is not None and not all(0 <= level < 256 for level in colour):
            raise ValueError(f"'{path}', line {number}: a colour has three numbers from 0 to 255.")
    return _made(path, entries) if entries else None


def _of_json(path: Path, text: str) -> ClassList | None:
    """A list of names, or a map of values and names either way round, as models have it."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is no JSON ({str(error).splitlines()[0]}).") from None
    if isinstance(document, list) and document and all(isinstance(name, str) for name in document):
        return _made(path, [(number, name, None, None) for number, name in enumerate(document, start=1)])
    if not isinstance(document, dict) or not document:
        return None
    pairs: list[tuple[Any, Any]] = list(document.items())
    if all(isinstance(value, int) and not isinstance(value, bool) for _, value in pairs):
        pairs = [(value, name) for name, value in pairs]
    if not all(str(value).isdecimal() and isinstance(name, str) for value, name in pairs):
        return None
    return _made(path, [(number, name, int(value), None) for number, (value, name) in enumerate(pairs, start=1)])


def _made(path: Path, entries: Sequence[tuple[int, str, int | None, Colour | None]]) -> ClassList:
    """The list of (line, name, value, colour), in which nothing is there twice."""
    names = tuple(name.strip().strip("\"'") for _, name, _, _ in entries)
    values = tuple(value for _, _, value, _ in entries if value is not None) or None
    colours = tuple(colour for _, _, _, colour in entries if colour is not None) or None
    for what, column in (("name", names), ("value", values), ("colour", colours)):
        places: dict[Any, int] = {}
        for (number, *_), each in zip(entries, column or (), strict=False):
            if each in places:
                raise ValueError(f"'{path}', line {number}: the {what} {each!r} is that of line {places[each]} too.")
            places[each] = number
    for (number, *_), value in zip(entries, values or (), strict=False):
        if value > MOST_VALUE:
            raise ValueError(f"'{path}', line {number}: {value} is no value of a mask: 0 to {MOST_VALUE} are.")
    return ClassList(str(path), names, values, colours)
