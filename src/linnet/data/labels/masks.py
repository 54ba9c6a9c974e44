"""The class of every pixel of a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from linnet.data.labels.labels import Contents, Strata, check_classes
from linnet.data.masks import Mask, count_pixels
from linnet.data.places import Place
from linnet.data.reading import Masked, Reading
from linnet.data.samples import Sample, Task
from linnet.data.turning import follow_turned_masks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from linnet.data.dataset import DataSet


class MaskLabels:
    """See `linnet.data.labels.labels.Labels`. Masks are large: what would have to read them all does without."""

    task: Task = "segmentation"
    things = "masks"
    annotations = "masks"
    unlisted = "have no mask"
    waits = False
    ignores = True

    def entries(self, reading: Reading) -> Sequence[Masked]:
        """Pictures and their masks."""
        return reading.masked

    def contents(self, reading: Reading) -> Contents:
        """A sample of each picture; the reading has numbered the classes."""
        masks, notes = follow_turned_masks(reading.masked)
        numbers = tuple(reading.numbers.values()) or None
        found = Contents(
            reading.names or (), not reading.numbers, numbers, list(reading.flaws), [*reading.notes, *notes]
        )
        for one, mask in zip(reading.masked, masks, strict=True):
            found.parts[one.part].append(Sample(one.source, mask))
        return found

    def images_unused(self, place: Place, *, named: bool) -> str:
        """Masks lie beside their pictures, unless a file names these."""
        return "" if named else f"--images is for annotations that name pictures; '{place}' has masks beside them."

    def check(self, data: DataSet) -> None:
        """There must be two classes; whether both have pixels is seen once the masks are read."""
        check_classes(data, "segmenter")

    def count(self, samples: Iterable[Sample], classes: int) -> tuple[int, ...]:
        """Pixels, by reading every mask in several threads."""
        return count_pixels([sample.mask for sample in samples], classes)

    def strata(self, data: DataSet) -> Strata:
        """All pictures together."""
        return Strata([0] * len(data.train), "the pictures", "too few pictures")

    def remarks(self, data: DataSet) -> list[str]:
        """Nothing: what is ignored in masks is known once they are read."""
        return []

    def classes_of(self, sample: Sample) -> set[int]:
        """Not known before the mask is read."""
        return set()

    def used(self, data: DataSet) -> set[int]:
        """Every class."""
        return set(range(len(data.classes)))

    def moved(self, target: Mask, table: NDArray[np.int64]) -> Mask:
        """The same mask with the classes' new indices."""
        return target.moved_to(table)


MASKS = MaskLabels()
