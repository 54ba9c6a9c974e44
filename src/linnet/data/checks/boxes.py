"""What is wrong or odd in a data set with boxes, found before the training rather than during it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.checks.coverage import ENOUGH, ClassCoverage, measure_coverage
from linnet.data.checks.findings import BoxFindings, Problem, Severity
from linnet.data.checks.inspection import Inspection, inspect
from linnet.data.checks.pictures import PictureCheck, by_severity, counted, draw_samples, spreads
from linnet.data.checks.wording import FLAWS, worded
from linnet.data.cleaning import describe_box
from linnet.data.dataset import DataSet
from linnet.data.flaws import Kind
from linnet.data.samples import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW = 10
"""Training objects that a class should have."""

UNEVEN = 20
"""Times that the objects of the largest class are those of the smallest."""

SAME = 0.9
"""IoU from which two boxes of one class are taken for one object."""

SMALL_SIDE = 8
"""Pixels of the network's input below which the shorter side of an object shows little."""

RESOLUTION = 320
"""Side of the network's input where it is not known: the paper's SSDLite."""

WHOLE = 0.95
"""Share of both sides from which a box frames the picture rather than an object."""


def check_boxes(
    data: DataSet,
    *,
    anchors: NDArray[Any] | None = None,
    resolution: int | None = None,
    limit: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> BoxFindings:
    """Decodes every picture once, and looks at all boxes.

    Args:
        data: before a validation part is split off, so that copies on both sides of it are still reported.
        anchors: (A, 4) centre x, centre y, width, height as fractions of the input, of the detector to be trained;
            without them nothing is said of how they match.
        resolution: side of the network's input in pixels.
        limit: decode only so many pictures, drawn at random, always the same ones; boxes are all looked at.
        threads: how many decode at once; `inspect` decides if this is not given.
        progress: called with the number of pictures done.
    """
    samples, parts = draw_samples(data, limit)
    found = inspect(samples, threads=threads, progress=progress)
    check = _BoxCheck(data, found, parts, resolution or RESOLUTION)
    coverage = () if anchors is None else check.coverage(anchors)
    problems = [
        *check.broken(),
        *check.flaws(),
        *check.classes(),
        *check.boxes(),
        *check.covered(coverage),
        *check.listing(),
        *check.pictures(resolution),
    ]
    return BoxFindings(
        data.classes,
        check.counts,
        len(samples),
        *spreads(found),
        by_severity(problems),
        data.format,
        {part: len(every) for part, every in data.parts.items()},
        coverage,
    )


class _BoxCheck(PictureCheck):
    """Questions about boxes."""

    nouns = ("boxes", "boxes")
    samples: Sequence[Sample]

    def __init__(self, data: DataSet, found: Inspection, parts: Sequence[str], resolution: int) -> None:
        super().__init__(data, found, parts)
        self.resolution = resolution
        self.everything = [sample for part, samples in data.parts.items() for sample in samples]
        self.counts: dict[str, tuple[int, ...]] = {part: data.count(samples) for part, samples in data.parts.items()}

    def label(self, number: int) -> Hashable:
        """The boxes in thousandths of the picture, as a copy of another size has them too."""
        sample = self.samples[number]
        shares = np.round(_shares(sample) * 1000).astype(int).tolist()
        return tuple(sorted((index, *box) for index, box in zip(sample.indices.tolist(), shares, strict=True)))

    def problem(self, kind: Kind, severity: Severity, sentence: str, cases: Sequence[tuple[str, str]]) -> list[Problem]:
        """A problem of pictures (name, what of it), each with a line; none without cases."""
        if not cases:
            return []
        groups = tuple((name,) for name in dict.fromkeys(name for name, _ in cases))
        lines = tuple(f"{self.short(name)}: {text}" if text else self.short(name) for name, text in cases)
        return [Problem(kind, severity, sentence, groups, lines)]

    def flaws(self) -> list[Problem]:
        """What reading had to mend or to leave out."""
        found = defaultdict(list)
        for flaw in self.data.flaws:
            found[flaw.kind].append((flaw.name, flaw.text))
        problems = self.one_off(found.pop("one_off", []))
        for kind in FLAWS:
            problems += self.problem(kind, *worded(kind, len(found[kind])), found[kind])
        return problems

    def one_off(self, cases: list[tuple[str, str]]) -> list[Problem]:
        if self.data.format == "VOC":
            sentence = (
                f"{counted(len(cases), 'box')} {'begins' if len(cases) == 1 else 'begin'} at pixel 0, but VOC counts "
                "from 1: the tool counted from 0, and so the whole set is read."
            )
        else:
            sentence = (
                "The boxes look shifted by one pixel, as VOC's are, which counts from 1: subtract 1 from x and y where "
                "they were converted."
            )
        return self.problem("one_off", "warning", sentence, cases)

    def classes(self) -> list[Problem]:
        """Classes that are few, uneven, or known to other parts only."""
        ranked = sorted(zip(self.data.counts, self.data.classes, strict=True))
        few = [f"{name} ({counted(count, 'object')})" for count, name in ranked if count < FEW]
        problems = []
        if few:
            whose = "class has" if len(few) == 1 else "classes have"
            sentence = f"{len(few):,} {whose} fewer than {FEW} training objects: too few to learn from."
            problems.append(Problem("few", "warning", sentence, lines=tuple(few)))
        filled = [(count, name) for count, name in ranked if count]
        if filled and filled[-1][0] > UNEVEN * filled[0][0]:
            (least, smallest), (most, largest) = filled[0], filled[-1]
            sentence = (
                f"The classes are uneven: {most:,} training objects of {largest!r}, {least:,} of {smallest!r}, "
                f"{most / least:.0f} times fewer."
            )
            problems.append(Problem("imbalance", "note", sentence))
        lines = [f"{name} ({counted(len(files), 'picture')})" for name, files in self.data.unknown_names.items()]
        if lines:
            sentence = f"{counted(len(lines), 'class')} of validation or test cannot be learnt: training has none."
            groups = tuple(map(tuple, self.data.unknown_names.values()))
            problems.append(Problem("unknown_class", "error", sentence, groups, tuple(lines)))
        return problems

    def boxes(self) -> list[Problem]:
        """Objects that are tiny, as large as the picture, or there twice, and crowds."""
        cases: dict[Kind, list[tuple[str, str]]] = {"box_copies": [], "tiny_box": [], "huge_box": [], "crowd": []}
        for sample in self.everything:
            if not len(sample.boxes):
                continue
            shares = _shares(sample)
            shorter = (shares[:, 2:] - shares[:, :2]).min(axis=1)
            odd: dict[Kind, NDArray[np.bool_]] = {
                "box_copies": _copies(sample),
                "tiny_box": shorter * self.resolution < SMALL_SIDE,
                "huge_box": shorter > WHOLE,
                "crowd": sample.ignored,
            }
            for kind, which in odd.items():
                for number in np.flatnonzero(which).tolist() if which.any() else ():
                    name = self.data.classes[sample.indices[number]]
                    cases[kind].append((sample.name, f"{name} at {describe_box(sample.boxes[number].tolist())}"))
        copies, tiny, huge, crowd = (len(found) for found in cases.values())
        texts: dict[Kind, tuple[Severity, str]] = {
            "box_copies": ("warning", f"{counted(copies, 'box')} may be the copy of another: IoU {SAME} or more."),
            "tiny_box": (
                "warning",
                f"{counted(tiny, 'object')} of fewer than {SMALL_SIDE} pixels at {self.resolution}: hard to find.",
            ),
            "huge_box": ("note", f"{counted(huge, 'box')} of (nearly) the whole picture."),
            "crowd": ("note", f"{counted(crowd, 'crowd or difficult object')}: neither learnt nor counted."),
        }
        return [
            problem
            for kind, (severity, text) in texts.items()
            for problem in self.problem(kind, severity, text, cases[kind])
        ]

    def listing(self) -> list[Problem]:
        """Pictures without objects, without annotations, or of another size than these have it."""
        empty = [(sample.name, "") for sample in self.everything if not len(sample.boxes)]
        sentence = f"{counted(len(empty), 'picture')} without objects: they teach what is none."
        problems = self.problem("empty", "note", sentence, empty)
        absent = [(file, "") for file in self.data.unlisted]
        if self.data.format == "YOLO":
            sentence = f"{counted(len(absent), 'picture')} without a label file, taken as pictures without objects."
        else:
            sentence = f"{counted(len(absent), 'picture')} beside the others that no annotation lists: left out."
        problems += self.problem("unlisted", "warning" if self.data.format == "YOLO" else "note", sentence, absent)
        return [*problems, *self.other_sizes()]

    def other_sizes(self) -> list[Problem]:
        cases = []
        for number in np.flatnonzero(self.found.readable).tolist():
            sample, (width, height) = self.samples[number], self.found.sizes[number].tolist()
            if sample.size is not None and sample.size != (width, height):
                turned = " (turned by EXIF)" if sample.size == (height, width) else ""
                text = f"{width} x {height}{turned}, but annotated as {sample.size[0]} x {sample.size[1]}"
                cases.append((sample.name, text))
        sentence = (
            f"{counted(len(cases), 'picture')} of another size than annotated: the boxes would not be where the "
            "objects are; training leaves such pictures out."
        )
        return self.problem("size", "error", sentence, cases)

    def coverage(self, anchors: NDArray[Any]) -> tuple[ClassCoverage, ...]:
        """How the anchors match the training objects."""
        shares = [_shares(sample)[~sample.ignored] for sample in self.data.train]
        indices = [sample.indices[~sample.ignored] for sample in self.data.train]
        side = self.resolution
        return measure_coverage(
            np.concatenate(shares), np.concatenate(indices), self.data.classes, anchors, (side, side)
        )

    def covered(self, coverage: Sequence[ClassCoverage]) -> list[Problem]:
        """The classes that the anchors do not match."""
        lines = tuple(
            f"{entry.name}: {entry.unreached:.0%} of {entry.objects:,} objects; what would help: {entry.suggestion}"
            for entry in coverage
            if entry.suggestion
        )
        if not lines:
            return []
        sentence = (
            f"More than {1 - ENOUGH:.0%} of the objects of {counted(len(lines), 'class')} have no anchor that overlaps "
            "them by half: a detector learns them badly."
        )
        return [Problem("coverage", "warning", sentence, lines=lines)]


def _shares(sample: Sample) -> NDArray[np.float64]:
    """Boxes (N, 4) as fractions of the picture; of one that cannot be read, of the least that has room for them."""
    width, height = sample.size or sample.boxes[:, 2:].max(axis=0, initial=1).tolist()
    return sample.boxes / np.array((width, height, width, height), np.float64)


def _copies(sample: Sample) -> NDArray[np.bool_]:
    """Which boxes overlap an earlier one of the same class so far that they are one object."""
    if len(sample.boxes) < 2:
        return np.zeros(len(sample.boxes), np.bool_)
    first, second = sample.boxes[:, None], sample.boxes[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = sides.clip(0).prod(axis=-1)
    area = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
    overlap = shared / (area[:, None] + area - shared)
    overlap[sample.indices[:, None] != sample.indices] = 0
    return np.tril(overlap, -1).max(axis=1, initial=0) >= SAME
