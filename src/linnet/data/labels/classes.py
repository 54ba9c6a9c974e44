"""The class of a whole picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from linnet.data.labels.labels import Contents, Strata, check_classes
from linnet.data.names import indices_of, numbers_of, ordered
from linnet.data.places import Place
from linnet.data.reading import Labelled, Reading
from linnet.data.samples import Sample, Task, Unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.data.dataset import DataSet


class ClassLabels:
    """See `linnet.data.labels.labels.Labels`."""

    task: Task = "classification"
    things = "pictures"
    annotations = "annotations"
    unlisted = "no annotation lists"
    waits = True
    ignores = False

    def entries(self, reading: Reading) -> Sequence[Labelled]:
        """Pictures and their classes."""
        return reading.labelled

    def contents(self, reading: Reading) -> Contents:
        """A sample of each picture, but for those of classes that training lacks."""
        labelled = reading.labelled
        named = {one.label for one in labelled if isinstance(one.label, str)}
        learns = any(one.part == "train" for one in labelled)
        seen = {one.label for one in labelled if isinstance(one.label, str) and (one.part == "train" or not learns)}
        complete = reading.names is not None and seen <= set(reading.names)
        classes = (reading.names if complete else None) or ordered(seen, reading.numbers, numeric=True)
        known = indices_of(classes, named)
        numbers = numbers_of(classes, reading.numbers)
        found = Contents(classes, complete, numbers, list(reading.flaws), list(reading.notes))
        for source, part, label in labelled:
            index = label if isinstance(label, int) else known.get(label)
            if index is None:
                found.unknown.append(Unknown(str(label), part, Sample(source, -1)))
            else:
                found.parts[part].append(Sample(source, index))
        return found

    def images_unused(self, place: Place, *, named: bool) -> str:
        """Nothing names pictures that lie elsewhere."""
        return f"--images is for pictures with boxes; '{place}' has classes of whole pictures."

    def check(self, data: DataSet) -> None:
        """There must be two classes."""
        check_classes(data, "classifier")

    def count(self, samples: Iterable[Sample], classes: int) -> tuple[int, ...]:
        """Pictures."""
        found = np.array([sample.index for sample in samples], np.int64)
        return tuple(np.bincount(found, minlength=classes).tolist())

    def strata(self, data: DataSet) -> Strata:
        """By class."""
        return Strata([sample.index for sample in data.train], "every class", "no class with two pictures")

    def remarks(self, data: DataSet) -> list[str]:
        """Classes of other parts that training lacks."""
        return [
            f"{number:,} pictures of the class {label!r} are left out: training has no picture of it."
            for label, number in Counter(one.label for one in data.unknown).items()
        ]

    def classes_of(self, sample: Sample) -> set[int]:
        """Its own."""
        return {sample.index}

    def used(self, data: DataSet) -> set[int]:
        """Those of all pictures."""
        return {sample.index for samples in data.parts.values() for sample in samples}

    def moved(self, target: int, table: NDArray[np.int64]) -> int:
        """The class's new index."""
        return int(table[target])


CLASSES = ClassLabels()
