"""Boxes as files tell them made into those of samples: in order, inside their pictures, with an area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.data.flaws import Flaw, Kind
from linnet.data.reading import Annotated
from linnet.data.samples import Boxes, Sample
from linnet.data.sources import Location

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLACK = 0.1
"""Pixels by which a box may leave its picture before it is reported: annotations are rounded."""

TOUCHING = 3
"""Boxes on a border that make a pattern."""


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
