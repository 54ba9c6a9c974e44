"""The parts of a data set: train, validation and test, and the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, get_args

Part = Literal["train", "validation", "test"]

PARTS: tuple[Part, ...] = get_args(Part)

PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "trainset": "train",
    "validation": "validation",
    "validate": "validation",
    "validating": "validation",
    "val": "validation",
    "valid": "validation",
    "valset": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
}
"""Names of folders, files and entries of a `split` column, in lower case → the part that they stand for."""

USUAL = frozenset({"train", "training", "validation", "val", "valid", "test"})
"""Names of parts of which nothing has to be said."""

DESCRIBED = "train, validation or test"
"""For messages."""


def part_of(name: str) -> Part | None:
    """The part that a whole name stands for: `Training` is train."""
    return PART_NAMES.get(name.strip().lower())


def part_in(name: str) -> Part | None:
    """The part that a name tells with one of its words: `instances_val2017` tells validation."""
    return next((PART_NAMES[word] for word in _words(name) if word in PART_NAMES), None)


def parts_among(names: Iterable[str]) -> dict[str, Part]:
    """Which of the names of folders that lie together are parts: by the whole name, or by one word of it.

    Words tell parts only where the rest of the names is the same and one of them is training, as of `seg_train` and
    `seg_test`: so `test tube` and `bullet train` are no parts.
    """
    names = list(names)
    found = {name: part for name in names if (part := part_of(name)) is not None}
    groups: dict[tuple[str, ...], dict[str, Part]] = {}
    for name in names:
        words = _words(name)
        named = [word for word in words if word in PART_NAMES]
        if name not in found and len(named) == 1:
            rest = tuple(word for word in words if word not in PART_NAMES)
            groups.setdefault(rest, {})[name] = PART_NAMES[named[0]]
    for group in groups.values():
        if "train" in group.values() and len(set(group.values())) > 1:
            found |= group
    return {name: found[name] for name in names if name in found}


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.lower()) if word]
