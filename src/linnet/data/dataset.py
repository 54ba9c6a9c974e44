"""What everything speaks of: a sample, a data set of three parts, and what reading it had to mend or to leave out."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple
from unicodedata import normalize

import numpy as np

from linnet.data.masks import Mask, count_pixels
from linnet.data.parts import PARTS, Part
from linnet.data.places import how_to_read
from linnet.data.sources import Address, Location, ParquetRow, Source, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

Task = Literal["classification", "detection", "segmentation"]

Kind = Literal[
    "broken",
    "unknown_class",
    "few",
    "imbalance",
    "missing_class",
    "leak",
    "contradiction",
    "copies",
    "tiny",
    "huge",
    "narrow",
    "turned",
    "grey",
    "transparent",
    "deep",
    "animated",
    "unended",
    "empty_folder",
    "no_picture",
    "not_read",
    "hidden",
    "litter",
    "reading",
    "malformed",
    "unknown_category",
    "orphan",
    "degenerate",
    "beyond",
    "inverted",
    "outside",
    "one_off",
    "size",
    "box_copies",
    "tiny_box",
    "huge_box",
    "crowd",
    "empty",
    "unlisted",
    "category_ids",
    "category_names",
    "coverage",
    "mask",
    "mask_size",
    "mask_value",
    "mask_edges",
    "mask_ignored",
    "mask_lossy",
    "one_class",
]
"""What can be wrong or odd. From `malformed` on: of boxes, which are annotations of objects; from `mask` on: of
masks."""

LOST: tuple[Kind, ...] = ("malformed", "unknown_category", "orphan", "degenerate", "beyond")
"""Flaws for which an annotation is left out."""

SHOWN = 3
"""Names in a sentence."""


class Flaw(NamedTuple):
    """Something that reading the annotations had to mend, or to leave out."""

    kind: Kind
    name: str
    """The picture, or the annotation file."""
    text: str
    """What it is, to be put behind the name."""


class Omission(NamedTuple):
    """A file or a folder in the data set's folder that was not read."""

    kind: Kind
    """`no_picture`: a file among pictures that is none by its name; `empty_folder`; `hidden`: a folder; `litter`: a
    file of which nothing is said, as a program left it behind or its name is no label's; `not_read`: all else."""
    name: str
    """Its path."""
    reason: str
    """Why, to be put behind the name of one or behind a number of them: `is no picture by its name`."""
    files: int = 1
    """How many files it has; 1 of a file."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The N objects on a picture; N may be 0.

    Attributes:
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels of the upright picture, inside it, x0 < x1 and y0 < y1.
        indices: (N,) int64 classes.
        ignored: (N,) bool, a crowd of COCO or a difficult object of VOC: neither learnt nor counted.
        areas: (N,) float32 pixels of the objects, by which COCO tells small from large; the box's if there are none.
        size: (width, height) of the picture as the annotations have it, or its own; None where it cannot be read.
    """

    boxes: NDArray[np.float32]
    indices: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.float32]
    size: tuple[int, int] | None

    def __len__(self) -> int:
        """N."""
        return len(self.indices)


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture and what is to be learnt of it.

    Attributes:
        source: where the picture's bytes come from.
        target: the index of its class, the objects on it, or the class of each of its pixels.
    """

    source: Source
    target: int | Boxes | Mask

    @property
    def picture(self) -> Path | bytes:
        """What `linnet.images.decode` takes."""
        return self.source.picture

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self.source.name

    @property
    def file(self) -> Location:
        """The file that holds the picture, among others perhaps."""
        return self.source.file

    @property
    def path(self) -> Path:
        """The same on this disk; a ValueError if it is behind http."""
        file = self.source.file
        if isinstance(file, Address):
            raise ValueError(f"{self.name} is behind http.")
        return file

    @property
    def index(self) -> int:
        """The class of the whole picture."""
        assert isinstance(self.target, int)
        return self.target

    @property
    def objects(self) -> Boxes:
        """The objects on it."""
        assert isinstance(self.target, Boxes)
        return self.target

    @property
    def mask(self) -> Mask:
        """The class of each pixel: `mask.read()` gives (H, W) uint8, 255 where it is ignored."""
        assert isinstance(self.target, Mask)
        return self.target

    @property
    def boxes(self) -> NDArray[np.float32]:
        """See `Boxes`."""
        return self.objects.boxes

    @property
    def indices(self) -> NDArray[np.int64]:
        """See `Boxes`."""
        return self.objects.indices

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """See `Boxes`."""
        return self.objects.ignored

    @property
    def areas(self) -> NDArray[np.float32]:
        """See `Boxes`."""
        return self.objects.areas

    @property
    def size(self) -> tuple[int, int] | None:
        """See `Boxes`."""
        return self.objects.size


class Unknown(NamedTuple):
    """A picture of validation or test with a class that training does not have."""

    label: str
    part: Part
    sample: Sample
    """Of a classifier with the class -1; of a detector without the objects of this class."""


def picture_of(sample: Sample) -> Path | bytes:
    """`Sample.picture`, for readers in other threads and processes."""
    return sample.picture


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
        if self.task == "detection":
            return count_objects(samples, len(self.classes))
        if self.task == "segmentation":
            return count_pixels([sample.mask for sample in samples], len(self.classes))
        found = np.array([sample.index for sample in samples], np.int64)
        return tuple(np.bincount(found, minlength=len(self.classes)).tolist())

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
        if self.task == "classification":
            groups = [sample.index for sample in self.train]
            words, lack = "every class", "no class with two pictures"
        elif self.task == "segmentation":
            groups = [0] * len(self.train)
            words, lack = "the pictures", "too few pictures"
        else:
            rarity = np.argsort(np.argsort(self.counts, kind="stable"))
            groups = [
                min(sample.indices.tolist(), key=lambda index: rarity[index], default=-1) for sample in self.train
            ]
            words, lack = "the pictures of every rarest class", "too few pictures"
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
        if self.task == "detection":
            if not any(len(sample.objects) for sample in self.train):
                first = f" The first that is wrong: '{self.flaws[0].name}': {self.flaws[0].text}." if self.flaws else ""
                raise ValueError(f"'{self.path}' has no box for training: there is nothing to learn.{first}")
        elif not self.classes:
            raise ValueError(f"'{self.path}' has no class: there is nothing to learn.")
        elif len(self.classes) < 2:
            networks = {"classification": "classifier", "segmentation": "segmenter"}
            raise ValueError(
                f"'{self.path}' has one class only ({self.classes[0]!r}): a {networks[self.task]} needs two or more to "
                "tell apart."
            )
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
        return _Matching(self, names, count).matched()

    def remarks(self) -> list[str]:
        """Sentences on what was left out and how the data were understood, for a command that is about to use them.

        `linnet check` says more.
        """
        sentences = list(self.notes)
        sentences += _omitted(self.omissions, self.short)
        if self.unlisted and self.format != "YOLO":
            lack = "have no mask" if self.task == "segmentation" else "no annotation lists"
            sentences.append(f"{len(self.unlisted):,} pictures that {lack} are left out.")
        lost = Counter(flaw.kind for flaw in self.flaws if flaw.kind in LOST)
        if lost:
            kinds = ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in lost.items())
            what = "masks" if self.task == "segmentation" else "annotations"
            sentences.append(f"{sum(lost.values()):,} {what} are left out ({kinds}); `linnet check` names them.")
        for label, number in Counter(one.label for one in self.unknown).items():
            if self.task == "classification":
                what, lack = f"pictures of the class {label!r}", "no picture of it"
            else:
                what, lack = f"boxes of {label!r}", "no such class"
            sentences.append(f"{number:,} {what} are left out: training has {lack}.")
        if self.task == "detection":
            ignored = sum(int(sample.ignored.sum()) for sample in (*self.train, *self.validation, *self.test))
            if ignored:
                sentences.append(f"{ignored:,} objects are crowds or difficult: they are neither learnt nor counted.")
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


def count_objects(samples: Iterable[Sample], classes: int) -> tuple[int, ...]:
    """How many objects there are of each class, without the ignored ones."""
    found = [sample.indices[~sample.ignored] for sample in samples]
    return tuple(np.bincount(np.concatenate([np.empty(0, np.int64), *found]), minlength=classes).tolist())


def plain(name: str) -> str:
    """A class's name as it is compared: without case, with spaces for underscores, accents composed."""
    return normalize("NFC", name).strip().lower().replace("_", " ")


