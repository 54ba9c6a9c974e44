"""What a reader of one format found, before classes have numbers; and the samples that become of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import normalize

import numpy as np

from linnet.data.dataset import Boxes, DataSet, Flaw, Kind, Omission, Sample, Task, Unknown
from linnet.data.headers import may_be_turned, size_and_orientation
from linnet.data.masks import Mask, Origin
from linnet.data.parts import PARTS, Part
from linnet.data.sources import File, Location, ParquetRow, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLACK = 0.1
"""Pixels by which a box may leave its picture before it is reported: annotations are rounded."""

TOUCHING = 3
"""Boxes on a border that make a pattern."""


class Labelled(NamedTuple):
    """A picture and its class."""

    source: Source
    part: Part
    label: str | int
    """The name of the class, or its place in `Reading.names`: names may be there twice."""


class Annotation(NamedTuple):
    """One object as a file tells it, not yet checked."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels."""
    label: str
    ignored: bool = False
    area: float | None = None


class Annotated(NamedTuple):
    """One picture as the annotations tell it, not yet checked."""

    source: Source
    part: Part
    size: tuple[int, int] | None
    objects: list[Annotation]


class Masked(NamedTuple):
    """A picture and its mask."""

    source: Source
    part: Part
    mask: Origin
    """Which tells classes by their places in `Reading.names`."""


@dataclass
class Reading:
    """What the files of one format say.

    Attributes:
        labelled: pictures with a class each, in the order of the files.
        annotated: pictures with objects, in the order of the files.
        masked: pictures with a mask each, in the order of the files.
        names: of the classes, in the order of their indices; None where only the pictures or objects name them.
        numbers: name of a class → what the data number it with, where they do.
        flaws: what was wrong with the annotations.
        unlisted: names of pictures without an annotation.
        omissions: files and folders that were not read.
        notes: sentences on how the data were understood.
    """

    labelled: list[Labelled] = field(default_factory=list)
    annotated: list[Annotated] = field(default_factory=list)
    masked: list[Masked] = field(default_factory=list)
    names: tuple[str, ...] | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_data(reading: Reading, path: Location, format_name: str, task: Task) -> DataSet:
    """The data set of a reading: classes numbered, boxes cleaned, parts sorted.

    Classes are those that the reading names; else those of the training pictures or objects, or of all where there is
    no training part, by their numbers where they have or are numbers, else by their names.
    """
    if task == "segmentation":
        return make_masked(reading, path, format_name)
    detects = task == "detection"
    pictures: Sequence[Labelled | Annotated] = reading.annotated if detects else reading.labelled
    learns = any(picture.part == "train" for picture in pictures)
    seen: set[str] = set()
    for picture in pictures:
        if picture.part == "train" or not learns:
            if isinstance(picture, Annotated):
                seen.update(thing.label for thing in picture.objects)
            elif isinstance(picture.label, str):
                seen.add(picture.label)
    complete = reading.names is not None and (detects or seen <= set(reading.names))
    classes = (reading.names if complete else None) or _ordered(seen, reading.numbers, numeric=not detects)
    known = {name: index for index, name in enumerate(classes)}
    # Folders that come from different systems may spell one letter in two ways.
    composed = {normalize("NFC", name): index for name, index in known.items()}
    labels = {picture.label for picture in reading.labelled if isinstance(picture.label, str)}
    for one in reading.annotated:
        labels.update(thing.label for thing in one.objects)
    for spelt in labels:
        if spelt not in known and (index := composed.get(normalize("NFC", spelt))) is not None:
            known[spelt] = index
    flaws, unknown, notes = list(reading.flaws), list[Unknown](), list(reading.notes)
    parts: dict[Part, list[Sample]] = {part: [] for part in PARTS}
    if detects:
        annotated, turns = follow_turns(reading.annotated)
        notes += turns
        for one, sample in zip(annotated, make_samples(annotated, known, flaws), strict=True):
            parts[one.part].append(sample)
            unknown += [Unknown(thing.label, one.part, sample) for thing in one.objects if thing.label not in known]
    else:
        for source, part, label in reading.labelled:
            place = label if isinstance(label, int) else known.get(label)
            if place is None:
                unknown.append(Unknown(str(label), part, Sample(source, -1)))
            else:
                parts[part].append(Sample(source, place))
    given = [reading.numbers.get(name) for name in classes] if reading.numbers else []
    numbers = tuple(number for number in given if number is not None)
    return DataSet(
        path,
        classes,
        tuple(parts["train"]),
        tuple(parts["validation"]),
        tuple(parts["test"]),
        task=task,
        format=format_name,
        numbers=numbers if given and len(numbers) == len(classes) else None,
        complete=complete,
        unknown=tuple(unknown),
        omissions=tuple(reading.omissions),
        flaws=tuple(flaws),
        unlisted=tuple(reading.unlisted),
        notes=tuple(notes),
    )


