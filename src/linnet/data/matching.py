"""The classes of a data set against those of a model that is to be measured on it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from linnet.data.names import plain
from linnet.data.samples import Sample

if TYPE_CHECKING:
    from linnet.data.dataset import DataSet


class Matching:
    """Which of a model's classes each class of the data is.

    Args:
        data: the data set.
        names: of the model's classes, in the order of its outputs; None where it has none.
        count: of its outputs.
    """

    def __init__(self, data: DataSet, names: Sequence[str] | None, count: int) -> None:
        self.data, self.labels, self.names, self.count = data, data.labels, names, count
        self.known = {plain(name): index for index, name in reversed(list(enumerate(names or ())))}
        self.used = sorted(self.labels.used(data))

    def matched(self) -> DataSet:
        """The data set with the model's classes; see `DataSet.for_classes`."""
        data = self.data
        labels = [data.classes[index] for index in self.used]
        others = list(data.unknown_names) if self.labels.waits else []
        absent = [label for label in (*labels, *others) if plain(label) not in self.known]
        if not absent:
            return self._moved([self._by_name(index) for index in range(len(data.classes))])
        if others:
            raise self._refusal(absent)
        if data.numbers is not None and (not data.complete or len(data.classes) == self.count):
            return self._by_number(data.numbers)
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

    def _by_number(self, numbers: Sequence[int]) -> DataSet:
        wrong = [index for index in self.used if not 0 <= numbers[index] < self.count]
        if wrong:
            first = self._first_of(wrong)
            if first is None:
                raise self._refusal(self.data.classes)
            number = next(numbers[index] for index in sorted(self.labels.classes_of(first)) if index in wrong)
            raise ValueError(
                f"'{self.data.path}': {self.data.short(first.name)} is of the class {number}; the model has classes 0 "
                f"to {self.count - 1}."
            )
        if any(name != str(number) for name, number in zip(self.data.classes, numbers, strict=True)):
            self._warn("their numbers are taken")
        return self._moved(list(numbers))

    def _first_of(self, classes: Collection[int]) -> Sample | None:
        """The first picture of any of some classes; None where masks would have to be read."""
        samples = (sample for part in self.data.parts.values() for sample in part)
        return next((one for one in samples if not self.labels.classes_of(one).isdisjoint(classes)), None)

    def _warn(self, what: str) -> None:
        reason = "are not the model's class names" if self.names else "cannot be matched: the model has no class names"
        warnings.warn(f"The classes of '{self.data.path}' {reason}; {what}.", stacklevel=4)

    def _refusal(self, absent: Sequence[str]) -> ValueError:
        listed = ", ".join(absent[:5]) + f" and {len(absent) - 5} more" * (len(absent) > 5)
        first = self._first_of([self.data.classes.index(name) for name in absent if name in self.data.classes])
        example = f" ({self.data.short(first.name)} is the first)" if first is not None else ""
        return ValueError(
            f"'{self.data.path}' has {self.labels.things} of classes that are none of the model's {self.count}: "
            f"{listed}{example}."
        )

    def _moved(self, indices: Sequence[int]) -> DataSet:
        table = np.array(indices, np.int64)
        stays = list(indices) == list(range(len(indices)))

        def moved(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
            if stays:
                return samples
            return tuple(Sample(sample.source, self.labels.moved(sample.target, table)) for sample in samples)

        parts: dict[str, tuple[Sample, ...]] = {part: moved(samples) for part, samples in self.data.parts.items()}
        unknown = self.data.unknown
        if self.labels.waits:
            for one in unknown:
                sample = replace(one.sample, target=self.known[plain(one.label)])
                parts[one.part] = (*parts.get(one.part, ()), sample)
            unknown = ()
        names = tuple(self.names) if self.names else tuple(map(str, range(self.count)))
        return replace(self.data, classes=names, numbers=None, unknown=unknown, **parts)  # type: ignore[arg-type]
