"""The questions about pictures that every check asks, whatever the pictures are labelled with."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from linnet.data.checks.duplicates import find_duplicates
from linnet.data.checks.findings import Problem, Severity
from linnet.data.checks.inspection import TRAITS, Inspection, Trait
from linnet.data.dataset import DataSet
from linnet.data.flaws import Kind, Omission
from linnet.data.parts import Part
from linnet.data.places import how_to_read
from linnet.data.samples import Sample
from linnet.images import SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = 32
"""Pixels of the shorter side below which a picture is tiny, where the network's resolution is not known."""

HUGE = 50_000_000
"""Pixels of a picture that holds a training up while it is decoded."""

NARROW = 4
"""Times that one side is the other, from which on a crop loses most of the picture."""


class PictureCheck:
    """The questions, one method each; every answer is a list of problems.

    Args:
        data: the data set.
        found: what was found of the pictures.
        parts: the part of each.
    """

    nouns = ("class", "classes")
    """What a picture is labelled with, one and many."""

    def __init__(self, data: DataSet, found: Inspection, parts: Sequence[str]) -> None:
        self.data, self.found, self.parts, self.samples = data, found, parts, found.samples

    def label(self, number: int) -> Hashable:
        """What a picture is labelled with, to tell copies that contradict each other."""
        raise NotImplementedError

    def described(self, number: int) -> str:
        """A picture's name, and its label if that helps."""
        return self.short(self.samples[number].name)

    def pictures(self, resolution: int | None) -> list[Problem]:
        """All that can be wrong with the pictures themselves, but for those that are broken."""
        return [*self.duplicates(), *self.sizes(resolution), *self.traits(), *self.others(), *self.understood()]

    def short(self, name: str) -> str:
        """A picture's name as seen from the data set's folder."""
        return self.data.short(name)

    def listed(self, kind: Kind, severity: Severity, sentence: str, numbers: Iterable[int], side: bool) -> Problem:
        """A problem of single pictures, with their sizes if that is what it is about."""
        groups, lines = [], []
        for number in numbers:
            width, height = self.found.sizes[number]
            groups.append((self.samples[number].name,))
            lines.append(self.short(self.samples[number].name) + f" ({width} x {height})" * side)
        return Problem(kind, severity, sentence, tuple(groups), tuple(lines))

    def broken(self) -> list[Problem]:
        reasons = {self.samples[number].name: text for number, text in sorted(self.found.errors.items())}
        if not reasons:
            return []
        sentence = f"{counted(len(reasons), 'picture')} cannot be read; training leaves such pictures out."
        lines = tuple(f"{self.short(name)} {text}" for name, text in reasons.items())
        return [Problem("broken", "error", sentence, tuple((name,) for name in reasons), lines)]

    def duplicates(self) -> list[Problem]:
        cases: dict[tuple[Kind, Severity, str], list[list[int]]] = {
            ("leak", "warning", "in more than one part: what is measured there has been seen before."): [],
            (
                "contradiction",
                "warning",
                f"in one part more than once, with different {self.nouns[1]}: one of them is wrong.",
            ): [],
            ("copies", "warning", "in training more than once: copies may land on both sides of the coming split."): [],
            ("copies", "note", f"in one part more than once, with the same {self.nouns[0]}."): [],
        }
        leaks, contradictions, split_copies, copies = cases.values()
        for group in find_duplicates(self.found.digests, self.found.thumbnails, self.found.readable):
            parts = {self.parts[number] for number in group}
            labels = {(self.parts[number], self.label(number)) for number in group}
            if len(parts) > 1:
                leaks.append(group)
            if len(labels) > len(parts):
                contradictions.append(group)
            if len(parts) == len(labels) == 1:
                # Training splits a validation part off where there is none.
                (split_copies if parts == {"train"} and not self.data.validation else copies).append(group)
        return [
            self.grouped(kind, severity, f"{counted_is(len(groups), 'picture')} {text}", groups)
            for (kind, severity, text), groups in cases.items()
            if groups
        ]

    def grouped(self, kind: Kind, severity: Severity, sentence: str, groups: list[list[int]]) -> Problem:
        """A problem of copies: `=` between the same bytes, `≈` between pictures that look the same."""
        lines = []
        for group in groups:
            digests = self.found.digests[group]
            sign = " = " if (digests == digests[0]).all() else " ≈ "
            named = [self.described(number) for number in group[:4]]
            lines.append(sign.join(named) + f" and {len(group) - 4:,} more" * (len(group) > 4))
        names = tuple(tuple(self.samples[number].name for number in group) for group in groups)
        return Problem(kind, severity, sentence, names, tuple(lines))

    def sizes(self, resolution: int | None) -> list[Problem]:
        widths, heights = self.found.sizes.astype(np.int64).T
        shorter, longer, readable = np.minimum(widths, heights), np.maximum(widths, heights), self.found.readable
        least = TINY if resolution is None else resolution // 2
        network = "" if resolution is None else f", half of the network's {resolution}: enlarged, they show little"
        cases: tuple[tuple[Kind, Severity, NDArray[Any], str], ...] = (
            ("tiny", "warning", shorter < least, f"a shorter side below {least} pixels{network}."),
            ("huge", "note", widths * heights > HUGE, f"more than {HUGE // 10**6} megapixels: slow to decode."),
            (
                "narrow",
                "note",
                longer > NARROW * shorter,
                f"one side more than {NARROW} times the other: a crop loses most.",
            ),
        )
        problems = []
        for kind, severity, which, text in cases:
            numbers = np.flatnonzero(which & readable).tolist()
            if numbers:
                sentence = f"{counted_has(len(numbers), 'picture')} {text}"
                problems.append(self.listed(kind, severity, sentence, numbers, side=True))
        return problems

    def traits(self) -> list[Problem]:
        texts: dict[Trait, str] = {
            "turned": "an EXIF orientation. linnet obeys it; not every program does.",
            "grey": "no colours: each channel gets the same.",
            "transparent": "an alpha channel: what is transparent becomes white.",
            "deep": "more than 8 bits a channel: scaled to 8 by the range of their values.",
            "animated": "several frames: the first is taken.",
            "unended": "no end mark, but all pixels: read. The file was cut off; is there a better copy?",
        }
        problems = []
        for trait, which in zip(TRAITS, self.found.traits.T, strict=True):
            numbers = np.flatnonzero(which).tolist()
            if numbers:
                sentence = f"{counted_has(len(numbers), 'picture')} {texts[trait]}"
                problem = self.listed(trait, "note", sentence, numbers, side=False)
                if trait == "deep":
                    problem = replace(problem, lines=tuple(map(self.scaled, numbers)))
                problems.append(problem)
        return problems

    def scaled(self, number: int) -> str:
        """A picture of more than 8 bits, and which values become black and white where these are not all."""
        name = self.short(self.samples[number].name)
        if number not in self.found.ranges:
            return name
        low, high = (f"{value:,.7g}" for value in self.found.ranges[number])
        return f"{name} ({low} becomes black, {high} white)"

    def others(self) -> list[Problem]:
        """Files and folders that were not read, each kind by itself."""
        kinds: dict[Kind, list[Omission]] = {}
        for one in self.data.omissions:
            kinds.setdefault(one.kind, []).append(one)
        problems = []
        if folders := kinds.get("empty_folder", []):
            sentence = f"{counted_has(len(folders), 'folder')} no picture that linnet reads ({', '.join(SUFFIXES)})."
            problems.append(self.omitted("empty_folder", "warning", sentence, folders))
        for reason in dict.fromkeys(one.reason for one in kinds.get("not_read", [])):
            found = [one for one in kinds["not_read"] if one.reason == reason]
            files = sum(one.files for one in found)
            sentence = f"{counted_is(files, 'file')} not read: {'it ' + reason if files == 1 else _many(reason)}."
            problems.append(self.omitted("not_read", "warning", sentence, found))
        if hidden := kinds.get("hidden", []):
            files = sum(one.files for one in hidden)
            sentence = f"{counted_is(files, 'file')} not read: in folders that are hidden or left behind by a program."
            problems.append(self.omitted("hidden", "note", sentence, hidden))
        if files_ := kinds.get("no_picture", []):
            endings = Counter(os.path.splitext(one.name)[1].lower() or "no ending" for one in files_)
            listing = ", ".join(f"{ending}: {count:,}" for ending, count in endings.most_common(5))
            sentence = (
                f"{counted(len(files_), 'file')} among the pictures left out, being no pictures by name ({listing})."
            )
            sentence = f"{sentence} {how_to_read(one.name for one in files_)}".rstrip()
            problems.append(self.omitted("no_picture", "note", sentence, files_))
        return problems

    def understood(self) -> list[Problem]:
        """How the data were understood, where that was not plain."""
        return [Problem("reading", "note", sentence) for sentence in self.data.notes]

    def omitted(self, kind: Kind, severity: Severity, sentence: str, omissions: Sequence[Omission]) -> Problem:
        """A problem of files and folders that were not read; of a folder with how many files it has."""
        lines = tuple(
            self.short(one.name) + f" ({counted(one.files, 'file')})" * (one.files != 1 and kind != "empty_folder")
            for one in omissions
        )
        return Problem(kind, severity, sentence, tuple((one.name,) for one in omissions), lines)


