"""What is wrong or odd in a data set, found before the training rather than during it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from linnet.data.checks.findings import Findings, Problem
from linnet.data.checks.inspection import Inspection, inspect
from linnet.data.checks.pictures import PictureCheck, by_severity, counted, draw_samples, spreads
from linnet.data.dataset import DataSet
from linnet.data.samples import Sample

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
        data: before a validation part is split off, so that copies on both sides of it are still reported.
        resolution: side of the network's input in pixels; pictures of less than half of it are tiny.
        limit: decode only so many pictures, drawn at random, always the same ones.
        threads: how many decode at once; `inspect` decides if this is not given.
        progress: called with the number of pictures done.
    """
    samples, parts = draw_samples(data, limit)
    found = inspect(samples, threads=threads, progress=progress)
    check = _ClassCheck(data, found, parts)
    return Findings(
        data.classes,
        check.counts,
        len(samples),
        *spreads(found),
        by_severity([*check.broken(), *check.classes(), *check.pictures(resolution)]),
    )


class _ClassCheck(PictureCheck):
    """Questions about classes of whole pictures."""

    samples: Sequence[Sample]

    def __init__(self, data: DataSet, found: Inspection, parts: Sequence[str]) -> None:
        super().__init__(data, found, parts)
        self.counts: dict[str, tuple[int, ...]] = {part: data.count(samples) for part, samples in data.parts.items()}

    def label(self, number: int) -> int:
        """The class."""
        return self.samples[number].index

    def described(self, number: int) -> str:
        """The name, and the class unless a folder in the name says it."""
        name, label = self.short(self.samples[number].name), self.data.classes[self.label(number)]
        return name if label in name.split(os.sep)[:-1] else f"{name} ({label})"

    def classes(self) -> list[Problem]:
        return [*self.unlearnt(), *self.small_classes(), *self.missing_classes()]

    def unlearnt(self) -> list[Problem]:
        """Classes that only validation or test have."""
        untrained = {index for index, count in enumerate(self.data.counts) if not count}
        names: dict[str, list[str]] = {name: list(files) for name, files in self.data.unknown_names.items()}
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
            lines.append(f"{name} ({counted(len(files), 'picture')}, such as {self.short(files[0])}{hint})")
        sentence = f"{counted(len(names), 'class')} of validation or test cannot be learnt: training has no picture of "
        sentence += "it." if len(names) == 1 else "them."
        return [Problem("unknown_class", "error", sentence, tuple(map(tuple, names.values())), tuple(lines))]

    def small_classes(self) -> list[Problem]:
        ranked = sorted(zip(self.data.counts, self.data.classes, strict=True))
        problems = []
        few = [f"{name} ({counted(count, 'picture')})" for count, name in ranked if count < FEW]
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
                    f"The {part} part has no picture of {counted(len(names), 'class')}: its figures say nothing of "
                )
                sentence += "it." if len(names) == 1 else "them."
                problems.append(Problem("missing_class", "warning", sentence, lines=tuple(names)))
        return problems