def make_masked(reading: Reading, path: Location, format_name: str) -> DataSet:
    """The data set of a reading of masks, which has numbered the classes."""
    parts: dict[Part, list[Sample]] = {part: [] for part in PARTS}
    masks, notes = follow_turned_masks(reading.masked)
    for one, mask in zip(reading.masked, masks, strict=True):
        parts[one.part].append(Sample(one.source, mask))
    return DataSet(
        path,
        reading.names or (),
        tuple(parts["train"]),
        tuple(parts["validation"]),
        tuple(parts["test"]),
        task="segmentation",
        format=format_name,
        numbers=tuple(reading.numbers.values()) or None,
        complete=not reading.numbers,
        omissions=tuple(reading.omissions),
        flaws=tuple(reading.flaws),
        unlisted=tuple(reading.unlisted),
        notes=(*reading.notes, *notes),
    )


def follow_turned_masks(pictures: Sequence[Masked]) -> tuple[list[Mask], list[str]]:
    """The masks of all pictures as they lie on the upright ones, and sentences on those that EXIF turns.

    By the rule of `follow_turns`: a mask was made on the picture as it is shown, unless it has the size that the
    picture has before it is turned.
    """
    found, shown, turned = list[Mask](), list[str](), list[str]()
    for picture in pictures:
        turn = 1
        content = _content(picture.source)
        if content is not None and may_be_turned(content):
            told, size = size_and_orientation(content), picture.mask.size()
            if told is not None and told[1] > 1:
                along = told[1] in range(5, 9) and told[0][0] != told[0][1] and size == told[0]
                turn = told[1] if along else 1
                (turned if along else shown).append(picture.source.name)
        found.append(Mask(picture.mask, turn))
    return found, _on_turns(shown, turned, "masks", "made")


def follow_turns(pictures: Sequence[Annotated]) -> tuple[list[Annotated], list[str]]:
    """The boxes of all pictures as they lie on the upright ones, and sentences on those that EXIF turns.

    People draw boxes on the picture that they see, which is turned. Only where the annotations tell the size that it
    has before it is turned, its boxes are turned along.
    """
    found: list[Annotated] = []
    shown: list[str] = []
    turned: list[str] = []
    for picture in pictures:
        content = _content(picture.source)
        if content is not None and may_be_turned(content):
            told = size_and_orientation(content)
            if told is not None and told[1] > 1:
                (width, height), turn = told
                along = turn in range(5, 9) and width != height and picture.size == (width, height)
                (turned if along else shown).append(picture.source.name)
                if along:
                    objects = [thing._replace(box=_turned(thing.box, width, height, turn)) for thing in picture.objects]
                    picture = picture._replace(size=(height, width), objects=objects)
        found.append(picture)
    return found, _on_turns(shown, turned, "boxes", "drawn")


def _on_turns(shown: Sequence[str], turned: Sequence[str], things: str, made: str) -> list[str]:
    """Sentences on the pictures that EXIF turns, whose boxes or masks stay as they are, or are turned along."""
    notes = []
    if shown:
        what = "picture is" if len(shown) == 1 else "pictures are"
        notes.append(
            f"{len(shown):,} {what} turned by EXIF: {things} are taken as {made} on the turned picture, which is the "
            f"one that is shown ('{shown[0]}'{' is the first' * (len(shown) > 1)})."
        )
    if turned:
        what = "picture is" if len(turned) == 1 else "pictures are"
        notes.append(
            f"{len(turned):,} {what} turned by EXIF, but annotated in the size before that: the {things} are turned "
            f"along ('{turned[0]}'{' is the first' * (len(turned) > 1)})."
        )
    return notes


def _content(source: Source) -> str | bytes | None:
    """What tells how a picture is turned: its file's name, or its bytes; None where these are far."""
    if isinstance(source, File):
        return source.name
    try:
        return source.picture if isinstance(source, ParquetRow) else None
    except ValueError:
        return None


def _turned(
    box: tuple[float, float, float, float], width: int, height: int, turn: int
) -> tuple[float, float, float, float]:
    """A box of a picture of this size, on the one that an EXIF orientation of 5 to 8 makes of it."""
    x0, y0, x1, y1 = box
    if turn in (6, 7):
        y0, y1 = height - y1, height - y0
    if turn in (7, 8):
        x0, x1 = width - x1, width - x0
    return y0, x0, y1, x1


def _ordered(labels: Iterable[str], numbers: Mapping[str, int], *, numeric: bool) -> tuple[str, ...]:
    """10 comes after 2, where all classes are numbers or have them."""
    labels = list(labels)
    # Python refuses to read thousands of digits.
    keys = {
        label: numbers.get(label, int(label) if label.isdecimal() and len(label) < 19 else None) for label in labels
    }
    if numeric and None not in keys.values():
        return tuple(sorted(labels, key=lambda label: (keys[label] or 0, label)))
    return tuple(sorted(labels))


