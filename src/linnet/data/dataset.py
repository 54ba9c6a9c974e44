"""A data set of three parts, and what there is to say of it; what depends on its labels stands in `labels`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from linnet.data.flaws import LOST, Flaw, Omission
from linnet.data.labels import LABELS, Labels
from linnet.data.matching import Matching
from linnet.data.parts import PARTS, Part
from linnet.data.places import how_to_read
from linnet.data.samples import Sample, Task, Unknown
from linnet.data.sources import Address, Location, ParquetRow, Span

SHOWN = 3
"""Names in a sentence."""


@dataclass(frozen=True)
class DataSet:
    """Pictures and what is to be learnt of them, in three parts.

    Attributes:
        path: where they were found.
        classes: names, in the order of the indices.
        train: what the network learns from; empty where the data set is for measuring only.
        validation: what chooses among its versions; empty until `with_validation` has split some off.
        test: what measures the chosen one; empty where the data set has none.
        split: how validation came about, in words.
        task: what the data show.
        format: as what they were read, as `--format` has it.
        numbers: what the data number each class with; None where names alone tell them apart.
        complete: whether the data list their classes, rather than naming those of their pictures.
        unknown: pictures, or objects on them, of classes that training does not have: left out.
        omissions: files and folders that were not read.
        flaws: what was wrong with the annotations: mended or left out.
        unlisted: pictures without an annotation or a mask: left out, but of YOLO taken as pictures without objects.
        notes: sentences on how the data were understood, such as the choice between two formats.
    """

    path: Location
    classes: tuple[str, ...]
    train: tuple[Sample, ...] = ()
    validation: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()
    split: str = "the data set's own parts"
    task: Task = "classification"
    format: str = "folders"
    numbers: tuple[int, ...] | None = None
    complete: bool = False
    unknown: tuple[Unknown, ...] = ()
    omissions: tuple[Omission, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    unlisted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> Labels:
        """What is to be asked of its labels."""
        return LABELS[self.task]

    @property
    def parts(self) -> dict[Part, tuple[Sample, ...]]:
        """The parts that have pictures."""
        every: tuple[tuple[Part, tuple[Sample, ...]], ...] = (
            ("train", self.train),
            ("validation", self.validation),
            ("test", self.test),
        )
        return {part: samples for part, samples in every if samples}

    @property
    def counts(self) -> tuple[int, ...]:
        """Training pictures, training objects that are not ignored, or pixels of training masks, of each class."""
        return self.count(self.train)

    def count(self, samples: Iterable[Sample]) -> tuple[int, ...]:
        """How many pictures, objects that are not ignored, or pixels there are of each class.

        Pixels are counted by reading every mask, in several threads.

        Raises:
            ValueError: if a mask is damaged.
            OSError: if one cannot be read.
        """
        return self.labels.count(samples, len(self.classes))

    @property
    def unknown_names(self) -> dict[str, tuple[str, ...]]:
        """Classes that training does not have → names of the pictures that have them."""
        found: dict[str, list[str]] = {}
        for one in self.unknown:
            found.setdefault(one.label, []).append(one.sample.name)
        return {label: tuple(dict.fromkeys(names)) for label, names in found.items()}

    def key(self, sample: Sample) -> str:
        """What a run's folder calls a sample: its file as seen from the data set's folder, and its number in it.

        The same for a data set that was moved, or is named another way.
        """
        source = sample.source
        number = source.row if isinstance(source, ParquetRow) else source.number if isinstance(source, Span) else None
        return self.short(sample.name) if number is None else f"{self.short(str(sample.file))}:{number}"

    @cached_property
    def base(self) -> Location:
        """The folder that names are seen from: the data set's own, or that of its file."""
        if isinstance(self.path, Address):
            return self.path.parent
        return self.path if self.path.is_dir() else self.path.parent

    def short(self, name: str) -> str:
        """A name as seen from the data set's folder."""
        return name.removeprefix(f"{self.base}".rstrip("/") + "/")

    def without(self, names: Collection[str]) -> DataSet:
        """The same data set, the pictures of these names (`Sample.name`) left out."""
        if not names:
            return self

        def kept(samples: Iterable[Sample]) -> tuple[Sample, ...]:
            return tuple(sample for sample in samples if sample.name not in names)

        return replace(self, train=kept(self.train), validation=kept(self.validation), test=kept(self.test))

    def with_validation(self, share: float, seed: int) -> DataSet:
        """The same pictures with a seeded share of training split off, unless there is a validation part.

        Every class gives `share` of its pictures, rounded, but at least one where it has two or more, and never all.
        Of boxes, a picture stands with those of the same rarest class, or with those without objects; of masks, which
        are not read for this, all stand together.

        Raises:
            ValueError: if there are too few pictures to split.
        """
        if self.validation:
            return self
        groups, words, lack = self.labels.strata(self)
        chosen = split_off(groups, share, seed)
        if not chosen:
            raise ValueError(f"'{self.path}' has {lack}: none can be kept for validation.")
        return replace(
            self,
            train=tuple(sample for number, sample in enumerate(self.train) if number not in chosen),
            validation=tuple(sample for number, sample in enumerate(self.train) if number in chosen),
            split=f"{share:.0%} of {words}, split off with seed {seed}",
        )

    def for_training(self) -> DataSet:
        """The same data set, if there is something to learn from it.

        Raises:
            ValueError: if training has no pictures, fewer than two classes of them, or no object.
        """
        if not self.train:
            found = f"it has {', '.join(self.parts)}" if self.parts else "it has no pictures"
            raise ValueError(f"'{self.path}' has no training part: {found}.")
        self.labels.check(self)
        return self

    def part_to_measure(self, part: Part | None = None) -> Part:
        """Test if there is one, else validation, else the only part.

        Raises:
            ValueError: if the part that is asked for has no pictures.
        """
        found = self.parts
        if part is None:
            return next(part for part in reversed(PARTS) if part in found)
        if part not in found:
            raise ValueError(f"'{self.path}' has no {part} part; it has {', '.join(found)}.")
        return part

    def only(self, part: Part) -> DataSet:
        """The same data set with the pictures of one part."""
        empty: dict[str, tuple[Sample, ...]] = {other: () for other in PARTS if other != part}
        unknown = tuple(one for one in self.unknown if one.part == part)
        return replace(self, unknown=unknown, **empty)  # type: ignore[arg-type]

    def for_classes(self, names: Sequence[str] | None, count: int) -> DataSet:
        """The same data set with the indices of a model's classes.

        Classes are matched by their names; of classes that share a name (ImageNet has two cranes) by their numbers. If
        the names are not the model's, the data's own numbers are taken; where there are none, and not one name matches,
        and there are as many classes, they are taken in order. Both are said in a warning.

        Args:
            names: of the model's classes, in the order of its outputs.
            count: of its outputs.

        Raises:
            ValueError: if classes of the pictures are not the model's.
        """
        return Matching(self, names, count).matched()

    def remarks(self) -> list[str]:
        """Sentences on what was left out and how the data were understood, for a command that is about to use them.

        `linnet check` says more.
        """
        sentences = list(self.notes)
        sentences += _omitted(self.omissions, self.short)
        if self.unlisted and self.format != "YOLO":
            sentences.append(f"{len(self.unlisted):,} pictures that {self.labels.unlisted} are left out.")
        lost = Counter(flaw.kind for flaw in self.flaws if flaw.kind in LOST)
        if lost:
            kinds = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in lost.items())
            what = self.labels.annotations
            sentences.append(f"{sum(lost.values()):,} {what} are left out ({kinds}); `linnet check` names them.")
        sentences += self.labels.remarks(self)
        return sentences

    def warn(self) -> DataSet:
        """Issues the remarks as warnings, and gives the same data set."""
        for sentence in self.remarks():
            warnings.warn(sentence, stacklevel=2)
        return self


def _omitted(omissions: Sequence[Omission], short: Callable[[str], str]) -> list[str]:
    """One sentence on all that was not read."""
    named = [one for one in omissions if one.kind not in ("empty_folder", "litter")]
    if not named:
        return []
    shown = ", ".join(short(one.name) for one in named[:SHOWN]) + f" and {len(named) - SHOWN:,} more" * (
        len(named) > SHOWN
    )
    files = sum(one.files for one in named)
    reasons = Counter(one.reason for one in named)
    first = reasons.most_common(1)[0][0]
    why = f" ({first})" if len(reasons) == 1 else ""
    how = how_to_read(one.name for one in named)
    sentence = f"{files:,} {'file is' if files == 1 else 'files are'} not read: {shown}{why}; `linnet check` says why."
    return [f"{sentence} {how}".rstrip()]


def split_off(groups: Sequence[int], share: float, seed: int) -> set[int]:
    """Places that a seeded share of every group has, rounded, at least one of a group of two or more, and never all."""
    generator = np.random.default_rng((seed, 0x5917))
    places: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    chosen: set[int] = set()
    for _, members in sorted(places.items()):
        number = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen |= {members[place] for place in generator.permutation(len(members))[:number]}
    return chosen
