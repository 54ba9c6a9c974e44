"""Pictures with boxes: one type of sample, whatever format told the boxes, and what was wrong with those."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from linnet.data.findings import Kind
from linnet.images import is_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

Format = Literal["COCO", "VOC", "YOLO"]

PATTERNS: dict[Format, tuple[str, ...]] = {
    "COCO": ("annotations/*.json", "instances_*.json", "_annotations.coco.json", "*/_annotations.coco.json"),
    "VOC": ("Annotations/*.xml", "annotations/*.xml", "train/*.xml", "*.xml"),
    "YOLO": ("labels/*.txt", "labels/*/*.txt", "*/labels/*.txt"),
}
"""What gives away a folder of pictures with boxes, in the order of preference."""

SLACK = 0.1
"""Pixels by which a box may leave its picture before it is told: annotations are rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxSample:
    """A picture's file and its N objects; N may be 0.

    Attributes:
        file: the picture.
        boxes: (N, 4) float32 x0, y0, x1, y1 in pixels of the upright picture, inside it, x0 < x1 and y0 < y1.
        indices: (N,) int64 classes.
        ignored: (N,) bool, a crowd of COCO or a difficult object of VOC: neither learnt nor counted.
        areas: (N,) float32 pixels of the objects, by which COCO tells small from large; of the box if nothing is told.
        size: (width, height) of the picture as the annotations have it, or its own; None where it cannot be read.
    """

    file: Path
    boxes: NDArray[np.float32]
    indices: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.float32]
    size: tuple[int, int] | None

    @property
    def picture(self) -> Path:
        """What `linnet.images.decode` takes."""
        return self.file

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.file)


class Flaw(NamedTuple):
    """Something that reading the annotations had to mend, or to leave out."""

    kind: Kind
    name: str
    """The picture, or the annotation file."""
    text: str
    """What it is, to be put behind the name."""


class Annotation(NamedTuple):
    """One object as a file tells it, not yet checked."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels."""
    label: str
    ignored: bool = False
    area: float | None = None


class Annotated(NamedTuple):
    """One picture as the annotations tell it, not yet checked."""

    file: Path
    part: str
    size: tuple[int, int] | None
    objects: list[Annotation]


