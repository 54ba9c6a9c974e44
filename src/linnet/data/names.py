"""Names of classes: in which order they get their indices, and which of them are one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from unicodedata import normalize


def plain(name: str) -> str:
    """A class's name as it is compared: without case, with spaces for underscores, accents composed."""
    return normalize("NFC", name).strip().lower().replace("_", " ")


def ordered(names: Iterable[str], numbers: Mapping[str, int], *, numeric: bool) -> tuple[str, ...]:
    """The names in the order of their indices: sorted, or by their numbers where all have some.

    Args:
        names: of the classes.
        numbers: name → what the data number the class with, where they do.
        numeric: whether a name of digits is a number too: 10 then comes after 2.
    """
    names = list(names)
    # Python refuses to read thousands of digits.
    keys = {name: numbers.get(name, int(name) if name.isdecimal() and len(name) < 19 else None) for name in names}
    if numeric and None not in keys.values():
        return tuple(sorted(names, key=lambda name: (keys[name] or 0, name)))
    return tuple(sorted(names))


def indices_of(classes: Sequence[str], labels: Iterable[str]) -> dict[str, int]:
    """Name → index of each class, and of each of the labels that spells one of them in another way.

    Folders that come from different systems may spell one letter in two ways.
    """
    known = {name: index for index, name in enumerate(classes)}
    composed = {normalize("NFC", name): index for name, index in known.items()}
    for label in labels:
        if label not in known and (index := composed.get(normalize("NFC", label))) is not None:
            known[label] = index
    return known


def numbers_of(classes: Sequence[str], numbers: Mapping[str, int]) -> tuple[int, ...] | None:
    """What the data number each class with; None unless they do so with every one."""
    found = tuple(numbers[name] for name in classes if name in numbers)
    return found if found and len(found) == len(classes) else None
