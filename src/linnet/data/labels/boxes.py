"""The objects on a picture, each a box of a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from linnet.data.cleaning import make_samples
from linnet.data.labels.labels import Contents, Strata
from linnet.data.names import indices_of, numbers_of, ordered
from linnet.data.places import Place
from linnet.data.reading import Annotated, Reading
from linnet.data.samples import Boxes, Sample, Task, Unknown
from linnet.data.turning import follow_turned_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.data.dataset import DataSet


class BoxLabels:
    """See `linnet.data.labels.labels.Labels`."""

    task: Task = "detection"
    things = "objects"
    annotations = "annotations"
    unlisted = "no annotation lists"
    waits = False
    ignores = False

    def entries(self, reading: Reading) -> Sequence[Annotated]:
        """Pictures and their objects."""
        return reading.annotated

    def contents(self, reading: Reading) -> Contents:
        """A sample of each picture, without objects of classes that training lacks."""
        annotated = reading.annotated
        named = {thing.label for one in annotated for thing in one.objects}
        learns = any(one.part == "train" for one in annotated)
        seen = {thing.label for one in annotated if one.part == "train" or not learns for thing in one.objects}
        complete = reading.names is not None
        classes = reading.names or ordered(seen, reading.numbers, numeric=False)
        known = indices_of(classes, named)
        numbers = numbers_of(classes, reading.numbers)
        upright, notes = follow_turned_boxes(annotated)
        found = Contents(classes, complete, numbers, list(reading.flaws), [*reading.notes, *notes])
        for one, sample in zip(upright, make_samples(upright, known, found.flaws), strict=True):
            found.parts[one.part].append(sample)
            unknown = (thing.label for thing in one.objects if thing.label not in known)
            found.unknown += [Unknown(label, one.part, sample) for label in unknown]
        return found

    def images_unused(self, place: Place, *, named: bool) -> str:
        """Their pictures may lie anywhere."""
        return ""

    def check(self, data: DataSet) -> None:
        """There must be an object; one class is enough, since the background is another."""
        if not any(len(sample.objects) for sample in data.train):
            first = f" The first that is wrong: '{data.flaws[0].name}': {data.flaws[0].text}." if data.flaws else ""
            raise ValueError(f"'{data.path}' has no box for training: there is nothing to learn.{first}")

    def count(self, samples: Iterable[Sample], classes: int) -> tuple[int, ...]:
        """Objects that are not ignored."""
        found = [sample.indices[~sample.ignored] for sample in samples]
        return tuple(np.bincount(np.concatenate([np.empty(0, np.int64), *found]), minlength=classes).tolist())

    def strata(self, data: DataSet) -> Strata:
        """By the rarest class on a picture; those without objects are a group of their own."""
        rarity = np.argsort(np.argsort(data.counts, kind="stable"))
        groups = [min(sample.indices.tolist(), key=lambda index: rarity[index], default=-1) for sample in data.train]
        return Strata(groups, "the pictures of every rarest class", "too few pictures")

    def remarks(self, data: DataSet) -> list[str]:
        """Objects of classes that training lacks, and those that do not count."""
        sentences = [
            f"{number:,} boxes of {label!r} are left out: training has no such class."
            for label, number in Counter(one.label for one in data.unknown).items()
        ]
        ignored = sum(int(sample.ignored.sum()) for part in data.parts.values() for sample in part)
        if ignored:
            sentences.append(f"{ignored:,} objects are crowds or difficult: they are neither learnt nor counted.")
        return sentences

    def classes_of(self, sample: Sample) -> set[int]:
        """Those of its objects."""
        return set(sample.indices.tolist())

    def used(self, data: DataSet) -> set[int]:
        """Those of all objects."""
        return {index for part in data.parts.values() for sample in part for index in sample.indices.tolist()}

    def moved(self, target: Boxes, table: NDArray[np.int64]) -> Boxes:
        """The same boxes with the classes' new indices."""
        return replace(target, indices=table[target.indices])


BOXES = BoxLabels()