@dataclass
class Reading:
    """What the files of one format told.

    Attributes:
        pictures: in the order of the files.
        names: of the classes, in the order of their indices; None where only the objects name them.
        flaws: what was wrong.
        unlabelled: pictures without a label file, taken as pictures without objects.
    """

    pictures: list[Annotated] = field(default_factory=list)
    names: tuple[str, ...] | None = None
    flaws: list[Flaw] = field(default_factory=list)
    unlabelled: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class BoxDataSet:
    """Pictures with boxes in three parts.

    Attributes:
        path: where they were found.
        format: of the annotations.
        classes: names, in the order of the indices.
        train: what the network learns from.
        validation: what chooses among its versions; empty until `with_validation` has split some off.
        test: what measures the chosen one; empty where the data set has none.
        split: how validation came about, in words.
        strangers: classes of validation and test that training does not have → names of the pictures whose boxes of it
            are left out.
        flaws: what was wrong with the annotations: mended or left out.
        unlisted: pictures that no annotation names: left out, but of YOLO taken as pictures without objects.
    """

    path: Path
    format: Format
    classes: tuple[str, ...]
    train: tuple[BoxSample, ...]
    validation: tuple[BoxSample, ...] = ()
    test: tuple[BoxSample, ...] = ()
    split: str = "the data set's own parts"
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()
    unlisted: tuple[Path, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Training objects of each class, without the ignored ones."""
        return count_objects(self.train, len(self.classes))

    def without(self, names: Collection[str]) -> BoxDataSet:
        """The same data set, the pictures of these names (`BoxSample.name`) left out."""
        if not names:
            return self

        def kept(samples: Iterable[BoxSample]) -> tuple[BoxSample, ...]:
            return tuple(sample for sample in samples if sample.name not in names)

        return replace(self, train=kept(self.train), validation=kept(self.validation), test=kept(self.test))

    def with_validation(self, share: float, seed: int) -> BoxDataSet:
        """The same pictures with a seeded share of training split off, unless there is a validation part.

        Every picture stands with those of the same rarest class, or with those without objects; each such group gives
        `share` of its pictures, rounded, but at least one where it has two or more, and never all.

        Raises:
            ValueError: if there are too few pictures to split.
        """
        # Not above: class folders are told from boxes there.
        from linnet.data.source import split_off

        if self.validation:
            return self
        rarity = np.argsort(np.argsort(self.counts, kind="stable"))
        groups = [min(sample.indices.tolist(), key=lambda index: rarity[index], default=-1) for sample in self.train]
        chosen = split_off(groups, share, seed)
        if not chosen:
            raise ValueError(f"'{self.path}' has too few pictures: none can be kept for validation.")
        return replace(
            self,
            train=tuple(sample for number, sample in enumerate(self.train) if number not in chosen),
            validation=tuple(sample for number, sample in enumerate(self.train) if number in chosen),
            split=f"{share:.0%} of the pictures of every rarest class, split off with seed {seed}",
        )


def count_objects(samples: Iterable[BoxSample], classes: int) -> tuple[int, ...]:
    """How many objects there are of each class, without the ignored ones."""
    found = [sample.indices[~sample.ignored] for sample in samples]
    return tuple(np.bincount(np.concatenate([np.empty(0, np.int64), *found]), minlength=classes).tolist())


def box_formats(path: Path) -> dict[Format, Path]:
    """The formats of boxes that a folder shows, best first, each with a file that gives it away."""
    found: dict[Format, Path] = {}
    for kind, patterns in PATTERNS.items():
        match = next((file for pattern in patterns for file in sorted(path.glob(pattern))), None)
        # A class may be called `labels`; of YOLO's folders one is called `images`.
        if match is None or (kind == "YOLO" and not (any(path.glob("images")) or any(path.glob("*/images")))):
            continue
        # An XML file may be anything; one with a picture of its name beside it is an annotation.
        if match.parent != path or kind != "VOC" or any(map(is_picture, path.glob(f"{escape(match.stem)}.*"))):
            found[kind] = match
    return found


def clean_boxes(
    boxes: NDArray[np.float64], size: tuple[int, int] | None
) -> tuple[NDArray[np.float64], list[Kind | None], NDArray[np.bool_]]:
    """Boxes with their corners in order, cut off at the borders of their picture.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels.
        size: (width, height) of the picture; without it, nothing is cut off at the right and the bottom.

    Returns:
        The boxes (N, 4); what was wrong with each, or None; and (N,) whether it is to be kept.
    """
    finite = np.isfinite(np.abs(boxes).max(axis=1, initial=0))
    boxes = np.where(finite[:, None], boxes, 0)
    ordered = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    cut = ordered.clip(0, None if size is None else np.array((*size, *size), np.float64))
    # In the precision of a sample: a sliver may vanish.
    cut = cut.astype(np.float32).astype(np.float64)
    solid, kept = _are_solid(ordered), _are_solid(cut)
    inverted = (boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])
    outside = np.abs(cut - ordered).max(axis=1, initial=0) > SLACK
    kinds: list[Kind | None] = []
    for number in range(len(boxes)):
        kind: Kind | None = "inverted" if inverted[number] else "outside" if outside[number] else None
        kind = kind if kept[number] else "beyond" if solid[number] else "degenerate"
        kinds.append(kind if finite[number] else "malformed")
    return cut, kinds, kept


def _are_solid(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def make_sample(picture: Annotated, known: Mapping[str, int], flaws: list[Flaw]) -> BoxSample:
    """The sample of a picture: boxes cleaned, those of classes that are not known left out; adds what was wrong."""
    objects = [thing for thing in picture.objects if thing.label in known]
    told = np.array([thing.box for thing in objects], np.float64).reshape(-1, 4)
    boxes, kinds, kept = clean_boxes(told, picture.size)
    for thing, kind in zip(objects, kinds, strict=True):
        if kind is not None:
            flaws.append(Flaw(kind, str(picture.file), f"{thing.label} at {describe_box(thing.box)}"))
    boxes = boxes[kept]
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left = [thing for thing, keep in zip(objects, kept, strict=True) if keep]
    for number, thing in enumerate(left):
        if thing.area is not None:
            areas[number] = thing.area
    return BoxSample(
        picture.file,
        boxes.astype(np.float32),
        np.array([known[thing.label] for thing in left], np.int64),
        np.array([thing.ignored for thing in left], np.bool_),
        areas.astype(np.float32),
        picture.size,
    )


def describe_box(box: Sequence[float]) -> str:
    """x0, y0, x1, y1 for people."""
    return ", ".join(f"{side:.6g}" for side in box)