def clean_boxes(
    boxes: NDArray[np.float64], size: tuple[int, int] | NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], list[Kind | None], NDArray[np.bool_]]:
    """Boxes with their corners in order, cut off at the borders of their picture.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 in pixels.
        size: (width, height) of the picture, or (N, 2) of the picture of each box, infinite where it is not known;
            without it, nothing is cut off at the right and the bottom.

    Returns:
        The boxes (N, 4); what was wrong with each, or None; and (N,) whether it is to be kept.
    """
    finite = np.isfinite(np.abs(boxes).max(axis=1, initial=0))
    boxes = np.where(finite[:, None], boxes, 0)
    ordered = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    cut = ordered.clip(0, None if size is None else np.tile(np.asarray(size, np.float64), 2))
    # In the precision of a sample: a sliver may vanish.
    cut = cut.astype(np.float32).astype(np.float64)
    solid, kept = _are_solid(ordered), _are_solid(cut)
    inverted = (boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])
    outside = np.abs(cut - ordered).max(axis=1, initial=0) > SLACK
    kinds: list[Kind | None] = [None] * len(boxes)
    for number in np.flatnonzero(~finite | ~kept | inverted | outside).tolist():
        kind: Kind = "inverted" if inverted[number] else "outside"
        kind = kind if kept[number] else "beyond" if solid[number] else "degenerate"
        kinds[number] = kind if finite[number] else "malformed"
    return cut, kinds, kept


def _are_solid(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def make_samples(pictures: Sequence[Annotated], known: Mapping[str, int], flaws: list[Flaw]) -> list[Sample]:
    """A sample of each picture: boxes cleaned, those of classes that are not known left out; adds what was wrong.

    All boxes are cleaned at once: numpy takes as long for one as for a thousand.
    """
    objects = [[thing for thing in picture.objects if thing.label in known] for picture in pictures]
    things = [thing for each in objects for thing in each]
    counts = [len(each) for each in objects]
    sizes = np.array([picture.size or (np.inf, np.inf) for picture in pictures], np.float64).reshape(-1, 2)
    boxes = np.array([thing.box for thing in things], np.float64).reshape(-1, 4)
    boxes, kinds, kept = clean_boxes(boxes, np.repeat(sizes, counts, axis=0))
    ends = np.cumsum(counts).tolist()
    if any(kinds):
        owners = np.repeat(np.arange(len(pictures)), counts).tolist()
        for owner, thing, kind in zip(owners, things, kinds, strict=True):
            if kind is not None:
                text = f"{thing.label} at {describe_box(thing.box)}"
                flaws.append(Flaw(kind, pictures[owner].source.name, text))
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    given = np.array([np.nan if thing.area is None else thing.area for thing in things], np.float64)
    areas = np.where(np.isnan(given), areas, given).astype(np.float32)
    corners = boxes.astype(np.float32)
    indices = np.array([known[thing.label] for thing in things], np.int64)
    ignored = np.array([thing.ignored for thing in things], np.bool_)
    samples, whole = [], bool(kept.all())
    for picture, count, end in zip(pictures, counts, ends, strict=True):
        own: Any = slice(end - count, end)
        if not whole:
            own = np.flatnonzero(kept[own]) + end - count
        boxed = Boxes(corners[own], indices[own], ignored[own], areas[own], picture.size)
        samples.append(Sample(picture.source, boxed))
    return samples


def describe_box(box: Sequence[float]) -> str:
    """x0, y0, x1, y1 for people."""
    return ", ".join(f"{side:.6g}" for side in box)


def find_one_off(pictures: Sequence[Annotated], path: Location) -> list[Flaw]:
    """Boxes that VOC's counting from 1 has shifted by a pixel: some begin at 1 and some end at the border, none at 0.

    Of a set whose tool cuts boxes off at the borders, as most do.
    """
    sized = [(picture.size, thing.box) for picture in pictures if picture.size for thing in picture.objects]
    if not sized:
        return []
    sizes, boxes = (np.array(values, np.float64) for values in zip(*sized, strict=True))
    starts = boxes[:, :2]
    first, last = int((np.abs(starts - 1) < 0.01).sum()), int((boxes[:, 2:] > sizes - 0.01).sum())
    beyond = int((np.abs(boxes[:, 2:] - sizes - 1) < 0.01).sum())
    if starts.min() < 0.99 or first < TOUCHING or last < TOUCHING:
        return []
    what = f"{first:,} begin at pixel 1 and {last:,} end at or behind the last one" + f", {beyond:,} beyond" * (
        beyond > 0
    )
    return [Flaw("one_off", str(path), f"of {len(boxes):,} boxes {what}, but none begins at 0")]
