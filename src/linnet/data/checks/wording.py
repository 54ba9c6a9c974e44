"""Sentences for what reading the annotations had to mend or to leave out."""

from __future__ import annotations

from typing import NamedTuple

from linnet.data.checks.findings import Severity
from linnet.data.flaws import Kind


class _Wording(NamedTuple):
    severity: Severity
    one: str
    many: str


FLAWS: dict[Kind, _Wording] = {
    "malformed": _Wording("error", "1 annotation cannot be read and is", "{} annotations cannot be read and are"),
    "unknown_category": _Wording(
        "error", "1 object of an unknown category is", "{} objects of categories that are not known are"
    ),
    "orphan": _Wording("error", "1 annotation of an unlisted picture is", "{} annotations of unlisted pictures are"),
    "degenerate": _Wording("error", "1 box without an area is", "{} boxes without an area are"),
    "beyond": _Wording("error", "1 box outside its picture is", "{} boxes outside their pictures are"),
    "inverted": _Wording(
        "warning", "1 box has its corners swapped: put in order.", "{} boxes have their corners swapped: put in order."
    ),
    "outside": _Wording(
        "warning", "1 box leaves its picture: cut off at the border.", "{} boxes leave their pictures: cut off there."
    ),
    "category_names": _Wording(
        "warning",
        "Two categories share a name: they are kept apart by their ids. Merge them in the file if they are one.",
        "Categories share their names: they are kept apart by their ids. Merge them in the file if they are one.",
    ),
    "category_ids": _Wording(
        "note",
        "The ids of the categories have gaps; linnet counts its classes from 0, in the order of the ids.",
        "The ids of the categories have gaps; linnet counts its classes from 0, in the order of the ids.",
    ),
}
"""Sentences for what reading has found, alone or several times; those that end in `is` or `are` are left out."""


def worded(kind: Kind, count: int) -> tuple[Severity, str]:
    """How bad so many flaws of one kind are, and a sentence on them."""
    wording = FLAWS[kind]
    sentence = wording.one if count == 1 else wording.many.format(f"{count:,}")
    return wording.severity, sentence if sentence.endswith(".") else f"{sentence} left out."
