"""What is wrong or odd in a data set with masks, found before the training rather than during it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from linnet.data.checks.findings import MaskFindings, Problem, Severity
from linnet.data.checks.inspection import Inspection, inspect
from linnet.data.checks.mask_inspection import MaskSeen, inspect_masks
from linnet.data.checks.pictures import (
    PictureCheck,
    by_severity,
    counted,
    counted_has,
    counted_is,
    draw_samples,
    spreads,
)
from linnet.data.checks.wording import worded
from linnet.data.dataset import DataSet
from linnet.data.flaws import Kind
from linnet.data.formats.mask_coding import BACKGROUNDS
from linnet.data.masks import MaskFile
from linnet.data.names import plain
from linnet.data.samples import Sample

UNEVEN = 100
"""Times that the pixels of the largest class are those of the smallest."""

HALF = 0.5
"""Share of its pixels that are no class from which on a mask is another data set's."""

SHOWN = 5
"""Values in a sentence."""


def check_masks(
    data: DataSet,
    *,
    resolution: int | None = None,
    limit: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> MaskFindings:
    """Decodes every picture and its mask once and looks at the whole.

    Args:
        data: before a validation part is split off, so that copies on both sides of it are still reported.
        resolution: side of the network's input in pixels; pictures of less than half of it are tiny.
        limit: decode only so many pictures, drawn at random, always the same ones.
        threads: how many decode at once; `inspect` decides if this is not given.
        progress: called with the number of pictures done.
    """
    samples, parts = draw_samples(data, limit)
    found = inspect(samples, threads=threads, progress=lambda done: progress(done // 2))
    half = len(samples) // 2
    seen = inspect_masks(
        samples, len(data.classes), threads=threads, progress=lambda done: progress(half + (done + 1) // 2)
    )
    check = _MaskCheck(data, found, parts, seen)
    return MaskFindings(
        data.classes,
        check.counts,
        len(samples),
        *spreads(found),
        by_severity([*check.broken(), *check.masks(), *check.classes(), *check.listing(), *check.pictures(resolution)]),
        data.format,
        {part: len(every) for part, every in data.parts.items()},
        check.showing,
        check.ignored,
    )


class _MaskCheck(PictureCheck):
    """Questions about masks."""

    nouns = ("mask or alike", "masks")
    samples: Sequence[Sample]

    def __init__(self, data: DataSet, found: Inspection, parts: Sequence[str], seen: Sequence[MaskSeen]) -> None:
        super().__init__(data, found, parts)
        self.seen = seen
        self.counts: dict[str, tuple[int, ...]] = {}
        self.showing: dict[str, tuple[int, ...]] = {}
        self.ignored: dict[str, int] = {}
        for part in data.parts:
            own = [one for one, of in zip(seen, parts, strict=True) if of == part]
            pixels = np.array([one.counts for one in own], np.int64).reshape(-1, len(data.classes))
            self.counts[part] = tuple(pixels.sum(axis=0).tolist())
            self.showing[part] = tuple((pixels > 0).sum(axis=0).tolist())
            self.ignored[part] = sum(one.ignored + one.lost for one in own)
        # Of pictures with the same bytes: which of their different masks each has.
        masks: dict[bytes, list[bytes]] = defaultdict(list)
        self.kinds = []
        for digest, one in zip(found.digests, seen, strict=True):
            known = masks[digest.tobytes()]
            if one.digest not in known:
                known.append(one.digest)
            self.kinds.append(known.index(one.digest))

    def label(self, number: int) -> Hashable:
        """Which mask, of the same picture: pictures that only look alike may have different ones."""
        return self.kinds[number]

    def problem(self, kind: Kind, severity: Severity, sentence: str, cases: Sequence[tuple[int, str]]) -> list[Problem]:
        """A problem of masks (number of the picture, what of it), each with a line; none without cases."""
        if not cases:
            return []
        groups = tuple((self.samples[number].name,) for number, _ in cases)
        names = [self.short(self.samples[number].mask.name) for number, _ in cases]
        lines = tuple(f"{name}: {text}" if text else name for name, (_, text) in zip(names, cases, strict=True))
        return [Problem(kind, severity, sentence, groups, lines)]

    def masks(self) -> list[Problem]:
        """All that can be wrong with single masks."""
        return [*self.unread(), *self.other_sizes(), *self.values(), *self.edges(), *self.empty(), *self.frames()]

    def unread(self) -> list[Problem]:
        cases = [(number, one.error.rstrip(".")) for number, one in enumerate(self.seen) if one.error]
        cases += [
            (number, f"{one.lost / one.pixels:.0%} of its pixels are no class ({self.listed_values(one.unknown)})")
            for number, one in enumerate(self.seen)
            if one.pixels and one.lost > HALF * one.pixels
        ]
        be = "is" if len(cases) == 1 else "are"
        sentence = f"{counted(len(cases), 'mask')} cannot be read, or {be} not of these classes: left out with "
        return self.problem("mask", "error", f"{sentence}{_its(cases)}.", cases)

    def other_sizes(self) -> list[Problem]:
        cases = []
        for number in np.flatnonzero(self.found.readable).tolist():
            own, size = self.seen[number].size, tuple(self.found.sizes[number].tolist())
            if not self.seen[number].error and own != size:
                turned = " (turned by EXIF)" if own == size[::-1] and self.is_turned(number) else ""
                cases.append((number, f"{own[0]} x {own[1]}, its picture {size[0]} x {size[1]}{turned}"))
        sentence = f"{counted_is(len(cases), 'mask')} of another size than {_its(cases)}: left out."
        return self.problem("mask_size", "error", sentence, cases)

    def is_turned(self, number: int) -> bool:
        """Whether EXIF turns a picture."""
        return bool(self.found.traits[number, 0])

    def values(self) -> list[Problem]:
        """Values that are no class: which, how many, and where the first of each mask is."""
        cases, total, masks = [], Counter[int | tuple[int, ...]](), Counter[int | tuple[int, ...]]()
        for number, one in enumerate(self.seen):
            if one.unknown and one.lost <= HALF * one.pixels:
                total.update(one.unknown)
                masks.update(dict.fromkeys(one.unknown, 1))
                column, row = one.first
                text = f"{self.listed_values(one.unknown)}; the first at column {column}, row {row}"
                cases.append((number, text))
        told = [
            f"{_value(value)} ({counted(total[value], 'pixel')} in {counted(masks[value], 'mask')})"
            for value, _ in total.most_common(SHOWN)
        ]
        more = f" and {len(total) - SHOWN:,} more" * (len(total) > SHOWN)
        sentence = (
            f"{counted_has(len(cases), 'mask')} values that are no class: {', '.join(told)}{more}; such pixels are "
            "ignored."
        )
        return self.problem("mask_value", "error", sentence, cases)

    def listed_values(self, unknown: dict[int | tuple[int, ...], int]) -> str:
        """Values and how many pixels have them."""
        told = [f"{_value(value)} ({counted(count, 'pixel')})" for value, count in list(unknown.items())[:SHOWN]]
        return ", ".join(told) + f" and {len(unknown) - SHOWN:,} more" * (len(unknown) > SHOWN)

    def edges(self) -> list[Problem]:
        """Masks that were smoothed, or saved as JPEG."""
        smoothed = [(number, "") for number, one in enumerate(self.seen) if one.smoothed and not one.lossy]
        sentence = (
            f"{counted_has(len(smoothed), 'mask')} values between those of two classes along their edges: resized with "
            "smoothing, which makes classes up. Masks are resized by nearest neighbour."
        )
        problems = self.problem("mask_edges", "warning", sentence, smoothed)
        lossy = [(number, "") for number, one in enumerate(self.seen) if one.lossy]
        origins = [self.samples[number].mask.origin for number, _ in lossy]
        # Colours and black and white are told apart as they are; of numbers, the next one is another class.
        numbers = any(isinstance(one, MaskFile) and one.coding.counts for one in origins)
        what = "changes values, and so makes classes up" if numbers else "changes colours along the edges"
        sentence = f"{counted_is(len(lossy), 'mask')} JPEG, which {what}: PNG keeps them."
        return problems + self.problem("mask_lossy", "error" if numbers else "warning", sentence, lossy)

    def empty(self) -> list[Problem]:
        """Masks of the background alone, and those that are ignored wholly."""
        void = [(n, "") for n, one in enumerate(self.seen) if one.pixels and one.ignored + one.lost == one.pixels]
        problems = self.problem(
            "mask_ignored", "warning", f"{counted_is(len(void), 'mask')} ignored wholly: nothing is learnt there.", void
        )
        background = next((n for n, name in enumerate(self.data.classes) if plain(name) in BACKGROUNDS), None)
        if background is not None:
            cases = [
                (number, "")
                for number, one in enumerate(self.seen)
                if one.counts[background] and one.counts[background] == one.counts.sum()
            ]
            name = self.data.classes[background]
            sentence = f"{counted_has(len(cases), 'mask')} no pixel of another class than {name!r}."
            problems += self.problem("empty", "note", sentence, cases)
        return problems

    def frames(self) -> list[Problem]:
        cases = [(number, f"{one.frames} frames") for number, one in enumerate(self.seen) if one.frames > 1]
        sentence = f"{counted_has(len(cases), 'mask')} several frames: the first is taken."
        return self.problem("animated", "note", sentence, cases)

    def classes(self) -> list[Problem]:
        """Classes that have no pixel, few pixels, or all."""
        names = self.data.classes
        problems = []
        learnt = self.counts.get("train", ())
        filled = sorted((count, name) for count, name in zip(learnt, names, strict=False) if count)
        if learnt and len(filled) < 2:
            what = f"are all {filled[0][1]!r}" if filled else "are all ignored or no class"
            sentence = f"The pixels of the training masks {what}: a network needs two classes or more to tell apart."
            problems.append(Problem("one_class", "error", sentence))
        for part, counts in self.counts.items():
            absent = [name for name, count in zip(names, counts, strict=True) if not count]
            if not absent or not sum(counts):
                continue
            what = counted(len(absent), "class")
            it = "it" if len(absent) == 1 else "them"
            lack = f"nothing is learnt of {it}" if part == "train" else f"its figures say nothing of {it}"
            sentence = f"The {part} part has no pixel of {what}: {lack}."
            problems.append(Problem("missing_class", "warning", sentence, lines=tuple(absent)))
        if len(filled) > 1 and filled[-1][0] > UNEVEN * filled[0][0]:
            (least, smallest), (most, largest) = filled[0], filled[-1]
            sentence = (
                f"The classes are uneven: {most / sum(learnt):.1%} of the training pixels are {largest!r}, "
                f"{least / sum(learnt):.2%} are {smallest!r}. A network may pass over small classes."
            )
            problems.append(Problem("imbalance", "warning", sentence))
        return problems

    def listing(self) -> list[Problem]:
        """Pictures without masks, masks without pictures, and what else reading had to leave out."""
        absent = self.data.unlisted
        problems = []
        if absent:
            sentence = f"{counted_has(len(absent), 'picture')} no mask: left out."
            lines = tuple(map(self.short, absent))
            problems.append(Problem("unlisted", "warning", sentence, tuple((name,) for name in absent), lines))
        flaws: dict[Kind, list[tuple[str, str]]] = defaultdict(list)
        for flaw in self.data.flaws:
            flaws[flaw.kind].append((flaw.name, flaw.text))
        for kind, cases in flaws.items():
            groups = tuple((name,) for name, _ in cases)
            severity: Severity = "warning"
            if kind == "orphan" and self.data.format != "COCO":
                sentence = f"{counted_has(len(cases), 'mask')} no picture: left out."
                lines = tuple(self.short(name) for name, _ in cases)
            else:
                severity, sentence = worded(kind, len(cases))
                lines = tuple(f"{self.short(name)}: {text}" for name, text in cases)
            problems.append(Problem(kind, severity, sentence, groups, lines))
        return problems


def _its(cases: Sequence[object]) -> str:
    return "its picture" if len(cases) == 1 else "their pictures"


def _value(value: int | tuple[int, ...]) -> str:
    """A value, or a colour."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