class _Matching:
    """A data set's classes against a model's."""

    def __init__(self, data: DataSet, names: Sequence[str] | None, count: int) -> None:
        self.data, self.names, self.count = data, names, count
        self.known = {plain(name): index for index, name in reversed(list(enumerate(names or ())))}
        # Masks would have to be read.
        every = set(range(len(data.classes))) if data.task == "segmentation" else set[int]()
        parts = () if every else data.parts.values()
        self.used = sorted(every | {index for samples in parts for index in _indices_of(samples, data.task)})

    def matched(self) -> DataSet:
        data = self.data
        labels = [data.classes[index] for index in self.used]
        others = list(data.unknown_names) if data.task == "classification" else []
        absent = [label for label in (*labels, *others) if plain(label) not in self.known]
        if not absent:
            return self._moved([self._by_name(index) for index in range(len(data.classes))])
        if others:
            raise self._refusal(absent)
        if data.numbers is not None and (not data.complete or len(data.classes) == self.count):
            return self._by_number()
        are_numbers = all(name.isascii() and name.isdecimal() for name in data.classes)
        fits = len(data.classes) == self.count or (are_numbers and data.complete and len(data.classes) < self.count)
        if len(absent) < len(labels) or not fits:
            raise self._refusal(absent)
        if not are_numbers:
            self._warn("they are taken in order as its classes")
        return self._moved(list(range(len(data.classes))))

    def _by_name(self, index: int) -> int:
        """A class of the data that no picture has may be any: it is looked up nowhere."""
        name, numbers = plain(self.data.classes[index]), self.data.numbers
        number = index if numbers is None else numbers[index]
        if self.names is not None and 0 <= number < len(self.names) and plain(self.names[number]) == name:
            return number
        return self.known.get(name, 0)

    def _by_number(self) -> DataSet:
        numbers = self.data.numbers
        assert numbers is not None
        if self.data.task == "segmentation" and max(numbers) >= self.count:
            raise self._refusal(self.data.classes)
        for part in self.data.parts.values() if self.data.task != "segmentation" else ():
            wrong = next((one for one in part if not 0 <= numbers[one.index] < self.count), None)
            if wrong is not None:
                raise ValueError(
                    f"'{self.data.path}': {self.data.short(wrong.name)} is of the class {numbers[wrong.index]}; the "
                    f"model has classes 0 to {self.count - 1}."
                )
        if any(name != str(number) for name, number in zip(self.data.classes, numbers, strict=True)):
            self._warn("their numbers are taken")
        return self._moved(list(numbers))

    def _warn(self, what: str) -> None:
        reason = "are not the model's class names" if self.names else "cannot be matched: the model has no class names"
        warnings.warn(f"The classes of '{self.data.path}' {reason}; {what}.", stacklevel=4)

    def _refusal(self, absent: Sequence[str]) -> ValueError:
        listed = ", ".join(absent[:5]) + f" and {len(absent) - 5} more" * (len(absent) > 5)
        what = {"classification": "pictures", "detection": "objects", "segmentation": "masks"}[self.data.task]
        wrong = {self.data.classes.index(name) for name in absent if name in self.data.classes}
        samples = [sample for part in self.data.parts.values() for sample in part]
        masked = self.data.task == "segmentation"
        first = next((one for one in samples if not masked and _indices_of([one], self.data.task) & wrong), None)
        example = f" ({self.data.short(first.name)} is the first)" if first is not None else ""
        return ValueError(
            f"'{self.data.path}' has {what} of classes that are none of the model's {self.count}: {listed}{example}."
        )

    def _moved(self, indices: Sequence[int]) -> DataSet:
        table = np.array(indices, np.int64)
        stays = list(indices) == list(range(len(indices)))

        def moved(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
            if stays:
                return samples
            return tuple(Sample(sample.source, _move(sample.target, table)) for sample in samples)

        parts: dict[str, tuple[Sample, ...]] = {part: moved(samples) for part, samples in self.data.parts.items()}
        unknown = self.data.unknown
        if self.data.task == "classification":
            for one in unknown:
                sample = replace(one.sample, target=self.known[plain(one.label)])
                parts[one.part] = (*parts.get(one.part, ()), sample)
            unknown = ()
        names = tuple(self.names) if self.names else tuple(map(str, range(self.count)))
        return replace(self.data, classes=names, numbers=None, unknown=unknown, **parts)  # type: ignore[arg-type]


def _move(target: int | Boxes | Mask, table: NDArray[np.int64]) -> int | Boxes | Mask:
    if isinstance(target, Mask):
        return target.moved_to(table)
    return int(table[target]) if isinstance(target, int) else replace(target, indices=table[target.indices])


def _indices_of(samples: Iterable[Sample], task: Task) -> set[int]:
    if task == "classification":
        return {sample.index for sample in samples}
    return {index for sample in samples for index in sample.indices.tolist()}
