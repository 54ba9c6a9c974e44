"""What was found in a data set: problems with the names of their pictures, and a summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from linnet.data.checks.coverage import ClassCoverage
from linnet.data.flaws import Kind

Severity = Literal["error", "warning", "note"]
"""Training leaves pictures or boxes out; the result may be poor or mislead; good to know."""


LEFT_OUT: tuple[Kind, ...] = ("broken", "size", "mask", "mask_size")
"""Problems for which a training leaves pictures out."""


@dataclass(frozen=True)
class Problem:
    """One kind of thing that is wrong or odd.

    Attributes:
        kind: what it is, for programs.
        severity: how bad it is.
        sentence: what it is, and what it means.
        groups: names of the pictures concerned, as `Sample.name` has them; copies of one picture stand together.
        lines: for people, one for each group, or for each class where the problem is one of classes.
    """

    kind: Kind
    severity: Severity
    sentence: str
    groups: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all the pictures concerned."""
        return tuple(name for group in self.groups for name in group)

    def first_lines(self, most: int = 5) -> tuple[str, ...]:
        """At most so many lines, and then how many more there are."""
        rest = len(self.lines) - most
        return self.lines if rest <= 0 else (*self.lines[:most], f"and {rest:,} more")

    def summary(self, most: int) -> str:
        """The sentence and at most so many of its lines, as one sentence."""
        return "; ".join((self.sentence.rstrip("."), *self.first_lines(most))) + "."

    def to_json(self) -> dict[str, Any]:
        """The whole problem, with all names; `groups` only where several pictures belong together."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "sentence": self.sentence,
            "files": list(self.files),
            "lines": list(self.lines),
        } | ({"groups": list(map(list, self.groups))} if any(len(group) > 1 for group in self.groups) else {})


@dataclass(frozen=True)
class Findings:
    """What a data set holds and what is wrong with it.

    Attributes:
        classes: names, in the order of the indices.
        counts: pictures of each class, for each part that has any.
        checked: how many pictures were decoded; fewer than there are if a limit was given.
        shorter: least, median and largest shorter side in pixels; zeros where nothing can be read.
        longer: the same of the longer side.
        problems: errors first, then warnings, then notes.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    checked: int
    shorter: tuple[int, int, int]
    longer: tuple[int, int, int]
    problems: tuple[Problem, ...]

    @property
    def pictures(self) -> int:
        """Pictures in all parts."""
        return sum(sum(counts) for counts in self.counts.values())

    @property
    def broken(self) -> frozenset[str]:
        """Names of the pictures that a training leaves out: they, or their masks, cannot be read, or do not fit."""
        return frozenset(name for problem in self.lost for name in problem.files)

    @property
    def lost(self) -> tuple[Problem, ...]:
        """The problems for which a training leaves pictures out."""
        return tuple(problem for problem in self.problems if problem.kind in LEFT_OUT)

    def amount(self, part: str, index: int) -> str:
        """How much of a part is of a class, for people: pictures or objects."""
        return f"{self.counts[part][index]:,}"

    def totals(self) -> list[list[str]]:
        """Rows for people behind those of the classes: what it is, and how much of each part."""
        return [["all", *(f"{sum(counts):,}" for counts in self.counts.values())]]

    def of(self, severity: Severity) -> tuple[Problem, ...]:
        """The problems of one severity."""
        return tuple(problem for problem in self.problems if problem.severity == severity)

    def to_json(self) -> dict[str, Any]:
        """Everything, with all names of all pictures."""
        names = ("min", "median", "max")
        return {
            "pictures": self.pictures,
            "checked": self.checked,
            "classes": [
                {"name": name} | {part: counts[index] for part, counts in self.counts.items()}
                for index, name in enumerate(self.classes)
            ],
            "shorter_side": dict(zip(names, self.shorter, strict=True)),
            "longer_side": dict(zip(names, self.longer, strict=True)),
            **{f"{severity}s": len(self.of(severity)) for severity in get_args(Severity)},
            "problems": [problem.to_json() for problem in self.problems],
        }


@dataclass(frozen=True)
class BoxFindings(Findings):
    """The same of a data set with boxes; `counts` are of objects, those that are ignored left out.

    Attributes:
        format: of the annotations.
        listed: pictures of each part.
        coverage: how a detector's anchors match the objects of each class; empty without anchors.
    """

    format: str
    listed: Mapping[str, int]
    coverage: tuple[ClassCoverage, ...]

    @property
    def pictures(self) -> int:
        """Pictures in all parts."""
        return sum(self.listed.values())

    def to_json(self) -> dict[str, Any]:
        """Everything, with all names of all pictures."""
        document = super().to_json() | {"format": self.format, "parts": dict(self.listed)}
        return document | {"coverage": [entry.to_json() for entry in self.coverage]}


@dataclass(frozen=True)
class MaskFindings(Findings):
    """The same of a data set with masks; `counts` are of pixels, those that are ignored left out.

    Attributes:
        format: of the masks.
        listed: pictures of each part.
        showing: pictures of each part that have a pixel of each class.
        ignored: pixels of each part that are ignored or no class.
    """

    format: str
    listed: Mapping[str, int]
    showing: Mapping[str, tuple[int, ...]]
    ignored: Mapping[str, int]

    @property
    def pictures(self) -> int:
        """Pictures in all parts."""
        return sum(self.listed.values())

    def share(self, part: str, index: int) -> float:
        """Of the pixels of a part that are not ignored, those of a class."""
        return self.counts[part][index] / max(sum(self.counts[part]), 1)

    def left_out(self, part: str) -> float:
        """Share of all pixels of a part that are ignored."""
        return self.ignored[part] / max(sum(self.counts[part]) + self.ignored[part], 1)

    def amount(self, part: str, index: int) -> str:
        """Share of the pixels."""
        return f"{self.share(part, index):.1%}"

    def totals(self) -> list[list[str]]:
        """Pixels that are ignored, and pictures."""
        return [
            ["ignored, of all", *(f"{self.left_out(part):.1%}" for part in self.counts)],
            ["pictures", *(f"{self.listed[part]:,}" for part in self.counts)],
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, with all names of all pictures."""
        document = super().to_json() | {"format": self.format, "parts": dict(self.listed)}
        for index, entry in enumerate(document["classes"]):
            entry["shares"] = {part: self.share(part, index) for part in self.counts}
            entry["pictures"] = {part: self.showing[part][index] for part in self.counts}
        return document | {"ignored": {part: self.left_out(part) for part in self.counts}}
