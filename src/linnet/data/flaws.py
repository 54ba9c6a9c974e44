"""What reading a data set had to mend or to leave out, and what a check can find wrong or odd."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal[
    "broken",
    "unknown_class",
    "few",
    "imbalance",
    "missing_class",
    "leak",
    "contradiction",
    "copies",
    "tiny",
    "huge",
    "narrow",
    "turned",
    "grey",
    "transparent",
    "deep",
    "animated",
    "unended",
    "empty_folder",
    "no_picture",
    "not_read",
    "hidden",
    "litter",
    "reading",
    "malformed",
    "unknown_category",
    "orphan",
    "degenerate",
    "beyond",
    "inverted",
    "outside",
    "one_off",
    "size",
    "box_copies",
    "tiny_box",
    "huge_box",
    "crowd",
    "empty",
    "unlisted",
    "category_ids",
    "category_names",
    "coverage",
    "mask",
    "mask_size",
    "mask_value",
    "mask_edges",
    "mask_ignored",
    "mask_lossy",
    "one_class",
]
"""What can be wrong or odd. From `malformed` on: of boxes, which are annotations of objects; from `mask` on: of
masks."""

LOST: tuple[Kind, ...] = ("malformed", "unknown_category", "orphan", "degenerate", "beyond")
"""Flaws for which an annotation is left out."""


class Flaw(NamedTuple):
    """Something that reading the annotations had to mend, or to leave out."""

    kind: Kind
    name: str
    """The picture, or the annotation file."""
    text: str
    """What it is, to be put behind the name."""


class Omission(NamedTuple):
    """A file or a folder in the data set's folder that was not read."""

    kind: Kind
    """`no_picture`: a file among pictures that is none by its name; `empty_folder`; `hidden`: a folder; `litter`: a
    file of which nothing is said, as a program left it behind or its name is no label's; `not_read`: all else."""
    name: str
    """Its path."""
    reason: str
    """Why, to be put behind the name of one or behind a number of them: `is no picture by its name`."""
    files: int = 1
    """How many files it has; 1 of a file."""
