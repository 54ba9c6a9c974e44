"""What is wrong or odd in a data set, found before the training rather than during it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from linnet.data.duplicates import find_duplicates
from linnet.data.findings import Findings, Kind, Problem, Severity
from linnet.data.inspection import TRAITS, Inspection, Trait, inspect
from linnet.data.labelled import Sample
from linnet.data.source import DataSet
from linnet.images import SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = ("train", "validation", "test")

TINY = 32
"""Pixels of the shorter side below which a picture is tiny, where the network's resolution is not known."""

HUGE = 50_000_000
"""Pixels of a picture that holds a training up while it is decoded."""

NARROW = 4
"""Times that one side is the other, from which on a crop loses most of the picture."""

UNEVEN = 10
"""Times that the largest class is the smallest."""

FEW = 10
"""Training pictures that a class should have."""


def check_data(
    data: DataSet,
    *,
    resolution: int | None = None,
    limit: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Findings:
    """Decodes every picture once and looks at the whole: what is broken, odd, double, or missing.

    Args:
        data: before a validation part is split off, so that copies on both sides of it are still told.
        resolution: side of the network's input in pixels; pictures of less than half of it are tiny.
        limit: decode only so many pictures, drawn at random, always the same ones.
        threads: how many decode at once; `inspect` decides if this is not given.
        progress: called with the number of pictures done.
    """
    placed = [(sample, part) for part in PARTS for sample in getattr(data, part)]
    if limit is not None and limit < len(placed):
        chosen = np.random.default_rng(0xC4EC).choice(len(placed), limit, replace=False)
        placed = [placed[number] for number in np.sort(chosen)]
    found = inspect([sample for sample, _ in placed], threads=threads, progress=progress)
    check = _Check(data, found, [part for _, part in placed])
    problems = [
        *check.broken(),
        *check.classes(),
        *check.duplicates(),
        *check.sizes(resolution),
        *check.traits(),
        *check.others(),
    ]
    order = get_args(Severity)
    sides = np.sort(found.sizes[found.readable], axis=1)
    return Findings(
        data.classes,
        check.counts,
        len(placed),
        _spread(sides[:, 0]),
        _spread(sides[:, 1]),
        tuple(sorted(problems, key=lambda problem: order.index(problem.severity))),
    )


def _spread(sides: NDArray[Any]) -> tuple[int, int, int]:
    if not sides.size:
        return 0, 0, 0
    return int(sides.min()), int(np.median(sides)), int(sides.max())


class _Check:
    """The questions, one method each; every answer is a list of problems."""

    def __init__(self, data: DataSet, found: Inspection, parts: Sequence[str]) -> None:
        self.data, self.found, self.parts = data, found, parts
        self.samples = found.samples
        base = data.path if data.path.is_dir() else data.path.parent
        self.base = f"{base}{os.sep}"
        self.counts = {
            part: tuple(np.bincount([sample.index for sample in samples], minlength=len(data.classes)).tolist())
            for part in PARTS
            if (samples := getattr(data, part))
        }

    def short(self, name: str) -> str:
        """A picture's name as seen from the data set's folder."""
        return name.removeprefix(self.base)

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
        # A link whose picture is gone is no file, and so was not found as a picture.
        reasons |= {
            str(file): "is a link to a file that is not there."
            for file in self.data.others
            if file.is_symlink() and not file.exists() and file.suffix.lower() in SUFFIXES
        }
        if not reasons:
            return []
        sentence = f"{_count(len(reasons), 'picture')} cannot be read; training leaves such pictures out."
        lines = tuple(f"{self.short(name)} {text}" for name, text in reasons.items())
        return [Problem("broken", "error", sentence, tuple((name,) for name in reasons), lines)]

    def classes(self) -> list[Problem]:
        return [*self.unlearnt(), *self.small_classes(), *self.missing_classes()]

    def unlearnt(self) -> list[Problem]:
        """Classes that only validation or test have."""
        untrained = {index for index, count in enumerate(self.data.counts) if not count}
        names: dict[str, list[str]] = {name: list(files) for name, files in self.data.strangers.items()}
        for part in ("validation", "test"):
            for sample in getattr(self.data, part):
                if sample.index in untrained:
                    names.setdefault(self.data.classes[sample.index], []).append(sample.name)
        if not names:
            return []
        lines = []
        known = {name.lower(): name for index, name in enumerate(self.data.classes) if index not in untrained}
        for name, files in names.items():
            near = get_close_matches(name.lower(), known, n=1)
            hint = f"; training has {known[near[0]]!r}" if near else ""
            lines.append(f"{name} ({_count(len(files), 'picture')}, such as {self.short(files[0])}{hint})")
        sentence = f"{_count(len(names), 'class')} of validation or test cannot be learnt: training has no picture of "
        sentence += "it." if len(names) == 1 else "them."
        return [Problem("unknown_class", "error", sentence, tuple(map(tuple, names.values())), tuple(lines))]

    def small_classes(self) -> list[Problem]:
        ranked = sorted(zip(self.data.counts, self.data.classes, strict=True))
        problems = []
        few = [f"{name} ({_count(count, 'picture')})" for count, name in ranked if count < FEW]
        if few:
            whose = "class has" if len(few) == 1 else "classes have"
            sentence = (
                f"{len(few):,} {whose} fewer than {FEW} training pictures: too few to learn from or to measure by."
            )
            problems.append(Problem("few", "warning", sentence, lines=tuple(few)))
        filled = [(count, name) for count, name in ranked if count]
        if filled and filled[-1][0] > UNEVEN * filled[0][0]:
            (least, smallest), (most, largest) = filled[0], filled[-1]
            sentence = (
                f"The classes are uneven: {most:,} training pictures of {largest!r}, {least:,} of {smallest!r}, "
                f"{most / least:.0f} times fewer. A network may pass over small classes (`--order balanced` shows it "
                "every class equally often)."
            )
            problems.append(Problem("imbalance", "warning", sentence))
        return problems

    def missing_classes(self) -> list[Problem]:
        problems = []
        for part, counts in self.counts.items():
            names = [
                name
                for name, count, own in zip(self.data.classes, counts, self.data.counts, strict=True)
                if own and not count
            ]
            if names:
                sentence = (
                    f"The {part} part has no picture of {_count(len(names), 'class')}: its figures say nothing of "
                )
                sentence += "it." if len(names) == 1 else "them."
                problems.append(Problem("missing_class", "warning", sentence, lines=tuple(names)))
        return problems

    def duplicates(self) -> list[Problem]:
        cases: dict[tuple[Kind, Severity, str], list[list[int]]] = {
            ("leak", "warning", "in more than one part: what is measured there has been seen before."): [],
            (
                "contradiction",
                "warning",
                "in one part more than once, with different classes: one of them is wrong.",
            ): [],
            ("copies", "warning", "in training more than once: copies may land on both sides of the coming split."): [],
            ("copies", "note", "in one part more than once, with the same class."): [],
        }
        leaks, contradictions, split_copies, copies = cases.values()
        for group in find_duplicates(self.found.digests, self.found.thumbnails, self.found.readable):
            parts = {self.parts[number] for number in group}
            labels = {(self.parts[number], self.samples[number].index) for number in group}
            if len(parts) > 1:
                leaks.append(group)
            if len(labels) > len(parts):
                contradictions.append(group)
            if len(parts) == len(labels) == 1:
                # Training splits a validation part off where there is none.
                (split_copies if parts == {"train"} and not self.data.validation else copies).append(group)
        return [
            self.grouped(kind, severity, f"{_is(len(groups), 'picture')} {text}", groups)
            for (kind, severity, text), groups in cases.items()
            if groups
        ]

    def grouped(self, kind: Kind, severity: Severity, sentence: str, groups: list[list[int]]) -> Problem:
        """A problem of copies: `=` between the same bytes, `≈` between pictures that look the same."""
        lines = []
        for group in groups:
            digests = self.found.digests[group]
            sign = " = " if (digests == digests[0]).all() else " ≈ "
            named = [self.with_class(self.samples[number]) for number in group[:4]]
            lines.append(sign.join(named) + f" and {len(group) - 4:,} more" * (len(group) > 4))
        names = tuple(tuple(self.samples[number].name for number in group) for group in groups)
        return Problem(kind, severity, sentence, names, tuple(lines))

    def with_class(self, sample: Sample) -> str:
        """A picture's name, and its class unless a folder in the name says it."""
        name, label = self.short(sample.name), self.data.classes[sample.index]
        return name if label in name.split(os.sep)[:-1] else f"{name} ({label})"

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
                sentence = f"{_has(len(numbers), 'picture')} {text}"
                problems.append(self.listed(kind, severity, sentence, numbers, side=True))
        return problems

    def traits(self) -> list[Problem]:
        texts: dict[Trait, str] = {
            "turned": "an EXIF orientation. linnet obeys it; not every program does.",
            "grey": "no colours: each channel gets the same.",
            "transparent": "an alpha channel: what is transparent becomes white.",
            "deep": "more than 8 bits a channel: scaled to 8.",
            "animated": "several frames: the first is taken.",
        }
        problems = []
        for trait, which in zip(TRAITS, self.found.traits.T, strict=True):
            numbers = np.flatnonzero(which).tolist()
            if numbers:
                sentence = f"{_has(len(numbers), 'picture')} {texts[trait]}"
                problems.append(self.listed(trait, "note", sentence, numbers, side=False))
        return problems

    def others(self) -> list[Problem]:
        """Files and folders among the classes that give no picture."""
        problems = []
        folders = [file for file in self.data.others if file.is_dir()]
        if folders:
            sentence = f"{_has(len(folders), 'folder')} no picture that linnet reads ({', '.join(SUFFIXES)})."
            lines = tuple(self.short(str(folder)) for folder in folders)
            problems.append(
                Problem("empty_folder", "warning", sentence, tuple((str(file),) for file in folders), lines)
            )
        files = [file for file in self.data.others if file.is_file() and not _is_litter(file.name)]
        if files:
            endings = Counter(file.suffix.lower() or "no ending" for file in files)
            counted = ", ".join(f"{ending}: {count:,}" for ending, count in endings.most_common(5))
            sentence = (
                f"{_count(len(files), 'file')} among the pictures left out, being no pictures by name ({counted})."
            )
            if {".heic", ".heif"} & endings.keys():
                sentence += " HEIC must be converted first, to JPEG for example."
            lines = tuple(self.short(str(file)) for file in files)
            problems.append(Problem("no_picture", "note", sentence, tuple((str(file),) for file in files), lines))
        return problems


def _is_litter(name: str) -> bool:
    """What file managers leave behind."""
    return (
        name.lower() in ("thumbs.db", "desktop.ini")
        or (name.startswith(".") and not name.lower().endswith(SUFFIXES))
        or name.startswith("._")
    )


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _is(number: int, noun: str) -> str:
    return f"{_count(number, noun)} {'is' if number == 1 else 'are'}"


def _has(number: int, noun: str) -> str:
    return f"{_count(number, noun)} {'has' if number == 1 else 'have'}"