def _many(reason: str) -> str:
    """A reason that stands behind one name, behind several."""
    verbs = {"lies": "they lie", "is": "they are", "has": "they have"}
    first, _, rest = reason.partition(" ")
    return f"{verbs.get(first, first)} {rest}"


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`."""
    plural = f"{noun}es" if noun.endswith(("s", "x")) else f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def counted_is(number: int, noun: str) -> str:
    """`1 picture is`, `2 pictures are`."""
    return f"{counted(number, noun)} {'is' if number == 1 else 'are'}"


def counted_has(number: int, noun: str) -> str:
    """`1 picture has`, `2 pictures have`."""
    return f"{counted(number, noun)} {'has' if number == 1 else 'have'}"


def spreads(found: Inspection) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Least, median and largest of the pictures' shorter sides, and of their longer ones."""
    sides = np.sort(found.sizes[found.readable], axis=1)
    return _spread(sides[:, 0]), _spread(sides[:, 1])


def _spread(sides: NDArray[Any]) -> tuple[int, int, int]:
    """Least, median and largest of whole numbers; zeros if there are none."""
    if not sides.size:
        return 0, 0, 0
    return int(sides.min()), int(np.median(sides)), int(sides.max())


def by_severity(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Errors first, then warnings, then notes."""
    order = get_args(Severity)
    return tuple(sorted(problems, key=lambda problem: order.index(problem.severity)))


def draw_samples(data: DataSet, limit: int | None) -> tuple[list[Sample], list[Part]]:
    """At most so many pictures in order, drawn at random, always the same ones; and the part of each."""
    placed = [(sample, part) for part, samples in data.parts.items() for sample in samples]
    if limit is not None and limit < len(placed):
        chosen = np.sort(np.random.default_rng(0xC4EC).choice(len(placed), limit, replace=False))
        placed = [placed[number] for number in chosen.tolist()]
    return [sample for sample, _ in placed], [part for _, part in placed]
