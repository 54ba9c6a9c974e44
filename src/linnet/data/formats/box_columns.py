"""What the columns of a table of boxes are, told by their names or by its first row."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from linnet.data.formats.rows import DELIMITERS, FILE_COLUMNS, SPLIT_COLUMNS, beginning, first_row, place_of, plain
from linnet.data.places import is_picture_name

Kind = Literal["corners", "sides", "centre"]

CLASS_COLUMNS = (
    "class",
    "class_name",
    "label",
    "labelname",
    "label_name",
    "category",
    "name",
    "class_id",
    "category_id",
)

KINDS: tuple[tuple[Kind, tuple[str, str, str, str]], ...] = (
    ("corners", ("xmin", "ymin", "xmax", "ymax")),
    ("corners", ("x_min", "y_min", "x_max", "y_max")),
    ("corners", ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax")),
    ("corners", ("x1", "y1", "x2", "y2")),
    ("corners", ("x0", "y0", "x1", "y1")),
    ("corners", ("left", "top", "right", "bottom")),
    ("centre", ("x_center", "y_center", "width", "height")),
    ("centre", ("xcenter", "ycenter", "width", "height")),
    ("centre", ("cx", "cy", "w", "h")),
    ("sides", ("x", "y", "w", "h")),
    ("sides", ("x", "y", "width", "height")),
    ("sides", ("xmin", "ymin", "width", "height")),
    ("sides", ("bbox_x", "bbox_y", "bbox_width", "bbox_height")),
    ("sides", ("bbox_x", "bbox_y", "bbox_w", "bbox_h")),
    ("sides", ("left", "top", "width", "height")),
)
"""Columns of four numbers, and what they are."""

SIZES = (("image_width", "image_height"), ("img_width", "img_height"), ("width", "height"))

LARGEST_NUMBER = 1e9


@dataclass(frozen=True)
class Layout:
    """What the columns of a table of boxes are.

    Attributes:
        delimiter: what stands between two columns.
        header: whether the first row names them.
        file: place of the picture's column.
        kind: what the numbers of a box are: two corners, a corner and sides, or the centre and sides.
        box: places of the four numbers, or of the one column that holds them all.
        label: place of the class, if there is one.
        split: place of the part, if there is one.
        size: places of the picture's width and height, if they are there.
        group: place of OpenImages' mark of a box around several objects.
        identified: whether pictures are told without ending, as OpenImages' are, of which few people have all.
    """

    delimiter: str
    header: bool
    file: int
    kind: Kind
    box: tuple[int, ...]
    label: int | None
    split: int | None = None
    size: tuple[int, int] | None = None
    group: int | None = None
    identified: bool = False


def layout_of(path: Path) -> Layout | None:
    """The columns of a table of boxes, by its first lines; None of any other file."""
    text = beginning(path)
    for delimiter in DELIMITERS:
        try:
            names = first_row(text, delimiter)
        except csv.Error:
            return None
        if len(names) > 2 and (found := _named(names, delimiter) or _without_header(names, delimiter)) is not None:
            return found
    return None


def _named(names: Sequence[str], delimiter: str) -> Layout | None:
    columns = [plain(name) for name in names]
    file = place_of(FILE_COLUMNS, columns)
    if file is None:
        return None
    kind: Kind = "sides"
    box: tuple[int, ...] = ()
    for told, sides in KINDS:
        if all(side in columns for side in sides):
            kind, box = told, tuple(columns.index(side) for side in sides)
            break
    else:
        if "bbox" not in columns:
            return None
        box = (columns.index("bbox"),)
    sizes = [(columns.index(w), columns.index(h)) for w, h in SIZES if w in columns and h in columns]
    size = next((pair for pair in sizes if not set(pair) & set(box)), None)
    label = place_of(CLASS_COLUMNS, columns)
    group = place_of(("isgroupof",), columns)
    identified = columns[file] == "imageid"
    return Layout(delimiter, True, file, kind, box, label, place_of(SPLIT_COLUMNS, columns), size, group, identified)


def _without_header(cells: Sequence[str], delimiter: str) -> Layout | None:
    """RetinaNet's: path, x1, y1, x2, y2, class; a picture without objects has the path alone."""
    if len(cells) != 6 or not is_picture_name(os.path.basename(cells[0].replace("\\", "/"))):
        return None
    box = [number_of(each) for each in cells[1:5]]
    told = None not in box and cells[5].strip() and number_of(cells[5]) is None
    empty = not any(each.strip() for each in cells[1:])
    return Layout(delimiter, False, 0, "corners", (1, 2, 3, 4), 5) if told or empty else None


def number_of(text: str) -> float | None:
    """A number that may be one of a box; None of anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER else None
